"""What the results so far say about the smallest configuration that meets a target, and what should run next.

Pure: no Optuna, no Ray, no files. Two facts are used. Within a family, the score falls as knobs tighten. And sizes are
known before training, or expected with an error (`expected`). So a configuration that misses the target rules out all
that are tighter. One that meets it rules out all that are looser or expected to be no smaller, in every family. What is
left is the version space. The next job is the one that rules out most of it in the worse of its two outcomes.

Once nothing is left, a few configurations that only the order ruled out run too, to test the order. Then the smallest
one that meets the target runs on fresh seeds. It is confirmed, or it is given up and the next smallest takes its place.
After several that cannot be told from the target, a larger one does (`ties`).

Results are margins: score minus threshold. A margin of 0 or more meets the target. A configuration truly meets it
when the mean of its margins over seeds is at least 0.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import IntEnum

import numpy as np

from sweep.criteria import MOST_SEEDS, confirmed
from sweep.intervals import Noise, half_width, pooled
from sweep.search.space import Flags, Indices, Space, Values
from sweep.search.ties import FEW, PATIENCE, WORTH, hopeless, too_close

NOT_SMALLER = "expected to be no smaller than the smallest that meets the target"
TIGHTER = "tighter than one that misses the target"
CLOSE = "too close in size to several that cannot be told from the target"

GIVE_UP = 1.0
"""A candidate with enough fresh seeds is given up when its mean misses by more than so many standard errors."""
DOUBT = 0.9
"""A miss that is real with this one-sided confidence does not run again."""


class Status(IntEnum):
    """What is known of a configuration."""

    OPEN = 0
    RUNNING = 1
    MEETS = 2
    MISSES = 3
    FAILED = 4


@dataclass(frozen=True, eq=False)
class Known:
    """All that a search has been told. Configurations go by their numbers.

    Attributes:
        margins: configuration -> its margins in the order of their seeds.
        running: configuration -> how many of its jobs are running.
        failed: configurations that are set aside because a job of theirs failed.
        others: margins by seed of configurations outside the space. They help to estimate the noise.
    """

    margins: Mapping[int, Sequence[float]]
    running: Mapping[int, int] = field(default_factory=dict)
    failed: AbstractSet[int] = frozenset()
    others: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, eq=False)
class View:
    """What follows from what is known.

    Attributes:
        status: (n,) the `Status` of each configuration. Where results contradict the order, see `_settle`.
        not_smaller: (n,) whether it is ruled out because it is no smaller than the smallest that meets the target.
        too_tight: (n,) whether it is ruled out because it is at least as tight as one that misses the target.
        too_close: (n,) whether it is left out because its size is too close to that of several ties, or smaller.
        ties: configuration -> its seeds, of those that were given up because they cannot be told from the target and
            are smaller than the smallest that meets it.
        again: the configuration that should run next on a fresh seed; None where an open one, if any, should run.
        winner: the answer, once the search is over; None before, and where nothing meets the target.
    """

    status: Indices
    not_smaller: Flags
    too_tight: Flags
    too_close: Flags
    ties: Mapping[int, int] = field(default_factory=dict)
    again: int | None = None
    winner: int | None = None

    @property
    def out(self) -> Flags:
        """(n,) whether a configuration need not run on account of others."""
        return np.asarray(self.not_smaller | self.too_tight | self.too_close)

    @property
    def open(self) -> Flags:
        """(n,) whether a configuration may still be the answer, is not decided and is not running."""
        return np.asarray((self.status == Status.OPEN) & ~self.out)


def view(space: Space, known: Known, *, repeats: int, confirm: int) -> View:
    """What `known` leaves open.

    Each configuration that is tried gets `repeats` seeds. With `confirm` = 0 each of them must meet the target; else
    their mean must. With `confirm` > 0 the winner needs at least that many fresh seeds: those after its first. Their
    mean must be at least t sd / sqrt(n): a one-sided bound, with `sd` pooled over all configurations with several
    seeds. A candidate whose mean over all seeds misses by more than GIVE_UP standard errors is given up. In between it
    gets one more seed at a time, up to MOST_SEEDS x `confirm`, or until these will hardly confirm it (`ties.hopeless`).
    After several ties each may have a part of these seeds (`ties.PATIENCE`).

    Once nothing is open, some configurations that only the order rules out run (`_probes`). Before a near tie gets many
    seeds, and before the end, misses that may be noise run again where something smaller by `WORTH` depends on them.
    """
    noise = pooled([*known.margins.values(), *known.others])
    rule = _Rule(noise, repeats, confirm, MOST_SEEDS * confirm)
    if len(rule.ties(known)) > FEW:
        rule = replace(rule, most=rule.most // PATIENCE)
    status = np.full(len(space), Status.OPEN, dtype=np.int64)
    status[list(known.running)] = Status.RUNNING
    for number, margins in known.margins.items():
        status[number] = rule.status(margins)
    undecided = [number for number in known.running if status[number] in (Status.OPEN, Status.RUNNING)]
    status[undecided] = Status.RUNNING
    status[list(known.failed)] = Status.FAILED
    standing = _settle(space, status, known)
    too_tight = space.tighter(_flags(space, standing))
    ties = rule.ties(known)
    too_close = _too_close(space, known, rule, status, too_tight, ties)
    meets = np.flatnonzero((status == Status.MEETS) & ~too_close)
    best = int(min(meets, key=lambda number: (space.sizes[number], number))) if meets.size else None
    not_smaller = _not_smaller(space, best, meets)
    smaller = {number: len(known.margins[number]) for number in ties if not not_smaller[number]}
    found = View(status, not_smaller, too_tight, too_close, smaller)
    for number in undecided:
        seeds = len(known.margins.get(number, ())) + known.running.get(number, 0)
        if seeds < repeats and status[number] == Status.RUNNING and not found.out[number]:
            return replace(found, again=number)
    if found.open.any() or (status[~found.out] == Status.RUNNING).any():
        return found
    probes = _probes(space, found)
    if probes:
        idle = [number for number in probes if status[number] == Status.OPEN]
        return replace(found, again=idle[0]) if idle else found
    if not confirm:
        return replace(found, winner=best)
    return _confirming(space, known, rule, found, standing, best)


def _too_close(
    space: Space, known: Known, rule: "_Rule", status: Indices, too_tight: Flags, ties: Sequence[int]
) -> Flags:
    """`ties.too_close`, of what `known` says."""
    meets = np.flatnonzero(status == Status.MEETS)
    sure = [int(space.sizes[number]) for number in meets.tolist() if rule.confirmed(known.margins[number])]
    untried = ((status == Status.OPEN) | (status == Status.RUNNING)) & ~too_tight
    return too_close(space.sizes, ties, confirmed=min(sure, default=None), left=untried | (status == Status.MEETS))


def _not_smaller(space: Space, best: int | None, meets: Indices) -> Flags:
    """(n,) whether each configuration is no smaller than `best` by its size, or at least as loose as one that meets."""
    if best is None:
        return np.zeros(len(space), dtype=bool)
    looser = space.sum_tighter(_flags(space, meets.tolist()).astype(float)) > 0
    least = space.sizes if space.least is None else space.least
    return np.asarray((least >= space.sizes[best]) | looser)


def next_open(space: Space, view: View) -> int | None:
    """The open configuration that rules out most in the worse of its two outcomes; None where none is open.

    What it rules out is counted twice: as if all running jobs met the target, and as if all missed it. With many
    workers nothing may be left to count in either case. Then an open configuration counts 1 / (1 + m), where m is the
    number of running jobs that may rule it out.
    """
    left = view.open
    if not left.any():
        return None
    running = view.status == Status.RUNNING
    pending = space.sum_looser(running.astype(float)) + running.sum() - space.sum_no_smaller(running.astype(float))
    share = left / (1 + pending)
    score = share * _least_ruled_out(space, share) / len(space)  # below 1
    smallest = space.sizes[running].min() if running.any() else np.inf
    for still in (left & (space.sizes < smallest), left & ~space.tighter(running)):
        score += still * _least_ruled_out(space, still.astype(float))
    return int(np.where(left, score, -1).argmax())


def _least_ruled_out(space: Space, weights: Values) -> Values:
    """(n,) the sum of `weights` (n,) that each configuration rules out, in the worse of its two outcomes."""
    return np.minimum(space.sum_no_smaller(weights), space.sum_tighter(weights))


def skipped(view: View, *, untouched: Flags) -> dict[str, int]:
    """Reason -> how many of the `untouched` configurations (n,), of which no job was started, need not run."""
    unknown = (view.status == Status.OPEN) & untouched
    reasons = {
        NOT_SMALLER: unknown & view.not_smaller,
        TIGHTER: unknown & view.too_tight & ~view.not_smaller,
        CLOSE: unknown & view.too_close & ~view.too_tight & ~view.not_smaller,
    }
    return {reason: int(flags.sum()) for reason, flags in reasons.items() if flags.any()}


@dataclass(frozen=True)
class _Rule:
    """How the margins of one configuration are judged."""

    noise: Noise
    repeats: int
    confirm: int
    most: int

    def ties(self, known: Known) -> list[int]:
        """The candidates that were given up although they are not clearly under the target."""
        return [number for number, margins in known.margins.items() if self._tied(margins)]

    def status(self, margins: Sequence[float]) -> Status:
        """What the margins say; OPEN where there are too few of them."""
        if not self.confirm and min(margins) < 0:
            return Status.MISSES
        if len(margins) < self.repeats:
            return Status.OPEN
        fresh = margins[1:]
        if not self.confirm or self.confirmed(margins):
            return Status.MEETS
        if len(fresh) < self.confirm:
            return Status.MEETS if _mean(margins) >= 0 else Status.MISSES
        return Status.MEETS if self._near(margins) and not self._hopeless(margins) else Status.MISSES

    def _tied(self, margins: Sequence[float]) -> bool:
        if not self.confirm or len(margins) <= self.confirm or self.confirmed(margins):
            return False
        return self._near(margins) and self._hopeless(margins)

    def confirmed(self, margins: Sequence[float]) -> bool:
        """`sweep.criteria.confirmed` of the margins."""
        return confirmed(margins, self.noise, confirm=self.confirm)

    def doubtful(self, margins: Sequence[float]) -> bool:
        """Whether a miss may be noise and has too few fresh seeds to tell."""
        few = len(margins) - 1 < self.confirm
        return few and _mean(margins) + half_width(self.noise, n=len(margins), confidence=DOUBT) >= 0

    def _near(self, margins: Sequence[float]) -> bool:
        return _mean(margins) >= -GIVE_UP * self.noise.sd / math.sqrt(len(margins) - 1)

    def _hopeless(self, margins: Sequence[float]) -> bool:
        return hopeless(margins[1:], self.noise, most=self.most)


def _settle(space: Space, status: Indices, known: Known) -> list[int]:
    """The misses that rule out what is tighter. Writes into `status` where results contradict the order.

    A configuration that misses and a tighter one that meets the target contradict each other. The one with more seeds
    is believed. With equally many, the one that meets is believed, and the miss rules out only itself.
    """
    misses, meets = (np.flatnonzero(status == which) for which in (Status.MISSES, Status.MEETS))
    count = np.array([len(known.margins[number]) for number in (*misses, *meets)])
    tighter = space.families[misses, None] == space.families[meets]
    tighter &= (space.levels[misses, None] <= space.levels[meets]).all(axis=-1)
    outweighs = count[: len(misses), None] > count[len(misses) :]
    standing = ~(tighter & ~outweighs).any(axis=1)
    status[meets[(tighter & standing[:, None]).any(axis=0)]] = Status.MISSES
    return [int(number) for number in misses[standing]]


def _probes(space: Space, found: View) -> list[int]:
    """Configurations that the order rules out and that run all the same, to test the order.

    Accuracy may rise as one knob tightens beside another. So from the smallest configuration of each family that meets
    the target, two are tried for each knob, among those that could be the answer: the next one along the knob, unless
    one before it missed; and the largest with that knob at its tightest. A probe that meets the target contradicts the
    misses that ruled it out.
    """
    probes: list[int] = []
    meets = np.flatnonzero((found.status == Status.MEETS) & ~found.too_close)
    smaller = ~found.not_smaller & ~found.too_close & (found.status != Status.FAILED)
    for family in np.unique(space.families[meets]):
        members = meets[space.families[meets] == family]
        smallest = space.levels[members[space.sizes[members].argmin()]]
        tighter = (space.families == family) & (space.levels >= smallest).all(axis=1)
        moved = space.levels != smallest
        for knob in range(len(smallest)):
            beyond = tighter & moved[:, knob]
            line = np.flatnonzero(beyond & (moved.sum(axis=1) == 1) & (smaller | (found.status == Status.MISSES)))
            line = line[space.levels[line, knob].argsort()]
            tightest = space.levels[:, knob] == space.levels[tighter, knob].max()
            leap = np.flatnonzero(beyond & smaller & tightest)
            probes += [int(number) for number in (*line[:1], *leap[space.sizes[leap].argsort()][-1:])]
    return [number for number in dict.fromkeys(probes) if found.status[number] in (Status.OPEN, Status.RUNNING)]


def _confirming(
    space: Space, known: Known, rule: _Rule, found: View, standing: Sequence[int], best: int | None
) -> View:
    """`found`, in which nothing is open, with the configuration that should run again, or with the winner."""
    if best is not None:
        fresh, running = len(known.margins[best]) - 1, known.running.get(best, 0)
        if fresh < rule.confirm:
            return replace(found, again=best) if fresh + running < rule.confirm else found
    doubtful = _doubtful(space, known, rule, found, standing, best)
    if doubtful:
        idle = [number for number in doubtful if number not in known.running]
        return replace(found, again=idle[0]) if idle else found
    if best is None or rule.confirmed(known.margins[best]):
        return replace(found, winner=best)
    # A near tie. With many workers the number of its seeds may double at once.
    more = running < fresh and fresh + running < rule.most
    return replace(found, again=best) if more else found


def _doubtful(
    space: Space, known: Known, rule: _Rule, found: View, standing: Sequence[int], best: int | None
) -> list[int]:
    """Misses that may be noise and on which something smaller depends, the nearest miss first."""
    misses = [int(number) for number in np.flatnonzero(found.status == Status.MISSES)]
    doubtful = [number for number in misses if rule.doubtful(known.margins[number])]
    firm = [number for number in misses if number not in doubtful]
    worth = space.sizes < (space.sizes[best] * (1 - WORTH) if best is not None else np.inf)
    worth &= (found.status != Status.FAILED) & ~found.too_close & ~_flags(space, firm)
    worth &= ~space.tighter(_flags(space, [number for number in firm if number in standing]))
    near = sorted(doubtful, key=lambda number: (-_mean(known.margins[number]), number))
    return [number for number in near if (worth & space.tighter(_flags(space, [number]))).any()]


def _flags(space: Space, numbers: Sequence[int]) -> Flags:
    flags = np.zeros(len(space), dtype=bool)
    flags[list(numbers)] = True
    return flags


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
