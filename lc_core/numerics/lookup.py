"""Finds the interval between ascending borders of each float32, by a table over its leading bits."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lc_core.numerics import kernels
from lc_core.numerics.kernels import Floats, Numbers, Singles

FEW_BORDERS, FEWER_BORDERS = 40, 6
BITS = 18
CHUNK = 1 << 16
COMPARED = 1 << 18
"""Values at a time where borders are few and compared one by one; with many borders, CHUNK at a time."""


def borders_below(values: Singles, borders: Floats) -> Numbers:
    """The number of ascending `borders` (k,) below each of `values` (n,). About six times as fast as a binary search.

    A compiled loop uses a table over cells of equal widths (`kernels.borders_passed`). Without it, and for very few
    borders, values are compared with each border. For many borders without it, a table over leading bits answers for
    values whose leading bits no border shares; the other values are searched.
    """
    # + 0.0 makes a positive zero of a negative one, which has other bits.
    held = not_above(borders, np.dtype(np.float32)) + np.float32(0.0)
    if kernels.built() and held.size > FEWER_BORDERS:
        return kernels.borders_passed(values, held)
    below = np.empty(values.size, dtype=np.int32)
    if held.size <= FEW_BORDERS:
        for first in range(0, values.size, COMPARED):
            below[first : first + COMPARED] = _borders_passed(values[first : first + COMPARED], held)
        return below
    if values.size < 1 << BITS - 2:
        return np.searchsorted(held, values, side="left").astype(np.int32)
    table = _borders_by_key(held)
    for first in range(0, values.size, CHUNK):
        part, found = values[first : first + CHUNK], below[first : first + CHUNK]
        np.take(table, _keys(part), out=found, mode="clip")  # other modes go through a buffer
        unclear = np.flatnonzero(found < 0)
        found[unclear] = np.searchsorted(held, part[unclear], side="left")
    return below


def _borders_passed(values: Singles, borders: Singles) -> npt.NDArray[np.uint8]:
    """The number of `borders`, fewer than 256, below each of `values`, by comparing with every border."""
    if not borders.size:
        return np.zeros(values.size, dtype=np.uint8)
    above = np.empty(values.size, dtype=np.bool_)
    passed: npt.NDArray[np.uint8] = np.greater(values, borders[0]).view(np.uint8)
    for border in borders[1:]:
        np.greater(values, border, out=above)
        np.add(passed, above.view(np.uint8), out=passed)
    return passed


def between(values: Singles, borders: Floats) -> npt.NDArray[np.bool_]:
    """Which of `values` (n,) lie above an odd number of `borders`. Made for few borders."""
    held = not_above(borders, np.dtype(np.float32))
    above = np.empty(values.size, dtype=np.bool_)
    inside: npt.NDArray[np.bool_] = np.greater(values, held[0])
    for border in held[1:]:
        np.logical_xor(inside, np.greater(values, border, out=above), out=inside)
    return inside


def not_above(points: Floats, dtype: np.dtype[np.floating]) -> npt.NDArray[np.floating]:
    """The largest numbers of `dtype` not above `points`. Comparing a number of `dtype` with either gives the same."""
    held = points.astype(dtype)
    with np.errstate(over="ignore"):  # what is below the least number is not taken
        return np.where(held > points, np.nextafter(held, dtype.type(-np.inf)), held)


def _keys(values: Singles) -> npt.NDArray[np.uint32]:
    return values.view(np.uint32) >> np.uint32(32 - BITS)


def _borders_by_key(borders: Singles) -> Numbers:
    """The number of `borders` below the numbers of each key (their leading bits); -1 where a border has that key."""
    keys, half = _keys(borders).astype(np.int64), 1 << BITS - 1
    table = np.empty(2 * half, dtype=np.int32)
    rising = ((-half, table[half:][::-1]), (0, table[:half]))  # the bits of negative numbers grow downwards
    ranks = np.where(keys < half, keys, half - 1 - keys)
    for below, (first, end) in enumerate(pairwise([-half, *(ranks + 1).tolist(), half])):
        for origin, part in rising:
            part[max(first - origin, 0) : max(end - origin, 0)] = below
    table[keys] = -1
    return table
