"""Which of some cells of the real line each float32 falls in, by a table over its leading bits."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]

FEW_BORDERS = 24
FEW_BITS, MANY_BITS = 16, 18
CHUNK = 1 << 16


def borders_below(values: Singles, borders: Floats) -> Indices:
    """How many of `borders` (k,), ascending, lie below each of `values` (n,). Some six times as fast as a search.

    A table over all leading bits answers for the values that share theirs with no border; the others are searched.
    """
    # + 0.0 makes a positive zero of a negative one, which has other bits.
    held = not_above(borders, np.dtype(np.float32)) + np.float32(0.0)
    bits = FEW_BITS if held.size <= FEW_BORDERS else MANY_BITS
    if values.size < 1 << bits - 2:
        return np.searchsorted(held, values, side="left").astype(np.int64)
    table = _borders_by_key(held, bits)
    below = np.empty(values.size, dtype=np.int64)
    for first in range(0, values.size, CHUNK):
        part, found = values[first : first + CHUNK], below[first : first + CHUNK]
        np.take(table, _keys(part, bits), out=found, mode="clip")  # any other mode goes through a buffer
        unclear = np.flatnonzero(found < 0)
        found[unclear] = np.searchsorted(held, part[unclear], side="left")
    return below


def not_above(points: Floats, dtype: np.dtype[np.floating]) -> npt.NDArray[np.floating]:
    """The largest numbers of `dtype` not above `points`: a number of `dtype` is above both or neither."""
    held = points.astype(dtype)
    return np.where(held > points, np.nextafter(held, dtype.type(-np.inf)), held)


def _keys(values: Singles, bits: int) -> npt.NDArray[np.uint32]:
    return values.view(np.uint32) >> np.uint32(32 - bits)


def _borders_by_key(borders: Singles, bits: int) -> Indices:
    """How many of `borders` lie below the numbers of each key, their `bits` leading bits; -1 where one lies among
    them."""
    keys, half = _keys(borders, bits).astype(np.int64), 1 << bits - 1
    # From the most negative number up; the bits of negative ones grow downwards.
    ranks = np.where(keys < half, keys + half, 2 * half - 1 - keys)
    below = np.repeat(np.arange(borders.size + 1), np.diff(ranks + 1, prepend=0, append=2 * half))
    below[ranks] = -1
    return np.concatenate([below[half:], below[:half][::-1]])
