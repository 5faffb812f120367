"""The signals that ask a command to end: SIGINT (Ctrl-C), SIGTERM, and SIGHUP of a terminal that was closed.

Each raises KeyboardInterrupt, wherever the command is. A library may turn that into another error, so `asked` tells
what it was. Where Python drops an error, as in a callback of the garbage collector, the signal comes again. During a
run on Ray, `sweep.execution.process.Interruption` takes their place.
"""

import os
import signal
import sys
import threading
from types import FrameType

INTERRUPTED = 130
SAID = "interrupted; run the same command again to continue"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.01  # seconds until a signal comes again
_asked: list[int] = []  # the signals that came


def catch() -> None:
    """Sets the handlers, but not where the parent process has asked that a signal be ignored, as nohup does."""
    _asked.clear()
    process = os.getpid()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != process:  # a child that was forked from this process ends as one without a handler
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        _asked.append(number)
        raise KeyboardInterrupt

    def dropped(args: "sys.UnraisableHookArgs") -> None:
        if isinstance(args.exc_value, KeyboardInterrupt) and _asked:
            threading.Timer(_AGAIN, os.kill, (process, _asked[-1])).start()
        else:
            sys.__unraisablehook__(args)

    sys.unraisablehook = dropped
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt)


def asked() -> bool:
    """Whether one of the signals has come."""
    return bool(_asked)


def ignore() -> None:
    """Ignores them from now on: the command has ended, and only the process's own end is left."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
