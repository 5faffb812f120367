"""The index that is written in batches, on the real Optuna: what it writes is what Optuna itself would have."""

import sqlite3
import sys
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.search.index import Index, open_index
from sweep.search.tables import SCHEMA, PublicCalls, Tables, known_models

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
    }
    return create_trial(**(facts | others))


TRIALS = (
    *map(finished, range(3)),
    finished(3, state=TrialState.FAIL, values=None, user_attrs={"job": "j", "error": "ü: \x00 'no'", "lost": True}),
    finished(4, values=[float("inf"), float("-inf")]),
    finished(5, params={}, distributions={}, user_attrs={}, system_attrs={}, constraints=None),
)


def facts(trial: FrozenTrial) -> dict[str, Any]:
    names = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs", "constraints")
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
