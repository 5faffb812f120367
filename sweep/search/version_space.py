"""The smallest configuration that meets a target, from few results: what they leave open, and which is to come next.

Pure: no Optuna, no Ray, no files. Within a family, accuracy falls as knobs tighten, and sizes are known beforehand. So
a configuration that misses the target rules out all that are tighter, and one that meets it all that are no smaller,
in every family. What is left is the version space; the next job is the one whose result, whichever it is, rules out
most of it. Before the end the order is put to the test, one step on from what meets the target. A candidate that is
left alone is run again on fresh seeds, until it is confirmed or fails and the next takes its place.

Results are margins: accuracy minus threshold, which meet the target from 0 on. To meet it truly is to have a mean over
seeds of at least 0.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from sweep.intervals import Noise, half_width, least_mean, pooled
from sweep.search.space import Flags, Indices, Space, Values

NOT_SMALLER = "nominally no smaller than the smallest that meets the target"
TIGHTER = "tighter than one that misses the target"

MOST_SEEDS = 16
"""Times `confirm`: a candidate that is not confirmed by then is given up."""
GIVE_UP = 1.0
"""Standard errors by which the mean of a candidate that has its fresh seeds misses when it is given up."""
DOUBT = 0.9
"""One-sided confidence above which a miss is not run again."""
WORTH = 0.08
"""A miss is run again only for what may be smaller than the winner by this share."""


class Status(IntEnum):
    """What is known of a configuration."""

    OPEN = 0
    RUNNING = 1
    MEETS = 2
    MISSES = 3
    FAILED = 4


@dataclass(frozen=True, eq=False)
class Known:
    """All that a search has been told.

    Attributes:
        margins: configuration -> its results in the order of their seeds.
        running: configuration -> how many of its jobs run now.
        failed: configurations that are set aside.
        others: results by seed of configurations outside the space, which tell of the noise too.
    """

    margins: Mapping[int, Sequence[float]]
    running: Mapping[int, int] = field(default_factory=dict)
    failed: AbstractSet[int] = frozenset()
    others: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, eq=False)
class View:
    """What follows from what is known.

    Attributes:
        status: (n,) the `Status` of each configuration; one that a better tried miss contradicts misses.
        not_smaller: (n,) ruled out, no smaller than the smallest that meets the target.
        too_tight: (n,) ruled out, at least as tight as one that misses it.
        again: the configuration that is to run next with a fresh seed, or None: then one that is open, if any is.
        winner: the answer, once the search is over; None before, and where nothing meets the target.
    """

    status: Indices
    not_smaller: Flags
    too_tight: Flags
    again: int | None
    winner: int | None

    @property
    def open(self) -> Flags:
        """(n,) what could still be the answer, is not decided and not running."""
        return np.asarray((self.status == Status.OPEN) & ~self.not_smaller & ~self.too_tight)


def view(space: Space, known: Known, *, repeats: int, confirm: int) -> View:
    """What `known` leaves open.

    `repeats` seeds decide for the search: without confirmation all of them must meet the target, else their mean.
    With `confirm` > 0 the winner needs as many after its first at least, and a mean of these that clears the target by
    t sd / sqrt(n), one-sided, with `sd` pooled over all that ran more than once. A candidate is given up
    when the mean of all its seeds misses by more than GIVE_UP standard errors; in between it gets one more seed, up to
    MOST_SEEDS times `confirm`.

    Where nothing is open any more, some of what the order alone rules out runs (`_probes`). Before a near tie gets many
    seeds, and before the end, misses that may be noise run again where that could bring something smaller by `WORTH`.
    """
    noise = pooled([*known.margins.values(), *known.others])
    rule = _Rule(noise, repeats, confirm)
    status = np.full(len(space), Status.OPEN, dtype=np.int64)
    status[list(known.running)] = Status.RUNNING
    for number, margins in known.margins.items():
        status[number] = rule.status(margins)
    undecided = [number for number in known.running if status[number] in (Status.OPEN, Status.RUNNING)]
    status[undecided] = Status.RUNNING
    status[list(known.failed)] = Status.FAILED
    standing = _settle(space, status, known)
    meets = np.flatnonzero(status == Status.MEETS)
    best = int(min(meets, key=lambda number: (space.sizes[number], number))) if meets.size else None
    not_smaller = space.sizes >= (space.sizes[best] if best is not None else np.inf)
    too_tight = space.tighter(_flags(space, standing))
    found = View(status, not_smaller, too_tight, None, None)
    for number in undecided:
        seeds = len(known.margins.get(number, ())) + known.running.get(number, 0)
        if seeds < repeats and status[number] == Status.RUNNING and not (not_smaller | too_tight)[number]:
            return _with(found, again=number)
    if found.open.any() or (status[~(not_smaller | too_tight)] == Status.RUNNING).any():
        return found
    probes = _probes(space, found)
    if probes:
        idle = [number for number in probes if status[number] == Status.OPEN]
        return _with(found, again=idle[0]) if idle else found
    if not confirm:
        return _with(found, winner=best)
    return _confirming(space, known, rule, found, standing, best)


def next_open(space: Space, view: View) -> int | None:
    """The open configuration whose result, whichever it is, rules out most; None where none is open.

    Running jobs count half as if they all met the target and half as if they all missed it. Where that leaves nothing
    to choose from, as with many workers, one that is open counts 1 / (1 + m), with m running jobs that may rule it out.
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
    """(n,) by the result of each configuration, whichever it is."""
    return np.minimum(space.sum_no_smaller(weights), space.sum_tighter(weights))


