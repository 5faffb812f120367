"""Latency, measured so that ratios hold on a machine that does other things too.

All contestants run in every round, one after the other, in an order that is drawn anew each time: what slows the
machine down slows all of them. They are made anew in every round too: by where its memory happens to lie a model takes
up to a quarter longer or less than its own twin, for as long as it lives. So ratios are trusted, and seconds are what
they were on that day. Pure: the clock and what runs are given.
"""

import math
import random
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

WARM_UP = 10
"""Calls before the first that counts, in each turn; fewer, down to one, where they would take longer than a turn."""
LEAST = 1e-4
"""Seconds of a sample, at least: several calls make one where a call takes less, as a clock read costs 0.1 us."""
TURN = 0.02
"""Seconds of a contestant's turn in a round, at most, unless one sample takes longer."""
SAMPLES = 10
"""Of a turn, at most."""

Call = Callable[[], object]
Make = Callable[[], Call]
Clock = Callable[[], float]
Who = TypeVar("Who", bound=Hashable)
"""A contestant."""


@dataclass(frozen=True)
class Timings(Generic[Who]):
    """Seconds of a call.

    Attributes:
        rounds: contestant -> its samples in each round: seconds of a call, the mean of `calls` in a row.
        calls: that make one sample.
    """

    rounds: Mapping[Who, Sequence[Sequence[float]]]
    calls: int

    def quantile(self, name: Who, share: float) -> float:
        """The least sample that at least `share` of a contestant's samples do not exceed."""
        samples = sorted(sample for turn in self.rounds[name] for sample in turn)
        return samples[max(math.ceil(share * len(samples)) - 1, 0)]

    def count(self, name: Who) -> int:
        """A contestant's samples."""
        return sum(len(turn) for turn in self.rounds[name])

    def mean(self, name: Who) -> float:
        """Seconds of a call of a contestant, over all."""
        return statistics.fmean(sample for turn in self.rounds[name] for sample in turn)

    def ratio(self, name: Who, *, over: Who) -> tuple[float, float, float]:
        """How many times as long `name` takes as `over`, and the 95 % interval: of medians in the same rounds.

        The interval is that of the median of the rounds' ratios, by the binomial distribution of how many lie below.
        """
        pairs = zip(self.rounds[name], self.rounds[over], strict=True)
        ratios = sorted(statistics.median(own) / statistics.median(other) for own, other in pairs)
        place = _outside(len(ratios))
        return statistics.median(ratios), ratios[place], ratios[-1 - place]


def timed(
    contestants: Mapping[Who, Make],
    *,
    rounds: int,
    clock: Clock,
    seed: int = 0,
    prepare: Callable[[Who], object] = lambda name: None,
) -> Timings[Who]:
    """Times the calls of all contestants, in rounds.

    In its turn a contestant first runs for nothing, so that caches hold what it needs and not what the one before did,
    then as often as all others do in theirs.

    Args:
        contestants: name -> what makes what runs.
        rounds: turns of each.
        clock: seconds since any moment.
        seed: of the orders in which they are made and take turns.
        prepare: called with a name before its turn, outside what is timed.
    """
    order, draw = list(contestants), random.Random(seed)
    costs = {name: _cost(contestants[name](), name, clock, prepare) for name in order}
    calls = max(1, math.ceil(LEAST / max(min(costs.values()), 1e-9)))
    samples = _within(TURN / (calls * max(costs.values())), SAMPLES)
    found: dict[Who, list[list[float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        draw.shuffle(order)
        made = {name: contestants[name]() for name in order}
        draw.shuffle(order)
        for name in order:
            prepare(name)
            for _ in range(_within(TURN / costs[name], WARM_UP)):
                made[name]()
            found[name].append([_sample(made[name], calls, clock) for _ in range(samples)])
    return Timings(found, calls)


def _cost(call: Call, name: Who, clock: Clock, prepare: Callable[[Who], object]) -> float:
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
    """How many of n sorted values the 95 % interval of their median leaves out at each end; none below six."""
    below, place = 0.0, 0
    while below + math.comb(n, place) / 2**n <= 0.025:
        below += math.comb(n, place) / 2**n
        place += 1
    return max(place - 1, 0)
