"""The choice of the model to deploy: the smallest that meets the target on validation, best confirmed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sweep.criteria import CONFIRM, CONFIRMED, MISSED, UNCONFIRMED, UNTRAINED, Criteria, State, fresh
from sweep.store.job import label
from sweep.store.manifest import Manifest
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Done, Record
from sweep.store.records import finished
from sweep.target import Target

By = Literal["bytes", "macs", "latency"]
"""What a choice minimises. By latency, only candidates of which it was measured can be chosen."""


@dataclass(frozen=True)
class Candidate:
    """A configuration that has run: all jobs of one family, configuration, method and schedule, one job a seed.

    Attributes:
        configuration: knob -> level.
        method: of `sweep.store.job.METHODS`.
        ids: of the jobs, in the order of their seeds, like all tuples here.
        scores: on validation, unrounded: higher is better (`sweep.store.metric`).
        lows: the lower 95 % bounds of the scores.
        drops: the upper 95 % bounds of the drop from the reference on the same examples; None where the record was
            written by an early version, which did not measure it.
        best_id: the job whose file is exported: the one with the best score, of equals the one with the fewest bytes.
        artifact_bytes: of its file.
        macs: of its model.
        direct_error: the error of direct compression, before any training, mean over seeds; None where not measured.
        latency: of its model, over the dense reference's in the same run; None where it was not measured.
        metric: what was measured.
        failed: how many further seeds failed. A job that failed says nothing of the accuracy.
    """

    family: str
    configuration: dict[str, Any]
    method: str
    ids: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    lows: tuple[float, ...]
    drops: tuple[float | None, ...]
    best_id: str
    artifact_bytes: int
    macs: int
    direct_error: float | None
    latency: float | None = None
    metric: Metric = ACCURACY
    failed: int = 0

    @property
    def label(self) -> str:
        return label(self.configuration)

    @property
    def errors(self) -> tuple[float, ...]:
        return tuple(self.metric.error(value) for value in self.values)

    @property
    def values(self) -> tuple[float, ...]:
        """In the user's units."""
        return tuple(self.metric.value(score) for score in self.scores)

    @property
    def mean_error(self) -> float:
        """Over the fresh seeds (`sweep.criteria.fresh`)."""
        return sum(fresh(self.errors)) / len(fresh(self.errors))

    @property
    def mean_value(self) -> float:
        return self.metric.value_of_error(self.mean_error)

    @property
    def worst_error(self) -> float:
        return max(self.errors)

    def cost(self, by: By) -> float:
        """The bytes, MACs or latency that a choice minimises; infinite where it was not measured."""
        latency = math.inf if self.latency is None else self.latency
        return {"bytes": self.artifact_bytes, "macs": self.macs, "latency": latency}[by]


@dataclass(frozen=True)
class Choice:
    """The model to deploy, and what else could have been chosen.

    Attributes:
        candidate: the cheapest that is confirmed, else the cheapest that is unconfirmed, else the nearest miss. None
            without candidates.
        by: what was minimised.
        criteria: what the candidates were judged by; None without a target.
        state: of the candidate; None without a target or a candidate.
        margin: of the candidate, by `criteria`; 0 without a target or a candidate.
        states: of all candidates, by their `best_id`; empty without a target.
        better: the best unconfirmed candidate that would be chosen if it were confirmed; None without one.
        runner_up: what would be chosen without the candidate; None where that would miss.
        next_smaller: the largest of those that cost less than the candidate; None without one.
        next_smaller_margin: of that; 0 without one.
    """

    candidate: Candidate | None
    by: By
    criteria: Criteria | None = None
    state: State | None = None
    margin: float = 0.0
    states: Mapping[str, State] = field(default_factory=dict)
    better: Candidate | None = None
    runner_up: Candidate | None = None
    next_smaller: Candidate | None = None
    next_smaller_margin: float = 0.0

    @property
    def to_confirm(self) -> Candidate | None:
        """What further seeds would be spent on: `better`, else the candidate if it is unconfirmed; None of neither."""
        return self.better or (self.candidate if self.state == UNCONFIRMED else None)

    @property
    def feasible(self) -> bool:
        """Whether there is a candidate, and it meets the target, if only so far."""
        return self.candidate is not None and self.state != MISSED


def shortfall(margin: float) -> float:
    """By how much a margin is below 0, as JSON gives it: 0 where it is not."""
    return 0.0 if margin >= 0 else -margin


def candidates(records: Iterable[Record]) -> list[Candidate]:
    """The configurations of which a job is done, over those that are, ordered by bytes.

    Jobs with different schedules are different candidates.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.key, []).append(record)
    found = [_candidate(group) for group in groups.values() if finished(group)]
    return sorted(found, key=lambda c: (c.artifact_bytes, c.mean_error, c.family, c.label))


def seeds_chosen_from(record: Done, records: Iterable[Record]) -> int:
    """Among how many seeds of its configuration a job's file was chosen by its score; 1 where it was not."""
    [candidate] = candidates(each for each in records if each.key == record.key)
    chosen_by_score = candidate.best_id == record.id and candidate.method not in UNTRAINED
    return len(candidate.seeds) if chosen_by_score else 1


