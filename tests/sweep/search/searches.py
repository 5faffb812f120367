"""Searches of a small study, and made-up records of their jobs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna

from lc_core import Codebook
from sweep.criteria import Criteria
from sweep.job.compress import failure, stamped
from sweep.search.index import open_index
from sweep.search.open import SweepSearch, open_search
from sweep.search.protocol import Entries, Entry, SearchBy, SearchPlan
from sweep.search.summary import SearchSummary
from sweep.store.job import Job
from sweep.store.record import Done, Record, Score, Stopped
from sweep.study import Configuration, Family, Study
from tests.sweep.study.test_definition import make_study
from tests.sweep.tiny import done_record


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


def done(job: Job, accuracy: float, size: int = 100) -> Done:
    val = Score(value=accuracy, n=10, low=0.0, high=1.0)
    return done_record(job, seconds=0.1, val=val, artifact_bytes=size, nominal_bytes=size, macs=7)


def failed(job: Job) -> Record:
    return failure(job, message="ValueError: no", traceback="Traceback", seconds=0.1)


def stopped(job: Job) -> Record:
    facts = Stopped(step=6, steps=8, accuracy=0.3, bar=0.4, below=0.89)
    return Record(**stamped(job), status="stopped", seconds=0.1, stopped=facts)


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
    by: SearchBy = "bytes",
) -> SearchPlan:
    families = {family.name: family.knobs for family in STUDY.families}
    criteria = None if threshold is None else Criteria(threshold, confirm=confirm)
    return SearchPlan(name, Entries(listed), families, criteria, trials, objectives, by)


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
