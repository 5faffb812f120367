"""Errors in a user's code, in one line."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


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
    """ " (file:line)" of where `error` was raised; "" for a SyntaxError, whose text says it."""
    if isinstance(error, SyntaxError):
        return ""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""
