"""Many float32 values, counted in bins of equal widths. Only the values of opened bins are sorted."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lc_core.numerics import kernels
from lc_core.numerics.kernels import Flags, Floats, Grid, Indices, Numbers, Singles
from lc_core.numerics.lookup import not_above
from lc_core.numerics.sorted_values import SAMPLE

MANY = 1 << 16
"""Fewer values are sorted, which is fast."""
LARGEST_PART = 4
"""Where more than one value in so many is in an opened bin, sorting them all costs little more."""


@dataclass(frozen=True, eq=False)
class Bins:
    """Values (n,) and their sums over bins.

    Attributes:
        shift: subtracted from each value before it is summed.
        counts: (bins,), the number of values in each bin.
        sums: (bins,), the sum of the values in each bin.
        endless: (bins,), whether a bin holds values from outside the grid.
    """

    values: Singles
    grid: Grid
    shift: float
    counts: Numbers
    sums: Floats
    endless: Flags

    def holding(self, points: Floats) -> Flags:
        """Which bins (bins,) hold a point and more than one value. Points have the shift subtracted."""
        held = not_above(points + self.shift, np.dtype(np.float32)).astype(np.float32)
        places = kernels.bin_places(held, self.grid)
        found = np.zeros(self.grid.bins, np.bool_)
        found[places[self.counts[places] > 1]] = True
        return found

    def opened(self, opened: Flags) -> "BinnedValues | None":
        """The values with these bins opened. None where they would hold a large part of the values."""
        count = int(self.counts[opened].sum())
        if count > self.values.size // LARGEST_PART:
            return None
        if count:
            members = np.sort(kernels.bin_members(self.values, self.grid, opened, count=count))
        else:
            members = np.zeros(0, np.float32)
        entries = kernels.bin_entries(
            self.counts, self.sums, opened, members, shift=self.shift, spread=1 / (12 * self.grid.scale**2)
        )
        return BinnedValues(self.shift, *entries)


@dataclass(frozen=True, eq=False)
class BinnedValues:
    """Values as ascending entries. An entry is one value, or a closed bin whose values count as equal.

    Edges between runs are exact in opened bins. Elsewhere `below` takes a whole bin to one side.

    Attributes:
        shift: subtracted from every value.
        means: (m,), the mean of each entry.
        counts: (m + 1,), the number of values before each entry.
        sums: (m + 1,), their sum.
        squares: (m + 1,), the sum of their squares.
    """

    shift: float
    means: Floats
    counts: Floats
    sums: Floats
    squares: Floats

    @property
    def size(self) -> int:
        return int(self.counts[-1])

    def before(self, edges: Indices) -> tuple[Floats, Floats]:
        """Sums of the values before each of `edges`, of any shape, and of their squares; interpolated within a bin."""
        return np.interp(edges, self.counts, self.sums), np.interp(edges, self.counts, self.squares)

    def below(self, points: Floats) -> Indices:
        """The number of values not above each of `points`. Points have the shift subtracted."""
        return self.counts[np.searchsorted(self.means, points, side="right")].astype(np.int64)

    def staying(self, centres: Floats, left_out: int) -> Indices:
        """First places and ends (2, k) of the runs around ascending `centres` after the farthest values are removed."""
        inner = np.searchsorted(self.means, (centres[1:] + centres[:-1]) / 2, side="right")
        borders = np.concatenate([[0], inner, [self.means.size]])
        return kernels.outermost_gone(self.means, self.counts, borders, centres, left_out=left_out)

    def about(self, places: Indices) -> tuple[Floats, Flags]:
        """The value at each of `places`, less the shift, and whether it is exact, not the mean of a bin."""
        entries = np.searchsorted(self.counts, places, side="right") - 1
        return self.means[entries], self.counts[entries + 1] - self.counts[entries] == 1

    def sampled(self) -> tuple[Indices, Floats]:
        """The first of each entry, and the entries' means."""
        return self.counts[:-1].astype(np.int64), self.means


def are_many(values: npt.NDArray[np.floating]) -> bool:
    """Whether counting `values` (n,) in bins is possible and faster than sorting."""
    return kernels.built() and values.dtype == np.float32 and MANY <= values.size < 1 << 31


def binned(values: npt.NDArray[np.float32], *, bins: int, distinct: int) -> Bins | None:
    """Float32 `values` (n,) in bins. None where not all are finite, or a sample has fewer than `distinct` values."""
    least, most = float(values.min()), float(values.max())
    sample = np.sort(values[:: max(1, values.size // SAMPLE)])
    if not np.isfinite(least + most) or np.count_nonzero(sample[1:] != sample[:-1]) < distinct:
        return None
    first, middle, last = (float(sample[place]) for place in (0, sample.size // 2, -1))
    reach = (last - first) / 2
    low, high = max(least, first - reach), min(most, last + reach)
    shift = middle if abs(middle) > 2 * reach else 0.0
    grid = Grid(low, bins / (high - low), bins)
    endless = np.zeros(bins, np.bool_)
    endless[[0, -1]] = least < low, most > high
    return Bins(values, grid, shift, *kernels.bin_sums(values, grid, shift=shift), endless)
