"""A small process that says what became of a run whose own process ends without a word.

Ray ends the driver's process, in C++, where it has lost the node or the cluster; the system does so when memory runs
out. Nothing can be printed then: standard error goes to a log. The witness holds the user's standard error and waits at
a pipe. When the driver ends without having dismissed it, the pipe closes and it prints one line.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


class Witness:
    """The driver's end of the pipe."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, line: str) -> None:
        """The line to print if this process ends without a word from now on."""
        pipe = self._process.stdin
        assert pipe is not None
        with contextlib.suppress(OSError):  # the witness itself was killed
            pipe.write(" ".join(line.split()) + "\n")
            pipe.flush()


@contextlib.contextmanager
def witnessed(log: Path) -> Iterator[Witness]:
    """Within the block, a witness watches this process. `log` is where the driver's last words are."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a signal to the driver's group is none to the witness
        text=True,
    )
    witness = Witness(process)
    witness.tell(
        f"this run's process has ended without a word: it was killed, or Ray ended it ({log} says why); no result is "
        "lost: run the same command again to continue"
    )
    try:
        yield witness
    finally:
        witness.tell("")
        with contextlib.suppress(OSError):
            process.communicate()


def _watch() -> None:
    """Prints the last line that it read, if there is any."""
    last = ""
    for line in sys.stdin:
        last = line.strip()
    if last:
        print(f"lcsweep: {last}", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    _watch()
