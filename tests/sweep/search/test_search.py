"""Searches on the real Optuna, in SQLite; the jobs' records are made up."""

import dataclasses
import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from lc_core import Codebook
from sweep.criteria import Criteria
from sweep.search import index
from sweep.search.index import open_index
from sweep.search.open import SweepSearch, open_search
from sweep.search.protocol import Entries, Entry, SearchPlan
from sweep.search.summary import SearchSummary
from sweep.search.trials import CONSTRAINT, LEGACY_CONSTRAINTS
from sweep.search.version_space import TIGHTER
from sweep.store.files import StoreError
from sweep.store.job import Job
from sweep.store.record import Record
from sweep.study import Configuration, Family, Study
from tests.sweep.study.test_definition import make_study
from tests.sweep.tiny import folders_and_files


def plan(configuration: Configuration) -> dict[str, Codebook]:
    return {"*": Codebook(size=2)}


STUDY = make_study(
    Family("one", {"keep": (0.5, 0.4, 0.3, 0.2, 0.1)}, plan, grid={"keep": (0.5, 0.3, 0.1)}),
    Family("two", {"size": (4, 2), "form": ("soft", "hard")}, plan, grid={"form": ("soft",)}),
)
SIZES = {0.5: 500, 0.4: 400, 0.3: 300, 0.2: 200, 0.1: 100}


def entries(*, study: Study = STUDY, grid: bool = False, seeds: int = 1) -> list[Entry]:
    """Every configuration, or those of the grid; the second family is larger than the first."""
    found = []
    for family in study.families:
        for configuration in family.grid_configurations() if grid else family.configurations():
            size = SIZES.get(configuration.get("keep"), 1000) if family.name == "one" else 600 + configuration["size"]  # type: ignore[arg-type, operator]
            jobs = tuple(Job("f" * 16, family.name, configuration, "lc", seed, {"epochs": 1}) for seed in range(seeds))
            found.append(Entry(family.name, configuration, int(size), 7, True, "0", jobs))
    return found


def done(job: Job, accuracy: float, size: int = 100) -> Record:
    val = {"accuracy": accuracy, "n": 10}
    return dataclasses.asdict(job) | {
        "id": job.id,
        "status": "done",
        "seconds": 0.1,
        "val": val,
        "artifact_bytes": size,
    }


def failed(job: Job) -> Record:
    error = {"message": "ValueError: no", "traceback": "Traceback"}
    return dataclasses.asdict(job) | {"id": job.id, "status": "failed", "seconds": 0.1, "val": None, "error": error}


def begin(
    folder: Path,
    listed: Sequence[Entry],
    *,
    name: Any = "grid",
    records: Sequence[Record] = (),
    threshold: float | None = None,
    trials: int | None = None,
    confirm: int = 0,
) -> SweepSearch:
    target = {} if threshold is None else {"min_accuracy": threshold}
    kept = open_index(f"sqlite:///{folder / 'study.db'}", study="s", search=name, target=target, space="a0")
    return open_search(
        planned(listed, name=name, threshold=threshold, trials=trials, confirm=confirm), records=records, index=kept
    )


def planned(
    listed: Sequence[Entry],
    *,
    name: Any = "grid",
    threshold: float | None = None,
    trials: int | None = None,
    confirm: int = 0,
    objectives: tuple[str, ...] = ("error", "bytes"),
) -> SearchPlan:
    families = {family.name: family.knobs for family in STUDY.families}
    criteria = None if threshold is None else Criteria(threshold, confirm=confirm)
    return SearchPlan(name, Entries(listed), families, criteria, trials, objectives)


def summed(search: SweepSearch) -> SearchSummary:
    return search.summary(target=None, seconds=1.5)


def finish(search: SweepSearch, result: Callable[[Job], Record]) -> list[Job]:
    """The jobs that `search` asks for, told one by one."""
    asked = []
    while (job := search.next()) is not None:
        asked.append(job)
        search.tell(job, result(job))
    assert search.finished()
    search.write()
    return asked


