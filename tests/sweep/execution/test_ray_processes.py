"""Ray's own processes: what is kept of their logs, and the end of what they leave behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sweep.execution.ray_processes import LAST_LINES, RayProcesses, end_orphans, node_lives, tree

MARK = "LCSWEEP_TEST_MARK"
LEAVES = """
import os, signal, time
if pid := os.fork():
    print(pid)
else:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
    os.close(1)
    time.sleep(10**6)
"""
"""A program that ends and leaves a process, which only SIGKILL ends; it prints its number."""


def test_the_ends_of_rays_logs_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "session_1" / "logs"
    logs.mkdir(parents=True)
    lines = [f"line {number}" for number in range(2 * LAST_LINES)]
    (logs / "raylet.out").write_text("\n".join(lines))
    (logs / "worker-1.out").write_text("a job's words")
    RayProcesses(tmp_path).print_last_words()
    said = capsys.readouterr().out
    assert said.splitlines() == ["--- the end of Ray's raylet.out:", *lines[LAST_LINES:]]


def test_no_node_lives_where_none_was_started() -> None:
    assert not node_lives()


@pytest.fixture
def orphans() -> Iterator[dict[str, int]]:
    """A process for each value of `MARK` that the program `LEAVES` has left."""
    left = {}
    for value in ("ours", "ours too", "another"):
        done = subprocess.run(
            [sys.executable, "-c", LEAVES],
            env=os.environ | {MARK: value},
            stdout=subprocess.PIPE,
            check=True,
            timeout=60,
        )
        left[value] = int(done.stdout)
    yield left
    for pid in left.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_what_a_job_left_is_ended_and_nothing_else(orphans: dict[str, int]) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], env=os.environ | {MARK: "ours"}, stdin=-1) as child:
        end_orphans(f"{MARK}=ours", patience=0.2)
        assert child.poll() is None
        child.communicate(b"\n")
    assert child.returncode == 0
    end = time.monotonic() + 60
    while tree(orphans["ours"]) and time.monotonic() < end:  # the system is about to end it
        time.sleep(0.01)
    assert not tree(orphans["ours"])
    assert tree(orphans["ours too"])
    assert tree(orphans["another"])
