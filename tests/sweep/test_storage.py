"""An index that is locked or gone for a while is waited for; one that stays so is one line."""

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import optuna
import pytest

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


def test_a_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than SQLite would by itself."""
    study = index(tmp_path / "study.db")
    thread = locked(tmp_path / "study.db", seconds=6)
    trial = study.ask()
    study.tell(trial, (0.1, 100))
    thread.join()
    assert study.trials[0].values == [0.1, 100]


def test_a_lock_that_stays_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 0.5)
    path = tmp_path / "study.db"
    study = index(path)
    thread = locked(path, seconds=2)
    with pytest.raises(StoreError) as caught, storage_errors(index_url(path)):
        study.ask()
    assert f"{path}: the search's index cannot be used (database is locked); no result is lost" in str(caught.value)
    thread.join()
    study.ask()


def test_a_connection_that_is_lost_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PATIENCE", 1.0)
    study = index(tmp_path / "study.db")
    engine: Any = study._storage._backend.engine  # type: ignore[attr-defined]
    connect, tried = engine.dialect.connect, []

    def fail(*arguments: Any, **named: Any) -> Any:
        tried.append(time.monotonic())
        if len(tried) < 4:
            raise sqlite3.OperationalError("unable to open database file")
        return connect(*arguments, **named)

    monkeypatch.setattr(engine.dialect, "connect", fail)
    engine.dispose()
    study.ask()
    assert len(tried) == 4
    assert 0.2 < tried[-1] - tried[0] < 3


def test_a_password_is_not_said() -> None:
    with pytest.raises(StoreError) as caught, storage_errors("postgresql+psycopg://me:secret@host/db"):
        raise optuna.exceptions.StorageInternalError("gone")
    assert "secret" not in str(caught.value)
    assert "me:***@host/db: the search's index cannot be used (gone)" in str(caught.value)
