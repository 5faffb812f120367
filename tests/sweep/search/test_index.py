"""The index that is written in batches, on the real Optuna: what it writes is what Optuna itself would have."""

import contextlib
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.search import index as index_module
from sweep.search.index import Index, index_url, open_index, storage_errors
from sweep.search.tables import SCHEMA, PublicCalls, Tables, known_models
from sweep.store.files import StoreError
from tests.sweep.search.searches import begin, by_keep, entries, finish
from tests.sweep.tiny import folders_and_files

DISTRIBUTIONS = {"family": CategoricalDistribution(["one", "two"]), "one.keep": CategoricalDistribution([0.5, 1, "x"])}


def opened(folder: Path, search: str = "pareto") -> Index:
    return open_index(f"sqlite:///{folder / 'study.db'}", study="s", search=search, target={}, space="a0")


def read_back(folder: Path, search: str = "pareto") -> list[FrozenTrial]:
    return optuna.load_study(study_name=f"s {search} a0", storage=f"sqlite:///{folder / 'study.db'}").trials


def finished(number: int, **others: Any) -> FrozenTrial:
    facts: dict[str, Any] = {
        "params": {"family": "two", "one.keep": (0.5, 1, "x")[number % 3]},
        "distributions": DISTRIBUTIONS,
        "values": [0.25, 100.0 + number],
        "user_attrs": {"job": f"job {number}", "seed": number, "seconds": 0.5},
        "system_attrs": {"constraints": [-0.5]},
        "constraints": {"shortfall": -0.5},
        "intermediate_values": {0: 0.5, 3: float("inf"), 4: 0.25},
    }
    return create_trial(**(facts | others))


TRIALS = (
    *map(finished, range(3)),
    finished(3, state=TrialState.FAIL, values=None, user_attrs={"job": "j", "error": "ü: \x00 'no'", "lost": True}),
    finished(4, values=[float("inf"), float("-inf")]),
    finished(5, params={}, distributions={}, user_attrs={}, system_attrs={}, constraints=None),
)


def facts(trial: FrozenTrial) -> dict[str, Any]:
    names = (
        "number",
        "state",
        "values",
        "params",
        "distributions",
        "user_attrs",
        "system_attrs",
        "constraints",
        "intermediate_values",
    )
    return {name: getattr(trial, name) for name in (*names, "datetime_start", "datetime_complete")}


def test_a_batch_in_optunas_tables_is_what_its_public_calls_write(tmp_path: Path, monkeypatch: Any) -> None:
    """The public calls are the fallback for tables of another schema."""
    fast = opened(tmp_path)
    monkeypatch.setattr("sweep.search.tables.SCHEMA", 0)
    slow = opened(tmp_path, "grid")
    assert [type(index._writer) for index in (fast, slow)] == [Tables, PublicCalls]
    for index in (fast, slow):
        for trial in TRIALS:
            index.add(trial)
        index.write()
        index.study.ask()  # left running by another
        assert index.jobs() == {"job 0", "job 1", "job 2", "job 4"}
        assert index._writer.running() == []
    found = [[facts(trial) for trial in read_back(tmp_path, search)] for search in ("pareto", "grid")]
    asked = [trials.pop() for trials in found]
    assert found[0] == found[1]
    assert [facts["number"] for facts in found[0]] == list(range(len(TRIALS)))
    assert [facts["state"] for facts in asked] == [TrialState.FAIL] * 2


def test_tables_of_another_schema_or_place_are_left_alone(monkeypatch: Any) -> None:
    assert known_models() is not None
    monkeypatch.setattr("optuna.storages._rdb.models.SCHEMA_VERSION", SCHEMA + 1)
    assert known_models() is None
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "optuna.storages._rdb.models", None)
    assert known_models() is None


def test_the_first_is_written_at_once_and_what_follows_in_a_batch(tmp_path: Path, monkeypatch: Any) -> None:
    now = [100.0]
    monkeypatch.setattr("sweep.search.index.time.monotonic", lambda: now[0])
    index = opened(tmp_path)
    seen = []
    for seconds in (0, 0.2, 0.5, 0.4, 0.1):
        now[0] += seconds
        index.add(finished(len(seen)))
        seen.append(len(read_back(tmp_path)))
    assert seen == [1, 1, 1, 4, 4]
    index.write()
    assert len(read_back(tmp_path)) == 5
    index.write()
    assert len(read_back(tmp_path)) == 5


