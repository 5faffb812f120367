"""Which job runs in which worker slot, and how it ended. Plain Python: no Ray.

Each Tune trial is a long-lived worker that runs many jobs. A worker slot is the id of such a trial.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    """

    def __init__(
        self, search: Search, *, folder: SweepFolder, watch: Watch, workers: int, url: str | None = None
    ) -> None:
        self.search, self.folder, self.watch, self.workers, self.url = search, folder, watch, workers, url
        self.jobs: dict[str, Job] = {}  # by worker slot
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
        if job.id not in self._started:
            self._started.add(job.id)
            self.watch.on_start(job)

    def progress(self, slot: str, step: Step) -> None:
        """The job in the slot has finished an LC step."""
        self.watch.on_progress(self.jobs[slot], step)

    def done(self, slot: str, record: Record) -> None:
        """The job in the slot has published its record."""
        assert record.id == self.jobs[slot].id, f"{record.id} in the slot of {self.jobs[slot].id}"
        if self.url is not None:
            write_json(self.folder.record(self.jobs[slot].id), record.to_json())
        self._tell(self.jobs.pop(slot), record)

    def died(self, slot: str, cause: str) -> None:
        """The worker in the slot died. The next free worker gets its job; after `ATTEMPTS` deaths the job has failed.

        `cause` is Tune's text on it: a line of its own, then the error.
        """
        job = self.jobs[slot]
        causes = self._causes.setdefault(job.id, [])
        causes.append(cause)
        if len(causes) < ATTEMPTS:
            self._again.append(self.jobs.pop(slot))
            return
        record = publish_deaths(job, self.folder, causes=causes)
        if self.url is not None and read_optional(self.folder.record(job.id)) is not None:
            record = remote.put_job(self.url, self.folder, job_id=job.id)
        self._tell(self.jobs.pop(slot), record)

    def release(self) -> None:
        """Call when the workers have ended. Gives the search the published record of each job that is left, or None."""
        left = [*self.jobs.values(), *self._again]
        self.jobs.clear()
        self._again.clear()
        for job in left:
            record = read_record(self.folder.record(job.id))  # a failed one is from an earlier run or worker
            self.search.tell(job, record if record is not None and record.status == "done" else None)

    def _tell(self, job: Job, record: Record) -> None:
        self._causes.pop(job.id, None)
        self._started.discard(job.id)
        self.search.tell(job, record)
        self.watch.on_finish(job, record)


def publish_deaths(job: Job, folder: SweepFolder, *, causes: Sequence[str]) -> Record:
    """The record of a job whose workers died: failed, unless one of them published a done record before it died.

    Publishes the failed record; on a full disk only this run knows of it. `causes` are Tune's texts on the deaths.
    """
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", cause) for cause in causes]  # Ray colours them
    lines = [line for line in plain[-1].splitlines()[1:] if line.strip()] or [plain[-1]]
    line = lines[-1] if lines[0].startswith("ray::") else lines[0]  # the exception's line, or Ray's
    message = f"failed after {len(plain)} attempts, the last: {line.strip()}"
    cause = "\n".join(plain)
    try:
        return compress.publish_failure(compress.failure(job, message=message, traceback=cause), folder)
    except OSError as error:  # without a record, the same command runs the job again
        message += f"; and its record cannot be written: {error}"
        return compress.failure(job, message=message, traceback=cause)
