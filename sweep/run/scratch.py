"""A folder for what Ray keeps while a sweep runs: gone with its process, or removed by the next one's."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

PREFIX = "lcs-"
# A Unix socket's path ends at 107 bytes (103 on macOS); below the temporary folder Ray adds up to 75 of its own.
LONGEST = 28


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new folder of this machine's own, locked as long as its process lives."""
    remove_dead()
    made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=_parent()))
    path = made.with_name(made.name[1:])
    with (made / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made.rename(path)  # nobody looks at it before it is locked
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)  # a log that is still being written is no reason to fail


def remove_dead() -> None:
    """Removes the folders of processes that were killed: those whose lock can be had.

    Ray's agents outlive a killed driver by up to a minute, and make their logs' folder anew when that was removed, in
    a folder without a lock: since no other lacks one, that is dead too.
    """
    for left in Path(_parent()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or its process lives
            anew = {each.name.partition("_")[0] for each in left.iterdir()} == {"session"}
            lock = os.open(left / "lock", os.O_RDWR | os.O_NOFOLLOW | (os.O_CREAT if anew else 0))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _parent() -> str:
    """The temporary folder, or /tmp where that one's path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return folder if len(os.fsencode(folder)) + len(f"/{PREFIX}12345678") <= LONGEST else "/tmp"
