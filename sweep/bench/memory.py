"""Peak memory of a process that does one thing, as Linux counts it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Peak:
    """Most resident bytes of a process.

    Attributes:
        bytes: once it has loaded its model and run it.
        imported_bytes: once it has imported what it needs for that.
    """

    bytes: int
    imported_bytes: int


def peak(arguments: Sequence[str]) -> Peak | None:
    """Of a fresh Python with `arguments`, which says a line after its imports and one after its work, and waits.

    None where the system does not tell (it has no /proc).

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
    """The child's most resident bytes when it says `words`; lets it go on. What else it says is passed over."""
    assert child.stdout is not None and child.stdin is not None
    said = ""
    for line in child.stdout:
        if line.strip() == words:
            found = _most_resident(child.pid)
            child.stdin.write("\n")
            child.stdin.flush()
            return found
        said = line.strip() or said
    raise ValueError(f"memory: expected a process that says {words!r}, got one that ended: {said[-300:]}")


def _most_resident(process: int) -> int:
    """Of /proc, and not of getrusage: that counts what the parent had when it forked."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
