"""The candidates of a sweep as the report shows them: on the front or not, meeting the target or not."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np

from sweep.criteria import State
from sweep.pick.choice import By, Candidate, Choice
from sweep.pick.pareto import front
from sweep.pick.size_and_speed import speed_facts, speedup
from sweep.store.fields import to_json
from sweep.store.job import series_of
from sweep.store.manifest import Manifest, Reference
from sweep.store.record import Done


@dataclass(frozen=True)
class Row:
    """A candidate as the report shows it: with its record, and how it stands among the others.

    A `Candidate` (sweep.pick.choice) is a configuration over its finished seeds, whatever the others are. A row adds
    what depends on them, on the reference and on the target.

    Attributes:
        candidate: the configuration over its seeds.
        best: the record of the job whose file is exported.
        series: the name under which figures draw it.
        compression_ratio: bytes of the reference's file over those of the exported file.
        gap: the largest over the seeds.
        seconds: the sum over the seeds.
        fronts: the costs for which it is on the front: no other candidate costs less and has a lower mean error.
        state: confirmed or unconfirmed to meet the target, or missed; None without a target.
        picked: whether it is the choice.
        faster: whether the exported model is faster than the reference; None where it is not known.
    """

    candidate: Candidate
    best: Done
    series: str
    compression_ratio: float
    gap: float
    seconds: float
    fronts: frozenset[By]
    state: State | None
    picked: bool
    faster: bool | None

    @property
    def speed(self) -> str:
        """How fast the exported model is, in words; empty where it is not known."""
        latency = self.best.latency
        if latency is not None and latency.ratio is not None:
            return speedup(to_json(latency))
        return "not faster" if self.faster is False else ""

    @property
    def seeds(self) -> str:
        """How many seeds are done, and how many failed."""
        return str(len(self.candidate.seeds)) + (f" ({self.candidate.failed} failed)" if self.candidate.failed else "")

    @property
    def on_front(self) -> bool:
        """Whether it is on the front of bytes against error."""
        return "bytes" in self.fronts


def families_of(manifest: Manifest, found: Iterable[Candidate]) -> tuple[str, ...]:
    """The families that a sweep's study names, and those of `found`, in alphabetical order."""
    return tuple(sorted({*manifest.coverage, *(candidate.family for candidate in found)}))


def rows_of(
    found: Sequence[Candidate], *, done: Mapping[str, Done], reference: Reference, choice: Choice | None
) -> tuple[Row, ...]:
    """A row for each candidate, in their order. `done` holds the records of their jobs by id."""
    if not found:
        return ()
    fronts = {by: _front(found, by) for by in get_args(By)}
    rows = []
    for place, candidate in enumerate(found):
        jobs, best = [done[job] for job in candidate.ids], done[candidate.best_id]
        row = Row(
            candidate=candidate,
            best=best,
            series=series_of(candidate),
            compression_ratio=reference.bytes / candidate.artifact_bytes,
            gap=max(job.gap for job in jobs),
            seconds=sum(job.seconds for job in jobs),
            fronts=frozenset(by for by, places in fronts.items() if place in places),
            state=None if choice is None else choice.states.get(candidate.best_id),
            picked=choice is not None and candidate == choice.candidate,
            faster=speed_facts(best)["faster"],
        )
        rows.append(row)
    return tuple(rows)


def _front(found: Sequence[Candidate], by: By) -> set[int]:
    """The places of the candidates on the front of this cost against mean error, among those whose cost is known."""
    costs = np.array([[candidate.cost(by), candidate.mean_error] for candidate in found], dtype=np.float64)
    known = np.flatnonzero(np.isfinite(costs[:, 0]))
    return {int(place) for place in known[front(costs[known])]} if len(known) else set()
