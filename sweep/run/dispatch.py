"""Which jobs are with which workers, and what became of them. Plain Python: no Ray.

A seat is what a worker sits at, by a name of Ray Tune's: it is given a job, and when that is done another.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sweep.job import compress
from sweep.store import remote
from sweep.store.files import read_optional, write_json
from sweep.store.folder import SweepFolder
from sweep.store.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sweep.run.progress import Watch
    from sweep.search.protocol import Search
    from sweep.store.job import Job

ATTEMPTS = 3  # of one job whose worker dies, before it is a failed record


class Dispatch:
    """The jobs that a search asked for and has not been told of.

    Args:
        search: asks for jobs, and is told of each: with its record, or with None when it was lost.
        folder: the sweep's, or the mirror of a cloud folder at `url`.
        watch: hears of each job that it starts, once however often its worker dies, and that it has ended.
        workers: so many jobs are at seats at once, at most.
        url: of the cloud folder, or None.
    """

    def __init__(
        self, search: Search, *, folder: SweepFolder, watch: Watch, workers: int, url: str | None = None
    ) -> None:
        self.search, self.folder, self.watch, self.workers, self.url = search, folder, watch, workers, url
        self.jobs: dict[str, Job] = {}  # by seat
        self._again: deque[Job] = deque()  # their workers died
        self._causes: dict[str, list[str]] = {}  # by job
        self._started: set[str] = set()

    def next_job(self, seat: str) -> dict[str, Any] | None:
        """What the worker at `seat` does now, as JSON data; None where there is nothing to do now."""
        if len(self.jobs) >= self.workers:
            return None
        job = self._again.popleft() if self._again else self.search.next()
        if job is None:
            return None
        self.jobs[seat] = job
        return {"job": job.as_dict()}

    def start(self, seat: str) -> None:
        """The worker at `seat` is at its job."""
        job = self.jobs[seat]
        if job.id not in self._started:
            self._started.add(job.id)
            self.watch.on_start(job)

    def progress(self, seat: str, report: Mapping[str, Any]) -> None:
        """What the job at `seat` says while it runs."""
        self.watch.on_progress(self.jobs[seat], report)

    def done(self, seat: str, record: Record) -> None:
        """The job at `seat` has published its record."""
        assert record["id"] == self.jobs[seat].id, f"{record['id']} at the seat of {self.jobs[seat].id}"
        if self.url is not None:
            write_json(self.folder.record(self.jobs[seat].id), record)
        self._tell(self.jobs.pop(seat), record)

    def died(self, seat: str, cause: str) -> None:
        """The worker at `seat` died; its job is for the next that is free, or failed after so many attempts.

        `cause` is Tune's text on it.
        """
        job = self.jobs[seat]
        causes = self._causes.setdefault(job.id, [])
        causes.append(cause)
        if len(causes) < ATTEMPTS:
            self._again.append(self.jobs.pop(seat))
            return
        record = give_up(job, self.folder, causes=causes)
        if self.url is not None and read_optional(self.folder.record(job.id)) is not None:
            record = remote.put_job(self.url, self.folder, job_id=job.id)
        self._tell(self.jobs.pop(seat), record)

    def release(self) -> None:
        """Tell the search what is left once the workers are gone: its record where one was published, else None."""
        left = [*self.jobs.values(), *self._again]
        self.jobs.clear()
        self._again.clear()
        for job in left:
            record = read_optional(self.folder.record(job.id))  # a failed one is of an earlier run, or of an attempt
            self.search.tell(job, record if record is not None and record["status"] == "done" else None)

    def _tell(self, job: Job, record: Record) -> None:
        self._causes.pop(job.id, None)
        self._started.discard(job.id)
        self.search.tell(job, record)
        self.watch.on_finish(job, record)


def give_up(job: Job, folder: SweepFolder, *, causes: Sequence[str]) -> Record:
    """The record that holds for a job whose attempts all died: failed, unless a worker published it and then died.

    Where it cannot be written it is known to this run alone.

    `causes` are Tune's texts on the attempts, a line of its own before each.
    """
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", cause) for cause in causes]  # Ray colours them
    lines = [line for line in plain[-1].splitlines()[1:] if line.strip()] or [plain[-1]]
    line = lines[-1] if lines[0].startswith("ray::") else lines[0]  # an exception's own line, or Ray's on a dead worker
    message = f"given up after {len(plain)} attempts, the last: {line.strip()}"
    cause = "\n".join(plain)
    try:
        return compress.publish_failure(compress.failure(job, message=message, traceback=cause), folder)
    except OSError as error:  # the user is told; without a record, the same command runs the job again
        message += f"; and its record cannot be written: {error}"
        return compress.failure(job, message=message, traceback=cause)
