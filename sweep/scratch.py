"""A folder for what Ray keeps while a sweep runs: gone with its process, or removed by the next one's."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX, LOCK = "lcs-", "lock"
# A Unix socket's path ends at 107 bytes (103 on macOS); below the temporary folder Ray adds up to 75 of its own.
LONGEST = 28


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new folder of this machine's own, locked as long as its process lives."""
    remove_dead()
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=_parent()))
    path = made.with_name(made.name[1:])
    with (made / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(path)  # nobody looks at it before it is locked
        try:
            yield path
        finally:
            _remove(path)


def remove_dead() -> None:
    """Removes the folders of processes that were killed: those whose lock can be had, once Ray's processes are gone."""
    for left in Path(_parent()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or its process lives
            lock = os.open(left / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _in_use(left):
                    _remove(left)
            finally:
                os.close(lock)


def _in_use(folder: Path) -> bool:
    """Whether a process was started with it, where /proc tells: Ray's agents outlive a killed driver by some seconds,
    and would make it anew."""
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            if os.fsencode(folder) in command.read_bytes():
                return True
    return False


def _remove(folder: Path) -> None:
    """All of it, the lock last: what is still being written is left to the next process."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each)
            elif each.name != LOCK:
                each.unlink()
        shutil.rmtree(folder)


def _parent() -> str:
    """The temporary folder, or /tmp where that one's path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len(f"/{PREFIX}12345678") <= LONGEST else "/tmp"
