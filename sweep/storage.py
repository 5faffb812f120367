"""Optuna's storage, which others may lock or take away for a while. It is an index only: the records are the truth."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from sweep.store import StoreError

PATIENCE = 60.0  # seconds: for another's lock, for a server that is started again


def open_storage(url: str) -> optuna.storages.RDBStorage:
    """The storage at `url`, patient from now on: with locks, and in getting a lost connection back.

    Raises: what Optuna, SQLAlchemy and the database's driver raise where there is none.
    """
    sqlite = sqlalchemy.make_url(url).get_backend_name() == "sqlite"
    kinds: dict[str, Any] = {"connect_args": {"timeout": PATIENCE}} if sqlite else {"pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=kinds)

    @sqlalchemy.event.listens_for(storage.engine, "do_connect")
    def connect(dialect: Any, _record: Any, arguments: Any, named: Any) -> Any:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                return dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(min(1.0, PATIENCE / 10))

    return storage


@contextlib.contextmanager
def storage_errors(url: str) -> Iterator[None]:
    """Turns what a storage that stays out of reach raises into a StoreError of one line."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = error if isinstance(error, SQLAlchemyError) else error.__cause__ or error
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
