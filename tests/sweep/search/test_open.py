"""What a search knows when it opens, its bound on jobs, and its index in SQLite."""

import shutil
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from sweep.search import index
from sweep.search.trials import CONSTRAINT, LEGACY_CONSTRAINTS
from sweep.store.job import Job
from tests.sweep.search.searches import begin, by_keep, done, entries, finish, stopped, summed, trials_of


def test_done_records_are_indexed_once_and_not_run_again(folder: Path) -> None:
    listed = entries(grid=True)
    known = [by_keep(entry.jobs[0]) for entry in listed[:3]] + [done(Job("0", "one", {"keep": 0.5}, "lc", 9, {}), 1.0)]
    for turn in range(2):
        search = begin(folder, listed, records=known)
        assert search.known == 3
        assert search.left() == 2
        assert len(trials_of(folder, "s grid a0")) == 3, turn
    assert [job.id for job in finish(search, by_keep)] == [entry.jobs[0].id for entry in listed[3:]]
    kept = trials_of(folder, "s grid a0")
    assert sorted(trial.user_attrs["job"] for trial in kept) == sorted(entry.jobs[0].id for entry in listed)
    again = begin(folder, listed, records=search.records())
    assert again.finished()
    assert again.next() is None
    assert len(trials_of(folder, "s grid a0")) == 5


def test_what_a_driver_that_died_had_not_written_is_written_from_the_records(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three jobs, the first is in the index already, the second waits for the next batch, the third ran."""
    listed = entries(grid=True)
    first = begin(folder, listed)
    jobs = [job for job in (first.next(), first.next(), first.next()) if job is not None]
    monkeypatch.setattr(index, "SECONDS_BETWEEN_WRITES", 1e9)
    for job in jobs[:2]:
        first.tell(job, by_keep(job))
    before = trials_of(folder, "s grid a0")
    assert [trial.user_attrs["job"] for trial in before] == [jobs[0].id]
    second = begin(folder, listed, records=first.records())
    after = trials_of(folder, "s grid a0")
    assert [trial.user_attrs["job"] for trial in after] == [job.id for job in jobs[:2]]
    assert [trial.number for trial in after] == [0, 1]
    assert second.next() == jobs[2]


def test_trials_that_another_left_running_are_closed(folder: Path) -> None:
    listed = entries(grid=True)
    begin(folder, listed)
    optuna.load_study(study_name="s grid a0", storage=f"sqlite:///{folder / 'study.db'}").ask()
    begin(folder, listed)
    assert [trial.state for trial in trials_of(folder, "s grid a0")] == [TrialState.FAIL]


def test_the_bound_counts_jobs_that_were_started(folder: Path) -> None:
    listed = entries(grid=True)
    search = begin(folder, listed, records=[by_keep(listed[0].jobs[0])], trials=2)
    assert search.left() == 2
    assert len(finish(search, by_keep)) == 2
    assert search.finished()
    assert (summed(search).started, summed(search).left) == (2, 2)


def test_each_target_and_search_has_an_index_of_its_own(folder: Path) -> None:
    begin(folder, entries(grid=True)[:1])
    for threshold in (0.9, 0.8):
        begin(folder, entries()[:1], name="smallest", threshold=threshold)
    names = optuna.get_all_study_names(f"sqlite:///{folder / 'study.db'}")
    assert sorted(names) == ["s grid a0", "s smallest min_accuracy 0.8 a0", "s smallest min_accuracy 0.9 a0"]


def test_what_a_grid_knows_is_known_to_the_search_with_its_constraints(folder: Path) -> None:
    listed = entries()
    known = [by_keep(entry.jobs[0]) for entry in entries(grid=True)]
    search = begin(folder, listed, name="smallest", records=known, threshold=0.9)
    assert search.known == 5
    name = "s smallest min_accuracy 0.9 a0"
    kept = trials_of(folder, name)
    assert [trial.user_attrs["known"] for trial in kept] == [True] * 5
    assert [trial.system_attrs[LEGACY_CONSTRAINTS][0] <= 0 for trial in kept] == [True, True, False, False, False]
    assert [trial.constraints[CONSTRAINT] <= 0 for trial in kept] == [True, True, False, False, False]
    assert [job.configuration for job in finish(search, by_keep)] == [{"keep": 0.2}]
    index = optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'study.db'}")
    assert index.best_trial.params == {"family": "one", "one.keep": 0.3}
    assert index.best_trial.user_attrs["job"] == listed[2].jobs[0].id
    assert len({tuple(sorted(trial.constraints)) for trial in index.trials}) == 1


@pytest.mark.parametrize(("name", "threshold"), [("grid", None), ("pareto", None), ("smallest", 0.9), ("tpe", 0.9)])
def test_a_job_that_was_stopped_is_not_known_and_runs_again(folder: Path, name: str, threshold: float | None) -> None:
    listed = entries()[2:4]  # of keep 0.3, which meets the target, and 0.2
    records = [by_keep(listed[0].jobs[0]), stopped(listed[1].jobs[0])]
    search = begin(folder, listed, name=name, records=records, threshold=threshold)
    assert search.known == 1
    assert finish(search, by_keep) == [listed[1].jobs[0]]
    again = begin(folder, listed, name=name, records=search.records(), threshold=threshold)
    assert (again.known, again.finished()) == (2, True)


@pytest.mark.parametrize(("name", "threshold"), [("grid", None), ("smallest", 0.9)])
def test_by_optunas_public_calls_a_search_and_its_index_are_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, threshold: float | None
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "study.db", other)
    known = [by_keep(entries()[0].jobs[0])]
    fast = finish(begin(folder, entries(), name=name, records=known, threshold=threshold), by_keep)
    monkeypatch.setattr("sweep.search.tables.SCHEMA", 0)
    assert finish(begin(other, entries(), name=name, records=known, threshold=threshold), by_keep) == fast
    study = f"s {name} a0" if threshold is None else f"s {name} min_accuracy {threshold} a0"
    seen = [
        [(t.number, t.state, t.params, t.values, t.user_attrs, t.system_attrs, t.constraints) for t in found]
        for found in (trials_of(folder, study), trials_of(other, study))
    ]
    assert seen[0] == seen[1]
    assert len(seen[0]) == len(fast) + 1
    again = begin(other, entries(), name=name, records=known, threshold=threshold)  # what is indexed stays once
    assert len(trials_of(other, study)) == len(seen[0])
    assert again.known == 1
