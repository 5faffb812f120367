"""An index that is locked or gone for a while is waited for; one that stays so is one line."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy.orm

from sweep import storage
from sweep.search import index_url, open_index
from sweep.storage import storage_errors
from sweep.store import StoreError


def index(path: Path) -> optuna.Study:
    return open_index(index_url(path), study="s", search="grid", target={}, space="a0")


def locked(path: Path, *, seconds: float) -> threading.Thread:
    """Has another connection lock the file for a while."""
    has = threading.Event()

    def lock() -> None:
        with sqlite3.connect(path) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            has.set()
            time.sleep(seconds)
            connection.rollback()
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    assert has.wait(10)
    return thread


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    """Longer than SQLite would by itself: five seconds."""
    study = index(tmp_path / "study.db")
    thread = locked(tmp_path / "study.db", seconds=6)
    trial = study.ask()
    study.tell(trial, (0.1, 100))
    thread.join()
    assert study.trials[0].values == [0.1, 100]


def test_a_lock_that_stays_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 0.5)
    monkeypatch.setattr(storage, "PAUSE", 0.1)
    path = tmp_path / "study.db"
    study = index(path)
    thread = locked(path, seconds=7)
    with pytest.raises(StoreError) as caught, storage_errors(index_url(path)):
        study.ask()
    assert f"{path}: the search's index cannot be used (database is locked); no result is lost" in str(caught.value)
    thread.join()
    study.ask()


@pytest.mark.parametrize("words", ["unable to open database file", "database or disk is full", "disk I/O error"])
def test_a_file_that_is_briefly_out_of_reach_or_room_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """Each transaction is made again whole: there is one trial."""
    monkeypatch.setattr(storage, "PAUSE", 0.1)
    study = index(tmp_path / "study.db")
    commit, tried = sqlalchemy.orm.Session.commit, []

    def fail(self: Any) -> None:
        tried.append(words)
        if len(tried) % 2:
            raise sqlalchemy.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(words))
        commit(self)

    monkeypatch.setattr(sqlalchemy.orm.Session, "commit", fail)
    study.tell(study.ask(), (0.1, 100))
    monkeypatch.undo()
    assert len(tried) >= 4
    assert [trial.values for trial in study.trials] == [[0.1, 100]]


def test_a_password_is_not_said() -> None:
    with pytest.raises(StoreError) as caught, storage_errors("postgresql+psycopg://me:secret@host/db"):
        raise optuna.exceptions.StorageInternalError("gone")
    assert "secret" not in str(caught.value)
    assert "me:***@host/db: the search's index cannot be used (gone)" in str(caught.value)