def trials_of(folder: Path, name: str) -> list[optuna.trial.FrozenTrial]:
    """What the storage holds, read by another connection."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{folder / 'study.db'}").trials


def by_keep(job: Job) -> Record:
    """The target of 0.9 is met by the first family down to keep 0.3; bytes as keep says."""
    keep = float(job.configuration.get("keep", 0.0))
    return done(job, 0.95 if keep >= 0.3 else 0.5, SIZES.get(keep, 600))


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Optuna storage without a study: to make its tables takes most of a test's time."""
    path = tmp_path_factory.mktemp("empty") / "study.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(tmp_path: Path, empty: Path) -> Path:
    """A folder with an empty storage in it."""
    shutil.copy(empty, tmp_path)
    return tmp_path


# A grid


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
    assert SearchSummary.from_json(json.loads(json.dumps(written))) == summary


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


def test_the_bound_counts_jobs_that_were_started(folder: Path) -> None:
    listed = entries(grid=True)
    search = begin(folder, listed, records=[by_keep(listed[0].jobs[0])], trials=2)
    assert search.left() == 2
    assert len(finish(search, by_keep)) == 2
    assert search.finished()
    assert (summed(search).started, summed(search).left) == (2, 2)


def test_a_grid_asks_for_all_seeds_of_a_configuration_before_the_next(folder: Path) -> None:
    listed = entries(grid=True, seeds=2)[:2]
    assert finish(begin(folder, listed), by_keep) == [*listed[0].jobs, *listed[1].jobs]


# The smallest


def test_the_smallest_that_meets_the_target_is_optunas_best(folder: Path) -> None:
    listed = entries()
    search = begin(folder, listed, name="smallest", threshold=0.9)
    asked = finish(search, by_keep)
    assert {job.configuration["keep"] for job in asked if job.family == "one"} >= {0.3, 0.2}
    assert len(asked) < len(listed)
    summary = summed(search)
    assert summary.left == 0
    assert len(asked) + sum(summary.skipped.values()) == summary.configurations == 9
    index = optuna.load_study(study_name="s smallest min_accuracy 0.9 a0", storage=f"sqlite:///{folder / 'study.db'}")
    assert index.best_trial.params == {"family": "one", "one.keep": 0.3}
    assert index.best_trial.values == [300]
    for trial in index.trials:
        met = trial.params.get("one.keep", 0.0) >= 0.3
        shortfall = 0.9 - (0.95 if met else 0.5)
        assert trial.constraints[CONSTRAINT] == pytest.approx(shortfall)
        assert trial.system_attrs[LEGACY_CONSTRAINTS] == [pytest.approx(shortfall)]


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


def test_without_one_that_meets_the_target_the_search_ends(folder: Path) -> None:
    """The loosest of each family tell it."""
    search = begin(folder, entries(), name="smallest", threshold=0.99)
    asked = finish(search, by_keep)
    assert len(asked) == 2
    assert sum(summed(search).skipped.values()) == 7
    index = optuna.load_study(study_name="s smallest min_accuracy 0.99 a0", storage=f"sqlite:///{folder / 'study.db'}")
    with pytest.raises(ValueError, match="feasible"):
        _ = index.best_trial


def test_each_target_and_search_has_an_index_of_its_own(folder: Path) -> None:
    begin(folder, entries(grid=True)[:1])
    for threshold in (0.9, 0.8):
        begin(folder, entries()[:1], name="smallest", threshold=threshold)
    names = optuna.get_all_study_names(f"sqlite:///{folder / 'study.db'}")
    assert sorted(names) == ["s grid a0", "s smallest min_accuracy 0.8 a0", "s smallest min_accuracy 0.9 a0"]


