"""The search for the smallest that meets a target, on the real Optuna in SQLite."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.search.open import SweepSearch
from sweep.search.protocol import Entries, SearchPlan
from sweep.search.smallest import Smallest
from sweep.search.trials import CONSTRAINT, LEGACY_CONSTRAINTS
from sweep.search.version_space import TIGHTER
from sweep.store.job import Job
from sweep.store.record import Record
from tests.sweep.search.searches import (
    SIZES,
    begin,
    by_keep,
    done,
    entries,
    failed,
    finish,
    planned,
    summed,
)


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


def test_without_one_that_meets_the_target_the_search_ends(folder: Path) -> None:
    """The loosest of each family tell it."""
    search = begin(folder, entries(), name="smallest", threshold=0.99)
    asked = finish(search, by_keep)
    assert len(asked) == 2
    assert sum(summed(search).skipped.values()) == 7
    index = optuna.load_study(study_name="s smallest min_accuracy 0.99 a0", storage=f"sqlite:///{folder / 'study.db'}")
    with pytest.raises(ValueError, match="feasible"):
        _ = index.best_trial


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


def test_a_search_by_macs_finds_the_fewest_and_of_equal_ones_the_fewest_bytes() -> None:
    """The second family has larger files and fewer MACs; of it, all that meet the target have equal MACs."""
    listed = Entries([dataclasses.replace(entry, macs=9 if entry.family == "one" else 5) for entry in entries()])

    def result(job: Job) -> Record:
        meets = float(job.configuration.get("keep", 0.0)) >= 0.3 or job.configuration.get("form") == "soft"
        return done(job, 0.95 if meets else 0.5, listed[listed.of(job)].nominal_bytes)

    winners = {}
    for by in ("bytes", "macs"):
        search = Smallest(planned(list(listed), name="smallest", threshold=0.9, by=by), ())  # type: ignore[arg-type]
        while (job := search.next()) is not None:
            search.tell(job, result(job))
        found = search._sampler.view(search._drawing.study).winner
        assert found is not None
        winners[by] = search._sampler.configurations[found]
    assert winners == {
        "bytes": {"family": "one", "one.keep": 0.3},
        "macs": {"family": "two", "two.size": 2, "two.form": "soft"},
    }


@pytest.mark.parametrize(("sizes", "winner"), [("expected", {"keep": 0.4}), ("nominal", {"keep": 0.3})])
def test_a_search_goes_by_the_files_that_it_has_seen(sizes: Any, winner: dict[str, float]) -> None:
    """Keep 0.4 has the smaller file, against its nominal size, as in no sweep; a sweep of format 1 does not look."""
    plan = dataclasses.replace(planned(entries()[:5], name="smallest", threshold=0.9), sizes=sizes)
    files = {0.5: 450, 0.4: 250, 0.3: 270, 0.2: 180, 0.1: 90}
    known = [done(job, 0.95 if keep >= 0.3 else 0.5, files[keep]) for keep, job in _jobs(plan)]
    search = Smallest(plan, known)
    found = search._sampler.view(search._drawing.study).winner
    assert found is not None
    assert search._sampler.configurations[found] == {"family": "one", "one.keep": winner["keep"]}


def test_a_search_learns_from_the_jobs_that_it_starts() -> None:
    search = Smallest(planned(entries(), name="smallest", threshold=0.9), ())
    job = search.next()
    assert job is not None
    search.tell(job, done(job, 0.95, 7))
    assert 7 in search._sampler.space.sizes.tolist()
    again = search.next()
    assert again is not None
    search.tell(again, failed(again))
    assert search._sampler.space.sizes.tolist().count(7) == 1


def _jobs(plan: SearchPlan) -> list[tuple[float, Job]]:
    return [(float(entry.configuration["keep"]), entry.jobs[0]) for entry in plan.entries]
