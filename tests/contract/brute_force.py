"""The least squared error of each compression on a few weights, by trying everything; nothing of lc_core's code."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt
from torch import Tensor

Floats = npt.NDArray[np.float64]


def pruned(w: Tensor, *, keep: float) -> float:
    """Over all supports."""
    flat = _flat(w)
    return min(float((flat[dropped] ** 2).sum()) for _, dropped in _supports(flat, round(keep * flat.size)))


def quantized(w: Tensor, *, size: int) -> float:
    """Over all assignments of the weights to `size` entries, each at its weights' mean."""
    return _least_assignment(_flat(w), size)


def low_rank(w: Tensor, *, rank: int) -> float:
    """The squared singular values past `rank`, from the eigenvalues of the Gram matrix."""
    matrix = w.double().numpy().reshape(w.shape[0], -1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return float(np.linalg.eigvalsh(matrix @ matrix.T)[::-1][rank:].clip(min=0).sum())


def pruned_quantized(w: Tensor, *, keep: float, size: int) -> float:
    """Over all supports, and all assignments of the weights on each."""
    flat = _flat(w)
    return min(
        float((flat[dropped] ** 2).sum()) + _least_assignment(flat[kept], size)
        for kept, dropped in _supports(flat, round(keep * flat.size))
    )


def _flat(w: Tensor) -> Floats:
    return w.double().numpy().reshape(-1)


def _supports(flat: Floats, count: int) -> Iterator[tuple[list[int], list[int]]]:
    everything = range(flat.size)
    for kept in combinations(everything, count):
        yield list(kept), [i for i in everything if i not in kept]


def _least_assignment(values: Floats, size: int) -> float:
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