def skipped(view: View, *, untouched: Flags) -> dict[str, int]:
    """Reason -> how many of the `untouched` configurations (n,), of which no job was started, need not run for it."""
    unknown = (view.status == Status.OPEN) & untouched
    reasons = {NOT_SMALLER: unknown & view.not_smaller, TIGHTER: unknown & view.too_tight & ~view.not_smaller}
    return {reason: int(flags.sum()) for reason, flags in reasons.items() if flags.any()}


@dataclass(frozen=True)
class _Rule:
    """How the results of one configuration are judged."""

    noise: Noise
    repeats: int
    confirm: int

    def status(self, margins: Sequence[float]) -> Status:
        """OPEN where they are too few to tell."""
        if not self.confirm and min(margins) < 0:
            return Status.MISSES
        if len(margins) < self.repeats:
            return Status.OPEN
        fresh = margins[1:]
        if not self.confirm or self.confirmed(margins):
            return Status.MEETS
        if len(fresh) < self.confirm:
            return Status.MEETS if _mean(margins) >= 0 else Status.MISSES
        near = _mean(margins) >= -GIVE_UP * self.noise.sd / math.sqrt(len(fresh))
        return Status.MEETS if near and len(fresh) < MOST_SEEDS * self.confirm else Status.MISSES

    def confirmed(self, margins: Sequence[float]) -> bool:
        fresh = margins[1:]
        return len(fresh) >= self.confirm and least_mean(fresh, self.noise) >= 0

    def doubtful(self, margins: Sequence[float]) -> bool:
        """Whether a miss may be noise, and has not been tried on fresh seeds."""
        few = len(margins) - 1 < self.confirm
        return few and _mean(margins) + half_width(self.noise, n=len(margins), confidence=DOUBT) >= 0


def _settle(space: Space, status: Indices, known: Known) -> list[int]:
    """The misses that rule out what is tighter. Where results contradict the order, `status` is mended in place.

    A miss and a tighter one that meets the target cannot both be true: what ran with more seeds is believed, and of
    equals the one that meets, so that the miss rules out itself alone.
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
    """What the order rules out and is tried all the same, since accuracy may rise as one knob tightens beside another.

    From the smallest that meets the target in each family, for each knob, of what could be the answer: the first along
    it, unless one on the way there missed, and the largest that has the knob at its tightest. A probe that meets
    contradicts the misses that ruled it out.
    """
    probes: list[int] = []
    meets = np.flatnonzero(found.status == Status.MEETS)
    smaller = ~found.not_smaller & (found.status != Status.FAILED)
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
    """`found`, where nothing is open any more, with what is to run again, or with the winner."""
    if best is not None:
        fresh, running = len(known.margins[best]) - 1, known.running.get(best, 0)
        if fresh < rule.confirm:
            return _with(found, again=best) if fresh + running < rule.confirm else found
    doubtful = _doubtful(space, known, rule, found, standing, best)
    if doubtful:
        idle = [number for number in doubtful if number not in known.running]
        return _with(found, again=idle[0]) if idle else found
    if best is None or rule.confirmed(known.margins[best]):
        return _with(found, winner=best)
    # a near tie: with many workers its seeds may double at once
    more = running < fresh and fresh + running < MOST_SEEDS * rule.confirm
    return _with(found, again=best) if more else found


def _doubtful(
    space: Space, known: Known, rule: _Rule, found: View, standing: Sequence[int], best: int | None
) -> list[int]:
    """Misses that may be noise and stand before something worth it, the nearest first."""
    misses = [int(number) for number in np.flatnonzero(found.status == Status.MISSES)]
    doubtful = [number for number in misses if rule.doubtful(known.margins[number])]
    firm = [number for number in misses if number not in doubtful]
    worth = space.sizes < (space.sizes[best] * (1 - WORTH) if best is not None else np.inf)
    worth &= (found.status != Status.FAILED) & ~_flags(space, firm)
    worth &= ~space.tighter(_flags(space, [number for number in firm if number in standing]))
    near = sorted(doubtful, key=lambda number: (-_mean(known.margins[number]), number))
    return [number for number in near if (worth & space.tighter(_flags(space, [number]))).any()]


def _with(found: View, *, again: int | None = None, winner: int | None = None) -> View:
    return View(found.status, found.not_smaller, found.too_tight, again, winner)


def _flags(space: Space, numbers: Sequence[int]) -> Flags:
    flags = np.zeros(len(space), dtype=bool)
    flags[list(numbers)] = True
    return flags


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
