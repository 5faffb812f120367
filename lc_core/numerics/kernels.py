"""The compiled loops of kernels.c. An install without a C compiler has none.

Callers ask `built` first and have another way to the same result.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lc_core.compiled import address, library

Singles = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Flags = npt.NDArray[np.bool_]

CELLS = 4096
"""As in kernels.c."""

_ARRAY, _SIZE, _INT, _FLOAT, _DOUBLE = ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int, ctypes.c_float, ctypes.c_double
_GRID = [_FLOAT, _FLOAT, _INT]
_TAKEN: dict[str, list[Any]] = {
    "bin_places": [_ARRAY, _SIZE, *_GRID, _ARRAY],
    "bin_sums": [_ARRAY, _SIZE, *_GRID, _DOUBLE, _ARRAY, _ARRAY],
    "bin_members": [_ARRAY, _SIZE, *_GRID, _ARRAY, _ARRAY],
    "bin_entries": [_ARRAY, _ARRAY, _INT, _ARRAY, _ARRAY, _DOUBLE, _DOUBLE, _ARRAY, _SIZE],
    "borders_passed": [_ARRAY, _SIZE, _ARRAY, _INT, _FLOAT, _FLOAT, _ARRAY],
    "outermost_gone": [_ARRAY, _ARRAY, _ARRAY, _INT, _DOUBLE, _ARRAY, _ARRAY, _ARRAY, _ARRAY],
    "best_parts": [_ARRAY, _ARRAY, _INT, _INT, _ARRAY, _ARRAY],
    "least_way": [_ARRAY, _ARRAY, _ARRAY, _SIZE, _SIZE, _ARRAY, _ARRAY],
}


LIBRARY = library(__file__, "_kernels", _TAKEN)
if LIBRARY is not None:
    LIBRARY.bin_entries.restype = _SIZE


def built() -> bool:
    """Whether the compiled loops are there."""
    return LIBRARY is not None


class Grid(NamedTuple):
    """Bins of equal widths; the first and the last are unbounded.

    The bin of a value is (value - low) scale in single precision, rounded down. It never falls as the value grows.
    """

    low: float
    scale: float
    bins: int


def bin_places(values: Singles, grid: Grid) -> Numbers:
    """The bin of each value."""
    places = np.empty(values.size, np.int32)
    _call("bin_places", values, values.size, *grid, places)
    return places


def bin_sums(values: Singles, grid: Grid, *, shift: float) -> tuple[Numbers, Floats]:
    """Counts (bins,) of the values in each bin, and their sums (bins,), each value less `shift`. Fewer than 2^31
    values."""
    counts, sums = np.zeros(grid.bins, np.int32), np.zeros(grid.bins)
    _call("bin_sums", values, values.size, *grid, shift, counts, sums)
    return counts, sums


def bin_members(values: Singles, grid: Grid, opened: Flags, *, count: int) -> Singles:
    """The `count` values whose bins are `opened` (bins,)."""
    found = np.empty(count + 1, np.float32)  # the loop writes each value before it knows whether to keep it
    _call("bin_members", values, values.size, *grid, opened, found)
    return found[:count]


def bin_entries(
    counts: Numbers, sums: Floats, opened: Flags, members: Singles, *, shift: float, spread: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Means (m,) of the entries, and counts, sums and sums of squares (m + 1,) of the values before each.

    A nonempty bin is one entry; an opened bin has one entry for each of its `members`, ascending. Squares assume that
    values of a bin have the mean square distance `spread` from their mean."""
    entries = np.empty((4, counts.size + members.size + 1))
    m = _call("bin_entries", counts, sums, counts.size, opened, members, shift, spread, entries, entries.shape[1])
    return entries[0, :m], entries[1, : m + 1], entries[2, : m + 1], entries[3, : m + 1]


def borders_passed(values: Singles, borders: Singles) -> Numbers:
    """How many of `borders`, ascending, lie below each value."""
    passed = np.empty(values.size, np.int32)
    low, high = (float(borders[0]), float(borders[-1])) if borders.size else (0.0, 0.0)
    scale = CELLS / (high - low) if low < high < np.inf else 0.0
    ended = np.concatenate([borders, np.full(borders.size + 1, np.float32(np.inf))])
    _call("borders_passed", values, values.size, ended, borders.size, low, scale, passed)
    return passed


def least_way(places: Indices, sums: Floats, squares: Floats) -> Indices:
    """The best starts (layers, a) of the runs that end at each place of the next row of `places` (layers + 1, a).

    Together they make the runs of least distortion. `sums` and `squares` are of the values before each place."""
    layers, a = places.shape[0] - 1, places.shape[1]
    came, best = np.empty((layers, a), np.int64), np.empty(2 * a)
    _call("least_way", places, sums, squares, layers, a, best, came)
    return came


def outermost_gone(means: Floats, counts: Floats, borders: Indices, centres: Floats, *, left_out: int) -> Indices:
    """First places and ends (2, k) of the values around each of `centres` (k,) after the farthest are removed.

    Entries have ascending means (m,) and `counts` (m + 1,) values before each, and in all. `borders` (k + 1,), indices
    of entries, separate the runs.
    """
    runs, k = np.stack([borders[:-1], borders[1:]]), centres.size
    reach, heap = np.empty(k), np.empty(k, np.int32)
    _call("outermost_gone", means, counts, centres, k, left_out, runs[0], runs[1], reach, heap)
    return runs


def best_parts(counts: Floats, sums: Floats, *, size: int) -> Indices:
    """The `size` runs of least distortion over b bins, b >= size, as edges (size + 1,) from 0 to b.

    `counts` and `sums` (b + 1,) are of the values before each bin, and of all. O(size b log b)."""
    return best_parts_of_each(counts, sums, sizes=[size])[0]


def best_parts_of_each(counts: Floats, sums: Floats, *, sizes: Sequence[int]) -> list[Indices]:
    """`best_parts` of each of `sizes`, in the time that the largest takes."""
    bins, most = counts.size - 1, max(sizes)
    came, explained = np.empty((most - 1, bins + 1), np.int32), np.empty(2 * (bins + 1))
    _call("best_parts", counts, sums, bins, most, explained, came)
    found = []
    for size in sizes:
        path = [bins]
        for starts in came[: size - 1][::-1]:
            path.append(int(starts[path[-1]]))
        found.append(np.array([0, *reversed(path)]))
    return found


def _call(name: str, *given: npt.NDArray[np.generic] | float) -> int:
    """Calls a loop; arrays are passed by their addresses."""
    passed = [address(each) if isinstance(each, np.ndarray) else each for each in given]
    result: int = getattr(LIBRARY, name)(*passed)
    return result
