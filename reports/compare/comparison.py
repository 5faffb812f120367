"""The comparison of sweeps, or of parts of them: fronts, hypervolumes, and the smallest models at equal error."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.compare.points import Point, check_points
from reports.facts.rows import families_of
from reports.facts.units import Units
from sweep.criteria import ROUNDING, UNTRAINED, fresh
from sweep.pick.choice import Candidate, candidates
from sweep.pick.pareto import Costs, front, hypervolume
from sweep.store.job import METHODS, series_of
from sweep.store.manifest import Reference, read_manifest
from sweep.store.metric import Metric
from sweep.store.record import Done, Record
from sweep.store.records import finished, read_records
from sweep.target import Target

_PART = {"model": "model", "loss": "loss, metric or augmentation", "reference": "training of the reference"}
POINTS = (0.0, 0.005, 0.01, 0.02, 0.05)
"""Sizes are compared at the first reference's error plus each of these, where the largest error is 1."""
PARTS = (0.0, 0.01, 0.02, 0.05, 0.1)
"""Without a largest error: plus each of these parts of the first reference's value."""


@dataclass(frozen=True)
class Side:
    """A sweep, or a part of one, that is compared.

    Attributes:
        name: as it was given, DIR or DIR:PART.
        study: its name.
        parts: part of the study (model, data, loss, reference) -> hash.
        reference: the reference model.
        metric: what was measured.
        target: the study's own; None without one.
        found: the candidates, the smallest first.
        front: the candidates on its front of bytes against mean error.
        done: the records of its jobs that are done, by id.
        families: of its sweep, in the order by which they have colours.
    """

    name: str
    study: str
    parts: Mapping[str, str]
    reference: Reference
    metric: Metric
    target: Target | None
    found: tuple[Candidate, ...]
    front: tuple[Candidate, ...]
    done: Mapping[str, Done]
    families: tuple[str, ...]

    def smallest(self, threshold: float) -> Candidate | None:
        """The candidate with the fewest bytes whose mean score is `threshold` or more; None without one."""
        least = threshold - _rounding(threshold)
        means = (math.fsum(fresh(c.scores)) / len(fresh(c.scores)) for c in self.found)
        return next((c for c, mean in zip(self.found, means, strict=True) if mean >= least), None)

    @property
    def best(self) -> Candidate | None:
        """The candidate with the least mean error; None without candidates."""
        return min(self.found, key=lambda candidate: candidate.mean_error, default=None)

    @property
    def trained(self) -> set[int]:
        """The numbers of seeds of its trained candidates."""
        return {len(candidate.seeds) for candidate in self.found if candidate.method not in UNTRAINED}

    @property
    def seeds(self) -> tuple[int, int]:
        """The fewest and the most seeds of a candidate; (0, 0) without candidates."""
        counts = [len(candidate.seeds) for candidate in self.found] or [0]
        return min(counts), max(counts)


@dataclass(frozen=True)
class Level:
    """An error, and the smallest model of each side whose error is at most that; None where there is none."""

    name: str
    error: float
    reached: tuple[Candidate | None, ...]

    def to_first(self, found: Candidate) -> float | None:
        """The bytes of `found` over those of the first side's model; None where that has none at this level."""
        first = self.reached[0]
        return None if first is None else found.artifact_bytes / first.artifact_bytes


