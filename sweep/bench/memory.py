"""Measures the peak memory of a fresh process, as Linux counts it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peak:
    """The peak resident memory of a process, in bytes.

    Attributes:
        bytes: after it has loaded its model and run it.
        imported_bytes: after it has imported what it needs, before it loads the model.
    """

    bytes: int
    imported_bytes: int


def peak(arguments: Sequence[str]) -> Peak | None:
    """The peak memory of a fresh Python process with these arguments; None on systems without /proc.

    The process must print "imported" after its imports and "ran" after its work, and wait for a line after each.

    Raises:
        ValueError: the process ended before it had done its work.
    """
    if not Path("/proc/self/status").exists():
        return None
    with _started(arguments) as child:
        imported = _reached(child, "imported")
        return Peak(_reached(child, "ran"), imported)


@contextlib.contextmanager
def _started(arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def _reached(child: subprocess.Popen[str], words: str) -> int:
    """The child's peak resident bytes when it prints `words`, after which it goes on. Other lines are ignored."""
    assert child.stdout is not None and child.stdin is not None
    said = ""
    for line in child.stdout:
        if line.strip() == words:
            found = _most_resident(child.pid)
            child.stdin.write("\n")
            child.stdin.flush()
            return found
        said = line.strip() or said
    raise ValueError(f"memory: expected the process to print {words!r}, but it ended: {said[-300:]}")


def _most_resident(process: int) -> int:
    """From /proc, not getrusage, which counts what the parent had when it forked."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
