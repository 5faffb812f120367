"""How long a job may run before its worker is ended: a study may wait for ever, or never converge."""

import bisect
import math
import statistics
from collections.abc import Iterable

from sweep.execution.progress import duration
from sweep.store.job import Job
from sweep.store.record import Record

TIMES, LEAST = 10, 600.0
"""By default a job may take TIMES the median of the jobs that are done, and at least LEAST seconds."""


class TimeLimit:
    """How long a job may run.

    Args:
        seconds: the limit of every job. None: it follows from the jobs that are done with the same method and schedule,
            and there is none before the first.
        known: records of jobs that have ended.
    """

    def __init__(self, seconds: float | None = None, *, known: Iterable[Record] = ()) -> None:
        self._seconds = seconds
        self._done: dict[object, list[float]] = {}  # by method and schedule; sorted
        for record in known:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Takes the time of a job that is done into account."""
        if record.status == "done" and record.seconds is not None:
            bisect.insort(self._done.setdefault(_kind(record), []), record.seconds)

    def of(self, job: Job) -> float:
        """The limit in seconds; infinity for none."""
        if self._seconds is not None:
            return self._seconds
        done = self._done.get(_kind(job))
        return math.inf if done is None else max(TIMES * statistics.median(done), LEAST)

    def told(self, job: Job) -> str:
        """Why a job that reached its limit has failed, in a line."""
        how = "the limit of --job-timeout"
        if self._seconds is None:
            how = f"{TIMES} times the median of the jobs that are done and at least {duration(LEAST)}"
        return (
            f"it had not ended after {duration(self.of(job))}, {how}, so its worker was ended; "
            "--job-timeout SECONDS sets another limit"
        )


def _kind(job: Job | Record) -> object:
    return job.method, frozenset(job.schedule.items())
