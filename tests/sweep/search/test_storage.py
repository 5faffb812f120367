"""An index that is locked or gone for a while is waited for; one that stays so is one line."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.trial import FrozenTrial

from sweep.search import index as index_module
from sweep.search.index import Index, index_url, open_index, storage_errors
from sweep.search.tables import Tables
from sweep.store.files import StoreError


def index(path: Path) -> Index:
    return open_index(index_url(path), study="s", search="grid", target={}, space="a0")


def trial() -> FrozenTrial:
    return optuna.trial.create_trial(values=[0.1, 100])


@contextlib.contextmanager
def locked(path: Path) -> Iterator[threading.Event]:
    """Another connection locks the file until the event, or the end."""
    has, free = threading.Event(), threading.Event()

    def lock() -> None:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            has.set()
            free.wait()
            connection.rollback()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert has.wait(60)
        yield free
    finally:
        free.set()
        thread.join()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """Longer than SQLite would by itself: five seconds. Meanwhile a run goes on."""
    found = index(tmp_path / "study.db")
    with locked(tmp_path / "study.db") as free:
        found.add(trial())
        started = time.monotonic()
        threading.Timer(7, free.set).start()
        found.write()
        assert time.monotonic() - started > 6
    assert [held.values for held in found.study.trials] == [[0.1, 100]]


def test_a_lock_that_stays_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PATIENCE", 0.5)
    monkeypatch.setattr(index_module, "PAUSE", 0.1)
    path = tmp_path / "study.db"
    found = index(path)
    with locked(path):
        found.add(trial())
        with pytest.raises(StoreError) as caught, storage_errors(index_url(path)):
            found.write()
        assert f"{path}: the search's index cannot be used (database is locked); no result is lost" in str(caught.value)
    found.write()
    assert len(found.study.trials) == 1


@pytest.mark.parametrize("words", ["unable to open database file", "database or disk is full", "disk I/O error"])
def test_a_file_that_is_briefly_out_of_reach_or_room_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The transaction is made again whole: there is one trial."""
    monkeypatch.setattr(index_module, "PAUSE", 0.1)
    found = index(tmp_path / "study.db")
    insert, tried = Tables._insert, []

    def fail(self: Tables, session: Any, trials: Any) -> None:
        insert(self, session, trials)
        tried.append(words)
        if len(tried) <= 3:
            raise sqlalchemy.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(words))

    monkeypatch.setattr(Tables, "_insert", fail)
    found.add(trial())
    assert not found.study.trials
    found.write()
    assert len(tried) == 4
    assert [held.values for held in found.study.trials] == [[0.1, 100]]


def test_a_password_is_not_said() -> None:
    with pytest.raises(StoreError) as caught, storage_errors("postgresql+psycopg://me:secret@host/db"):
        raise optuna.exceptions.StorageInternalError("gone")
    assert "secret" not in str(caught.value)
    assert "me:***@host/db: the search's index cannot be used (gone)" in str(caught.value)
