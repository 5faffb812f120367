"""Estimates what a run will cost, from one LC step that is timed here."""

import functools
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from lc_core.algorithm import deploy
from lc_core.methods.known import METHODS
from lc_core.schedule import Schedule
from lc_core.training.loop import DivergedError, predictions
from sweep.job.compress import job_training
from sweep.job.context import JobContext, settle_process
from sweep.search.protocol import Entry
from sweep.store.job import Job

FACTS_BYTES = 16384  # of a job's record and diagnostics, in whole blocks of a file system
STATES = 4  # arrays as large as the weights in a checkpoint: w, Delta(Theta), lambda, momentum


@dataclass(frozen=True)
class Estimate:
    """What the missing jobs of a run will cost.

    Attributes:
        seconds: of one job on one worker of this machine; None where the timed step diverged.
        jobs: how many would start.
        workers: jobs at once.
        bytes: on disk when all are done, at most: nominal sizes are upper bounds.
        passing_bytes: of checkpoints, on disk while jobs run.
        timed: the label of the job that was timed.
    """

    seconds: float | None
    jobs: int
    workers: int
    bytes: int
    passing_bytes: int
    timed: str

    @property
    def wall_seconds(self) -> float | None:
        """Seconds until all jobs are done."""
        return None if self.seconds is None else self.seconds * self.jobs / min(self.workers, self.jobs)


def estimate(
    entries: Sequence[Entry], context: JobContext, *, done: Collection[str], workers: int, most: int | None = None
) -> Estimate | None:
    """The cost of the jobs that are not `done`, or of the largest `most` of them; None where all are."""
    missing = [(entry, job) for entry in entries for job in entry.jobs if job.id not in done]
    if not missing:
        return None
    job = missing[0][1]
    missing = sorted(missing, key=lambda each: -each[0].nominal_bytes)[:most]
    weights = sum(weight.numel() * weight.element_size() for weight in context.reference.values())
    return Estimate(
        seconds=_seconds_or_none(job, context),
        jobs=len(missing),
        workers=workers,
        bytes=sum(entry.nominal_bytes + FACTS_BYTES for entry, _ in missing),
        passing_bytes=STATES * weights * min(workers, len(missing)),
        timed=job.label,
    )


def _seconds_or_none(job: Job, context: JobContext) -> float | None:
    try:
        return _seconds(job, context)
    except DivergedError:
        return None


def _seconds(job: Job, context: JobContext) -> float:
    """Seconds of `job`: of direct compression, of all measuring, and of one LC step over its share of the epochs."""
    settle_process()
    study, data, schedule = context.study, context.data, Schedule(**job.schedule)
    model = study.seeded_model()
    deployed = study.seeded_model()
    tasks = study.tasks(model, family=job.family, configuration=job.configuration)
    training = job_training(job, study, data, reference=model, build_model=study.seeded_model)
    states = METHODS[job.method].states(model, tasks, training)
    started = time.monotonic()
    direct = next(states)
    compressed = time.monotonic()
    measuring, size = context.measuring(schedule), schedule.batch_size
    put = functools.partial(deploy, deployed, tasks, direct, data=data.train, batch_size=size, forward=study.forward)
    put(statistics=measuring.curve)
    for _ in predictions(deployed, data.val, forward=study.forward):
        pass
    measured = time.monotonic()
    example = (measured - compressed) / (len(data.val) + measuring.curve)
    if not METHODS[job.method].steps(schedule):
        return compressed - started + example * (len(data.val) + measuring.result)
    first = next(states)
    step = time.monotonic() - measured
    return compressed - started + example * measuring.examples(len(data.val)) + step * schedule.epochs / first.epochs
