"""Errors in a user's code, in one line."""

import contextlib
import os
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path

PACKAGES = Path(__file__).parents[2]
NOT_THE_USERS = (
    "<",
    *(f"{PACKAGES / name}{os.sep}" for name in ("sweep", "lc_core")),
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "purelib", "platlib")),
)
"""How the paths of our code begin, and those of Python's and of installed packages."""


class StudyError(ValueError):
    """A study cannot be found, imported or used; the message is one line that says why and what was expected."""


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turns an error in the user's code into a StudyError of one line: `what` failed, the error, its file and line."""
    try:
        yield
    except StudyError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())
        raise StudyError(f"{what}: {type(error).__name__}: {reason}{_where(error)}") from error


def _where(error: BaseException) -> str:
    """ " (file:line)" of the last line of the user's code that led to `error`; "" where there is none.

    The text of a SyntaxError says it already.
    """
    if isinstance(error, SyntaxError):
        return ""
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [(Path(file).name, line) for file, line in places if not file.startswith(NOT_THE_USERS)]
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""
