"""The search for a front by TPE, on the real Optuna in SQLite."""

from pathlib import Path

from sweep.search.index import open_index
from sweep.search.open import open_search
from tests.sweep.search.searches import SIZES, by_keep, entries, finish, planned, trials_of


def test_a_front_draws_each_configuration_once_and_minimises_what_it_is_asked_to(folder: Path) -> None:
    index = open_index(
        f"sqlite:///{folder / 'study.db'}",
        study="s",
        search="pareto",
        target={},
        space="a0",
        objectives=("error", "bytes", "macs"),
    )
    plan = planned(entries(), name="pareto", objectives=("error", "bytes", "macs"))
    search = open_search(plan, records=[], index=index)
    asked = finish(search, by_keep)
    assert sorted(job.id for job in asked) == sorted(entry.jobs[0].id for entry in entries())
    assert asked != [entry.jobs[0] for entry in entries()]
    kept = trials_of(folder, "s pareto with MACs a0")
    assert kept[0].values[1:] == [SIZES.get(kept[0].params.get("one.keep"), 600), 7]
