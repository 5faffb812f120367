"""The connection to Ray: to a cluster that runs, or to one of this machine alone, begun here and ended again."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import shlex
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray._private import services
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.run.process import redirected
from sweep.run.scratch import scratch

WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "60",  # a thread slower than this to end loses its job; 2 is too few under load
}
SECONDS_FOR_AN_ANSWER = 120  # of a node: its first worker starts, and imports what it is asked
SECONDS_FOR_A_FILE = 10  # to be seen by another node, which may have looked at the folder before


def check_address(address: str | None) -> None:
    """Raise ValueError when `address` is one that Ray Tune cannot be run through."""
    if address is not None and "://" in address:
        raise ValueError(
            f"expected an address 'auto' or HOST:PORT, got {address!r}: Ray Tune cannot be driven through Ray Client "
            "(ray://); run lcsweep on a node of the cluster with --address auto, or submit it with `ray job submit`"
        )


@contextlib.contextmanager
def connected(address: str | None, workers: int, *, parcel: Path | None = None) -> Iterator[None]:
    """A connection to Ray: to the cluster at `address`, or to one started here, which leaves no file behind.

    The nodes of a cluster are sent `parcel`, a folder of `sweep.run.bundle`.
    """
    runtime_env: dict[str, Any] = {"env_vars": WORKER_ENVIRONMENT}
    if parcel is not None:
        runtime_env["py_modules"] = [str(parcel)]
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(scratch()) if address is None else None
        stack.callback(ray.shutdown)
        if temporary is not None:
            try:
                with _groups_of_their_own():
                    ray.init(
                        address="local",
                        num_cpus=workers,
                        include_dashboard=False,
                        # Ray starts workers through a shell and does not quote the path of Python itself.
                        runtime_env=runtime_env | {"py_executable": shlex.quote(sys.executable)},
                        _temp_dir=str(temporary),
                    )
            except Exception as error:  # it raises plain ones where its own processes are not up in 30 s
                raise ValueError(
                    f"expected Ray to start on this machine, got {_one_line(error)}: try again when the machine "
                    "is less busy or has more memory free; nothing is lost"
                ) from error
        else:
            try:
                _knock(str(address))
                ray.init(address=address, runtime_env=runtime_env)
            except Exception as error:  # nobody there, another version of Ray, no token: each another one of Ray's
                raise ValueError(
                    f"expected a Ray cluster at the address {address!r}, found none that lets us in "
                    f"({_one_line(error)}): start one with `ray start --head`; set RAY_AUTH_MODE=token where the "
                    "cluster asks for a token; or leave the address out to run on this machine"
                ) from error
        yield


@contextlib.contextmanager
def _groups_of_their_own() -> Iterator[None]:
    """Processes that Ray starts here are not in our process group: a signal to that is for us, who then end them.

    Else SIGTERM to the group, as `timeout` sends it, ends Ray's first, and a driver that asks them something just then
    waits for a minute, until Ray ends it.
    """
    begin = getattr(services, "ConsolePopen", None)
    if begin is None:  # a private name, which another version may lack
        yield
        return
    services.ConsolePopen = functools.partial(begin, process_group=0)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        services.ConsolePopen = begin  # type: ignore[misc]


@dataclass(frozen=True)
class Room:
    """How many jobs a cluster can run at once, and how many of them now."""

    jobs: int
    free: int


def room(gpus_per_job: float) -> Room:
    """The room of the cluster that this process is connected to, for jobs of one core and so many GPUs each.

    Raises:
        ValueError: none of its nodes has room for one.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    jobs = sum(_jobs(node.get("CPU", 0), node.get("GPU", 0), gpus_per_job) for node in nodes)
    if not jobs:
        wanted = "a core" + (f" and {gpus_per_job:g} GPU" if gpus_per_job else "")
        has = ", ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise ValueError(
            f"expected a node with {wanted} for a job, got {len(nodes)} node(s) with {has}: start one, or ask for less "
            "with --gpus-per-job"
        )
    now = ray.available_resources()
    return Room(jobs, min(jobs, _jobs(now.get("CPU", 0), now.get("GPU", 0), gpus_per_job)))


def survey(address: str, *, gpus_per_job: float) -> Room:
    """The room of the cluster at `address`; ValueError as `connected` and `room`."""
    check_address(address)
    with redirected(Path(os.devnull)), connected(address, 1):
        return room(gpus_per_job)


def check_shared(folder: Path) -> None:
    """Has a worker on each node of the cluster find in `folder` what this process puts there, and write beside it.

    Raises:
        ValueError: one cannot, or does not answer; the message names it.
    """
    token = folder / f".seen-{uuid.uuid4().hex}"
    token.mkdir(parents=True)
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        answers = {
            _look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                str(token), _version()
            ): node
            for node in nodes
        }
        for answer, node in answers.items():
            try:
                trouble = ray.get(answer, timeout=SECONDS_FOR_AN_ANSWER)
            except GetTimeoutError:
                trouble = f"gave no answer in {SECONDS_FOR_AN_ANSWER} seconds"
            except RayError as error:
                trouble = f"could not look: {' '.join(str(error).split())[-300:]}"
            if trouble:
                raise ValueError(
                    f"{folder}: expected a folder that all nodes of the cluster can read and write, and lcsweep "
                    f"{_version()} on them; node {node['NodeManagerHostname']} ({node['NodeManagerAddress']}) "
                    f"{trouble}: name a shared or a cloud folder with --out"
                )
    finally:
        shutil.rmtree(token, ignore_errors=True)


@ray.remote(num_cpus=0, max_retries=1)
def _look(token: str, version: str) -> str:
    """On a node: what is wrong with it, or nothing."""
    if _version() != version:
        return f"has lcsweep {_version()}"
    until = time.monotonic() + SECONDS_FOR_A_FILE
    while not os.path.isdir(token):
        if time.monotonic() > until:
            return "does not see it"
        time.sleep(0.2)
    try:
        Path(token, uuid.uuid4().hex).touch()
    except OSError as error:
        return f"cannot write there ({error.strerror})"
    return ""


def _one_line(error: Exception) -> str:
    """The beginning of what the error says, which may be a page."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} ..."


def _version() -> str:
    return importlib.metadata.version("lcsweep")


def _jobs(cpus: float, gpus: float, gpus_per_job: float) -> int:
    """Jobs that fit at once: a job's part of a GPU lies on one."""
    if not gpus_per_job:
        return int(cpus)
    on_gpus = int(gpus) * int(1 / gpus_per_job + 1e-9) if gpus_per_job < 1 else int(gpus / gpus_per_job + 1e-9)
    return min(int(cpus), on_gpus)


def _knock(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would try for two minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()
