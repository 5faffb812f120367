"""The cost of orchestration on the real Ray: the time of a trivial job, and the time that workers wait between jobs."""

import bisect
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from sweep.execution import connection, driver, runner, worker
from sweep.execution.context import RunContext
from sweep.execution.process import environment
from sweep.execution.progress import Progress
from sweep.job import compress
from sweep.job.context import split_arrays
from sweep.prepare.prepared import PreparedSweep
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.record import Done, Record
from sweeps import prepared, study_in

WARM = 20  # jobs before the clock starts: by then the workers have started and imported torch


@dataclass(frozen=True)
class Pace:
    """Wall time and the driver's processor time of one job, in seconds."""

    wall: float
    driver: float


class Noting(Progress):
    """The usual progress, which also notes when each job began and ended."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**named)
        self.began: list[float] = []
        self.ends: list[tuple[float, float, float]] = []  # wall clock, processor time, the job's own seconds

    def on_start(self, job: Job) -> None:
        super().on_start(job)
        self.began.append(time.perf_counter())

    def on_finish(self, job: Job, record: Record) -> None:
        super().on_finish(job, record)
        if not isinstance(record, Done):
            raise RuntimeError(f"a job failed: {record.error}")
        self.ends.append((time.perf_counter(), time.process_time(), record.seconds))


def trivial(*, workers: int, jobs: int) -> tuple[Pace, Pace]:
    """The pace of trivial jobs through lcsweep and as bare Ray tasks, each on a Ray of its own with so many workers.

    The bare task is a `ray.remote` function that runs the same jobs by `compress.run_job` and publishes their records.
    It has no Tune, no search and no index, and Ray gets all tasks at once.
    """
    with tempfile.TemporaryDirectory() as folder, study_in(Path(folder, "study"), configurations=jobs + WARM) as study:
        return _ours(prepared(study, workers=workers)), _bare(prepared(study, workers=workers))


def busy(*, workers: int, jobs: int, seconds: float) -> float:
    """The share of their time that workers spend in jobs of so many seconds.

    It is measured from the moment when all workers run a job until the first worker gets no more: without the start of
    Ray and of the workers, and without the last round. The record gives a job's time.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        study_in(Path(folder, "study"), configurations=jobs, seconds=seconds) as study,
    ):
        seen = _run(prepared(study, workers=workers))
    ends = sorted(end for end, _, _ in seen.ends)
    begins = enumerate(sorted(seen.began), start=1)
    start = next(begin for count, begin in begins if count - bisect.bisect(ends, begin) == workers)
    stop = ends[-workers]
    inside = sum(max(0.0, min(end, stop) - max(end - own, start)) for end, _, own in seen.ends)
    return inside / (workers * (stop - start))


def _ours(sweep: PreparedSweep) -> Pace:
    (first, spent, _), *_, (last, spent_at_last, _) = _run(sweep).ends[WARM - 1 :]
    jobs = len(sweep.entries) - WARM
    return Pace((last - first) / jobs, (spent_at_last - spent) / jobs)


def _run(sweep: PreparedSweep) -> Noting:
    with open(os.devnull, "w") as nowhere:
        seen = Noting(total=len(sweep.entries), workers=sweep.options.workers, stream=nowhere)
        driver.run(sweep, watch=lambda _: seen)
    return seen


def _bare(sweep: PreparedSweep) -> Pace:
    workers, options = sweep.options.workers, sweep.options
    with environment(runner.DRIVER_ENVIRONMENT), connection.connected(None, workers):

        @ray.remote(num_cpus=1)
        def do(job: dict[str, Any], held: list[Any]) -> Record:
            context = worker.opened(held[0]).job
            return compress.run_job(Job.from_dict(job), context, report=lambda _: None)

        folder = SweepFolder(sweep.folder.root.resolve())
        splits = split_arrays(sweep.context.data)
        context = RunContext(folder, options.study, options.user_folder, splits, workers)
        held, jobs = [worker.Sent.put(context)], [entry.jobs[0].as_dict() for entry in sweep.entries]
        ray.get([do.remote(job, held) for job in jobs[:WARM]])
        start, spent = time.perf_counter(), time.process_time()
        records = ray.get([do.remote(job, held) for job in jobs[WARM:]])
        wall, spent = time.perf_counter() - start, time.process_time() - spent
    if any(record.status != "done" for record in records):
        raise RuntimeError("a job failed")
    return Pace(wall / len(records), spent / len(records))
