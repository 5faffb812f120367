"""The command `lcsweep`."""

import contextlib
import sys
from collections.abc import Sequence

from sweep.cli.interruption import INTERRUPTED, SAID, asked, catch, ignore


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code. A signal that asks it to end does so with one line, always."""
    catch()
    try:
        from sweep.cli.app import main as run  # takes a third of a second, in which a signal may come

        code = run(arguments)
    except BaseException:
        if not asked():
            raise
        code = INTERRUPTED
        with contextlib.suppress(OSError):  # the terminal was closed
            print(f"lcsweep: {SAID}", file=sys.stderr)
    ignore()
    return code