@dataclass(frozen=True)
class Comparison:
    """A comparison of two sides or more.

    Attributes:
        sides: in the order given.
        levels: the errors at which sizes are compared, the least first.
        corner: the reference point of the hypervolumes: bytes of the largest reference, error of the last level.
        hypervolumes: of each side, in decades of bytes times the unit of the error: points of a fraction.
        joint: how many of each side's candidates are on the front of all sides together.
        notes: a sentence for each thing in which the sides differ.
        points: models of others, to be shown beside the sides.
    """

    sides: tuple[Side, ...]
    levels: tuple[Level, ...]
    corner: tuple[int, float]
    hypervolumes: tuple[float, ...]
    joint: tuple[int, ...]
    notes: tuple[str, ...]
    points: tuple[Point, ...] = ()

    @property
    def units(self) -> Units:
        """How errors are written: all sides have one metric."""
        return Units(self.sides[0].metric)

    @property
    def best(self) -> tuple[Candidate, ...]:
        """The candidates on the front of all sides together, the smallest first."""
        found = sorted((c for side in self.sides for c in side.front), key=lambda c: c.artifact_bytes)
        return tuple(c for c, best in zip(found, front(_costs(found)), strict=True) if best)

    @property
    def families(self) -> tuple[str, ...]:
        """The families of all sides, those of the first one first, so that these have the colours of its reports."""
        return tuple(dict.fromkeys(family for side in self.sides for family in side.families))

    @property
    def short_names(self) -> tuple[str, ...]:
        """The part of each side where all are of one sweep; else folders, relative to the one that holds them all."""
        split = [split_part(side.name) for side in self.sides]
        folders = [os.path.abspath(folder) for folder, _ in split]
        parts = [part for _, part in split if part is not None]
        if len(set(folders)) == 1 and len(parts) == len(split):
            return tuple(parts)
        common = os.path.commonpath([os.path.dirname(folder) for folder in folders])
        shown = [os.path.relpath(folder, common) for folder in folders]
        return tuple(f"{name}:{part}" if part else name for name, (_, part) in zip(shown, split, strict=True))


def compare(given: Sequence[str], *, target: Target | None = None, points: tuple[Point, ...] = ()) -> Comparison:
    """The comparison of the sweeps in `given`, each DIR or DIR:PART.

    PART is a method, lc or dc, or a family as reports name it: "prune" or "prune (dc)". Where `target` is None, that of
    the first sweep with one counts. A drop is from the first side's reference. `points` change no number.

    Raises:
        ValueError: there are fewer than two sides, or their data differ, so that their errors cannot be compared.
    """
    if len(given) < 2 or len(set(given)) < len(given):
        raise ValueError(
            f"expected two sweeps or more, each once, got {', '.join(given) or 'none'}; a part of one is DIR:PART"
        )
    sides = tuple(read_side(name) for name in given)
    for side in sides[1:]:
        if side.metric != sides[0].metric:
            raise ValueError(
                f"{side.name} and {sides[0].name}: expected sweeps of one metric, got {side.metric.label} and "
                f"{sides[0].metric.label}"
            )
        if side.parts.get("data") != sides[0].parts.get("data"):
            raise ValueError(
                f"{side.name} and {sides[0].name}: their errors are on different data or splits; expected sweeps of "
                "the same"
            )
    if target is not None:
        target.check(sides[0].metric)
    check_points(points, sides[0].metric)
    levels = _levels(sides, target=target)
    corner = (max(side.reference.bytes for side in sides), levels[-1].error)
    return Comparison(
        sides=sides,
        levels=levels,
        corner=corner,
        hypervolumes=tuple(hypervolume_of(side.front, corner, side.metric) for side in sides),
        joint=_joint(sides),
        notes=_notes(sides),
        points=points,
    )


def read_side(given: str) -> Side:
    """The side that `given` names."""
    folder, part = split_part(given)
    manifest, records = read_manifest(folder), read_records(folder)
    families = families_of(manifest, candidates(records))
    if part is not None:
        known = sorted({name for record in records for name in _names(record)})
        records = [record for record in records if part in _names(record)]
        if not records:
            have = "; ".join(known) or "it has no results"
            how = f"; lcsweep run STUDY --method {part} adds {part}" if part in METHODS else ""
            raise ValueError(f"{given}: expected a method or a family of the sweep ({have}), got {part!r}{how}")
    found = candidates(records)
    return Side(
        name=given,
        study=manifest.study,
        parts=manifest.study_parts,
        reference=manifest.reference,
        metric=manifest.metric,
        target=manifest.target,
        found=tuple(found),
        front=tuple(c for c, best in zip(found, front(_costs(found)), strict=True) if best),
        done={record.id: record for record in finished(records)},
        families=families,
    )


