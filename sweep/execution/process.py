"""Signals, standard streams and environment of this process during a run, and facts on its machine."""

import contextlib
import ctypes
import io
import os
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TextIO

from sweep.store.files import StoreError

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # Ray sets a handler for the last


class Interruption:
    """SIGINT, SIGTERM and SIGHUP during a run. The first sets `asked`; the second raises KeyboardInterrupt at once.

    The run then stops at the next event. Within `caught`, the earlier handlers are replaced.
    """

    def __init__(self) -> None:
        self.asked = False

    def catch(self) -> None:
        """Sets the handlers; called again after a library has set its own."""
        if _main_thread():  # only the main thread can set handlers, and only it is interrupted
            signal.signal(signal.SIGINT, self._handle)
            signal.signal(signal.SIGTERM, self._handle)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as under nohup
                signal.signal(signal.SIGHUP, self._handle)

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Sets the handlers within the block; restores the earlier ones after it."""
        before = {number: signal.getsignal(number) for number in CAUGHT}
        self.catch()
        try:
            yield
        finally:
            if _main_thread():
                for number, handler in before.items():
                    signal.signal(number, handler)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextlib.contextmanager
def own_stream(stream: TextIO) -> Iterator[TextIO]:
    """A stream to the same file or terminal, which `redirected` does not redirect; closed at the end.

    A stream that does not write to a file descriptor, such as a notebook's or a buffer, is returned as it is.
    """
    if not _has_descriptor(stream):
        yield stream
        return
    stream.flush()
    with os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, errors="replace", buffering=1) as own:
        yield own


def _has_descriptor(stream: TextIO) -> bool:
    """Whether the stream writes to a file descriptor. A notebook's names one, that of the server's terminal."""
    if not isinstance(stream, io.TextIOWrapper):
        return False
    try:
        return stream.fileno() >= 0
    except io.UnsupportedOperation:
        return False


@contextlib.contextmanager
def redirected(log: Path) -> Iterator[None]:
    """Within the block, standard output and error of this process and its children, C++ too, are appended to `log`.

    So is what Python prints in a notebook, where `sys.stdout` and `sys.stderr` are other streams.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = {number: os.dup(number) for number in (1, 2)}
    try:  # a link would name any file, and a pipe is not waited for
        stream = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        raise StoreError(f"{log}: expected a regular file for Ray's log ({error.strerror}); remove it") from error
    for number in kept:
        os.dup2(stream, number)
    os.close(stream)
    try:
        with contextlib.ExitStack() as printed:
            if not (_has_descriptor(sys.stdout) and _has_descriptor(sys.stderr)):
                lines = printed.enter_context(log.open("a", encoding="utf-8", errors="replace", buffering=1))
                printed.enter_context(contextlib.redirect_stdout(lines))
                printed.enter_context(contextlib.redirect_stderr(lines))
            yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


@contextlib.contextmanager
def environment(wanted: Mapping[str, str]) -> Iterator[None]:
    """Within the block, `wanted` is in this process's environment, except for variables that the user has set."""
    added = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def keep_secret(argument: str | None, variable: str) -> None:
    """Hides an argument with a password from the process list, where the system lets it, and from child processes.

    Args:
        argument: as it was given on the command line, or in the environment's `variable`.
        variable: is removed from the environment.
    """
    os.environ.pop(variable, None)
    if argument is None or not ("@" in argument or "password" in argument):
        return
    secret = os.fsencode(argument)
    with contextlib.suppress(OSError, ValueError):  # no /proc
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        start, end = int(fields[45]), int(fields[46])
        if 0 < start < end and (at := ctypes.string_at(start, end - start).find(secret)) >= 0:
            ctypes.memset(start + at, ord("*"), len(secret))


def _main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next(text.partition(":")[2].strip() for text in lines if text.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
