"""A Ray worker: it opens the study, the data and the reference once, then runs one job after the other."""

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

import ray
from ray import tune

from sweep.job import compress
from sweep.job.context import JobContext, job_device, open_context, settle_process
from sweep.run import bundle
from sweep.run.context import RunContext
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.job import Job

SECONDS_BETWEEN_REPORTS = 0.5  # of one job: a report costs a round trip to the driver


@dataclass(frozen=True)
class WorkerContext:
    """What a worker process opens once for all its jobs.

    Attributes:
        job: the context of its jobs.
        url: the cloud folder where the jobs' files go; None where they stay in the sweep's folder.
        seconds_between_reports: the least time between two reports of one job.
    """

    job: JobContext
    url: str | None
    seconds_between_reports: float


@functools.lru_cache(maxsize=1)
def opened(shared: ray.ObjectRef[RunContext]) -> WorkerContext:
    """The context of this worker process, opened once for each run."""
    run: RunContext = ray.get(shared)
    folder = run.folder
    if run.url is not None:
        folder = SweepFolder(Path(tempfile.gettempdir(), f"lcsweep-{os.getuid()}", folder.root.name))
        name = folder.reference.relative_to(folder.root).as_posix()
        remote.fetch_file(run.url, name, to=folder.reference)
    job = open_context(
        run.study_reference,
        user_folder=bundle.unpacked() or run.user_folder,
        splits=run.splits,
        folder=folder,
        device=job_device(ray.get_gpu_ids()),
    )
    return WorkerContext(job, run.url, 0.0 if run.tracking is not None else SECONDS_BETWEEN_REPORTS)


def work(config: dict[str, Any], shared: ray.ObjectRef[RunContext]) -> None:
    """Runs the job in `config`, then each that `ray_internals.send_config` puts there, until Tune stops it."""
    context = opened(shared)
    settle_process()  # again: flushing denormal numbers is set for each thread, and each Tune trial has a new one
    while True:
        tune.report(_last_report(Job.from_dict(config["job"]), context))


def _last_report(job: Job, context: WorkerContext) -> dict[str, Any]:
    """Runs the job. Returns its record as JSON text, as Tune flattens dictionaries, and the numbers that trackers show.

    For a sweep in the cloud, the job's files are uploaded and removed here.
    """
    report = _throttled(tune.report, seconds=context.seconds_between_reports)
    record = compress.run_job(job, context.job, report=report)
    if context.url is not None:
        record = remote.put_job(context.url, context.job.folder, job_id=job.id)
        shutil.rmtree(context.job.folder.record(job.id).parent)
    numbers = {"artifact_bytes": record.artifact_bytes, "macs": record.macs, "seconds": record.seconds}
    known = {name: number for name, number in numbers.items() if number is not None}
    return {"record": json.dumps(record.to_json())} | known


def _throttled(report: Callable[[dict[str, Any]], None], *, seconds: float) -> Callable[[dict[str, Any]], None]:
    """`report`, called at most once in so many seconds; calls in between are dropped."""
    last = time.monotonic()

    def sometimes(progress: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            report(progress)
            last = time.monotonic()

    return sometimes
