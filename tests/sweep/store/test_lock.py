"""A sweep has one driver. Another takes the lock of one that has ended or does not renew it, else it is refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweep.store import lock
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
from sweep.store.lock import locked
from tests.sweep.tiny import edit, prepared, write_study

DRIVER = """
import sys, time
from pathlib import Path
from sweep.store import lock
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
lock.RENEWAL, lock.LEASE = 0.1, 1.5
with lock.locked(SweepFolder(Path(sys.argv[1]))) as held:
    print("locked", flush=True)
    while True:
        time.sleep(0.05)
        try:
            held.check()
        except StoreError as error:
            print(error, flush=True)
            break
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "RENEWAL", 0.1)
    monkeypatch.setattr(lock, "LEASE", 1.5)
    monkeypatch.setattr(lock, "SETTLE", 0.3)


def driver(folder: Path) -> subprocess.Popen[str]:
    """A driver in a process of its own, at work."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def end(process: subprocess.Popen[str]) -> str:
    """What it said last."""
    process.kill()
    return process.communicate()[0]


def until(reached: Callable[[], bool]) -> None:
    """Waits for it, on a busy machine for as long as a minute."""
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def elsewhere(folder: SweepFolder) -> None:
    """The lock as a driver on another machine would have written it."""
    renewed = folder.lock.stat()
    edit(folder.lock, machine="another", host="far")
    os.utime(folder.lock, ns=(renewed.st_atime_ns, renewed.st_mtime_ns))


def test_the_second_driver_is_told_who_holds_the_sweep(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    who = rf"process {os.getpid()} on \S+, since 2"
    with locked(folder) as held:
        with pytest.raises(StoreError, match=rf"another lcsweep run is at work on this sweep \({who}"), locked(folder):
            pytest.fail("a second driver was let in")
        held.check()
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_was_killed_is_succeeded_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE", 600.0)
    folder = SweepFolder(tmp_path)
    process = driver(tmp_path)
    with pytest.raises(StoreError, match=f"process {process.pid} on "), locked(folder):
        pytest.fail("a second driver was let in")
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie: nobody has waited for it
    started = time.monotonic()
    with locked(folder):
        assert time.monotonic() - started < 60
    end(process)


def test_another_process_of_the_same_number_is_not_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE", 600.0)
    folder = SweepFolder(tmp_path)
    with locked(folder):
        edit(folder.lock, started="1", token="of the one before")
        started = time.monotonic()
        with locked(folder):
            assert time.monotonic() - started < 60


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, "", '{"host', "[1]", '{"machine": "another", "pid": 3}'])
def test_a_lock_of_another_machine_is_taken_only_when_it_is_not_renewed(tmp_path: Path, content: str | None) -> None:
    """Whatever its clock says. So is one that its driver did not get to write."""
    folder = SweepFolder(tmp_path)
    process = driver(tmp_path)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)  # until it has stopped: it would see the lock change
    elsewhere(folder)
    if content is not None:
        beside = tmp_path / "beside"  # not in place: it may be about to read the lock
        beside.write_text(content)
        beside.replace(folder.lock)
    os.utime(folder.lock, (2e9, 2e9))
    started = time.monotonic()
    with locked(folder) as held:
        assert 1.5 <= time.monotonic() - started < 60
        os.kill(process.pid, signal.SIGCONT)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0
        assert f"another took the sweep over (process {os.getpid()} on " in said
        held.check()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_that_is_renewed_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEASE", 600.0)
    folder = SweepFolder(tmp_path)
    with locked(folder) as held:
        elsewhere(folder)
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"process \d+ on far, since"), locked(folder):
            pytest.fail("a second driver was let in")
        assert time.monotonic() - started < 60
        held.check()


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_that_jumps_breaks_no_lock_and_gives_none_away(
    hours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither that of the machine nor that of the file's server."""
    monkeypatch.setattr(lock, "LEASE", 600.0)
    folder, touch, clock = SweepFolder(tmp_path), os.utime, time.time

    def jumped(path: Path) -> None:
        touch(path, (clock() + 3600 * hours, clock() + 3600 * hours))

    with locked(folder) as held:
        elsewhere(folder)
        monkeypatch.setattr(os, "utime", jumped)
        monkeypatch.setattr(time, "time", lambda: clock() + 3600 * hours)
        with pytest.raises(StoreError, match=r"process \d+ on far, since"), locked(folder):
            pytest.fail("a second driver was let in")
        held.check()
    assert not folder.lock.exists()


