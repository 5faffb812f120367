"""The distortions of codebooks of many sizes, from one sort and one dynamic programme."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lc_core.numerics import kernels
from lc_core.numerics.kernels import Floats, Indices
from lc_core.numerics.kmeans import EXACT, bin_edges, first_of_each, partition
from lc_core.numerics.sorted_values import SortedValues, distortion, summed

BINS, BINS_A_CENTRE = 384, 8
"""Weights fall into about so many bins, or so many for each centre."""
LONGEST = 64
"""Without the compiled loops, no run but the first has more bins."""


def codebook_errors(values: npt.NDArray[np.floating], sizes: Sequence[int], *, by_magnitude: bool = False) -> Floats:
    """Sum of squared distances of ascending `values` (n,) to their nearest centre, with the best of each of `sizes`.

    Exact up to 256 distinct values, by dynamic programming. For more, the best runs of whole bins (`bin_edges`), which
    is an upper bound. `by_magnitude`: each distance of these centres counts times the value's magnitude. O(n + size
    bins log bins) for the largest size.
    """
    errors = np.zeros(len(sizes))
    if not values.size:
        return errors
    firsts = first_of_each(values, most=EXACT)
    data = summed(values)
    if firsts is not None:
        edges = np.append(firsts, values.size)
    else:
        edges = bin_edges(data, bins=max(BINS, BINS_A_CENTRE * max(sizes)))
    lossy = [place for place, size in enumerate(sizes) if firsts is None or size < firsts.size]
    runs = [min(sizes[place], edges.size - 1) for place in lossy]
    if runs:
        found = _best_runs(data, edges, runs)
        each = _weighed(values, found) if by_magnitude else [distortion(data, best) for best in found]
        errors[lossy] = np.maximum(each, 0.0)
    return errors


def _weighed(values: npt.NDArray[np.floating], each: Sequence[Indices]) -> list[float]:
    """For each of several edges, the sum over runs of |v| (v - c)^2, c the run's mean."""
    wide = values.astype(np.float64)
    powers = [np.append(0.0, np.cumsum(power)) for power in (wide, abs(wide), abs(wide) * wide, abs(wide) * wide**2)]
    found = []
    for edges in each:
        sums, sizes, firsts, seconds = (power[edges[1:]] - power[edges[:-1]] for power in powers)
        centres = sums / (edges[1:] - edges[:-1])
        found.append(float((seconds - 2 * centres * firsts + centres**2 * sizes).sum()))
    return found


def _best_runs(data: SortedValues, edges: Indices, sizes: Sequence[int]) -> list[Indices]:
    """For each of `sizes`, the edges of the best runs whose borders are among `edges`."""
    if kernels.built():
        parts = kernels.best_parts_of_each(edges.astype(np.float64), data.before(edges)[0], sizes=sizes)
        return [edges[each] for each in parts]
    longest = edges.size if edges.size <= EXACT + 1 else LONGEST
    return [partition(data, edges, size, longest=longest) for size in sizes]
