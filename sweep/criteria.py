"""The criteria by which a search, a pick and a report judge candidates; `sweep.target` makes them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from sweep.intervals import UNKNOWN, Noise, half_width, least_mean, pooled

State = Literal["confirmed", "unconfirmed", "missed"]
"""What is known of a candidate and a target, the best first. `Criteria.state_of` tells; everything shows its word."""
CONFIRMED: State = "confirmed"
UNCONFIRMED: State = "unconfirmed"
MISSED: State = "missed"
MEANINGS: dict[State, str] = {
    CONFIRMED: "enough fresh seeds clear the bound",
    UNCONFIRMED: "meets the target so far",
    MISSED: "does not meet the target",
}
"""Each state in words."""
TOO_CLOSE = "is so close to the target that further seeds are not expected to confirm it"
"""What is said of an unconfirmed candidate for which `Criteria.seeds_to_confirm` is None."""

MOST_SEEDS = 16
"""A candidate is not confirmed on more than `MOST_SEEDS` x `confirm` fresh seeds."""
CONFIRM = 3
"""How many fresh seeds confirm a candidate, where the sweep asks for no other number."""

UNTRAINED = frozenset(("dc", "ptq"))
"""Methods that train nothing and draw nothing: every seed gives the same, so one is enough."""

ROUNDING = 1e-12
"""0.97 - 0.01 may come out just above 0.96; one example more or less changes an accuracy by far more. Of scores beyond
1, a part of the score."""


def meaning(state: State, *, method: str) -> str:
    """What a state says of a model that `method` made."""
    if state == CONFIRMED and method in UNTRAINED:
        return "every seed gives the same model"
    return MEANINGS[state]


def best_of(seeds: int) -> str:
    """What is said of the score of a file that was chosen by it among several seeds."""
    return f"best of {seeds} on validation, which flatters"


class Results(Protocol):
    """What the seeds of one candidate gave, each tuple in the order of the seeds.

    Attributes:
        method: one of `UNTRAINED`, or how it was trained.
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


Value = TypeVar("Value")


def fresh(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """Those of the fresh seeds, which come after the first: a choice may rest on the first. Of one seed, that one."""
    return values[1:] or values


def confirmed(margins: Sequence[float], noise: Noise, *, confirm: int) -> bool:
    """Whether margins by seed have `confirm` fresh ones or more, and the lower bound of the mean of these is 0 or more.

    A search and a pick ask the same.
    """
    return len(margins) > confirm and least_mean(margins[1:], noise) >= 0


@dataclass(frozen=True)
class Criteria:
    """What a candidate must show to meet a target.

    Attributes:
        threshold: the least score that meets the target.
        confirm: how many fresh seeds confirm a candidate, at least.
        noise: of one result; it makes the bound of the mean.
        confident: which 95 % bound of each seed must also meet the target, that of its score or that of its drop
            from the reference. None for neither.
        allowed: the largest drop that meets the target.
    """

    threshold: float
    confirm: int = CONFIRM
    noise: Noise = UNKNOWN
    confident: Literal["score", "drop"] | None = None
    allowed: float = 0.0

    def margin(self, score: float) -> float:
        """By how much one score is above the threshold."""
        return score - self.threshold

    def with_noise_of(self, found: Iterable[Results]) -> "Criteria":
        """The same, with the noise that is pooled over the trained candidates among `found`."""
        margins = (
            [self.margin(score) for score in results.scores] for results in found if results.method not in UNTRAINED
        )
        return replace(self, noise=pooled(margins))

    def margin_of(self, results: Results) -> float:
        """By how much the mean over a candidate's fresh seeds is above the threshold; NaN where a score is.

        With `confident`, it is at most the margin of each seed's 95 % bound.
        """
        return min([self._margin_of_mean(results), *self._margins_of_bounds(results)])

    def state_of(self, results: Results) -> State:
        """Whether a candidate meets the target, and how well that is known.

        It misses unless its margin is 0 or more. It is confirmed by `confirm` fresh seeds or more, the lower bound of
        whose mean meets the target. Of what is not trained, one seed is enough.
        """
        if not self.margin_of(results) >= 0:
            return MISSED
        if results.method in UNTRAINED:
            return CONFIRMED
        margins = [self.margin(score) for score in results.scores]
        return CONFIRMED if confirmed(margins, self.noise, confirm=self.confirm) else UNCONFIRMED

    def seeds_to_confirm(self, results: Results) -> int | None:
        """How many seeds in all would confirm an unconfirmed candidate, if its mean and the noise stay so.

        At least one more than it has. None where no number would, since its mean is the threshold itself, or where more
        fresh ones would be needed than `MOST_SEEDS` x `confirm`, or than twice as many as it has.
        """
        known, margin = len(results.scores) - 1, self._margin_of_mean(results)
        wide = half_width(self.noise, n=1) if self.noise.dof else 0.0
        needed = 0.0 if not wide else math.inf if margin <= 0 else wide / margin * (wide / margin)
        if needed > max(MOST_SEEDS * self.confirm, 2 * known):
            return None
        return 1 + max(math.ceil(needed), self.confirm, known + 1)

    def _margin_of_mean(self, results: Results) -> float:
        """By how much the mean over a candidate's fresh seeds is above the threshold."""
        scores = fresh(results.scores)
        mean = math.fsum(scores) / len(scores)
        rounding = ROUNDING * max(1.0, abs(self.threshold)) if len(scores) > 1 else 0.0  # one is not rounded
        return self.margin(mean) + rounding

    def _margins_of_bounds(self, results: Results) -> list[float]:
        """The margin of each seed's 95 % bound; none without `confident`, -inf for a drop that is not known."""
        match self.confident:
            case "score":
                return [self.margin(low) for low in results.lows]
            case "drop":
                return [-math.inf if drop is None else self.allowed - drop for drop in results.drops]
            case _:
                return []
