"""A Ray worker: its context, opened once, and its jobs, one after the other."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import tune

from sweep.job import compress
from sweep.job.context import JobContext, job_device, open_context, settle_process
from sweep.run import bundle
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.job import Job

SECONDS_BETWEEN_REPORTS = 0.5  # of one job: a report costs a round trip to the driver


@dataclass(frozen=True)
class Data:
    """What every worker needs, once."""

    study_reference: str
    user_folder: str
    splits: dict[str, np.ndarray]
    folder: str
    url: str | None
    tracked: bool


@dataclass(frozen=True)
class Place:
    """A worker process's context, and the cloud folder that its jobs' files are put in."""

    context: JobContext
    url: str | None
    seconds_between_reports: float


@functools.lru_cache(maxsize=1)
def place_of(data: ray.ObjectRef[Data]) -> Place:
    """The worker process's place, opened once: the same object in the store is the same content."""
    held: Data = ray.get(data)
    folder = held.folder
    if held.url is not None:
        folder = str(Path(tempfile.gettempdir(), f"lcsweep-{os.getuid()}", Path(held.folder).name))
        reference = SweepFolder(Path(folder)).reference
        remote.fetch_file(held.url, reference.relative_to(folder).as_posix(), to=reference)
    context = open_context(
        held.study_reference,
        user_folder=bundle.unpacked() or held.user_folder,
        splits=held.splits,
        folder=folder,
        device=job_device(ray.get_gpu_ids()),
    )
    return Place(context, held.url, 0.0 if held.tracked else SECONDS_BETWEEN_REPORTS)


def work(config: dict[str, Any], data: ray.ObjectRef[Data]) -> None:
    """Do the job in `config`, then each that the driver puts in its place, until Tune ends it at a report."""
    place = place_of(data)
    settle_process()  # again: to flush denormals is a thread's own, and each trial of Tune's has a new one
    while True:
        tune.report(_do(Job.from_dict(config["job"]), place))


def take(given: dict[str, Any], trainable: tune.Trainable) -> None:
    """In a worker that waits at the report of a record: what it does next."""
    trainable.config.update(given)


def _do(job: Job, place: Place) -> dict[str, Any]:
    """The job's last report: its record as JSON text (Tune would flatten a dict)."""
    report = _throttled(tune.report, seconds=place.seconds_between_reports)
    record = compress.run_job(job, place.context, report=report)
    if place.url is not None:
        record = remote.put_job(place.url, place.context.folder, job_id=job.id)
        shutil.rmtree(place.context.folder.record(job.id).parent)
    numbers = {name: record[name] for name in ("artifact_bytes", "macs", "seconds") if record[name] is not None}
    return {"record": json.dumps(record)} | numbers


def _throttled(report: Callable[[dict[str, Any]], None], *, seconds: float) -> Callable[[dict[str, Any]], None]:
    """`report`, called at most once in `seconds`; what comes too early is dropped."""
    last = time.monotonic()

    def sometimes(progress: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            report(progress)
            last = time.monotonic()

    return sometimes
