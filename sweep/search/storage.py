"""Optuna's storage, which others may lock or take away for a while. It is an index only: the records are the truth."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from sweep.store.files import StoreError

PATIENCE = 60.0  # seconds: for another's lock, for a server that is started again, for room on the disk
PAUSE = 0.5

T = TypeVar("T")


def patiently(call: Callable[[], T]) -> T:
    """What `call` gives: a transaction, undone when it fails, that is made again until it goes well, for a while."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except (OperationalError, StorageInternalError) as error:
            cause = _cause(error)
            if not isinstance(cause, OperationalError) or "readonly" in str(cause) or time.monotonic() > end:
                raise
            time.sleep(PAUSE)


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what a storage that stays out of reach raises into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = _cause(error)
        reason = " ".join(str(getattr(cause, "orig", cause)).split())
        raise StoreError(
            f"{without_password(url)}: the search's index cannot be used ({reason}); no result is lost: the same "
            "command goes on once it can"
        ) from error


def without_password(url: str) -> str:
    """`url` for the user's eyes."""
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:  # not a URL
        return url


def _cause(error: Exception) -> BaseException:
    """What Optuna wrapped."""
    return error.__cause__ or error if isinstance(error, StorageInternalError) else error
