"""The configurations of a search as plain arrays, and what the results so far rule out. Pure: no study, no storage.

Within a family, accuracy falls as knobs tighten. So a configuration that misses the target rules out all that are
tighter in every knob, and one that meets it rules out all that are no smaller, in every family, since sizes are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

NOT_SMALLER = "nominally no smaller than the smallest that meets the target"
TIGHTER = "tighter than one that misses the target"


class Status(IntEnum):
    """What is known of a configuration."""

    OPEN = 0
    RUNNING = 1
    MEETS = 2
    MISSES = 3
    FAILED = 4


@dataclass(frozen=True, eq=False)
class Space:
    """The configurations of a search.

    Attributes:
        families: (n,) number of the family.
        levels: (n, knobs) number of each knob's level, 0 the loosest; 0 for knobs that a family lacks.
        sizes: (n,) nominal bytes.
    """

    families: Indices
    levels: Indices
    sizes: Indices

    def tighter(self, index: int) -> Flags:
        """(n,) whether a configuration is of the same family and in no knob looser than `index`; itself too."""
        return np.asarray((self.families == self.families[index]) & (self.levels >= self.levels[index]).all(axis=1))


def not_smaller(space: Space, status: Indices) -> Flags:
    """(n,) configurations no smaller than the smallest that meets the target."""
    meeting = space.sizes[status == Status.MEETS]
    return space.sizes >= (meeting.min() if meeting.size else np.inf)


def too_tight(space: Space, status: Indices) -> Flags:
    """(n,) configurations at least as tight as one that misses the target.

    One that misses although a tighter one meets it contradicts the order; it then rules out itself alone.
    """
    ruled_out = np.zeros(len(space.sizes), dtype=bool)
    meets = status == Status.MEETS
    for index in np.flatnonzero(status == Status.MISSES):
        tighter = space.tighter(int(index))
        if not (tighter & meets).any():
            ruled_out |= tighter
    return ruled_out


def open_configurations(space: Space, status: Indices) -> Flags:
    """(n,) configurations that could still be the answer and are not running."""
    return np.asarray((status == Status.OPEN) & ~not_smaller(space, status) & ~too_tight(space, status))


def next_in_order(_: Space, status: Indices) -> int | None:
    """The first configuration that nothing is known of: a grid."""
    left = np.flatnonzero(status == Status.OPEN)
    return int(left[0]) if left.size else None


def next_smallest(space: Space, status: Indices) -> int | None:
    """The open configuration whose result, whichever it is, rules out most; None when none is open.

    Jobs that are running count half as if they met the target and half as if they missed it.
    """
    candidates = np.flatnonzero(open_configurations(space, status))
    if not candidates.size:
        return None
    scores = np.zeros(candidates.size)
    for outcome in (Status.MEETS, Status.MISSES):
        left = open_configurations(space, np.where(status == Status.RUNNING, outcome, status))
        if_met = [(left & (space.sizes >= space.sizes[index])).sum() for index in candidates]
        if_missed = [(left & space.tighter(int(index))).sum() for index in candidates]
        scores += np.where(left[candidates], np.minimum(if_met, if_missed), 0)
    return int(candidates[scores.argmax()])


def skipped(space: Space, status: Indices, *, untouched: Flags) -> dict[str, int]:
    """Reason -> how many of the `untouched` configurations (n,), of which no job was started, need not run for it."""
    unknown = (status == Status.OPEN) & untouched
    too_large, tight = unknown & not_smaller(space, status), unknown & too_tight(space, status)
    reasons = {NOT_SMALLER: too_large, TIGHTER: tight & ~too_large}
    return {reason: int(flags.sum()) for reason, flags in reasons.items() if flags.any()}


def make_space(families: Sequence[int], levels: Sequence[Sequence[int]], sizes: Sequence[int]) -> Space:
    """A `Space` from lists; families may have different numbers of knobs."""
    width = max((len(row) for row in levels), default=0)
    padded = np.zeros((len(levels), width), dtype=np.int64)
    for number, row in enumerate(levels):
        padded[number, : len(row)] = row
    return Space(np.asarray(families, dtype=np.int64), padded, np.asarray(sizes, dtype=np.int64))
