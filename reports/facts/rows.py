"""The candidates of a sweep as the report shows them: on the front or not, meeting the target or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from sweep.pick.choice import By, Candidate, Choice
from sweep.pick.pareto import front
from sweep.pick.size_and_speed import faster

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Reference:
    """The reference model: bytes of its own packed file, parameters, MACs, and its validation accuracy (fractions)."""

    artifact_bytes: int
    parameters: int
    macs: int
    accuracy: float
    low: float
    high: float
    n: int

    @property
    def error(self) -> float:
        """1 - accuracy, on the validation split."""
        return 1 - self.accuracy


@dataclass(frozen=True)
class Row:
    """One candidate and what the report says of it. `meets_target` is None when there is no target.

    `fronts` names the costs against which nothing beats its mean error. `nominal_bytes`, `low`, `high` (95 % interval
    of the accuracy), `n` and `faster` (than the reference; None where nobody knows) are the shipped job's; `gap` is the
    worst over the seeds, `seconds` their sum.
    """

    candidate: Candidate
    series: str
    compression_ratio: float
    nominal_bytes: int | None
    gap: float | None
    seconds: float | None
    shipped_accuracy: float
    shipped_seed: int
    low: float
    high: float
    n: int
    fronts: frozenset[By]
    meets_target: bool | None
    picked: bool
    faster: bool | None

    @property
    def on_front(self) -> bool:
        """Whether no other candidate is both smaller, in bytes, and better."""
        return "bytes" in self.fronts


def series_name(family: str, *, method: str) -> str:
    """How a family trained by a method is named: by its family alone when the method is LC."""
    return family if method == "lc" else f"{family} ({method})"


def rows_of(
    found: Sequence[Candidate],
    *,
    by_id: Mapping[str, Record],
    reference: Reference,
    choice: Choice | None,
) -> tuple[Row, ...]:
    """A row for each candidate, in their order; `by_id` holds the jobs' records."""
    if not found:
        return ()
    best = {by: _front(found, by) for by in get_args(By)}
    meeting = None if choice is None else {candidate.best_id for candidate in choice.meeting}
    rows = []
    for place, candidate in enumerate(found):
        jobs = [by_id[id] for id in candidate.ids]
        shipped = by_id[candidate.best_id]
        gaps = [job["gap"] for job in jobs if job.get("gap") is not None]
        spent = [job["seconds"] for job in jobs if job.get("seconds") is not None]
        rows.append(
            Row(
                candidate=candidate,
                series=series_name(candidate.family, method=candidate.method),
                compression_ratio=reference.artifact_bytes / candidate.artifact_bytes,
                nominal_bytes=shipped.get("nominal_bytes"),
                gap=max(gaps, default=None),
                seconds=sum(spent) if spent else None,
                shipped_accuracy=shipped["val"]["accuracy"],
                shipped_seed=shipped["seed"],
                low=shipped["val"]["low"],
                high=shipped["val"]["high"],
                n=shipped["val"]["n"],
                fronts=frozenset(by for by, unbeaten in best.items() if place in unbeaten),
                meets_target=None if meeting is None else candidate.best_id in meeting,
                picked=choice is not None and candidate == choice.candidate,
                faster=faster(shipped),
            )
        )
    return tuple(rows)


def _front(found: Sequence[Candidate], by: By) -> set[int]:
    """The places of those that nothing beats in error and in what a choice `by` this minimises, where it is known."""
    costs = np.array([[candidate.cost(by), candidate.mean_error] for candidate in found], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(costs[:, 0]))
    return {int(place) for place in known[front(costs[known])]} if len(known) else set()
