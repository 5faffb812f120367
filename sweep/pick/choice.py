"""The choice of the model to deploy: the smallest that meets the target, on validation, else the nearest miss."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sweep.criteria import Target, Terms
from sweep.intervals import least_mean, pooled
from sweep.store.record import Record, but_for_seed, label

By = Literal["bytes", "macs", "latency"]
"""What a choice minimises; latency among those of which it was measured."""


@dataclass(frozen=True)
class Candidate:
    """One configuration over its seeds.

    Attributes:
        family: of the configuration.
        configuration: its knobs' levels.
        method: "lc" or "dc".
        ids: its jobs, a seed each.
        seeds: in the same order.
        accuracies: validation, unrounded, in the same order.
        lows: their lower 95 % bounds (Wilson), in the same order.
        drops: upper 95 % bounds of the drop from the reference on the same examples, in the same order; None where a
            record, of an earlier version, has none.
        shipped: the job whose file would ship: of the best seeds the one with the fewest bytes.
        artifact_bytes: of that file.
        macs: of that model.
        direct_error: mean over seeds before any training; None where it was not measured.
        latency: of that model, over the dense reference's in the same run; None where it was not measured.
    """

    family: str
    configuration: dict[str, Any]
    method: str
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    lows: tuple[float, ...]
    drops: tuple[float | None, ...]
    shipped: str
    artifact_bytes: int
    macs: int
    direct_error: float | None
    latency: float | None = None

    @property
    def label(self) -> str:
        return label(self.configuration)

    @property
    def errors(self) -> tuple[float, ...]:
        return tuple(1 - accuracy for accuracy in self.accuracies)

    @property
    def mean_error(self) -> float:
        return sum(self.errors) / len(self.errors)

    @property
    def worst_error(self) -> float:
        return max(self.errors)

    def margins(self, threshold: float) -> list[float]:
        """By how much each seed clears `threshold`, in the order of the seeds."""
        return [accuracy - threshold for accuracy in self.accuracies]

    def enough(self, terms: Terms) -> bool:
        """Whether there are as many seeds as `terms` ask for. Direct compression has none to speak of: one will do."""
        return self.method == "dc" or len(self.seeds) >= (1 + terms.confirm if terms.confirm else terms.repeats)

    def margin(self, terms: Terms) -> float:
        """By how much it clears the threshold: its worst seed does, or where winners are confirmed, its mean at least.

        The first seed, by which a search may have chosen it, does not count for its mean. Where the terms ask for the
        95 % bound, every seed's clears the threshold too.
        """
        margins = self.margins(terms.threshold)
        bounds = self.bounds(terms)
        if terms.confirm and self.method != "dc" and self.enough(terms):
            return min([least_mean(margins[1:], terms.noise), *bounds])
        return min([*margins, *bounds])

    def bounds(self, terms: Terms) -> list[float]:
        """By how much the 95 % bound of each seed clears what the terms ask of it: nothing, without `confident`."""
        if terms.confident == "accuracy":
            return [low - terms.threshold for low in self.lows]
        if terms.confident == "drop":
            return [-math.inf if drop is None else terms.allowed - drop for drop in self.drops]
        return []

    def meets(self, terms: Terms) -> bool:
        """Whether it has enough seeds and they meet the target, on unrounded accuracies."""
        return self.enough(terms) and self.margin(terms) >= 0

    def cost(self, by: By) -> float:
        """What a choice `by` this minimises; infinite where it was not measured."""
        latency = math.inf if self.latency is None else self.latency
        return {"bytes": self.artifact_bytes, "macs": self.macs, "latency": latency}[by]


@dataclass(frozen=True)
class Choice:
    """The model to deploy.

    Attributes:
        candidate: None where no job has finished.
        feasible: whether it meets the target.
        shortfall: by how much it misses it, by its worst seed or by the bound of its mean; 0 where it is feasible.
        threshold: the least accuracy that meets the target.
        by: what was minimised.
        meeting: all that meet the target.
        unconfirmed: where none does, the smallest that meets it so far, with too few seeds; None without one.
        runner_up: what would be chosen next; None without one.
        next_smaller: the largest of those that cost less; None without one.
        next_smaller_shortfall: by how much that misses the target; 0 where it has too few seeds.
    """

    candidate: Candidate | None
    feasible: bool
    shortfall: float
    threshold: float
    by: By
    meeting: tuple[Candidate, ...] = ()
    unconfirmed: Candidate | None = None
    runner_up: Candidate | None = None
    next_smaller: Candidate | None = None
    next_smaller_shortfall: float = 0.0


def candidates(records: Iterable[Record]) -> list[Candidate]:
    """The configurations of which every job is done, ordered by bytes; a failed seed rules one out.

    Jobs of another budget are another candidate.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(but_for_seed(record), []).append(record)
    found = [_candidate(group) for group in groups.values() if all(record["status"] == "done" for record in group)]
    return sorted(found, key=lambda c: (c.artifact_bytes, c.mean_error, c.family, c.label))


