"""Which running jobs are hopeless, by how others did at the same LC step.

Delta(Theta) is poor until mu has grown, and a tight compression's longest: an accuracy at some step tells nothing by
itself. What tells is rank: a job is hopeless once several that had done better at that very step missed what is needed
all the same, while none that ever made it was as low there. Nothing is stopped in the first half of a schedule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SHORT = 0.01
"""A job missed what is needed when it ended lower by more than this, in accuracy: less may be noise."""
BETTER = 3
"""Jobs that did better at a step and missed, before one is stopped there."""
BEHIND = 0.01
"""How far in accuracy it must be behind every job that made it."""
FIRST = 0.5
"""Share of the LC steps before which no job is stopped."""
NEVER = -1.0


@dataclass(frozen=True)
class Bars:
    """What a job has to be above while it runs.

    Attributes:
        least: (steps + 1,) the accuracy of Delta(Theta) at or below which it is hopeless at each LC step; `NEVER` where
            it is not; empty where nothing stops it.
        below: what one that was stopped would have ended below.
    """

    least: tuple[float, ...] = ()
    below: float = 0.0

    def hopeless(self, step: int, accuracy: float) -> bool:
        """Whether a job with this accuracy after that LC step is to be stopped."""
        return bool(self.least) and accuracy <= self.least[step]


@dataclass(frozen=True)
class Finished:
    """A job that went to its end.

    Attributes:
        sizes: known before training: nominal bytes, and MACs where a search minimises them too.
        curve: (steps + 1,) accuracy of Delta(Theta) at each LC step, 0 to the last.
    """

    sizes: tuple[int, ...]
    curve: tuple[float, ...]


def needed_beside(finished: Sequence[Finished], sizes: tuple[int, ...]) -> float | None:
    """The least accuracy that puts a job of these sizes on the front: the best of those no larger; None without one."""
    rivals = [
        job.curve[-1] for job in finished if all(one <= other for one, other in zip(job.sizes, sizes, strict=True))
    ]
    return max(rivals, default=None)


def bars(finished: Sequence[Finished], *, needed: float | None) -> Bars:
    """The bars of a job, from what others did.

    `finished` are jobs of its schedule. `needed` is the least final accuracy that is of use; None where any is.
    """
    if not finished or needed is None:
        return Bars()
    found = np.array([job.curve for job in finished], dtype=float)
    missed = found[:, -1] < needed - SHORT
    steps = found.shape[1] - 1
    if missed.sum() < BETTER:
        return Bars()
    lowest = found[~missed].min(axis=0) - BEHIND if not missed.all() else np.full(steps + 1, np.inf)
    bar = np.minimum(np.sort(found[missed], axis=0)[-BETTER], lowest)
    bar[: math.ceil(FIRST * steps)] = NEVER
    bar[-1] = NEVER  # it has finished
    return Bars(tuple(float(accuracy) for accuracy in bar), needed - SHORT)