def test_all_seeds_of_a_configuration_run_and_one_miss_stops_the_others(folder: Path) -> None:
    """Seed 1 of keep 0.3 misses: its seed 2 is never started; of what is tighter the tightest has a chance."""
    listed = entries(seeds=3)[:5]
    search = begin(folder, listed, name="smallest", threshold=0.9)

    def result(job: Job) -> Record:
        keep = float(job.configuration["keep"])
        return done(job, 0.95 if keep > 0.3 or (keep == 0.3 and job.seed == 0) else 0.5, SIZES[keep])

    asked = [(job.configuration["keep"], job.seed) for job in finish(search, result)]
    assert [seed for keep, seed in asked if keep == 0.3] == [0, 1]
    assert [seed for keep, seed in asked if keep == 0.4] == [0, 1, 2]
    assert [(keep, seed) for keep, seed in asked if keep in (0.2, 0.1)] == [(0.1, 0)]


def test_a_failed_seed_stops_its_others(folder: Path) -> None:
    listed = entries(seeds=3)[:1]
    search = begin(folder, listed, name="smallest", threshold=0.9)
    assert finish(search, failed) == [listed[0].jobs[0]]


def test_results_that_arrive_late_are_used(folder: Path) -> None:
    """Three workers: what runs is not asked for again; a tighter miss and a looser hit end the search."""
    search = begin(folder, entries()[:5], name="smallest", threshold=0.9)
    running: dict[str, Job] = {}
    asked = []
    while not search.finished():
        while len(running) < 3 and (job := search.next()) is not None:
            assert job.id not in running
            running[job.id] = job
            asked.append(job)
        job = running.pop(max(running))
        search.tell(job, by_keep(job))
    assert summed(search).left == 0
    assert {0.3, 0.2} <= {job.configuration["keep"] for job in asked}


