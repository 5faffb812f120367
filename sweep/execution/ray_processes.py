"""Ray's own processes on this machine, those that a run needs, and which of them have died."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from sweep.execution.witness import RayProcess
from sweep.store.lock import process_start

LAST_LINES = 30  # of each log of Ray's that is kept
LOGS = ("gcs_server", "raylet", "dashboard_agent", "runtime_env")
NAMED_BY = {
    "gcs_server": "cluster server (gcs_server)",
    "raylet": "node process (raylet)",
    "ray::DashboardAgent": "dashboard agent",
    "dashboard/agent.py": "dashboard agent",
    "ray::RuntimeEnvAgent": "runtime environment agent",
    "runtime_env/agent/main.py": "runtime environment agent",
}
"""The end of an argument of the process -> what it is."""


class RayProcesses:
    """The processes of a Ray that this process has started, with its files in `folder`.

    Where the system does not tell (there is no /proc), none is known and none is found dead.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known = tuple(_found())
        self._looked = time.monotonic()

    def dead(self, *, apart: float = 0.0) -> list[RayProcess]:
        """Those that have died. Looks once in `apart` seconds at most; a call in between finds none."""
        now = time.monotonic()
        if now < self._looked + apart:
            return []
        self._looked = now
        return [process for process in self.known if process.dead()]

    def print_last_words(self) -> None:
        """Prints the ends of the logs of Ray's, which are removed with its folder."""
        for path in sorted(self._folder.glob("session_*/logs/*")):
            if not path.is_symlink() and path.name.startswith(LOGS):
                with contextlib.suppress(OSError):
                    lines = path.read_text(errors="replace").splitlines()[-LAST_LINES:]
                    sys.stdout.write("\n".join([f"--- the end of Ray's {path.name}:", *lines, ""]))
        sys.stdout.flush()


def tree(pid: int) -> list[int]:
    """The process and all that descend from it, while they live."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents[int(stat.parent.name)] = int(parent)
    found = {pid} & parents.keys()
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return sorted(found)


def node_lives() -> bool:
    """Whether a node process of Ray's that this process started lives; True where the system does not tell."""
    return not Path("/proc").is_dir() or any(process.name == NAMED_BY["raylet"] for process in _found())


def end_found() -> None:
    """Ends the processes of a Ray that this process could not start; returns when they have ended."""
    while found := list(_found()):
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.05)


def end_orphans(mark: str, *, patience: float) -> None:
    """Ends the processes with `mark` (NAME=value) in their environment that do not descend from this one.

    A job may have left them: Ray ends a worker's children only where the worker itself ends in order. They have
    `patience` seconds to end by themselves.
    """
    end = time.monotonic() + patience
    while (found := _marked(mark) - set(tree(os.getpid()))) and time.monotonic() < end:
        time.sleep(0.05)
    for pid in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _marked(mark: str) -> set[int]:
    """This user's processes that live and were started with `mark` in their environment."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or it has ended meanwhile
            if os.fsencode(mark) in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found


def _found() -> Iterator[RayProcess]:
    """The children of this process, and theirs, that are Ray's and not workers."""
    for pid in tree(os.getpid()):
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
            start = process_start(pid)
            name = next((name for end, name in NAMED_BY.items() if _is(end, arguments)), None)
            if name is not None and start is not None:
                yield RayProcess(name, pid, start)


def _is(end: str, arguments: list[str]) -> bool:
    if "/" in end:  # a script, after Python and its options
        return any(argument.endswith(end) for argument in arguments[:6])
    return arguments[0].rpartition("/")[2] == end
