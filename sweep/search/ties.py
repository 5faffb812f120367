"""When a search stops giving seeds to configurations that cannot be told from the target. Pure.

Where accuracy is the same over a range of sizes, and that is just what the target asks, seeds do not settle which of
them meet it. A tie is a configuration that was given up because it would hardly be confirmed with the seeds that it
may still get. After more than `FEW` ties a candidate gets fewer seeds, and the search leaves out what is hardly larger
than the largest tie, and twice as much more after each further one. Once something larger is confirmed, it goes half
the way back.
"""

import math
from collections.abc import Sequence

import numpy as np

from sweep.intervals import Noise, half_width, student
from sweep.search.space import Flags, Indices

HOPE = 0.01
"""A candidate is given up when its chance to be confirmed by the seeds that it may still get is smaller."""
FEW = 5
"""So many ties leave nothing out: just above the target, sizes close to the smallest look like ties too."""
PATIENCE = 4
"""After more than `FEW` ties a candidate gets at most this part of the seeds: the front is flat."""
WORTH = 0.08
"""A share of the size that is worth jobs."""
FARTHEST = 10  # doublings


def hopeless(fresh: Sequence[float], noise: Noise, *, most: int) -> bool:
    """Whether the bound of the mean of `fresh` margins will hardly be 0 or more once there are `most` of them.

    The mean of all of them is Student's t about the mean so far, with a scale of sd sqrt(1/n - 1/most).
    """
    n = len(fresh)
    if n >= most or not noise.dof:
        return n >= most
    bound = half_width(Noise(noise.sd, noise.dof + most - n), n=most)
    spread = noise.sd * math.sqrt(1 / n - 1 / most)
    return math.fsum(fresh) / n + student(1 - HOPE, dof=noise.dof) * spread < bound


def too_close(sizes: Indices, ties: Sequence[int], *, confirmed: int | None, left: Flags) -> Flags:
    """(n,) whether each configuration is left out because its size is too close to that of `ties`, or is smaller.

    Args:
        sizes: (n,) of the configurations.
        ties: their numbers.
        confirmed: the size of the smallest that is confirmed; None without one.
        left: (n,) whether it may still be tried. While nothing is confirmed, the largest of these is not left out.
    """
    tied = [int(sizes[number]) for number in ties if confirmed is None or sizes[number] < confirmed]
    if len(tied) <= FEW or not left.any():
        return np.zeros(len(sizes), dtype=bool)
    largest = max(tied)
    if confirmed is None:
        jump = (1 + WORTH) ** 2.0 ** min(len(tied) - FEW, FARTHEST)
        least = min(largest * jump, float(sizes[left].max()))
    else:
        least = math.sqrt(largest * confirmed) if confirmed > largest * (1 + WORTH) else confirmed
    return np.asarray(sizes < least)
