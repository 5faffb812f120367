"""What is shown during a run: on a terminal, in a pipe, and nowhere else."""

import contextlib
import io
import os
import pty
import re
from pathlib import Path
from typing import Any, TextIO

import pytest

from sweep.execution.process import own_stream, redirected
from sweep.execution.progress import Progress, Step, better, duration
from sweep.job.compress import failure
from sweep.store.job import Job
from sweep.store.record import Done, Score
from tests.sweep.tiny import done_record


def job(seed: int = 0) -> Job:
    return Job("0" * 16, "prune", {"keep": 0.05}, "lc", seed, {})


def done(accuracy: float, artifact_bytes: int, *, seconds: float = 2.0) -> Done:
    val = Score(value=accuracy, n=100, low=0.0, high=1.0)
    return done_record(job(), val=val, artifact_bytes=artifact_bytes, reference_bytes=64_456, seconds=seconds)


FAILED = failure(job(), message="DivergedError: the loss is NaN", traceback="...")


def test_a_line_a_finished_job_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    with Progress(total=3, workers=2, stream=stream) as progress:
        progress.on_start(job(0))
        progress.on_progress(job(0), Step(1, 40, val_error=0.5))
        progress.on_finish(job(0), done(0.9725, 4120))
        progress.on_finish(job(1), FAILED)
    assert stream.getvalue().splitlines() == [
        "[1/3] prune: keep 0.05, seed 0, accuracy 97.25%, 4,120 bytes, 2 s",
        "[2/3] prune: keep 0.05, seed 1, failed: DivergedError: the loss is NaN",
    ]


def test_a_familys_name_is_shown_as_it_is() -> None:
    stream = io.StringIO()
    odd = Job("0" * 16, "N:m: [red] 1:2", {"keep": 0.05}, "lc", 0, {})
    with Progress(total=1, workers=1, stream=stream) as progress:
        progress.on_finish(odd, done(0.9725, 4120))
    assert stream.getvalue().startswith("[1/1] N:m: [red] 1:2: keep 0.05, seed 0, accuracy")


def test_a_search_without_a_known_number_of_jobs_counts_only() -> None:
    stream = io.StringIO()
    with Progress(total=None, workers=2, stream=stream) as progress:
        progress.on_finish(job(0), done(0.9725, 4120))
        assert progress.seconds_left() is None
    assert stream.getvalue().startswith("[1] prune")


def all_of(terminal: int) -> bytes:
    """What was written to a terminal that is closed; one read gives a part of it."""
    read = b""
    with contextlib.suppress(OSError):  # Linux says so at the end
        while part := os.read(terminal, 100_000):
            read += part
    return read


def test_the_live_table_tells_counts_step_best_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    shown, terminal = pty.openpty()
    with (
        os.fdopen(terminal, "w") as stream,
        Progress(total=8, workers=2, stream=stream, least_score=0.95) as progress,
    ):
        progress.on_finish(job(0), done(0.9725, 4120, seconds=4.0))
        progress.on_finish(job(1), FAILED)
        progress.on_start(job(2))
        progress.on_progress(job(2), Step(7, 40, val_error=0.031))
        progress.on_start(job(3))
        progress._live.refresh()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", all_of(shown).decode())
    os.close(shown)
    assert "1 of 8 done, 2 running, 1 failed" in text
    assert "about 6 s left" in text  # 2 s a job, 5.825 jobs, 2 workers
    assert "smallest with accuracy 95.00%: prune: keep 0.05, 4,120 bytes, accuracy 97.25%" in text
    assert re.search(r"prune: keep 0.05, seed 2 +7/40 .*3.10%", text)
    assert re.search(r"prune: keep 0.05, seed 3 +starts", text)
    assert "prune: keep 0.05, seed 1, failed: DivergedError: the loss is NaN" in text


def test_the_time_left_counts_what_is_under_way() -> None:
    progress = Progress(total=5, workers=2, stream=io.StringIO())
    assert progress.seconds_left() is None
    progress.on_finish(job(0), done(0.9, 100, seconds=10.0))
    assert progress.seconds_left() == 20.0
    progress.on_start(job(1))
    progress.on_progress(job(1), Step(10, 20, val_error=0.1))
    assert progress.seconds_left() == 17.5


@pytest.mark.parametrize(
    ("record", "best", "least_score", "expected"),
    [
        (done(0.94, 10), None, 0.95, False),
        (done(0.95, 10), None, 0.95, True),
        (done(0.96, 9), done(0.99, 10), 0.95, True),
        (done(0.99, 11), done(0.96, 10), 0.95, False),
        (done(0.99, 10), done(0.96, 10), 0.95, True),
        (done(0.99, 90), done(0.96, 10), None, True),
        (done(0.96, 9), done(0.96, 10), None, True),
        (done(0.95, 9), done(0.96, 10), None, False),
        (done(float("nan"), 9), None, None, False),
    ],
)
def test_best(record: Done, best: Done | None, least_score: float | None, expected: bool) -> None:
    assert better(record, best, least_score=least_score) is expected


def test_known_records_count_for_the_best_and_not_for_the_jobs_done() -> None:
    known = done(0.97, 4000)
    progress = Progress(total=2, workers=1, stream=io.StringIO(), known=[FAILED, known], least_score=0.95)
    assert progress.best is known
    assert (progress.done, progress.failed) == (0, 0)
    progress.on_finish(job(0), done(0.96, 3999))
    assert progress.best is not known


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3600, "1 h 00 min"),
        (12_060, "3 h 21 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_buffer_is_its_own_stream() -> None:
    buffer = io.StringIO()
    with own_stream(buffer) as stream:
        assert stream is buffer


def write_everywhere(log: Path, out: TextIO) -> None:
    with redirected(log):
        os.write(1, b"from the runtime\n")
        os.system("echo from a child >&2")
        print("for the user", file=out)
        raise RuntimeError("stops here")


def test_all_output_goes_to_the_log_but_what_its_own_stream_writes(tmp_path: Path, capfd: Any) -> None:
    log = tmp_path / "ray.log"
    with os.fdopen(os.dup(1), "w") as standard, own_stream(standard) as out:
        with pytest.raises(RuntimeError, match="stops here"):
            write_everywhere(log, out)
        os.write(1, b"afterwards\n")
    assert log.read_text() == "from the runtime\nfrom a child\n"
    assert capfd.readouterr().out == "for the user\nafterwards\n"
