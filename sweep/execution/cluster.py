"""A Ray cluster's capacity, and whether all of its nodes see the sweep's folder."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sweep.execution.connection import check_address, connected
from sweep.execution.process import redirected
from sweep.execution.ray_internals import sends_token

SECONDS_FOR_AN_ANSWER = 120  # a node's first worker must start and import this module
SECONDS_FOR_A_FILE = 10  # until a node sees a new file: it may have the folder's old listing in a cache


@dataclass(frozen=True)
class Capacity:
    """How many jobs a cluster can run at once, how many it could start now, and whether it was sent a token."""

    jobs: int
    free: int
    token: bool


def capacity(gpus_per_job: float) -> Capacity:
    """The capacity of the cluster that this process is connected to, for jobs of one core and so many GPUs each.

    Raises:
        ValueError: none of its nodes can run such a job.
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
    return Capacity(jobs, min(jobs, _jobs(now.get("CPU", 0), now.get("GPU", 0), gpus_per_job)), sends_token())


def capacity_at(address: str, *, gpus_per_job: float) -> Capacity:
    """The capacity of the cluster at `address`; ValueError as `connected` and `capacity`."""
    check_address(address)
    with redirected(Path(os.devnull)), connected(address, 1):
        return capacity(gpus_per_job)


def check_shared(folder: Path) -> None:
    """Checks that each node of the cluster reads in `folder` what this process writes there, and can write there.

    Raises:
        ValueError: a node cannot, or does not answer; the message names it.
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
    """Runs on a node: what is wrong with it, or an empty text."""
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


def _version() -> str:
    return importlib.metadata.version("lcsweep")


def _jobs(cpus: float, gpus: float, gpus_per_job: float) -> int:
    """How many jobs fit at once. A fraction of a GPU must be on one GPU."""
    if not gpus_per_job:
        return int(cpus)
    on_gpus = int(gpus) * int(1 / gpus_per_job + 1e-9) if gpus_per_job < 1 else int(gpus / gpus_per_job + 1e-9)
    return min(int(cpus), on_gpus)