# Storages that cannot be used


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


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all/study.db", "nonsense", "ftp://host/x", "postgresql://"])
def test_a_storage_that_cannot_be_opened_is_named(url: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_index(url, study="s", search="grid", target={}, space="a0")
    assert str(caught.value).startswith(f"{url}: expected a storage that Optuna can open")
    assert "\n" not in str(caught.value)


def test_an_index_leaves_one_file(tmp_path: Path) -> None:
    finish(begin(tmp_path, entries(grid=True)[:1]), by_keep)
    assert list(folders_and_files(tmp_path)) == ["study.db"]


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


# Seeds


def test_a_grid_runs_all_seeds_though_one_failed(folder: Path) -> None:
    listed = entries(grid=True, seeds=3)
    search = begin(folder, listed)
    asked = finish(search, lambda job: failed(job) if job.seed == 0 else by_keep(job))
    assert len(asked) == sum(len(entry.jobs) for entry in listed)
    assert summed(search).left == 0


def test_seeds_of_another_run_that_miss_rule_a_configuration_out(folder: Path) -> None:
    """Seed 7 of keep 0.3 missed the target before: a search over seed 0 knows it."""
    listed = entries()[:5]
    other = dataclasses.replace(listed[2].jobs[0], seed=7)
    search = begin(folder, listed, name="smallest", threshold=0.9, records=[done(other, 0.5)])
    assert summed(search).skipped == {TIGHTER: 2}
    asked = finish(search, lambda job: done(job, 0.95 if job.configuration["keep"] != 0.1 else 0.5))
    assert not {0.3, 0.2} & {job.configuration["keep"] for job in asked}


def test_records_of_a_grid_with_one_seed_cost_a_search_with_three_no_job(folder: Path, tmp_path: Path) -> None:
    listed = entries(seeds=3)[:5]
    known = [by_keep(entry.jobs[0]) for entry in listed]
    alone = finish(begin(folder, listed, name="smallest", threshold=0.9), by_keep)
    other = tmp_path / "other"
    other.mkdir()
    search = begin(other, listed, name="smallest", threshold=0.9, records=known)
    assert len(finish(search, by_keep)) <= len(alone)
    summary = summed(search)
    assert sum(summary.skipped.values()) + summary.left == 0  # each has a record: none is unknown


def test_a_storages_password_is_not_shown() -> None:
    with pytest.raises(StoreError) as caught:
        open_index("postgresql://me:secret@127.0.0.1:1/x", study="s", search="grid", target={}, space="a0")
    assert str(caught.value).startswith("postgresql://me:***@127.0.0.1:1/x: expected a storage")
    assert "secret" not in str(caught.value)


# Records of an earlier release, which stopped jobs that seemed hopeless


def stopped(job: Job) -> Record:
    facts = {"step": 6, "steps": 8, "accuracy": 0.3, "bar": 0.4, "below": 0.89}
    return dataclasses.asdict(job) | {"id": job.id, "status": "stopped", "seconds": 0.1, "val": None, "stopped": facts}


@pytest.mark.parametrize(("name", "threshold"), [("grid", None), ("pareto", None), ("smallest", 0.9), ("tpe", 0.9)])
def test_a_job_that_was_stopped_is_not_known_and_runs_again(folder: Path, name: str, threshold: float | None) -> None:
    listed = entries()[2:4]  # of keep 0.3, which meets the target, and 0.2
    records = [by_keep(listed[0].jobs[0]), stopped(listed[1].jobs[0])]
    search = begin(folder, listed, name=name, records=records, threshold=threshold)
    assert search.known == 1
    assert finish(search, by_keep) == [listed[1].jobs[0]]
    again = begin(folder, listed, name=name, records=search.records(), threshold=threshold)
    assert (again.known, again.finished()) == (2, True)


# Confirmation, TPE and the front


def tried_seeds(search: SweepSearch, accuracy: Callable[[Job], float]) -> list[tuple[Any, int]]:
    asked = finish(search, lambda job: done(job, accuracy(job), SIZES[float(job.configuration["keep"])]))
    return [(job.configuration["keep"], job.seed) for job in asked]


@pytest.mark.parametrize("name", ["smallest", "tpe"])
def test_a_winner_is_confirmed_on_fresh_seeds_and_the_next_takes_its_place(folder: Path, name: str) -> None:
    """Keep 0.2 meets the target with its first seed alone, keep 0.3 with all."""

    def accuracy(job: Job) -> float:
        keep = float(job.configuration["keep"])
        return 0.95 if keep >= 0.3 or (keep == 0.2 and job.seed == 0) else 0.85

    search = begin(folder, entries()[:5], name=name, threshold=0.9, confirm=3)
    asked = tried_seeds(search, accuracy)
    assert [seed for keep, seed in asked if keep == 0.3][:4] == [0, 1, 2, 3]
    assert {seed for keep, seed in asked if keep == 0.2} >= {0, 1}
    assert len(set(asked)) == len(asked)
    again = begin(folder, entries()[:5], name=name, threshold=0.9, confirm=3, records=search.records())
    assert again.finished()


def test_seeds_of_another_run_count_for_the_confirmation(folder: Path) -> None:
    listed = entries()[2:4]
    jobs = [dataclasses.replace(listed[0].jobs[0], seed=seed) for seed in (5, 6, 7)]
    search = begin(
        folder, listed, name="smallest", threshold=0.9, confirm=3, records=[done(job, 0.95, 300) for job in jobs]
    )
    assert search.known == 3
    asked = tried_seeds(search, lambda job: 0.95 if job.configuration["keep"] == 0.3 else 0.5)
    assert sorted(asked, reverse=True) == [(0.3, 0), (0.2, 0)]


def test_a_front_draws_each_configuration_once_and_minimises_what_it_is_asked_to(folder: Path) -> None:
    index = open_index(
        f"sqlite:///{folder / 'study.db'}", study="s", search="pareto", target={}, space="a0", objectives=3
    )
    plan = planned(entries(), name="pareto", objectives=("error", "bytes", "macs"))
    search = open_search(plan, records=[], index=index)
    asked = finish(search, lambda job: by_keep(job) | {"macs": 7})
    assert sorted(job.id for job in asked) == sorted(entry.jobs[0].id for entry in entries())
    assert asked != [entry.jobs[0] for entry in entries()]
    kept = trials_of(folder, "s pareto with MACs a0")
    assert kept[0].values[1:] == [SIZES.get(kept[0].params.get("one.keep"), 600), 7]
