"""A cluster's capacity, the folder that its nodes share, and where jobs run; on one Ray of two virtual nodes."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from sweep.execution import cluster
from sweep.execution.connection import connected
from sweep.job.context import job_device
from tests.sweep.tiny import prepared, write_study


@pytest.mark.parametrize(
    ("cpus", "gpus", "each", "jobs"),
    [
        (8, 0, 0.0, 8),
        (8, 1, 0.25, 4),
        (8, 2, 0.3, 6),  # three on each, and the rest of neither makes one
        (8, 1, 0.1, 8),
        (16, 1, 0.1, 10),
        (8, 3, 2.0, 1),
        (8, 0, 0.5, 0),
        (0, 4, 1.0, 0),
    ],
)
def test_a_part_of_a_gpu_lies_on_one(cpus: float, gpus: float, each: float, jobs: int) -> None:
    assert cluster._jobs(cpus, gpus, each) == jobs


@pytest.mark.parametrize(
    ("given", "usable", "device"), [([0], True, "cuda"), ([], True, "cpu"), ([0], False, "cpu"), ([], False, "cpu")]
)
def test_a_job_runs_on_the_gpu_that_it_was_given(
    given: list[int], usable: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    assert job_device(given) == device


def test_a_job_context_moves_as_a_whole(tmp_path: Path) -> None:
    """To the one device that every machine has besides its memory, which holds shapes alone."""
    context = prepared(write_study(tmp_path), tmp_path / "out").context
    moved = context.on("meta")
    data = [t for split in vars(moved.data).values() for t in (split.inputs, split.targets)]
    tensors = [*data, *moved.reference.values(), *moved.template.parameters(), *moved.build_model().parameters()]
    assert {str(tensor.device) for tensor in tensors} == {"meta"}
    assert moved.study is context.study


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes, one with a GPU that is only said to be there; this process is connected to it."""
    folder = tempfile.mkdtemp(prefix="lcs-", dir="/tmp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("RAY_TMPDIR", folder)  # where Ray writes the cluster's address, too
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 6, "num_gpus": 1, "include_dashboard": False})
        nodes.add_node(num_cpus=2)
        try:
            with connected(nodes.address, 1):
                end = time.monotonic() + 60
                while ray.available_resources().get("CPU") != 8:  # the second node's reach the first a moment later
                    assert time.monotonic() < end
                    time.sleep(0.1)
                yield nodes
        finally:
            nodes.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.cluster
def test_the_capacity_of_a_cluster(two_nodes: Cluster) -> None:
    assert cluster.capacity(0.0) == cluster.Capacity(jobs=8, free=8, token=False)
    assert cluster.capacity(0.25).jobs == 4
    got = r"got 2 node\(s\) with (2 cores and 0 GPUs, )?6 cores and 1 GPUs"  # in either order
    with pytest.raises(ValueError, match=f"expected a node with a core and 2 GPU for a job, {got}"):
        cluster.capacity(2.0)
    with pytest.raises(ValueError, match=r"expected a node with a core and 1\.5 GPU"):
        cluster.capacity(1.5)


@pytest.mark.cluster
def test_a_folder_that_a_node_does_not_see_is_found_before_any_job(
    two_nodes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.check_shared(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.chdir(tmp_path)
    own = Path("/proc/self/cwd")  # another folder in each process: that of a node which shares nothing
    address = ray.nodes()[0]["NodeManagerAddress"]
    with pytest.raises(
        ValueError, match=rf"expected a folder that all nodes .*; node .* \({address}\) does not see it"
    ):
        cluster.check_shared(own)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
def test_another_version_on_a_node_is_named(
    two_nodes: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.check_shared(tmp_path)  # now the nodes have the function as it is
    monkeypatch.setattr(cluster, "_version", lambda: "99.0")
    with pytest.raises(ValueError, match=r"lcsweep 99\.0 on them; node .* has lcsweep \d"):
        cluster.check_shared(tmp_path)


@pytest.mark.cluster
def test_at_most_four_quarters_of_a_gpu_run_at_once(two_nodes: Cluster) -> None:
    """What the jobs ask of Ray, by Ray's own count; the runner's part is in tests/integration/test_cluster.py."""

    @ray.remote(num_cpus=1, num_gpus=0.25)
    class Holder:
        def given(self) -> list[Any]:
            return list(ray.get_gpu_ids())

    holders = [Holder.remote() for _ in range(5)]  # type: ignore[attr-defined]
    done, waiting = ray.wait([holder.given.remote() for holder in holders], num_returns=5, timeout=45)
    assert (len(done), len(waiting)) == (4, 1)
    assert ray.get(done) == [[0]] * 4 or ray.get(done) == [["0"]] * 4
    assert cluster.capacity(0.25).free == 0
