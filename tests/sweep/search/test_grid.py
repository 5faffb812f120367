"""The grid, on the real Optuna in SQLite."""

import json
from pathlib import Path

import pytest
from optuna.trial import TrialState

from sweep.search.summary import SearchSummary
from sweep.store.fields import from_file
from tests.sweep.search.searches import begin, by_keep, entries, failed, finish, summed, trials_of


def test_a_grid_asks_for_each_job_once_ends_first_and_keeps_them_in_optunas_study(folder: Path) -> None:
    """Of keep 0.5, 0.3 and 0.1, and of size 4 and 2: the ends of each family, then the middle."""
    listed = entries(grid=True)
    search = begin(folder, listed)
    assert search.left() == 5
    in_order = [listed[number].jobs[0] for number in (0, 3, 2, 4, 1)]
    assert finish(search, by_keep) == in_order
    assert search.left() == 0
    kept = trials_of(folder, "s grid a0")
    assert [trial.state for trial in kept] == [TrialState.COMPLETE] * 5
    assert [trial.user_attrs["job"] for trial in kept] == [job.id for job in in_order]
    assert kept[0].params == {"family": "one", "one.keep": 0.5}
    assert kept[1].params == {"family": "two", "two.size": 4, "two.form": "soft"}
    assert kept[0].values == [pytest.approx(0.05), 500]
    assert kept[0].user_attrs["seconds"] == 0.1
    summary = summed(search)
    assert summary == SearchSummary("grid", 5, 5, 0, 5, 0, {}, 0, "lc", None, 1.5)
    written = summary.to_json() | {"stopped": 3}  # as earlier releases wrote it
    assert from_file(SearchSummary, json.loads(json.dumps(written)), Path("grid.json")) == summary


def test_a_failed_job_is_not_asked_again_in_the_same_run_and_is_in_the_next(folder: Path) -> None:
    listed = entries(grid=True)[:2]
    first = begin(folder, listed)
    asked = finish(first, lambda job: failed(job) if job == listed[0].jobs[0] else by_keep(job))
    assert len(asked) == 2
    assert (summed(first).failed, summed(first).left) == (1, 0)
    states = [trial.state for trial in trials_of(folder, "s grid a0")]
    assert states == [TrialState.FAIL, TrialState.COMPLETE]
    assert trials_of(folder, "s grid a0")[0].user_attrs["error"] == "ValueError: no"
    second = begin(folder, listed, records=first.records())
    assert (second.known, second.left()) == (1, 1)
    assert finish(second, by_keep) == [listed[0].jobs[0]]
    assert summed(second).failed == 0


def test_a_lost_job_may_be_asked_for_again(folder: Path) -> None:
    listed = entries(grid=True)[:1]
    search = begin(folder, listed)
    job = search.next()
    assert job is not None
    assert search.next() is None
    assert not search.finished()
    search.tell(job, None)
    assert not search.finished()
    assert search.next() == job
    search.tell(job, by_keep(job))
    assert search.finished()
    search.write()
    first, second = trials_of(folder, "s grid a0")
    assert (first.state, first.user_attrs["lost"]) == (TrialState.FAIL, True)
    assert second.state == TrialState.COMPLETE


def test_a_grid_asks_for_all_seeds_of_a_configuration_before_the_next(folder: Path) -> None:
    listed = entries(grid=True, seeds=2)[:2]
    assert finish(begin(folder, listed), by_keep) == [*listed[0].jobs, *listed[1].jobs]


def test_a_grid_runs_all_seeds_though_one_failed(folder: Path) -> None:
    listed = entries(grid=True, seeds=3)
    search = begin(folder, listed)
    asked = finish(search, lambda job: failed(job) if job.seed == 0 else by_keep(job))
    assert len(asked) == sum(len(entry.jobs) for entry in listed)
    assert summed(search).left == 0
