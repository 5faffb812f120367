"""What a study's own code can do to its worker: its job ends, with a line of cause where it failed, and others go on.

Each test runs `lcsweep run` with one worker: a good job, the faulty one, and a good one after it.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.store.record import Record
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, Said, changed, write_study

pytestmark = pytest.mark.cluster

LIMIT = 30
"""Seconds until a job of these tests that does not end is ended."""
PLAN = "def prune(configuration):\n"
FAMILIES = STUDY[STUDY.index("    families=(") : STUDY.index("    target=")]
ONE_FAMILY = '    families=(Family("prune", {"keep": (0.5, 0.3, 0.1)}, prune),),\n'


def study(fault: str) -> str:
    """A study of three jobs. The second does `fault`, a line of Python, in its worker."""
    faulty = f"""import ctypes, os, signal, sys, threading, time


def prune(configuration):
    if configuration["keep"] == 0.3 and "default_worker" in sys.argv[0]:
        {fault}
"""
    return changed(PLAN, faulty, text=changed(FAMILIES, ONE_FAMILY))


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path for temporary folders; empty again at the end."""
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as folder:
        yield Path(folder)
        assert not list(Path(folder).glob("*lcs-*"))


def swept(here: Path, temporary: Path, fault: str, *, shell: str = "") -> tuple[Said, list[Record], list[int]]:
    """What a run said, the records by the order of their jobs, and the processes that it left."""
    write_study(here, text=study(fault))
    command = Path(sys.executable).with_name("lcsweep")
    call = f'{shell} exec "{command}" run tiny.py --workers 1 --job-timeout {LIMIT}'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": str(temporary)}
    process = subprocess.Popen(
        ["sh", "-c", call],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=500)
        end = time.monotonic() + 60
        while (left := members(process.pid)) and time.monotonic() < end:  # told to end, and about to
            time.sleep(0.1)
    finally:
        for pid in [process.pid, *members(process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    records = sorted(read_records(here / "runs" / "tiny"), key=lambda record: -float(record.configuration["keep"]))
    return Said(process.returncode, out, err), records, left


def members(session: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def check_failed(result: tuple[Said, list[Record], list[int]], cause: str) -> None:
    """The second job failed with one line of `cause`, and the others are done; nothing is left."""
    said, records, left = result
    assert (said.code, said.err) == (3, ""), said
    assert [record.status for record in records] == ["done", "failed", "done"]
    error = records[1].error
    assert error is not None
    assert re.search(cause, error.message), error.message
    assert "\n" not in error.message
    assert len(error.message) < 300
    assert error.message in said.out
    assert left == []


def check_done(result: tuple[Said, list[Record], list[int]]) -> None:
    """All jobs are done, and nothing is left."""
    said, records, left = result
    assert (said.code, said.err) == (0, ""), said
    assert [record.status for record in records] == ["done"] * 3
    assert left == []


OVERDUE = rf"^it had not ended after {LIMIT} s, the limit of --job-timeout, so its worker was ended"
ENDED = "^failed after 3 attempts, the last: its worker's process ended: it crashed, was killed, or ended itself"


def test_a_job_that_loops_for_ever(tmp_path: Path, temporary: Path) -> None:
    check_failed(swept(tmp_path, temporary, "while True: pass"), OVERDUE)


def test_a_job_that_waits_in_c(tmp_path: Path, temporary: Path) -> None:
    fault = "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); ctypes.PyDLL(None).sleep(10**6)"
    check_failed(swept(tmp_path, temporary, fault), OVERDUE)


def test_a_job_whose_process_is_suspended(tmp_path: Path, temporary: Path) -> None:
    check_failed(swept(tmp_path, temporary, "os.kill(os.getpid(), signal.SIGSTOP)"), OVERDUE)


def test_a_job_that_ends_its_process(tmp_path: Path, temporary: Path) -> None:
    check_failed(swept(tmp_path, temporary, "os._exit(0)"), ENDED)


def test_a_job_that_leaves_by_sys_exit(tmp_path: Path, temporary: Path) -> None:
    check_failed(swept(tmp_path, temporary, "sys.exit('enough')"), "enough")


def test_a_job_that_crashes(tmp_path: Path, temporary: Path) -> None:
    check_failed(swept(tmp_path, temporary, "ctypes.string_at(0)"), ENDED)


def test_a_job_that_takes_all_memory(tmp_path: Path, temporary: Path) -> None:
    """Its address space is bounded here, as that of a container may be."""
    fault = "keep = [bytes(1 << 30) for _ in range(64)]"
    check_failed(swept(tmp_path, temporary, fault, shell="ulimit -v 14000000;"), "(MemoryError|process ended)")


def test_a_job_that_prints_megabytes(tmp_path: Path, temporary: Path) -> None:
    """Its words go to the log alone, a part of them."""
    fault = "[print('x' * 100, flush=True) for _ in range(500_000)]"
    result = swept(tmp_path, temporary, fault)
    check_done(result)
    assert "xxx" not in result[0].out


def test_a_job_that_prints_what_is_no_text(tmp_path: Path, temporary: Path) -> None:
    check_done(swept(tmp_path, temporary, r"os.write(1, bytes(range(256)) * 4096); os.write(2, b'\x1b]0;title\x07')"))


def test_a_job_that_closes_its_streams(tmp_path: Path, temporary: Path) -> None:
    check_done(swept(tmp_path, temporary, "os.close(1); os.close(2); os.close(0)"))


def test_a_job_that_leaves_a_thread(tmp_path: Path, temporary: Path) -> None:
    check_done(swept(tmp_path, temporary, "threading.Thread(target=time.sleep, args=(10**6,)).start()"))


def test_a_job_that_leaves_a_process(tmp_path: Path, temporary: Path) -> None:
    """It ends with the worker, at the end of the run."""
    check_done(swept(tmp_path, temporary, "os.fork() or time.sleep(10**6)"))


def test_a_job_that_leaves_a_process_and_dies(tmp_path: Path, temporary: Path) -> None:
    """The process that is left holds the worker's connections open."""
    check_failed(swept(tmp_path, temporary, "os.fork() or time.sleep(10**6); os._exit(1)"), f"{ENDED}|{OVERDUE}")


def test_a_job_that_goes_on_in_two_processes(tmp_path: Path, temporary: Path) -> None:
    said, records, left = swept(tmp_path, temporary, "os.fork()")
    assert said.err == ""
    assert [record.status for record in records] in (["done"] * 3, ["done", "failed", "done"])
    assert left == []
