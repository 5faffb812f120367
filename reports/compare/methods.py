"""Sides of one study, level by level: what each method costs, and how it does against the first on the same jobs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from reports.compare.comparison import Comparison, Side, hypervolume_of, split_part
from reports.compare.paired import holm, signed_rank
from reports.facts.diagnostics import last_step
from sweep.criteria import UNTRAINED
from sweep.pick.choice import Candidate
from sweep.store.folder import SweepFolder
from sweep.store.job import Method, series_of
from sweep.store.records import finished, read_records

Level = tuple[str, str]
"""A family, and the label of one of its configurations."""


@dataclass(frozen=True)
class Paired:
    """The jobs of a side against those of the first of the same family, configuration and seed.

    Attributes:
        pairs: how many there are.
        mean: the mean of the error less the first's.
        better: in how many the error is lower than the first's.
        equal: in how many it is the same.
        p: of the signed-rank test, two-sided, Holm-corrected over all sides.
    """

    pairs: int
    mean: float
    better: int
    equal: int
    p: float


@dataclass(frozen=True)
class Iterates:
    """How the last Thetas of iterated direct compression relate to those before: whether it came to rest, or cycles.

    Attributes:
        jobs: whose diagnostics say so.
        rest: how many ended with the support or the codes of the step before.
        cycles: how many with those of an earlier step, but not of the step before.
        moved: ||Delta - Delta before|| / ||Delta|| at the last step, of each job, the least first.
    """

    jobs: int
    rest: int
    cycles: int
    moved: tuple[float, ...]


@dataclass(frozen=True)
class MethodFacts:
    """What a side is beside the first.

    Attributes:
        jobs: how many are done.
        epochs: the mean of a job.
        seconds: of each job, the least first.
        hypervolumes: of the front of each seed that all of its trained candidates have.
        paired: against the first side; None for the first, and where they share no job.
        iterates: of iterated direct compression; None of another method.
    """

    jobs: int
    epochs: float
    seconds: tuple[float, ...]
    hypervolumes: tuple[float, ...]
    paired: Paired | None
    iterates: Iterates | None


def sides_of_methods(given: str) -> list[str]:
    """DIR, or DIR:FAMILY, as one side for each method that has results there, LC first."""
    folder, family = split_part(given)
    if not (folder / "sweep.json").is_file():
        return [given]
    found = {(record.method, series_of(record)) for record in finished(read_records(folder))}
    parts = [
        method if family is None else series
        for method in get_args(Method)
        for of, series in sorted(found)
        if of == method and (family is None or series in (family, f"{family} ({method})"))
    ]
    return [f"{Path(folder)}:{part}" for part in dict.fromkeys(parts)]


def are_methods(comparison: Comparison) -> bool:
    """Whether each side has one method, and some side shares a job with the first."""
    first, *others = comparison.sides
    single = all(len({c.method for c in side.found}) == 1 for side in comparison.sides)
    return single and any(_differences(first, side) for side in others)


def method_facts(comparison: Comparison) -> tuple[MethodFacts, ...]:
    """The facts of each side; none where the sides are no methods (`are_methods`)."""
    if not are_methods(comparison):
        return ()
    first, *others = comparison.sides
    pairs = [_differences(first, side) for side in others]
    corrected = iter(holm([signed_rank(each) for each in pairs if each]))
    tests: list[Paired | None] = [None]
    for each in pairs:
        if each:
            better, equal = sum(d < -1e-12 for d in each), sum(abs(d) <= 1e-12 for d in each)
            tests.append(Paired(len(each), math.fsum(each) / len(each), better, equal, next(corrected)))
        else:
            tests.append(None)
    return tuple(
        MethodFacts(
            jobs=len(side.done),
            epochs=math.fsum(job.epochs for job in side.done.values()) / max(len(side.done), 1),
            seconds=tuple(sorted(job.seconds for job in side.done.values())),
            hypervolumes=tuple(_hypervolumes(side, comparison)),
            paired=test,
            iterates=_iterates(side),
        )
        for side, test in zip(comparison.sides, tests, strict=True)
    )


def levels_shared(comparison: Comparison) -> list[tuple[Level, tuple[Candidate | None, ...]]]:
    """Each level that the first side and another have, with the candidate of each side: at equal nominal bytes.

    None where the sides are no methods (`are_methods`).
    """
    if not are_methods(comparison):
        return []
    tables = [{_level(c): c for c in side.found} for side in comparison.sides]
    shared = [(c.family, -c.artifact_bytes, _level(c)) for c in comparison.sides[0].found]
    rows = [(level, tuple(table.get(level) for table in tables)) for *_, level in sorted(shared)]
    return [(level, found) for level, found in rows if sum(each is not None for each in found) > 1]


def _level(candidate: Candidate) -> Level:
    return candidate.family, candidate.label


def _differences(first: Side, side: Side) -> list[float]:
    """The error of each job of `side` less that of the first's. An untrained side has one job for all seeds."""
    own = {_level(c): dict(zip(c.seeds, c.errors, strict=True)) for c in first.found}
    found = []
    for candidate in side.found:
        errors = dict(zip(candidate.seeds, candidate.errors, strict=True))
        for seed, error in own.get(_level(candidate), {}).items():
            other = candidate.errors[0] if candidate.method in UNTRAINED else errors.get(seed)
            if other is not None:
                found.append(other - error)
    return found


def _iterates(side: Side) -> Iterates | None:
    """What the diagnostics of iterated direct compression say of its last steps; None where there are none."""
    folder = SweepFolder(split_part(side.name)[0])
    found = [last_step(folder, id) for id, job in side.done.items() if job.method == "idc"]
    lasts = [last for last in found if last]
    if not lasts:
        return None
    back = [(last["step"] - 1, last["returned_to"]) for last in lasts]
    return Iterates(
        jobs=len(lasts),
        rest=sum(earlier == before for before, earlier in back),
        cycles=sum(earlier is not None and earlier < before for before, earlier in back),
        moved=tuple(sorted(last["moved"] for last in lasts)),
    )


def _hypervolumes(side: Side, comparison: Comparison) -> list[float]:
    seeds = sorted(set.intersection(*(set(c.seeds) for c in side.found))) if side.found else []
    return [hypervolume_of(_of_seed(side, seed), comparison.corner, side.metric) for seed in seeds]


def _of_seed(side: Side, seed: int) -> Sequence[Candidate]:
    """The candidates as one seed has them."""
    rows = []
    for c in side.found:
        place = c.seeds.index(seed)
        job = side.done[c.ids[place]]
        rows.append(replace(c, seeds=(seed,), scores=(c.scores[place],), artifact_bytes=job.artifact_bytes))
    return rows
