"""Measures latency so that ratios hold even on a machine that does other work.

Every round runs all functions, one after the other, in a new random order: what slows the machine down slows all of
them. Every round also makes the functions anew, because a model can be up to a quarter slower or faster than an equal
copy, for as long as it lives, depending on where its memory lies. Ratios can be trusted; seconds hold for that day
alone. The clock and the functions are given as arguments.
"""

import math
import random
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

WARM_UP = 10
"""Untimed calls at the start of each turn. If they would take longer than a turn: fewer, but at least one."""
LEAST = 1e-4
"""The least seconds of a sample. Shorter calls are timed several in a row, since reading the clock costs 0.1 us."""
TURN = 0.02
"""The most seconds that a function is timed for in one round, unless one sample takes longer."""
SAMPLES = 10
"""The most samples of one turn."""

BEYOND = 5
"""The fewest samples above a percentile: P95 takes 100, P99 500."""

Call = Callable[[], object]
Make = Callable[[], Call]
Clock = Callable[[], float]
Name = TypeVar("Name", bound=Hashable)
"""Names a function that is timed."""


@dataclass(frozen=True)
class Timings(Generic[Name]):
    """Seconds of a call of each function.

    Attributes:
        rounds: name -> the samples of each round. A sample is the mean seconds of `calls` calls in a row.
        calls: how many calls make one sample.
    """

    rounds: Mapping[Name, Sequence[Sequence[float]]]
    calls: int

    def quantile(self, name: Name, share: float) -> float:
        """The smallest sample that at least `share` of all samples do not exceed, in seconds."""
        samples = sorted(sample for turn in self.rounds[name] for sample in turn)
        return samples[max(math.ceil(share * len(samples)) - 1, 0)]

    def percentile(self, name: Name, share: float) -> float | None:
        """The same of a share above a half; None where fewer than BEYOND samples lie beyond it."""
        return self.quantile(name, share) if self.count(name) * (1 - share) >= BEYOND - 1e-9 else None

    def count(self, name: Name) -> int:
        """How many samples there are."""
        return sum(len(turn) for turn in self.rounds[name])

    def mean(self, name: Name) -> float:
        """The mean seconds of a call."""
        return statistics.fmean(sample for turn in self.rounds[name] for sample in turn)

    def ratio(self, name: Name, *, over: Name) -> tuple[float, float, float]:
        """The median over rounds of the ratio of the two medians, with its 95 % interval (ratio, low, high).

        The interval comes from order statistics: how many rounds lie below the true median is binomial.
        """
        pairs = zip(self.rounds[name], self.rounds[over], strict=True)
        ratios = sorted(statistics.median(own) / statistics.median(other) for own, other in pairs)
        outside = _outside(len(ratios))
        return statistics.median(ratios), ratios[outside], ratios[-1 - outside]


def timed(
    functions: Mapping[Name, Make],
    *,
    rounds: int,
    clock: Clock,
    seed: int = 0,
    prepare: Callable[[Name], object] = lambda name: None,
) -> Timings[Name]:
    """Times all functions, in rounds.

    Each function has one turn a round. It first runs untimed, so that caches hold what it needs and not what the one
    before it needed; then as many samples are taken as of every other function.

    Args:
        functions: name -> makes the function, which takes no arguments.
        rounds: how many.
        clock: returns seconds since some fixed moment.
        seed: of the random orders in which functions are made and take turns.
        prepare: called with a name before its turn, untimed.
    """
    order, draw = list(functions), random.Random(seed)
    costs = {name: _cost(functions[name](), name, clock, prepare) for name in order}
    calls = max(1, math.ceil(LEAST / max(min(costs.values()), 1e-9)))
    samples = _within(TURN / (calls * max(costs.values())), SAMPLES)
    found: dict[Name, list[list[float]]] = {name: [] for name in functions}
    for _ in range(rounds):
        draw.shuffle(order)
        made = {name: functions[name]() for name in order}
        draw.shuffle(order)
        for name in order:
            prepare(name)
            for _ in range(_within(TURN / costs[name], WARM_UP)):
                made[name]()
            found[name].append([_sample(made[name], calls, clock) for _ in range(samples)])
    return Timings(found, calls)


def _cost(call: Call, name: Name, clock: Clock, prepare: Callable[[Name], object]) -> float:
    """Seconds of a call once it is warm."""
    prepare(name)
    return statistics.median(_sample(call, 1, clock) for _ in range(WARM_UP))


def _within(count: float, most: int) -> int:
    return min(max(int(count), 1), most)


def _sample(call: Call, calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        call()
    return (clock() - start) / calls


def _outside(n: int) -> int:
    """How many of n sorted values the 95 % interval of their median leaves out at each end; 0 for n below 6."""
    below, count = 0.0, 0
    while below + math.comb(n, count) / 2**n <= 0.025:
        below += math.comb(n, count) / 2**n
        count += 1
    return max(count - 1, 0)
