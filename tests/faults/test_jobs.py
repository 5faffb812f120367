"""What a study's own code can do to its worker: its job ends, with a line of cause where it failed, and others go on.

Each test looks at one job of a real sweep, in which every job but the first and the last has a fault of its own.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.processes import BUSY
from sweep.store.record import Record
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, Said, changed, write_study

pytestmark = pytest.mark.slow

LIMIT = 10
"""Seconds until a job that does not end is ended."""
OVERDUE = rf"^it had not ended after {LIMIT} s, the limit of --job-timeout, so its worker was ended"
# On a machine whose cores are all taken, Ray may only see that a worker no longer answers.
ENDED = (
    "^failed after 3 attempts, the last: its worker's process ended(: it crashed, was killed, or ended itself| or no)"
)
HANGS = {
    "loops for ever": "while True: pass",
    "waits in C": "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32)); ctypes.PyDLL(None).sleep(10**6)",
    "is suspended": "os.kill(os.getpid(), signal.SIGSTOP)",
    # The process that is left holds the worker's connections open, so that Ray does not see its end.
    "leaves a process and dies": "os.fork() or time.sleep(10**6); os._exit(1)",
}
"""What a job does that does not end -> the line of Python."""
FAILS = {
    "ends its process": ("os._exit(0)", ENDED),
    "leaves by sys.exit": ("sys.exit('enough')", ENDED),
    "crashes": ("ctypes.string_at(0)", ENDED),
    # Its address space is bounded, as that of a container may be.
    "takes all memory": (
        "now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 30),) * 2); keep = [bytes(1 << 30) for _ in range(64)]",
        f"MemoryError|{ENDED}",
    ),
}
"""What a job does that fails -> the line of Python, and the cause in its record."""
IS_DONE = {
    "prints megabytes": "[print('x' * 100, flush=True) for _ in range(500_000)]",
    "prints what is no text": r"os.write(1, bytes(range(256)) * 4096); os.write(2, b'\x1b]0;title\x07')",
    "closes its streams": "os.closerange(0, 3)",
    "leaves a thread": "threading.Thread(target=time.sleep, args=(10**6,)).start()",
    "leaves a process": "os.fork() or time.sleep(10**6)",
}
"""What a job does -> the line of Python."""
FAMILIES = STUDY[STUDY.index("    families=(") : STUDY.index("    target=")]


@dataclass(frozen=True)
class Swept:
    """A run, the record of each job by its fault (of the two without one by "first" and "last"), and what it left."""

    said: Said
    records: dict[str, Record]
    left: list[int]


def study(faults: Mapping[str, str]) -> str:
    """A study of a job without a fault, one for each of `faults` (lines of Python), and another without."""
    keeps = levels(faults)
    lines = "".join(
        f"    if configuration['keep'] == {keeps[name]} and 'default_worker' in sys.argv[0]:\n        {fault}\n"
        for name, fault in faults.items()
    )
    plan = f"import ctypes, os, resource, signal, sys, threading, time\n\n\ndef prune(configuration):\n{lines}"
    family = f'    families=(Family("prune", {{"keep": {tuple(keeps.values())}}}, prune),),\n'
    return changed("def prune(configuration):\n", plan, text=changed(FAMILIES, family))


def levels(faults: Mapping[str, str]) -> dict[str, float]:
    """What each job keeps, by the name of its fault."""
    return {name: round(0.9 - 0.05 * number, 2) for number, name in enumerate(["first", *faults, "last"])}


@contextmanager
def swept(here: Path, faults: Mapping[str, str], *options: str) -> Iterator[Swept]:
    """A run of two workers that has ended."""
    write_study(here, text=study(faults))
    command = Path(sys.executable).with_name("lcsweep")
    with tempfile.TemporaryDirectory(prefix="k", dir="/tmp") as temporary:
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "TMPDIR": temporary, **BUSY}
        try:
            done = subprocess.run(
                [command, "run", "tiny.py", "--workers", "2", *options],
                cwd=here,
                env=environment,
                capture_output=True,
                text=True,
                timeout=1800,
                check=False,
            )
            end = time.monotonic() + 300
            while (left := processes(temporary)) and time.monotonic() < end:  # told to end, and about to
                time.sleep(0.1)
        finally:
            for pid in processes(temporary):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert not list(Path(temporary).glob("*lcs-*"))
    names = {keep: name for name, keep in levels(faults).items()}
    records = {names[float(record.configuration["keep"])]: record for record in read_records(here / "runs" / "tiny")}
    yield Swept(Said(done.returncode, done.stdout, done.stderr), records, left)


def processes(temporary: str) -> list[int]:
    """The processes with this temporary folder that live."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended meanwhile
            if f"TMPDIR={temporary}\0".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    """A sweep of all faults of jobs that end."""
    faults = {name: fault for name, (fault, _) in FAILS.items()} | IS_DONE | {"goes on in two processes": "os.fork()"}
    with swept(tmp_path_factory.mktemp("faults"), faults) as made:
        yield made


def check_failed(fault: str, sweep: Swept, cause: str) -> None:
    """The job failed with one line of `cause`, which the run said."""
    error = sweep.records[fault].error
    assert sweep.records[fault].status == "failed"
    assert error is not None
    assert re.search(cause, error.message), error.message
    assert "\n" not in error.message
    assert len(error.message) < 300
    assert error.message in sweep.said.out


@pytest.mark.parametrize("fault", FAILS)
def test_a_job_fails_with_a_line_of_cause_where_it(fault: str, sweep: Swept) -> None:
    check_failed(fault, sweep, FAILS[fault][1])


@pytest.mark.parametrize("fault", IS_DONE)
def test_a_job_is_done_though_it(fault: str, sweep: Swept) -> None:
    assert sweep.records[fault].status == "done", sweep.records[fault].error


def test_the_sweep_goes_on_and_nothing_of_it_is_left(sweep: Swept) -> None:
    assert (sweep.said.code, sweep.said.err) == (3, "")
    assert len(sweep.records) == len(FAILS) + len(IS_DONE) + 3
    assert (sweep.records["first"].status, sweep.records["last"].status) == ("done", "done")
    assert sweep.records["goes on in two processes"].status in ("done", "failed")
    assert sweep.left == []
    assert "xxx" not in sweep.said.out  # a job's words go to the log alone
    assert "title" not in sweep.said.out


def test_a_job_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """On a busy machine others may not end in time either."""
    with swept(tmp_path, HANGS, "--job-timeout", str(LIMIT)) as sweep:
        for fault in HANGS:
            check_failed(fault, sweep, f"{OVERDUE}|{ENDED}" if "dies" in fault else OVERDUE)
        assert (sweep.said.code, sweep.said.err) == (3, "")
        assert len(sweep.records) == len(HANGS) + 2
        assert sweep.left == []