def split_part(given: str) -> tuple[Path, str | None]:
    """The folder and the part that DIR or DIR:PART names. A folder may have a colon in its name."""
    folder, colon, part = given.rpartition(":")
    if Path(given).is_dir() or not colon or not Path(folder).is_dir():
        return Path(given), None
    return Path(folder), part


def _names(record: Record) -> set[str]:
    """The parts of its sweep that a record belongs to."""
    return {record.method, series_of(record)}


def _levels(sides: Sequence[Side], *, target: Target | None) -> tuple[Level, ...]:
    score, metric = sides[0].reference.val.score, sides[0].metric
    drops = {drop: drop for drop in POINTS} if metric.fraction else {part * abs(score): part for part in PARTS}
    named = {score - drop: _above(given, Units(metric)) for drop, given in drops.items()}
    aim = target or next((side.target for side in sides if side.target), None)
    if aim is not None:
        threshold = aim.threshold(score)
        # The threshold of a drop is less by as much as a rounding error.
        same = next((known for known in named if abs(known - threshold) < 2 * _rounding(score)), threshold)
        named[same] = f"{named[same]}, target" if same in named else "target"
    levels = (
        Level(name, metric.error(metric.value(threshold)), tuple(side.smallest(threshold) for side in sides))
        for threshold, name in sorted(named.items(), reverse=True)
    )
    return tuple(level for level in levels if level.error < 1 or not metric.fraction)


def _rounding(score: float) -> float:
    """The rounding error that a mean over seeds may have: no split has 1e12 examples."""
    return ROUNDING * max(1.0, abs(score))


def _above(drop: float, units: Units) -> str:
    """The name of a level: "reference + 1 point" of a fraction, "reference + 5 %" of another value."""
    sign = "+" if units.rises else "\u2212"
    unit = "%" if not units.metric.fraction else "point" if drop == 0.01 else "points"
    return f"reference {sign} {100 * drop:g} {unit}" if drop else "reference"


def _costs(found: Sequence[Candidate]) -> Costs:
    return np.array([[c.artifact_bytes, c.mean_error] for c in found], dtype=np.float64).reshape(-1, 2)


def hypervolume_of(found: Sequence[Candidate], corner: tuple[int, float], metric: Metric) -> float:
    """The hypervolume of candidates, in the units of `Comparison.hypervolumes`."""
    scale = 100 if metric.fraction else 1
    scaled = [[math.log10(c.artifact_bytes), scale * c.mean_error] for c in found]
    return hypervolume(
        np.array(scaled, dtype=np.float64).reshape(-1, 2), np.array([math.log10(corner[0]), scale * corner[1]])
    )


def _joint(sides: Sequence[Side]) -> tuple[int, ...]:
    best = front(np.concatenate([_costs(side.found) for side in sides]))
    ends = np.cumsum([len(side.found) for side in sides])
    return tuple(int(part.sum()) for part in np.split(best, ends[:-1]))


def _notes(sides: Sequence[Side]) -> tuple[str, ...]:
    """How each side differs from the first."""
    first, notes = sides[0], []
    for side in sides[1:]:
        other = [_PART[part] for part in _PART if side.parts.get(part) != first.parts.get(part)]
        if other:
            notes.append(f"{side.name} has another {' and another '.join(other)} than {first.name}.")
        if side.reference.bytes != first.reference.bytes:
            notes.append(f"{side.name}: its ratios are to its own reference, not to that of {first.name}.")
    if len(set[int]().union(*(side.trained for side in sides))) > 1:
        notes.append("Candidates differ in their number of seeds. The best of many results of one seed is a lucky one.")
    return tuple(notes)
