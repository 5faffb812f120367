"""The target, which the user asks for, and the criteria, by which a search, a pick and a report judge candidates."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from sweep.intervals import UNKNOWN, Noise, least_mean, pooled

ROUNDING = 1e-12  # 0.97 - 0.01 may come out just above 0.96; one example more or less changes an accuracy by far more


class NoTargetError(ValueError):
    """A command needs a target, and neither the user nor the study gives one."""

    def __init__(self, command: str) -> None:
        super().__init__(f"{command}: expected a target, --max-drop or --min-accuracy; the study has none either")


@dataclass(frozen=True)
class Target:
    """The accuracy that a model must have. Exactly one of `max_drop` and `min_accuracy` is set.

    Attributes:
        max_drop: the largest drop from the reference's accuracy, a fraction: 0.01 is one point.
        min_accuracy: the least accuracy, a fraction.
        relative: `max_drop` is a fraction of the reference's accuracy.

    Raises:
        ValueError: both or neither is set, a value is outside [0, 1], or `relative` is set without `max_drop`.
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        given = {k: v for k, v in (("max_drop", self.max_drop), ("min_accuracy", self.min_accuracy)) if v is not None}
        if len(given) != 1:
            raise ValueError(f"target: expected one of max_drop and min_accuracy, got {given or 'neither'}")
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a fraction in [0, 1] (0.01 is one point), got {value}")
        if self.relative and self.max_drop is None:
            raise ValueError("relative: expected max_drop, to which it applies, got min_accuracy")

    def threshold(self, reference_score: float) -> float:
        """The least score that meets the target; of a drop, less `ROUNDING`."""
        if self.min_accuracy is not None:
            return self.min_accuracy
        return reference_score - self.allowed(reference_score) - ROUNDING

    def allowed(self, reference_score: float) -> float:
        """The largest drop that meets the target, in the metric's units; 0 where the target is no drop."""
        return (self.max_drop or 0.0) * (reference_score if self.relative else 1.0)

    def criteria(
        self, reference_score: float, *, repeats: int = 1, confirm: int = 0, confident: bool = False
    ) -> "Criteria":
        """The criteria that follow from the target, with the noise not yet known."""
        bound: Literal["score", "drop"] = "score" if self.max_drop is None else "drop"
        return Criteria(
            threshold=self.threshold(reference_score),
            repeats=repeats,
            confirm=confirm,
            confident=bound if confident else None,
            allowed=self.allowed(reference_score),
        )

    def as_dict(self) -> dict[str, float]:
        """The values that are set, by name."""
        pairs = {"max_drop": self.max_drop, "min_accuracy": self.min_accuracy, "relative": self.relative or None}
        return {name: value for name, value in pairs.items() if value is not None}


class Results(Protocol):
    """What the seeds of one candidate gave, each tuple in the order of the seeds.

    Attributes:
        method: "lc" or "dc".
        scores: on validation, unrounded (`sweep.store.metric`).
        lows: the lower 95 % bounds of the scores.
        drops: the upper 95 % bounds of the drop from the reference; None where it is not known.
    """

    @property
    def method(self) -> str: ...
    @property
    def scores(self) -> tuple[float, ...]: ...
    @property
    def lows(self) -> tuple[float, ...]: ...
    @property
    def drops(self) -> tuple[float | None, ...]: ...


@dataclass(frozen=True)
class Criteria:
    """What a candidate must show to be picked.

    A margin says by how much the criteria are met: 0 or more meets them, less misses them, and a NaN misses them.

    Attributes:
        threshold: the least score that meets the target.
        repeats: without confirmation, the fewest seeds. Each of them must meet the target.
        confirm: the fewest seeds after the first. The lower bound of their mean must meet the target. 0 for no
            confirmation.
        noise: of one result; it makes the bound of the mean.
        confident: which 95 % bound of each seed must also meet the target, that of its score or that of its drop
            from the reference. None for neither.
        allowed: the largest drop that meets the target.
    """

    threshold: float
    repeats: int = 1
    confirm: int = 0
    noise: Noise = UNKNOWN
    confident: Literal["score", "drop"] | None = None
    allowed: float = 0.0

    def margin(self, score: float) -> float:
        """By how much one score is above the threshold."""
        return score - self.threshold

    def with_noise_of(self, found: Iterable[Results]) -> "Criteria":
        """The same, with the noise that is pooled over the trained candidates among `found`."""
        margins = ([self.margin(score) for score in results.scores] for results in found if results.method == "lc")
        return replace(self, noise=pooled(margins))

    def enough_seeds(self, results: Results) -> bool:
        """Whether a candidate has as many seeds as are needed. Direct compression trains nothing: one is enough."""
        needed = 1 + self.confirm if self.confirm else self.repeats
        return results.method == "dc" or len(results.scores) >= needed

    def margin_of(self, results: Results) -> float:
        """The margin of a candidate, whether or not it has enough seeds.

        It is the margin of the worst seed. Where winners are confirmed and there are enough seeds, it is the margin of
        the mean's lower bound in its place; the first seed does not count for that mean, since a search may have
        chosen the candidate by it. With `confident`, it is at most the margin of each seed's 95 % bound.
        """
        margins = [self.margin(score) for score in results.scores]
        bounds = self._margins_of_bounds(results)
        if self.confirm and results.method != "dc" and self.enough_seeds(results):
            return min([least_mean(margins[1:], self.noise), *bounds])
        return min([*margins, *bounds])

    def _margins_of_bounds(self, results: Results) -> list[float]:
        """The margin of each seed's 95 % bound; none without `confident`, -inf for a drop that is not known."""
        match self.confident:
            case "score":
                return [self.margin(low) for low in results.lows]
            case "drop":
                return [-math.inf if drop is None else self.allowed - drop for drop in results.drops]
            case _:
                return []

    def met_by(self, results: Results) -> bool:
        """Whether a candidate has enough seeds and a margin of 0 or more."""
        return self.enough_seeds(results) and self.margin_of(results) >= 0
