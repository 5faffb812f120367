"""A driver's claim on a sweep: a file whose time of change is its pulse, which another driver may take over.

A driver touches its claim every few seconds. One that finds a claim watches it: what has no pulse for a stated time is
taken over, and at once where this machine can tell that its process has ended. Clocks are never compared, and no lock
of the file system is needed: not all shared ones have any. Should two drivers ever be at work for a few seconds (one
was suspended), nothing is lost: records are published by `attempt.publish`, and the one whose claim is gone stops.
"""

import contextlib
import datetime
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.store.files import StoreError, write_json
from sweep.store.folder import SweepFolder
from sweep.store.staging import clear

BEAT = 3.0  # seconds
STALE = 30.0  # without a beat, before a claim may be taken over
SETTLE = 0.5  # for the last of several successors to be known

_log = logging.getLogger(__name__)


class Claim:
    """A claim that is held, unless `check` says otherwise."""

    def __init__(self, folder: SweepFolder, own: dict[str, Any]) -> None:
        self._folder, self._own = folder, own
        self._end = threading.Event()
        self._lost: str | None = None
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """StoreError when another driver has taken the sweep over."""
        if self._lost is not None:
            raise StoreError(
                f"{self._folder.root}: this run gave no sign of life for {STALE:g} s, and another took the sweep over "
                f"({self._lost}); this one stops, and nothing is lost"
            )

    def release(self) -> None:
        """Ends the claim, and removes what workers that were cut off left."""
        self._end.set()
        self._thread.join()
        if self._held():
            clear(self._folder)
            self._folder.claim.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._end.wait(BEAT) and self._held():
            with contextlib.suppress(OSError):  # a store that is briefly gone: the next beat tells
                os.utime(self._folder.claim)

    def _held(self) -> bool:
        with contextlib.suppress(OSError):
            found = _look(self._folder.claim)
            if found is None or found[0].get("token") != self._own["token"]:
                self._lost = _who(found[0]) if found else "and has ended"
        return self._lost is None


@contextlib.contextmanager
def claimed(folder: SweepFolder) -> Iterator[Claim]:
    """The sweep to this driver alone; what drivers that died left half made is removed.

    Raises:
        StoreError: another driver is at work on the sweep.
    """
    own = {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,
    }
    _acquire(folder, own)
    claim = Claim(folder, own)
    try:
        clear(folder)
        yield claim
    finally:
        claim.release()


def _acquire(folder: SweepFolder, own: dict[str, Any]) -> None:
    path = folder.claim
    path.parent.mkdir(parents=True, exist_ok=True)
    while not _new(path, own):
        found = _look(path)
        if found is None:  # given back meanwhile
            continue
        if not _ended(found[0]):
            if _here(found[0]) or _has_pulse(path, folder, found):
                raise StoreError(
                    f"{folder.root}: another lcsweep run is at work on this sweep ({_who(found[0])}); wait for it, or "
                    "use --out"
                )
            if _look(path) is None:
                continue
        write_json(path, own)
        time.sleep(SETTLE)
        taken = _look(path)
        if taken is not None and taken[0].get("token") == own["token"]:
            return


def _new(path: Path, own: dict[str, Any]) -> bool:
    """Whether there was no claim, and this is it now."""
    try:
        with path.open("x") as file:
            file.write(json.dumps(own))
    except FileExistsError:
        return False
    except OSError:  # such as a full disk
        path.unlink(missing_ok=True)
        raise
    return True


def _has_pulse(path: Path, folder: SweepFolder, found: tuple[dict[str, Any], int]) -> bool:
    """Whether the claim is touched, or another's, within `STALE` seconds; False too where it is given back."""
    _log.warning("%s: claimed by %s; taken over unless it stirs in %g s", folder.root, _who(found[0]), STALE)
    end = time.monotonic() + STALE
    while time.monotonic() < end:
        time.sleep(min(BEAT, STALE) / 6)
        now = _look(path)
        if now != found:
            return now is not None
    return False


def _look(path: Path) -> tuple[dict[str, Any], int] | None:
    """The claim and the time of its last beat, in nanoseconds of whoever keeps the file; None where there is none.

    The file is opened for it, which is when a network file system asks its server.
    """
    try:
        with path.open() as file:
            text, beat = file.read(), os.fstat(file.fileno()).st_mtime_ns
    except FileNotFoundError:
        return None
    try:
        held = json.loads(text)
    except ValueError:  # its driver is about to write it, or died before
        held = {}
    return held, beat


def _ended(held: dict[str, Any]) -> bool:
    """Whether this machine can tell that the claim's process has ended; another of the same number does not mislead."""
    return _here(held) and _started(held["pid"]) != held["started"]


def _here(held: dict[str, Any]) -> bool:
    return held.get("machine") is not None and held["machine"] == _machine()


def _machine() -> str | None:
    """This boot of this machine and this space of process numbers; None where the system does not say (macOS)."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def _started(pid: int) -> str | None:
    """When the process started, in ticks since the boot; None where it has ended, a zombie included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _who(held: dict[str, Any]) -> str:
    return "process {pid} on {host}, since {since}".format(**held) if held else "just begun"
