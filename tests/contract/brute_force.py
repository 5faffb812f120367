"""Solutions by brute force: all candidates, and the least squared error among them. Uses no code of lc_core."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float64]


def flat(w: Tensor) -> Floats:
    """The weights as one vector, float64."""
    return w.double().numpy().reshape(-1)


def supports(values: Floats, count: int) -> Iterator[tuple[list[int], list[int]]]:
    """All ways to keep `count` of `values`: (indices that stay, indices that go)."""
    everything = range(values.size)
    for kept in combinations(everything, count):
        yield list(kept), [i for i in everything if i not in kept]


def least_assignment(values: Floats, size: int) -> float:
    """The least distortion over all assignments of `values` to `size` entries, each at its values' mean."""
    return min(sum(map(_distortion, groups)) for groups in _partitions(values.tolist(), size))


def _partitions(values: list[float], size: int) -> Iterator[list[list[float]]]:
    """All ways to part `values` into at most `size` groups."""
    if not values:
        yield []
        return
    *others, last = values
    for groups in _partitions(others, size):
        for i in range(len(groups)):
            yield [*groups[:i], [*groups[i], last], *groups[i + 1 :]]
        if len(groups) < size:
            yield [*groups, [last]]


def _distortion(group: list[float]) -> float:
    mean = sum(group) / len(group)
    return sum((value - mean) ** 2 for value in group)
