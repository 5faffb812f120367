"""Processes of a run are killed, suspended and looked at: the user reads one line, or the sweep goes on.

Each test runs the real command on the real Ray.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from benchmarks.processes import BUSY, arguments, listening, of_kind, open_files
from sweep.execution.ray_processes import tree
from sweep.store.records import read_records
from tests.faults.test_kills import TRACED, steps
from tests.sweep.tiny import changed, prepared, run_all, write_study
from tests.sweep.tiny import tree as files_of

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # children of nohup and of a background shell ignore these
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from sweep.cli import main
sys.exit(main())
"""
INTERRUPTED = "lcsweep: interrupted; run the same command again to continue\n"
# A second driver on this machine takes a lock at once when its process has ended, and never while that process lives.
# This one believes that the lock's process is on another machine, and that a lease is short.
ELSEWHERE = """
import sys
from sweep.store import lock
lock._machine = lambda: "another machine"
lock.LEASE = 2.0
"""


class Run:
    """A command in a process of its own; what it prints goes into files."""

    def __init__(self, here: Path, *command: str, prelude: str = "", environment: dict[str, str]) -> None:
        self.here = here
        names = [here / f"{len(list(here.glob('*.out')))}.{end}" for end in ("out", "err")]
        with names[0].open("w") as out, names[1].open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-c", prelude + COMMAND, *command],
                cwd=here, stdout=out, stderr=err, start_new_session=True, env=environment,
            )  # fmt: skip
        self.pid, self._out, self._err = self.process.pid, *names

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def until(self, ready: Callable[[], object], *, seconds: float = 1800) -> None:
        """Waits while it runs."""
        end = time.monotonic() + seconds
        while not ready():
            assert self.process.poll() is None, (self.out, self.err)
            assert time.monotonic() < end, (self.out, self.err)
            time.sleep(0.02)

    def ended(self, *, seconds: float = 1800) -> int:
        """Waits until it has ended; its exit code."""
        return self.process.wait(timeout=seconds)