def test_a_driver_whose_renewal_is_late_looks_before_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after SIGCONT, when the thread that renews the lock has not run yet."""
    monkeypatch.setattr(lock, "RENEWAL", 600.0)
    with locked(SweepFolder(tmp_path)) as held:
        edit(SweepFolder(tmp_path).lock, token="another")
        held.check()
        monkeypatch.setattr(lock, "LATE", 0.0)
        with pytest.raises(StoreError, match="another took the sweep over"):
            held.check()


def test_a_lock_that_is_given_back_meanwhile_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE", 600.0)
    folder = SweepFolder(tmp_path)
    folder.lock.write_text(
        json.dumps({"machine": "another", "host": "far", "pid": 1, "started": "1", "since": "now", "token": "t"})
    )
    started = time.monotonic()
    threading.Timer(0.5, folder.lock.unlink).start()
    with locked(folder):
        assert 0.4 < time.monotonic() - started < 60


def test_of_many_successors_one_goes_on(tmp_path: Path) -> None:
    """All see the same dead driver's lock at once."""
    dead = driver(tmp_path)
    end(dead)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    rivals = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(4)
    ]
    until(lambda: sum(rival.poll() is None for rival in rivals) <= 1)
    time.sleep(0.5)
    alive = [rival for rival in rivals if rival.poll() is None]
    said: list[Any] = [rival.communicate() for rival in rivals if rival not in alive]
    assert len(alive) == 1
    assert all(
        "another lcsweep run is at work on this sweep" in err or "another took the sweep over" in out
        for out, err in said
    )
    assert json.loads(SweepFolder(tmp_path).lock.read_text())["pid"] == alive[0].pid
    alive[0].kill()
    alive[0].communicate()


def test_a_store_that_is_briefly_gone_loses_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SweepFolder(tmp_path)
    opened, tries = os.open, []

    def fail(path: Any, *arguments: Any, **named: Any) -> Any:
        tries.append(path)
        raise OSError(5, "Input/output error")

    with locked(folder) as held:
        monkeypatch.setattr(os, "open", fail)
        until(lambda: len(tries) >= 3)
        monkeypatch.setattr(os, "open", opened)
        before = folder.lock.stat().st_mtime_ns
        until(lambda: folder.lock.stat().st_mtime_ns > before)
        held.check()


def test_a_full_disk_leaves_no_empty_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(held: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(lock.json, "dumps", fail)
    with pytest.raises(OSError, match="No space left"), locked(SweepFolder(tmp_path)):
        pytest.fail("let in without a lock")
    assert list(tmp_path.iterdir()) == []


def test_a_driver_that_was_killed_while_it_wrote_the_reference_is_succeeded(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "reference").mkdir(parents=True)
    (out / "reference" / ".reference.lcz.12345678").write_bytes(b"half")
    sweep = prepared(write_study(tmp_path), out)
    with locked(sweep.folder):
        assert [path.name for path in sweep.folder.reference.parent.iterdir()] == ["reference.lcz"]


@pytest.mark.parametrize(
    "held",
    ['{"pid": "1/../2"}', '{"host": "\\u001b]0;x"}', "[" * 100_000, "\xff"],
    ids=["a path for a number", "escapes", "deep", "no UTF-8"],
)
def test_a_lock_of_a_stranger_names_no_driver(tmp_path: Path, held: str) -> None:
    own = {"host": "h", "machine": "m", "pid": 1, "started": "1", "since": "2", "token": "t"}
    text = json.dumps(own | json.loads(held)) if held.startswith("{") else held
    SweepFolder(tmp_path).lock.write_bytes(text.encode("latin-1"))
    found = lock._look(SweepFolder(tmp_path).lock)
    assert found is not None
    assert found[0] == {}


def test_a_pipe_for_a_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(SweepFolder(tmp_path).lock)
    with (
        pytest.raises(StoreError, match=r"\.claim: expected a regular file, got a pipe; remove it"),
        locked(SweepFolder(tmp_path)),
    ):
        pytest.fail("it was locked")
