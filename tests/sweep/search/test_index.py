"""The index that is written behind, on the real Optuna: what it writes is what Optuna itself would have."""

import sqlite3
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.search.index import Index
from sweep.search.search import open_index

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


def test_a_batch_is_what_optuna_would_have_written_one_by_one(tmp_path: Path) -> None:
    ours, theirs = opened(tmp_path), opened(tmp_path, "grid")
    for trial in TRIALS:
        ours.add(trial)
    ours.write()
    theirs.study.add_trials(TRIALS)
    assert [facts(trial) for trial in read_back(tmp_path)] == [facts(trial) for trial in read_back(tmp_path, "grid")]
    assert [trial.number for trial in read_back(tmp_path)] == list(range(len(TRIALS)))
    assert ours.jobs() == {"job 0", "job 1", "job 2", "job 4"}


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