def choose(
    found: Sequence[Candidate],
    *,
    target: Target,
    reference_score: float,
    by: By = "bytes",
    confirm: int = CONFIRM,
    confident: bool = False,
) -> Choice:
    """The candidate with the fewest bytes or MACs, or the least latency, that meets `target`; else the nearest miss.

    One that is confirmed goes before all that are not. Ties go to fewer bytes, then fewer MACs, then the lower mean
    error.

    Args:
        found: the candidates.
        target: what the chosen one must meet.
        reference_score: on validation.
        by: what to minimise.
        confirm: how many fresh seeds confirm a candidate, at least.
        confident: the 95 % bound of every seed must meet the target too, of its score or of its drop.

    Raises:
        ValueError: `by` was measured of no candidate.
    """
    criteria = target.criteria(reference_score, confirm=confirm, confident=confident).with_noise_of(found)
    states = {candidate.best_id: criteria.state_of(candidate) for candidate in found}
    found = sorted(check_known(found, by), key=lambda c: _order(c, by))
    meeting = [c for state in (CONFIRMED, UNCONFIRMED) for c in found if states[c.best_id] == state]
    if not meeting:
        margins = {candidate.best_id: criteria.margin_of(candidate) for candidate in found}
        nearest = min(found, key=lambda c: (-_or_least(margins[c.best_id]), c.cost(by), c.best_id), default=None)
        if nearest is None:
            return Choice(None, by, criteria)
        return Choice(nearest, by, criteria, MISSED, margins[nearest.best_id], states)
    best, *others = meeting
    cheaper = found[: found.index(best)]
    below = (c for c in reversed(cheaper) if c.cost(by) < best.cost(by) and criteria.margin_of(c) > -math.inf)
    smaller = next(below, None)
    return Choice(
        best,
        by,
        criteria,
        states[best.best_id],
        criteria.margin_of(best),
        states,
        better=next((c for c in cheaper if states[c.best_id] == UNCONFIRMED), None),
        runner_up=others[0] if others else None,
        next_smaller=smaller,
        next_smaller_margin=criteria.margin_of(smaller) if smaller else 0.0,
    )


def _or_least(margin: float) -> float:
    """A margin; of a NaN, less than any."""
    return -math.inf if math.isnan(margin) else margin


def chosen(
    found: Sequence[Candidate],
    manifest: Manifest,
    *,
    target: Target | None,
    by: By = "bytes",
    confident: bool = False,
) -> Choice:
    """The choice among a sweep's candidates, confirmed as its manifest asks; without a target, the knee."""
    if target is not None:
        return choose(
            found,
            target=target,
            reference_score=manifest.reference.val.score,
            by=by,
            confirm=manifest.confirm or CONFIRM,
            confident=confident,
        )
    from sweep.pick.pareto import knee  # imports NumPy, which no other choice needs

    found = check_known(found, by)
    bend = found[knee([(candidate.cost(by), candidate.mean_error) for candidate in found])] if found else None
    return Choice(bend, by)


def among(found: Sequence[Candidate], by: By) -> list[Candidate]:
    """The candidates of which the bytes, MACs or latency is known."""
    return [candidate for candidate in found if candidate.cost(by) < math.inf]


def check_known(found: Sequence[Candidate], by: By) -> list[Candidate]:
    """The same. ValueError where there are candidates and it is known of none."""
    known = among(found, by)
    if found and not known:
        raise ValueError(
            f"by {by}: expected models of which the {by} was measured, found none; first run lcsweep bench DIR, "
            "which needs the extra lcsweep[onnx], and a network that has ONNX files (lcsweep check says so)"
        )
    return known


def _order(candidate: Candidate, by: By) -> tuple[float, float, float, float, str]:
    return candidate.cost(by), candidate.artifact_bytes, candidate.macs, candidate.mean_error, candidate.best_id


def _candidate(group: list[Record]) -> Candidate:
    ordered = sorted(finished(group), key=lambda record: record.seed)
    most = max(record.val.score for record in ordered)
    best = min(
        (record for record in ordered if record.val.score == most),
        key=lambda record: (record.artifact_bytes, record.seed),
    )
    metric, direct = best.val.metric, [record.direct.value for record in ordered if record.direct is not None]
    return Candidate(
        family=best.family,
        configuration=best.configuration,
        method=best.method,
        ids=tuple(record.id for record in ordered),
        seeds=tuple(record.seed for record in ordered),
        scores=tuple(record.val.score for record in ordered),
        lows=tuple(record.val.low if metric.higher_is_better else -record.val.high for record in ordered),
        drops=tuple(None if record.drop is None else record.drop.high for record in ordered),
        best_id=best.id,
        artifact_bytes=best.artifact_bytes,
        macs=best.macs,
        direct_error=metric.error(sum(direct) / len(direct)) if direct else None,
        latency=None if best.latency is None else best.latency.ratio,
        metric=metric,
        failed=sum(record.status == "failed" for record in group),
    )