Start = Callable[..., Run]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a path that is short enough for Ray's sockets."""
    path = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def start(tmp_path: Path, temporary: Path) -> Iterator[Start]:
    """Starts `lcsweep` in a folder with a study of slow jobs; all is ended after the test."""
    write_study(tmp_path, text=TRACED)
    began: list[Run] = []

    def starting(*command: str, prelude: str = "", **variables: str) -> Run:
        environment = os.environ | {"TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)} | BUSY | variables
        began.append(Run(tmp_path, *command, prelude=prelude, environment=environment))
        return began[-1]

    yield starting
    for run in began:
        for pid in [*tree(run.pid), run.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.process.wait()


JOIN = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).get_all_node_info(timeout=300)
    print("let in")
except Exception as error:
    print(error)
"""
ENDED = (
    "lcsweep: this run's process has ended without a word: it was killed, or Ray ended it (runs/tiny/logs/ray.log says "
    "why); no result is lost: run the same command again to continue\n"
)
SIGNALS = (signal.SIGTERM, signal.SIGHUP)
DIED = r"lcsweep: Ray's .*{name}, process {process}, .*died; runs/tiny/logs/ray\.log says more; no .*\n"
RUN = ("run", "tiny.py", "--workers", "2")


def test_a_run_listens_on_this_machine_alone_and_asks_for_a_token(
    start: Start, tmp_path: Path, temporary: Path
) -> None:
    run = start(*RUN, "--storage", f"sqlite:///{tmp_path}/user:pass@word.db")
    run.until(lambda: steps(tmp_path))
    pids = tree(run.pid)
    sockets = {(pid, address, port) for pid, address, port in listening(pids)}
    shown = "".join(f"{address}:{port} {arguments(pid)[0][-60:]}\n" for pid, address, port in sorted(sockets))
    assert len({port for _, _, port in sockets}) >= 5, shown  # the cluster server's, two of the raylet's, workers'
    assert all(ipaddress.ip_address(address).is_loopback for _, address, _ in sockets), shown
    (server,) = of_kind("gcs_server", below=run.pid)
    ports = [port for pid, _, port in sockets if pid == server]
    (token,) = temporary.glob("lcs-*/token")
    secret = token.read_text()
    assert len(secret) == 64
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    # Nothing of the run's lies where others can read or replace it.
    assert stat.S_IMODE(token.parent.stat().st_mode) == 0o700
    assert not [path for path in temporary.iterdir() if path.stat().st_mode & 0o022]
    opened = {path for pid in pids for path in open_files(pid) if path.startswith(("/tmp/", "/dev/shm/", "/var/tmp/"))}
    assert not [
        path for path in opened
        if not path.startswith((f"{temporary}/", f"{tmp_path}/")) and not path.endswith(" (deleted)")
    ]  # fmt: skip
    commands = [" ".join(arguments(pid)) for pid in pids]
    assert not [command for command in commands if secret in command or "pass@word" in command]
    assert secret not in run.out + run.err
    held = [path for folder in (tmp_path, temporary) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in held if secret.encode() in path.read_bytes()] == [token]
    # Without the token, nobody gets in.
    without = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    tried = [
        subprocess.run(
            [sys.executable, "-c", JOIN, f"127.0.0.1:{ports[0]}"],
            env=without | mode, capture_output=True, text=True, check=True,
        ).stdout
        for mode in (
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)},
            {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
            {"RAY_AUTH_MODE": "disabled"},
        )
    ]  # fmt: skip
    assert tried[0] == "let in\n"
    assert ["InvalidAuthToken" in said for said in tried] == [False, True, True], tried
    run.process.terminate()
    assert (run.ended(), run.err) == (130, INTERRUPTED)
    assert not list(temporary.glob("*lcs-*"))


def test_the_sweep_goes_on_without(start: Start, tmp_path: Path) -> None:
    """A worker, whose job is done again, the log monitor and the dashboard."""
    run = start(*RUN)
    run.until(lambda: len(read_records(tmp_path / "runs" / "tiny")) >= 2)
    assert len(of_kind("worker", below=run.pid)) == 2
    for kind in ("worker", "log monitor", "dashboard"):
        os.kill(of_kind(kind, below=run.pid)[0], signal.SIGKILL)
    assert (run.ended(), run.err) == (0, "")
    assert "7 jobs started, 0 already done, 0 failed" in run.out
    assert [record.status for record in read_records(tmp_path / "runs" / "tiny")] == ["done"] * 7


@pytest.mark.parametrize("kind", ["dashboard agent", "runtime environment agent", "raylet", "gcs_server"])
def test_a_line_names_the_process_without_which_ray_cannot_go_on(kind: str, start: Start, tmp_path: Path) -> None:
    run = start(*RUN)
    run.until(lambda: len(read_records(tmp_path / "runs" / "tiny")) >= 2)
    (victim,) = of_kind(kind, below=run.pid)
    os.kill(victim, signal.SIGKILL)
    assert run.ended() == 1
    name = {"raylet": "node process (raylet)", "gcs_server": "cluster server (gcs_server)"}.get(kind, kind)
    named = DIED.format(name=re.escape(name), process=victim)
    # Ray ends the run right after an agent: on a busy machine the witness may not have looked in between.
    assert re.fullmatch(named, run.err) or ("agent" in kind and run.err == ENDED), run.err


def test_a_driver_that_is_killed_leaves_a_line(start: Start, tmp_path: Path) -> None:
    run = start(*RUN)
    run.until(lambda: steps(tmp_path))
    run.process.kill()
    run.ended()
    end = time.monotonic() + 500
    while not run.err and time.monotonic() < end:
        time.sleep(0.05)
    # Ray's processes end with the driver: on a busy machine the witness may see one of them end first.
    assert run.err == ENDED or re.fullmatch(DIED.format(name="", process=r"\d+"), run.err), run.err


def caught(run: Run) -> bool:
    """Whether the process has a handler of its own for SIGTERM."""
    with contextlib.suppress(OSError):
        lines = Path(f"/proc/{run.pid}/status").read_text().splitlines()
        mask = next(line.split()[1] for line in lines if line.startswith("SigCgt"))
        return bool(int(mask, 16) >> (signal.SIGTERM - 1) & 1)
    return False


MOMENTS: dict[str, Callable[[Run], object]] = {
    "the commands are imported": caught,
    "the reference is trained": lambda run: "training the reference" in run.out,
    "Ray's first process starts": lambda run: of_kind("gcs_server", below=run.pid),
    "Ray's node starts": lambda run: of_kind("raylet", below=run.pid),
    "Ray's agents start": lambda run: of_kind("runtime environment agent", below=run.pid),
    "the first worker starts": lambda run: (
        [pid for pid in tree(run.pid) if arguments(pid)[:1] == ["ray::IDLE"]] or of_kind("worker", below=run.pid)
    ),
    "jobs run": lambda run: steps(run.here),
}


@pytest.mark.parametrize(("moment", "number"), list(zip(MOMENTS, cycle(SIGNALS), strict=False)))
def test_a_signal_ends_a_run_with_a_line_while(
    moment: str, number: signal.Signals, start: Start, tmp_path: Path
) -> None:
    if moment == "the reference is trained":
        write_study(tmp_path, text=changed("epochs=20, lr", "epochs=20000, lr", text=TRACED))
    run = start(*RUN)
    run.until(lambda: MOMENTS[moment](run))
    run.process.send_signal(number)
    assert (run.ended(), run.err) == (130, INTERRUPTED)


def test_a_signal_ends_a_report_with_a_line(start: Start, tmp_path: Path) -> None:
    """While it imports, reads or draws; where it has ended before, nothing is asked."""
    run_all(prepared(tmp_path / "tiny.py", tmp_path / "runs" / "tiny"))
    for seconds, number in zip((0.0, 0.5, 1.0, 1.5), cycle(SIGNALS), strict=False):
        report = start("report", "runs/tiny")
        report.until(lambda report=report: caught(report))  # type: ignore[misc]
        time.sleep(seconds)
        if report.process.poll() is None:
            report.process.send_signal(number)
            assert (report.ended(), report.err) in ((130, INTERRUPTED), (0, ""))


def suspend(run: Run, database: Path) -> None:
    """Suspends a run at a moment at which it does not hold the search's index."""
    while True:
        run.process.send_signal(signal.SIGSTOP)
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(sqlite3.connect(database, timeout=0)) as db,
        ):
            db.execute("BEGIN EXCLUSIVE")
            return
        run.process.send_signal(signal.SIGCONT)
        time.sleep(0.01)