def test_a_storage_that_is_locked_for_a_while_holds_nothing_up_and_loses_nothing(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("sweep.search.index.SECONDS_BETWEEN_WRITES", 0.0)
    monkeypatch.setattr("sweep.search.index.PAUSES", 0)
    url = f"sqlite:///{tmp_path / 'study.db'}?timeout=0.05"
    index = open_index(url, study="s", search="pareto", target={}, space="a0")
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("begin immediate")
    index.add(finished(0))
    assert not index.jobs()
    other.execute("commit")
    other.close()
    index.add(finished(1))
    assert [trial.user_attrs["job"] for trial in read_back(tmp_path)] == ["job 0", "job 1"]


# Storages that cannot be used


@pytest.mark.parametrize("writer", [Tables, PublicCalls])
def test_a_driver_that_lost_its_lock_adds_nothing(tmp_path: Path, monkeypatch: Any, writer: type) -> None:
    """Optuna's own tables are checked with the transaction open, so that no time lies between check and end."""
    if writer is PublicCalls:
        monkeypatch.setattr("sweep.search.tables.known_models", lambda: None)
    held = {"lock": True}

    def check() -> None:
        if not held["lock"]:
            raise StoreError("another took the sweep over")

    url = f"sqlite:///{tmp_path / 'study.db'}"
    index = open_index(url, study="s", search="pareto", target={}, space="a0", check=check)
    assert type(index._writer) is writer
    index.add(finished(0))
    held["lock"] = False
    index.add(finished(1))
    before = (tmp_path / "study.db").read_bytes()
    with pytest.raises(StoreError, match="took the sweep over"):
        index.write()
    assert (tmp_path / "study.db").read_bytes() == before
    assert [trial.user_attrs["job"] for trial in read_back(tmp_path)] == ["job 0"]


def test_an_empty_file_becomes_a_storage(tmp_path: Path) -> None:
    """As SQLite takes it for a new database."""
    (tmp_path / "study.db").write_text("")
    assert finish(begin(tmp_path, entries(grid=True)[:1]), by_keep)


@pytest.mark.parametrize("content", ["a text\nof two lines\n", None])
def test_a_file_that_is_no_storage_is_named_and_kept(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "study.db"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("create table studies (name text)")
            other.execute("insert into studies values ('mine')")
        other.close()
    else:
        path.write_text(content)
    before = path.read_bytes()
    with pytest.raises(StoreError) as caught:
        begin(tmp_path, entries(grid=True))
    assert str(path) in str(caught.value)
    assert "expected a storage that Optuna can open" in str(caught.value)
    assert "--storage" in str(caught.value)
    assert "\n" not in str(caught.value)
    if content is not None:
        assert path.read_bytes() == before


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/study.db", "nonsense", "ftp://host/x"])
def test_a_storage_that_cannot_be_opened_is_named(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_index(url, study="s", search="grid", target={}, space="a0")
    assert str(caught.value).startswith(f"{url}: expected a storage that Optuna can open")
    assert "\n" not in str(caught.value)


def test_an_index_leaves_one_file(tmp_path: Path) -> None:
    finish(begin(tmp_path, entries(grid=True)[:1]), by_keep)
    assert list(folders_and_files(tmp_path)) == ["study.db"]


def test_a_storages_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PATIENCE", 0.0)
    with pytest.raises(StoreError) as caught:
        open_index("postgresql://me:secret@127.0.0.1:1/x", study="s", search="grid", target={}, space="a0")
    assert str(caught.value).startswith("postgresql://me:***@127.0.0.1:1/x: the search's index cannot be used")
    assert "secret" not in str(caught.value)


# Storages that are locked or out of reach for a while


def grid_index(path: Path, *, timeout: float = 5.0) -> Index:
    """An index in `path`. SQLite waits `timeout` seconds for a lock, by default five."""
    url = f"{index_url(path)}?timeout={timeout}"
    return open_index(url, study="s", search="grid", target={}, space="a0")


def one_trial() -> FrozenTrial:
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


def test_a_lock_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than SQLite would by itself, here a twentieth of a second. Meanwhile a run goes on."""
    monkeypatch.setattr(index_module, "PAUSE", 0.1)
    found = grid_index(tmp_path / "study.db", timeout=0.05)
    with locked(tmp_path / "study.db") as free:
        found.add(one_trial())
        started = time.monotonic()
        threading.Timer(1.0, free.set).start()
        found.write()
        assert time.monotonic() - started > 0.9
    assert [held.values for held in found.study.trials] == [[0.1, 100]]


def test_a_lock_that_stays_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PATIENCE", 0.5)
    monkeypatch.setattr(index_module, "PAUSE", 0.1)
    path = tmp_path / "study.db"
    found = grid_index(path, timeout=0.05)
    with locked(path):
        found.add(one_trial())
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
    found = grid_index(tmp_path / "study.db")
    insert, tried = Tables._insert, []

    def fail(self: Tables, session: Any, trials: Any) -> None:
        insert(self, session, trials)
        tried.append(words)
        if len(tried) <= 3:
            raise sqlalchemy.exc.OperationalError("COMMIT", None, sqlite3.OperationalError(words))

    monkeypatch.setattr(Tables, "_insert", fail)
    found.add(one_trial())
    assert not found.study.trials
    found.write()
    assert len(tried) == 4
    assert [held.values for held in found.study.trials] == [[0.1, 100]]


@pytest.mark.parametrize(
    ("url", "shown"),
    [("me:secret@host/db", "me:***@host/db"), ("host/db?user=me&password=secret", "host/db?password=hidden&user=me")],
)
def test_a_password_is_not_said(url: str, shown: str) -> None:
    with pytest.raises(StoreError) as caught, storage_errors(f"postgresql+psycopg://{url}"):
        raise optuna.exceptions.StorageInternalError("secret is wrong")
    assert f"//{shown}: the search's index cannot be used (*** is wrong)" in str(caught.value)


def test_a_lock_is_waited_for_when_a_search_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether the index is there already or not. One line says so."""
    monkeypatch.setattr(index_module, "PAUSE", 0.05)
    path = tmp_path / "study.db"
    path.touch()
    for _ in range(2):
        caplog.clear()
        with locked(path) as free:
            started = time.monotonic()
            threading.Timer(0.5, free.set).start()
            found = grid_index(path, timeout=0.05)
            assert time.monotonic() - started > 0.4
        assert caplog.messages == ["waiting up to 60 s for the search's index (database is locked)"]
        found.add(one_trial())
    assert len(found.study.trials) == 2


def test_a_lock_that_stays_when_a_search_starts_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PATIENCE", 0.2)
    monkeypatch.setattr(index_module, "PAUSE", 0.05)
    path = tmp_path / "study.db"
    grid_index(path)
    with locked(path), pytest.raises(StoreError) as caught:
        grid_index(path, timeout=0.05)
    assert str(caught.value).endswith(
        "study.db?timeout=0.05: the search's index cannot be used (database is locked); no result is lost: "
        "the same command goes on once it can"
    )


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("disk I/O error"), True),
        (sqlite3.OperationalError("unable to open database file"), False),
        (sqlite3.OperationalError("attempt to write a readonly database"), False),
        (Exception("connection to server failed: FATAL:  the database system is starting up"), True),
        (Exception("connection to server failed: Connection refused"), True),
        (Exception('connection to server failed: FATAL:  database "x" does not exist'), False),
        (Exception("FATAL:  password authentication failed for user"), False),
    ],
    ids=str,
)
def test_which_errors_are_waited_for_when_a_search_starts(error: Exception, passes: bool) -> None:
    assert index_module._passes(sqlalchemy.exc.OperationalError("SELECT", None, error)) is passes
    assert not index_module._passes(sqlalchemy.exc.DatabaseError("SELECT", None, error))


def test_an_index_that_was_damaged_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    found = grid_index(path)
    found.study._storage.remove_session()
    found.study._storage._backend.engine.dispose()
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * (size - 100))
    found.add(one_trial())
    with pytest.raises(StoreError) as caught, storage_errors(index_url(path)):
        found.write()
    assert "no result is lost: move it away, and the same command makes it again from the records" in str(caught.value)