def choose(
    found: Sequence[Candidate],
    *,
    target: Target,
    reference_accuracy: float,
    by: By = "bytes",
    repeats: int = 1,
    confirm: int = 0,
    confident: bool = False,
) -> Choice:
    """The candidate of least bytes, MACs or latency that meets `target`.

    Ties go to fewer bytes, then to fewer MACs, then to the lower error. By latency, only what was measured is a
    candidate.

    A sweep whose searches confirmed their winners, on `confirm` fresh seeds or more, holds every candidate to that; the
    noise of a result is pooled over all trained candidates. `confident` asks that the 95 % bound of every seed meets
    the target: of its accuracy, or of its drop from the reference on the same examples. Without one that meets the
    target: the nearest miss. One that meets it so far with too few seeds may still miss, so it is neither.
    """
    threshold = target.threshold(reference_accuracy)
    noise = pooled(candidate.margins(threshold) for candidate in found if candidate.method == "lc")
    found = check_known(found, by)
    bound: Literal["accuracy", "drop"] = "accuracy" if target.max_drop is None else "drop"
    allowed = target.allowed(reference_accuracy)
    terms = Terms(threshold, repeats, confirm, noise, bound if confident else None, allowed)
    meeting = sorted((c for c in found if c.meets(terms)), key=lambda c: _order(c, by))
    if meeting:
        best = meeting[0]
        below = (c for c in found if c.cost(by) < best.cost(by) and c.margin(terms) > -math.inf)
        smaller = max(below, key=lambda c: _order(c, by), default=None)
        short = max(-smaller.margin(terms), 0.0) if smaller else 0.0
        return Choice(best, True, 0.0, threshold, by, tuple(meeting), None, (*meeting, None)[1], smaller, short)
    hopeful = min((c for c in found if c.margin(terms) >= 0), key=lambda c: _order(c, by), default=None)
    missing = [c for c in found if not c.margin(terms) >= 0]
    nearest = min(missing, key=lambda c: (-c.margin(terms), c.cost(by), c.shipped), default=None)
    shortfall = -nearest.margin(terms) if nearest else 0.0
    return Choice(nearest, False, shortfall, threshold, by, unconfirmed=hopeful)


def chosen(
    found: Sequence[Candidate],
    manifest: Mapping[str, Any],
    *,
    target: Target | None,
    by: By = "bytes",
    confident: bool = False,
) -> Choice:
    """The choice among a sweep's candidates, on the terms of its manifest; without a target, the knee of the front."""
    if target is not None:
        return choose(
            found,
            target=target,
            reference_accuracy=manifest["reference"]["val"]["accuracy"],
            by=by,
            repeats=manifest["repeats"],
            confirm=manifest.get("confirm", 0),
            confident=confident,
        )
    from sweep.pick.pareto import knee  # imports NumPy, which no other choice needs

    found = check_known(found, by)
    bend = found[knee([(candidate.cost(by), candidate.mean_error) for candidate in found])] if found else None
    return Choice(bend, feasible=bend is not None, shortfall=0.0, threshold=0.0, by=by)


def among(found: Sequence[Candidate], by: By) -> list[Candidate]:
    """Those of which what a choice minimises is known."""
    return [candidate for candidate in found if candidate.cost(by) < math.inf]


def check_known(found: Sequence[Candidate], by: By) -> list[Candidate]:
    """As `among`. ValueError where it is known of none."""
    known = among(found, by)
    if found and not known:
        raise ValueError(
            f"by {by}: expected models of which it was measured, found none; run lcsweep bench DIR first, with the "
            "extra lcsweep[onnx]"
        )
    return known


def _order(candidate: Candidate, by: By) -> tuple[float, float, float, float, str]:
    return candidate.cost(by), candidate.artifact_bytes, candidate.macs, candidate.mean_error, candidate.shipped


def _candidate(group: list[Record]) -> Candidate:
    ordered = sorted(group, key=lambda record: record["seed"])
    best = max(record["val"]["accuracy"] for record in ordered)
    shipped = min(
        (record for record in ordered if record["val"]["accuracy"] == best),
        key=lambda record: (record["artifact_bytes"], record["seed"]),
    )
    direct = [record["direct"]["accuracy"] for record in ordered if record["direct"]]
    return Candidate(
        family=shipped["family"],
        configuration=shipped["configuration"],
        method=shipped["method"],
        ids=tuple(record["id"] for record in ordered),
        seeds=tuple(record["seed"] for record in ordered),
        accuracies=tuple(record["val"]["accuracy"] for record in ordered),
        lows=tuple(record["val"]["low"] for record in ordered),
        drops=tuple((record.get("drop") or {}).get("high") for record in ordered),
        shipped=shipped["id"],
        artifact_bytes=shipped["artifact_bytes"],
        macs=shipped["macs"],
        direct_error=1 - sum(direct) / len(direct) if direct else None,
        latency=shipped.get("latency", {}).get("ratio"),
    )
