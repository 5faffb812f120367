"""The lock on a sweep: one driver at a time works in its folder.

The lock is a file. Its driver touches it every few seconds, which renews the lease. A driver that finds a lock watches
it: when the file does not change for a stated time, the lease has expired and the driver takes the lock. It takes the
lock at once when this machine can tell that the process that holds it has ended. Clocks of two machines are never
compared, and no lock of the file system is used, since not all shared file systems have one.

Two drivers may still be at work for a few seconds, such as when one was suspended. Nothing is lost then:
`staging.publish` decides which record stands, and the driver that lost the lock stops.
"""

import contextlib
import datetime
import json
import logging
import os
import socket
import stat
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.store.files import StoreError, kind_of, write_json
from sweep.store.folder import SweepFolder
from sweep.store.printable import has_control
from sweep.store.staging import clear

RENEWAL = 3.0  # seconds between two renewals
LATE = 9.0  # seconds after a renewal at which its driver looks whether the lock is still its own
LEASE = 30.0  # seconds without a renewal, after which another driver may take the lock
LARGEST = 1 << 16  # bytes of the lock's file
SETTLE = 0.5  # seconds until all drivers that take an expired lock at the same time see whose it is

_log = logging.getLogger(__name__)


class Lock:
    """A lock that this process holds and renews in a thread; `check` and `held` say whether it still does."""

    def __init__(self, folder: SweepFolder, own: dict[str, Any]) -> None:
        self._folder, self._own = folder, own
        self._end = threading.Event()
        self._lost: str | None = None
        self._renewed = time.monotonic()
        self._thread = threading.Thread(target=self._renew, name="lock", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """StoreError when another driver has taken the lock.

        Looks at the lock's file only where the renewal is late, as it is in a process that was suspended.
        """
        if time.monotonic() - self._renewed > LATE:
            self.held()
        if self._lost is not None:
            raise StoreError(
                f"{self._folder.root}: this run did not renew its lock for {LEASE:g} s, and another took the sweep "
                f"over ({self._lost}); this one stops, and nothing is lost"
            )

    def release(self) -> None:
        """Gives the lock back, and removes what workers that were cut off left."""
        self._end.set()
        self._thread.join()
        if self.held():
            clear(self._folder)
            self._folder.lock.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._end.wait(RENEWAL):
            began = time.monotonic()  # this process may be suspended between any two lines
            if not self.held():
                return
            with contextlib.suppress(OSError):  # the file system is away for a moment: the next renewal tells
                os.utime(self._folder.lock)
                self._renewed = began

    def held(self) -> bool:
        """Whether the lock's file still names this process. Where the file cannot be read, what was known before."""
        with contextlib.suppress(OSError):
            found = _look(self._folder.lock)
            if found is None or found[0].get("token") != self._own["token"]:
                self._lost = _who(found[0]) if found else "and has ended"
        return self._lost is None


@contextlib.contextmanager
def locked(folder: SweepFolder) -> Iterator[Lock]:
    """Holds the lock on the sweep; removes what drivers that died left half done.

    Raises:
        StoreError: another driver is at work on the sweep.
    """
    own = {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": process_start(os.getpid()),
        "since": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "token": uuid.uuid4().hex,
    }
    _acquire(folder, own)
    lock = Lock(folder, own)
    try:
        clear(folder)
        yield lock
    finally:
        lock.release()


def _acquire(folder: SweepFolder, own: dict[str, Any]) -> None:
    path = folder.lock
    path.parent.mkdir(parents=True, exist_ok=True)
    while not _new(path, own):
        found = _look(path)
        if found is None:  # given back meanwhile
            continue
        if not _ended(found[0]):
            if _here(found[0]) or _renewed(path, folder, found):
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
    """Makes the lock's file. False where there is one."""
    try:
        with path.open("x") as file:
            file.write(json.dumps(own))
    except FileExistsError:
        return False
    except OSError:  # such as a full disk
        path.unlink(missing_ok=True)
        raise
    return True


def _renewed(path: Path, folder: SweepFolder, found: tuple[dict[str, Any], int]) -> bool:
    """Whether a driver renews or takes the lock within `LEASE` seconds. False when it was given back too."""
    _log.warning(
        "%s: locked by %s; this run takes the lock when it is not renewed for %g s", folder.root, _who(found[0]), LEASE
    )
    end = time.monotonic() + LEASE
    while time.monotonic() < end:
        time.sleep(min(RENEWAL, LEASE) / 6)
        now = _look(path)
        if now != found:
            return now is not None
    return False


def _look(path: Path) -> tuple[dict[str, Any], int] | None:
    """What the lock's file says, and when it was last renewed, in nanoseconds of the file's server; None without one.

    The file is opened for it, since a network file system asks its server then.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe is not waited for
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"{path}: expected a regular file, got {kind_of(path)}; remove it")
            text = file.read(LARGEST)
    except FileNotFoundError:
        return None
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):  # its driver is about to write it, or died before it did
        held = {}
    return held if _is_whole(held) else {}, found.st_mtime_ns  # a damaged one names no driver


def _is_whole(held: Any) -> bool:
    if not isinstance(held, dict) or type(held.get("pid")) is not int:
        return False
    texts = [held.get(name, 0) for name in ("host", "machine", "started", "since", "token")]
    return all(text is None or (isinstance(text, str) and not has_control(text)) for text in texts)


def _ended(held: dict[str, Any]) -> bool:
    """Whether this machine can tell that the lock's process has ended, though another may have its number now."""
    return _here(held) and process_start(held["pid"]) != held["started"]


def _here(held: dict[str, Any]) -> bool:
    return held.get("machine") is not None and held["machine"] == _machine()


def _machine() -> str | None:
    """This boot of this machine and its process namespace; None where the system does not say (macOS)."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def process_start(pid: int) -> str | None:
    """When the process started, in ticks since the boot; None where it has ended or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def _who(held: dict[str, Any]) -> str:
    return "process {pid} on {host}, since {since}".format(**held) if held else "just begun"
