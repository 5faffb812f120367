"""Which of some cells of the real line each float32 falls in, by a table over its leading bits."""

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lc_core.numerics import kernels
from lc_core.numerics.kernels import Floats, Numbers, Singles

FEW_BORDERS, FEWER_BORDERS = 40, 6
BITS = 18
CHUNK = 1 << 16
COMPARED = 1 << 18
"""Few borders are compared with values so many at a time, many are looked up for CHUNK."""


def borders_below(values: Singles, borders: Floats) -> Numbers:
    """How many of `borders` (k,), ascending, lie below each of `values` (n,). Some six times as fast as a search.

    A compiled loop does it by a table over cells of equal widths (`kernels.borders_passed`). Where there is none, few
    borders are compared with one by one, and so is a handful anyway. For many, a table over all leading bits answers
    for the values that share theirs with no border; the others are searched.
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
        np.take(table, _keys(part), out=found, mode="clip")  # any other mode goes through a buffer
        unclear = np.flatnonzero(found < 0)
        found[unclear] = np.searchsorted(held, part[unclear], side="left")
    return below


def _borders_passed(values: Singles, borders: Singles) -> npt.NDArray[np.uint8]:
    """How many of fewer than 256 `borders` lie below each of `values`, by comparing with every one."""
    if not borders.size:
        return np.zeros(values.size, dtype=np.uint8)
    above = np.empty(values.size, dtype=np.bool_)
    passed: npt.NDArray[np.uint8] = np.greater(values, borders[0]).view(np.uint8)
    for border in borders[1:]:
        np.greater(values, border, out=above)
        np.add(passed, above.view(np.uint8), out=passed)
    return passed


def between(values: Singles, borders: Floats) -> npt.NDArray[np.bool_]:
    """Which of `values` (n,) lie above an odd number of `borders`, of which there are few."""
    held = not_above(borders, np.dtype(np.float32))
    above = np.empty(values.size, dtype=np.bool_)
    inside: npt.NDArray[np.bool_] = np.greater(values, held[0])
    for border in held[1:]:
        np.logical_xor(inside, np.greater(values, border, out=above), out=inside)
    return inside


def not_above(points: Floats, dtype: np.dtype[np.floating]) -> npt.NDArray[np.floating]:
    """The largest numbers of `dtype` not above `points`: a number of `dtype` is above both or neither."""
    held = points.astype(dtype)
    return np.where(held > points, np.nextafter(held, dtype.type(-np.inf)), held)


def _keys(values: Singles) -> npt.NDArray[np.uint32]:
    return values.view(np.uint32) >> np.uint32(32 - BITS)


def _borders_by_key(borders: Singles) -> Numbers:
    """How many of `borders` lie below the numbers of each key, their leading bits; -1 where one lies among them."""
    keys, half = _keys(borders).astype(np.int64), 1 << BITS - 1
    table = np.empty(2 * half, dtype=np.int32)
    rising = ((-half, table[half:][::-1]), (0, table[:half]))  # the bits of negative numbers grow downwards
    ranks = np.where(keys < half, keys, half - 1 - keys)
    for below, (first, end) in enumerate(pairwise([-half, *(ranks + 1).tolist(), half])):
        for origin, part in rising:
            part[max(first - origin, 0) : max(end - origin, 0)] = below
    table[keys] = -1
    return table
