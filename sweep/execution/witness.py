"""A small process that says what became of a run whose own process ends without a word.

Ray ends the driver's process, in C++, where it has lost the node or the cluster; the system does so when memory runs
out. Nothing can be printed then: standard error goes to a log. The witness holds the user's standard error and waits at
a pipe. When the driver ends without having dismissed it, the pipe closes and it prints one line, which names those of
Ray's processes that died first.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SECONDS_BETWEEN_LOOKS = 0.05
NOTHING_LOST = "no result is lost: run the same command again to continue"


@dataclass(frozen=True)
class RayProcess:
    """A process of Ray's.

    Attributes:
        name: what it is.
        pid: its number.
        start: when it started, in ticks since the boot, by which another process of the same number is told from it.
    """

    name: str
    pid: int
    start: str

    def dead(self) -> bool:
        """Whether it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        return fields[0] in "ZX" or fields[19] != self.start


def died(processes: Iterable[RayProcess], *, log: str) -> str:
    """The line on processes of Ray's that died."""
    what = " and ".join(f"{process.name}, process {process.pid}," for process in processes)
    return f"Ray's {what} died; {log} says more; {NOTHING_LOST}"


class Witness:
    """The driver's end of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        """The line to print if this process ends without a word from now on; an empty one for none."""
        self._send(" ".join(line.split()))

    def look_at(self, processes: Iterable[RayProcess]) -> None:
        """If this process ends without a word, the line names the first of these that died."""
        for process in processes:
            self._send(f"{process.name}\t{process.pid}\t{process.start}")

    def _send(self, line: str) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # the witness itself was killed
            pipe.write(f"{line}\n")
            pipe.flush()


@contextlib.contextmanager
def witnessed(log: Path) -> Iterator[Witness]:
    """Within the block, a witness watches this process. `log` is where the driver's last words are."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the driver's group is none to the witness
        text=True,
    )
    witness = Witness(process)
    witness.tell(
        f"this run's process has ended without a word: it was killed, or Ray ended it ({log} says why); {NOTHING_LOST}"
    )
    try:
        yield witness
    finally:
        witness.tell("")
        with contextlib.suppress(OSError):
            process.communicate()


def _watch(log: str) -> None:
    """Waits for the end of the driver, then prints the line if there is one to print."""
    told, known, dead, driver = "", list[RayProcess](), list[RayProcess](), os.getppid()
    running = True
    while running:
        if select.select([0], [], [], SECONDS_BETWEEN_LOOKS)[0]:
            received = os.read(0, 1 << 16).decode()
            running, told = bool(received), told + received
            parts = [line.split("\t") for line in told.splitlines()]
            known = [RayProcess(part[0], int(part[1]), part[2]) for part in parts if len(part) == 3]
        found = [] if dead else [process for process in known if process.dead()]  # the first: others follow them
        # At the driver's end the system ends Ray's processes too: those are not the cause.
        if found and _lives(driver) and not select.select([0], [], [], 0)[0]:
            dead = found
    last = [line for line in told.splitlines() if "\t" not in line][-1]
    if last:
        print(f"lcsweep: {died(dead, log=log) if dead else last}", file=sys.stderr)  # noqa: T201


def _lives(pid: int) -> bool:
    """Whether the process has not ended, its first thread neither."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


if __name__ == "__main__":
    _watch(sys.argv[1])
