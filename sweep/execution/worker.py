"""A Ray worker: it opens the study, the data and the reference once, then runs one job after the other."""

from __future__ import annotations

import functools
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import tune

from sweep.execution import bundle
from sweep.execution.context import RunContext
from sweep.job import compress
from sweep.job.context import JobContext, job_device, open_context, settle_process
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.manifest import UNNAMED
from sweep.study import Study
from sweep.study.loading import make_importable

SECONDS_BETWEEN_REPORTS = 0.5  # of one job: a report costs a round trip to the driver


@dataclass(frozen=True, eq=False)
class Sent:
    """What the driver sends to its workers.

    Attributes:
        run: the settings of the run.
        study: the study, where the user gave an object; None where `run` says how to load it. It lies in the object
            store by itself, since a worker needs the user's folder in `sys.path` before it can open it.
    """

    run: RunContext
    study: ray.ObjectRef[Study] | None

    @staticmethod
    def put(run: RunContext) -> ray.ObjectRef[Sent]:
        """It in the object store."""
        if not isinstance(run.study_reference, Study):
            return ray.put(Sent(run, None))
        return ray.put(Sent(replace(run, study_reference=UNNAMED), ray.put(run.study_reference)))


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
def opened(shared: ray.ObjectRef[Sent]) -> WorkerContext:
    """The context of this worker process, opened once for each run."""
    sent: Sent = ray.get(shared)
    run = sent.run
    folder, user_folder = run.folder, bundle.unpacked() or run.user_folder
    if run.url is not None:
        folder = SweepFolder(own_folder() / folder.root.name)
        name = folder.reference.relative_to(folder.root).as_posix()
        remote.fetch_file(run.url, name, to=folder.reference)
    make_importable(user_folder)
    job = open_context(
        run.study_reference if sent.study is None else ray.get(sent.study),
        user_folder=user_folder,
        splits=run.splits,
        folder=folder,
        device=job_device(ray.get_gpu_ids()),
    )
    return WorkerContext(job, run.url, 0.0 if run.tracking is not None else SECONDS_BETWEEN_REPORTS)


def own_folder() -> Path:
    """This user's folder for sweeps in the cloud, below the temporary folder; no other user can read or write it.

    Raises:
        PermissionError: another user has made something of that name.
    """
    path = Path(tempfile.gettempdir(), f"lcsweep-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{path}: expected a folder of this user, got another's; set TMPDIR to another folder")
    path.chmod(0o700)
    return path


def work(config: dict[str, Any], shared: ray.ObjectRef[Sent]) -> None:
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
