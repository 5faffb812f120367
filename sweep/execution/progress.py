"""What the user sees during a run: a live table on a terminal, else a line for each job that ends."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.pick.size_and_speed import told
from sweep.store.job import name_of
from sweep.store.metric import ACCURACY, Metric
from sweep.store.printable import on_a_line
from sweep.store.record import Done, Record

if TYPE_CHECKING:
    from sweep.store.job import Job


@dataclass(frozen=True)
class Step:
    """An LC step that a running job has finished.

    Attributes:
        step: its number; 0 is direct compression.
        steps: the number of the last.
        val_error: the validation error after it.
    """

    step: int
    steps: int
    val_error: float


class Watch(Protocol):
    """The driver calls it when something happens to a job of the run."""

    def on_start(self, job: Job) -> None:
        """`job` starts. Called once for each job, however often its worker is lost."""

    def on_progress(self, job: Job, step: Step) -> None:
        """`job` has finished an LC step."""

    def on_finish(self, job: Job, record: Record) -> None:
        """`job` has a record now, done or failed."""


def better(record: Done, best: Done | None, *, least_score: float | None) -> bool:
    """Whether `record` is better than `best`: smaller, with a score of `least_score` or more, unrounded.

    Without a `least_score`: with a better score. A score of NaN is never better.
    """
    score, size = record.val.score, record.artifact_bytes
    if not score >= (least_score if least_score is not None else -math.inf):
        return False
    if best is None:
        return True
    if least_score is None:
        return (-score, size) < (-best.val.score, best.artifact_bytes)
    return (size, -score) < (best.artifact_bytes, -best.val.score)


def duration(seconds: float) -> str:
    """`seconds` as a user reads it: "8 s", "2 min 05 s", "3 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """A `Watch` that prints for the user, from its `__enter__` to its `__exit__`.

    Args:
        total: jobs that this run will do, without those that have a record; None where the search decides as it goes.
        workers: jobs that run at once.
        stream: where to draw; see `process.own_stream`.
        known: records of earlier runs; the best so far may be among them.
        least_score: the target's threshold, which the best so far must reach; None without a target.
        metric: what the jobs are scored by.
    """

    def __init__(
        self,
        *,
        total: int | None,
        workers: int,
        stream: TextIO,
        known: Sequence[Record] = (),
        least_score: float | None = None,
        metric: Metric = ACCURACY,
    ) -> None:
        self.total = total
        self.workers = workers
        self.least_score = least_score
        self._metric = metric
        self.best: Done | None = None
        self.done = 0
        self.failed = 0
        self._seconds = 0.0  # spent by the jobs that have finished
        self._running: dict[str, tuple[Job, Step | None]] = {}
        self._since = time.monotonic()
        for record in known:
            self._consider(record)
        # Show names unchanged: by default rich reads `[x]` as markup and `:m:` as a pictogram. A notebook gets lines.
        self._console = Console(file=stream, markup=False, emoji=False, highlight=False, force_jupyter=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # what libraries print goes to the log
            redirect_stderr=False,
        )

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def on_start(self, job: Job) -> None:
        self._running[job.id] = (job, None)

    def on_progress(self, job: Job, step: Step) -> None:
        self._running[job.id] = (job, step)

    def on_finish(self, job: Job, record: Record) -> None:
        self._running.pop(job.id, None)
        self.done += record.status == "done"
        self.failed += record.status == "failed"
        self._seconds += record.seconds or 0.0
        self._consider(record)
        if not self._console.is_terminal:
            self._console.print(on_a_line(self._line(job, record)), soft_wrap=True)
        elif record.status == "failed":
            self._console.print(Text(on_a_line(self._line(job, record)), style="red"))

    @property
    def ended(self) -> int:
        """Jobs that have ended, done or failed."""
        return self.done + self.failed

    def seconds_left(self) -> float | None:
        """An estimate from the jobs that have ended; None before one has, or where the number of jobs is open."""
        finished = self.ended
        if self.total is None or not finished:
            return None
        each = self._seconds / finished
        under_way = sum(step.step / step.steps for _, step in self._running.values() if step is not None)
        return float(each * max(self.total - finished - under_way, 0.0) / self.workers)

    def _consider(self, record: Record) -> None:
        if isinstance(record, Done) and better(record, self.best, least_score=self.least_score):
            self.best = record

    def _line(self, job: Job, record: Record) -> str:
        count = str(self.ended) + (f"/{self.total}" if self.total is not None else "")
        if not isinstance(record, Done):
            return f"[{count}] {job.label}, failed: {record.error.message if record.error else record.status}"
        return f"[{count}] {job.label}, {self._told(record.val.value)}, {told(record)}, {duration(record.seconds)}"

    def _told(self, value: float) -> str:
        return f"{self._metric.label} {self._metric.told(value, gap='')}"

    def _summary(self) -> str:
        parts = [f"{self.done}" + (f" of {self.total}" if self.total is not None else "") + " done"]
        idle = not self._running and not self.ended
        parts.append("the workers start" if idle else f"{len(self._running)} running")
        if self.failed:
            parts.append(f"{self.failed} failed")
        parts.append(f"{duration(time.monotonic() - self._since)} so far")
        left = self.seconds_left()
        if left is not None:
            parts.append(f"about {duration(left)} left")
        return ", ".join(parts)

    def _best(self) -> str:
        wanted = "most accurate" if self._metric == ACCURACY else f"best {self._metric.label}"
        if self.least_score is not None:
            wanted = f"smallest with {self._told(self._metric.value(self.least_score))}"
        if self.best is None:
            return f"{wanted}: none yet"
        what = name_of(self.best)
        return f"{wanted}: {what}, {told(self.best)}, {self._told(self.best.val.value)}"

    def _table(self) -> RenderableType:
        """The live table: the counts, the best so far, then a line for each running job."""
        rows = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self._running), header_style="dim")
        for name in ("running", "step", "", self._metric.name_of_error.removesuffix(" (%)")):
            rows.add_column(name, no_wrap=True)
        for job, step in list(self._running.values()):  # a copy: rich draws in a thread of its own
            if step is None:
                rows.add_row(job.label, "starts", ProgressBar(total=1, completed=0, width=16), "")
            else:
                bar = ProgressBar(total=step.steps, completed=step.step, width=16)
                rows.add_row(
                    job.label, f"{step.step}/{step.steps}", bar, self._metric.told_error(step.val_error, gap="")
                )
        return Group(Text(self._summary(), style="bold"), Text(self._best()), rows)
