"""What the user sees during a run: one live table on a terminal, a line a finished job otherwise."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sweep.pick.size_and_speed import told
from sweep.store.record import Record, label

if TYPE_CHECKING:
    from sweep.store.job import Job


class Watch(Protocol):
    """Told on the driver what happens to the jobs of a run."""

    def on_start(self, job: Job) -> None:
        """`job` runs now; said once a job, however often its worker is lost."""

    def on_progress(self, job: Job, report: Mapping[str, Any]) -> None:
        """A running job's last report: {"step": 7, "steps": 40, "val_error": 0.03, "gap": 0.2} and Tune's own keys."""

    def on_finish(self, job: Job, record: Record) -> None:
        """`job` has a record now, done or failed."""


def better(record: Record, best: Record | None, *, least_accuracy: float | None) -> bool:
    """Whether `record` takes the place of `best`: the smallest that reaches `least_accuracy`, unrounded.

    Without one, the most accurate. A record that failed, or whose accuracy is NaN, never does.
    """
    if record["status"] != "done":
        return False
    accuracy, size = record["val"]["accuracy"], record["artifact_bytes"]
    if not accuracy >= (least_accuracy if least_accuracy is not None else 0.0):
        return False
    if best is None:
        return True
    if least_accuracy is None:
        return bool((-accuracy, size) < (-best["val"]["accuracy"], best["artifact_bytes"]))
    return bool((size, -accuracy) < (best["artifact_bytes"], -best["val"]["accuracy"]))


def duration(seconds: float) -> str:
    """`seconds` as a user reads it: "8 s", "2 min 05 s", "3 h 20 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """A `Watch` for people, to be entered before the run and left after it; see `process.own_stream` for `stream`.

    total: jobs that this run will do, known ones not counted; None where the search decides as it goes.
    known: finished records that the best so far is counted from.
    least_accuracy: the target's threshold, which makes the best so far the smallest that reaches it.
    """

    def __init__(
        self,
        *,
        total: int | None,
        workers: int,
        stream: TextIO,
        known: Sequence[Record] = (),
        least_accuracy: float | None = None,
    ) -> None:
        self.total = total
        self.workers = workers
        self.least_accuracy = least_accuracy
        self.best: Record | None = None
        self.done = 0
        self.failed = 0
        self._seconds = 0.0  # spent by the jobs that have finished
        self._running: dict[str, tuple[Job, Mapping[str, Any]]] = {}
        self._since = time.monotonic()
        for record in known:
            self._consider(record)
        # A name is shown as it is: `[x]` is no markup, and `:m:` no pictogram.
        self._console = Console(file=stream, markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._table,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # what others print goes where the run sends it: to the log
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
        self._running[job.id] = (job, {})

    def on_progress(self, job: Job, report: Mapping[str, Any]) -> None:
        self._running[job.id] = (job, report)

    def on_finish(self, job: Job, record: Record) -> None:
        self._running.pop(job.id, None)
        self.done += record["status"] == "done"
        self.failed += record["status"] == "failed"
        self._seconds += record["seconds"] or 0.0
        self._consider(record)
        if not self._console.is_terminal:
            self._console.print(self._line(job, record), soft_wrap=True)
        elif record["status"] == "failed":
            self._console.print(Text(self._line(job, record), style="red"))

    @property
    def ended(self) -> int:
        """Jobs that have ended, one way or another."""
        return self.done + self.failed

    def seconds_left(self) -> float | None:
        """An estimate from the jobs that have finished; None before one has, or where the number of jobs is open."""
        finished = self.ended
        if self.total is None or not finished:
            return None
        each = self._seconds / finished
        under_way = sum(report.get("step", 0) / report.get("steps", 1) for _, report in self._running.values())
        return float(each * max(self.total - finished - under_way, 0.0) / self.workers)

    def _consider(self, record: Record) -> None:
        if better(record, self.best, least_accuracy=self.least_accuracy):
            self.best = record

    def _line(self, job: Job, record: Record) -> str:
        count = str(self.ended) + (f"/{self.total}" if self.total is not None else "")
        if record["status"] != "done":
            return f"[{count}] {job.label}, failed: {record['error']['message']}"
        return (
            f"[{count}] {job.label}, accuracy {record['val']['accuracy']:.2%}, "
            f"{told(record)}, {duration(record['seconds'] or 0.0)}"
        )

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
        wanted = "most accurate" if self.least_accuracy is None else f"smallest with accuracy {self.least_accuracy:.2%}"
        if self.best is None:
            return f"{wanted}: none yet"
        what = f"{self.best['family']}: {label(self.best['configuration'])}"
        return f"{wanted}: {what}, {told(self.best)}, accuracy {self.best['val']['accuracy']:.2%}"

    def _table(self) -> RenderableType:
        """The live table: the counts, the best so far, then a line a running job."""
        rows = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(self._running), header_style="dim")
        for name in ("running", "step", "", "validation error"):
            rows.add_column(name, no_wrap=True)
        for job, report in list(self._running.values()):  # a copy: rich draws in a thread of its own
            step, steps = report.get("step", 0), report.get("steps")
            rows.add_row(
                job.label,
                f"{step}/{steps}" if steps else "starts",
                ProgressBar(total=steps or 1, completed=step, width=16),
                f"{report['val_error']:.2%}" if "val_error" in report else "",
            )
        return Group(Text(self._summary(), style="bold"), Text(self._best()), rows)