def test_a_driver_that_was_suspended_and_succeeded_writes_no_more(start: Start, tmp_path: Path) -> None:
    first = start(*RUN)
    first.until(lambda: len(read_records(tmp_path / "runs" / "tiny")) >= 2)
    suspend(first, tmp_path / "runs" / "tiny" / "study.db")
    second = start(*RUN, prelude=ELSEWHERE)
    assert second.ended() == 0, second.err
    root = tmp_path / "runs" / "tiny"
    left = files_of(root)
    first.process.send_signal(signal.SIGCONT)
    assert first.ended() == 1
    assert first.err.count("\n") == 1
    assert first.err.startswith(
        "lcsweep: runs/tiny: this run did not renew its lock for 30 s, and another took the sweep"
    )
    after = files_of(root)
    for files in (left, after):
        del files["logs/ray.log"]
    assert after == left
    assert [record.status for record in read_records(root)] == ["done"] * 7


# libfaketime 0.9.10 refuses Python's sleep, which has an end by the monotonic clock.
SLEEP = """
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *left) {
    return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
"""


def test_a_clock_that_jumps_an_hour_each_way_loses_nothing(start: Start, tmp_path: Path) -> None:
    library = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
    if library is None:
        pytest.fail("no libfaketime here: apt-get install libfaketime (Debian's package)", pytrace=False)
    root, shift, sleep = tmp_path / "runs" / "tiny", tmp_path / "shift", tmp_path / "sleep.so"
    shift.write_text("+0s")
    subprocess.run(["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", sleep], input=SLEEP, text=True, check=True)
    run = start(
        *RUN,
        LD_PRELOAD=f"{sleep}:{library}",
        FAKETIME_TIMESTAMP_FILE=str(shift),
        FAKETIME_NO_CACHE="1",
        FAKETIME_DONT_FAKE_MONOTONIC="1",  # no step of a clock moves it
    )
    for hours, count in (("+1h", 1), ("-1h", 3)):
        run.until(lambda count=count: len(read_records(root)) >= count)  # type: ignore[misc]
        shift.write_text(hours)
    assert (run.ended(), run.err) == (0, "")
    assert "7 jobs started, 0 already done, 0 failed" in run.out
    records = read_records(root)
    assert [record.status for record in records] == ["done"] * 7
    times = sorted(datetime.fromisoformat(record.finished) for record in records)
    assert times[-1] - times[0] > timedelta(minutes=100)  # the clock did jump
    assert max(record.seconds or 0.0 for record in records) < 600
    again = start(*RUN)
    assert (again.ended(), again.err) == (0, "")
    assert "0 jobs started, 7 already done" in again.out
