"""Which job runs in which worker slot, and how it ended. Plain Python: no Ray.

Each Tune trial is a long-lived worker that runs many jobs. A worker slot is the id of such a trial.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sweep.execution.time_limit import TimeLimit
from sweep.job import compress
from sweep.store import remote
from sweep.store.files import read_optional, write_json
from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_record

if TYPE_CHECKING:
    from sweep.execution.progress import Step, Watch
    from sweep.search.protocol import Search
    from sweep.store.job import Job

ATTEMPTS = 3  # a job whose workers died so often has failed


class Dispatch:
    """The jobs that a search has asked for and does not have the result of yet.

    Args:
        search: asks for jobs. It gets the record of each, or None for a job that was lost.
        folder: the sweep's folder, or the mirror of the cloud folder at `url`.
        watch: is called when a job starts (once, even if workers die) and when it has ended.
        workers: the largest number of jobs that run at once.
        url: the cloud folder; None for a folder on a disk.
        limit: how long a job may run.
    """

    def __init__(
        self,
        search: Search,
        *,
        folder: SweepFolder,
        watch: Watch,
        workers: int,
        url: str | None = None,
        limit: TimeLimit | None = None,
    ) -> None:
        self.search, self.folder, self.watch, self.workers, self.url = search, folder, watch, workers, url
        self.limit = limit or TimeLimit()
        self.jobs: dict[str, Job] = {}  # by worker slot
        self._seconds: dict[str, float] = {}  # how long the job in a slot has run
        self._overdue: dict[str, str] = {}  # slot whose job reached its limit -> why it fails, in a line
        self._again: deque[Job] = deque()  # jobs whose worker died
        self._causes: dict[str, list[str]] = {}  # by job
        self._started: set[str] = set()

    def next_job(self, slot: str) -> Job | None:
        """Puts the next job into the slot and returns it; None where there is nothing to do now."""
        if len(self.jobs) >= self.workers:
            return None
        job = self._again.popleft() if self._again else self.search.next()
        if job is not None:
            self.jobs[slot] = job
        return job

    def start(self, slot: str) -> None:
        """The worker in the slot runs its job now."""
        job = self.jobs[slot]
        self._seconds.setdefault(slot, 0.0)
        if job.id not in self._started:
            self._started.add(job.id)
            self.watch.on_start(job)

    def progress(self, slot: str, step: Step) -> None:
        """The job in the slot has finished an LC step."""
        self.watch.on_progress(self.jobs[slot], step)

    def elapse(self, seconds: float) -> list[str]:
        """Counts time for the jobs that run. The slots whose jobs have just reached their limit.

        The caller ends their workers: `died` then makes a failed record, at the first death.
        """
        over = []
        for slot in self._seconds:
            self._seconds[slot] += seconds
            job = self.jobs[slot]
            if slot not in self._overdue and self._seconds[slot] > self.limit.of(job):
                self._overdue[slot] = self.limit.told(job)
                over.append(slot)
        return over

    def done(self, slot: str, record: Record) -> None:
        """The job in the slot has published its record."""
        assert record.id == self.jobs[slot].id, f"{record.id} in the slot of {self.jobs[slot].id}"
        if self.url is not None:
            write_json(self.folder.record(self.jobs[slot].id), record.to_json())
        self._tell(self._empty(slot), record)

    def died(self, slot: str, cause: str) -> None:
        """The worker in the slot died. The next free worker gets its job; after `ATTEMPTS` deaths the job has failed.

        `cause` is Tune's text on it: a line of its own, then the error.
        """
        job, overdue = self.jobs[slot], self._overdue.get(slot)
        causes = self._causes.setdefault(job.id, [])
        causes.append(cause)
        if overdue is None and len(causes) < ATTEMPTS:
            self._again.append(self._empty(slot))
            return
        record = publish_deaths(job, self.folder, causes=causes, message=overdue)
        if self.url is not None and read_optional(self.folder.record(job.id)) is not None:
            record = remote.put_job(self.url, self.folder, job_id=job.id)
        self._tell(self._empty(slot), record)

    def release(self) -> None:
        """Call when the workers have ended. Gives the search the published record of each job that is left, or None."""
        left = [*self.jobs.values(), *self._again]
        self.jobs.clear()
        self._again.clear()
        self._seconds.clear()
        for job in left:
            record = read_record(self.folder.record(job.id))  # a failed one is from an earlier run or worker
            self.search.tell(job, record if record is not None and record.status == "done" else None)

    def _empty(self, slot: str) -> Job:
        """Takes the job out of its slot."""
        self._seconds.pop(slot, None)
        self._overdue.pop(slot, None)
        return self.jobs.pop(slot)

    def _tell(self, job: Job, record: Record) -> None:
        self.limit.learn(record)
        self._causes.pop(job.id, None)
        self._started.discard(job.id)
        self.search.tell(job, record)
        self.watch.on_finish(job, record)


def publish_deaths(job: Job, folder: SweepFolder, *, causes: Sequence[str], message: str | None = None) -> Record:
    """The record of a job whose workers died: failed, unless one of them published a done record before it died.

    Publishes the failed record; on a full disk only this run knows of it. `causes` are Tune's texts on the deaths. The
    `message` follows from them unless it is given.
    """
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", cause) for cause in causes]  # Ray colours them
    message = message or f"failed after {len(plain)} attempts, the last: {_cause(plain[-1])}"
    cause = "\n".join(plain)
    try:
        return compress.publish_failure(compress.failure(job, message=message, traceback=cause), folder)
    except OSError as error:  # without a record, the same command runs the job again
        message += f"; and its record cannot be written: {error}"
        return compress.failure(job, message=message, traceback=cause)


def _cause(text: str) -> str:
    """Why a worker died, in a line, of Tune's text on it."""
    lines = [line for line in text.splitlines()[1:] if line.strip()] or [text]
    line = lines[-1] if lines[0].startswith("ray::") else lines[0]  # the exception's line, or Ray's
    if line.startswith("The actor died unexpectedly"):
        return "its worker's process ended: it crashed, was killed, or ended itself; logs/ray.log may say more"
    if re.match(r"The actor \w+ is unavailable", line):  # Ray lost its connection, and never learnt why
        return "its worker's process ended or no longer answers; logs/ray.log may say more"
    return line.strip()
