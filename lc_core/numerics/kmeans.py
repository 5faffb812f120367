"""One-dimensional k-means: dynamic programming over sorted values, then over positions near the borders."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from lc_core.numerics import kernels
from lc_core.numerics.binned_values import are_many, binned
from lc_core.numerics.kernels import Floats, Indices
from lc_core.numerics.sorted_values import (
    BLOCK,
    SAMPLE,
    Ordered,
    SortedValues,
    centres_of,
    distortion,
    distortions,
    edges_of,
    nearest_runs,
    summed,
)

EXACT = 256
"""Up to this many distinct values the solution is exact."""
LEAST_BINS, BINS_A_RUN, MOST_BINS = 128, 12, 512
LONGEST_RUN = 16
"""No run but the first takes more bins than this many times its share."""
MOST_BINNED = 64
"""With more centres than this, the bins are too few."""
COARSE = np.arange(-19, 20) / 16
FINE = np.arange(-8, 9) / 96
"""How far a border may move, in runs. COARSE reaches past the next border: one run can vanish and another appear
elsewhere, while all runs between move up. FINE then makes small moves."""
SETTLED = 1e-3
"""A start is settled where Lloyd's algorithm lowers its distortion by less than this fraction"""
NEARBY = np.unique(np.outer([-1, 1], [0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.2]))
"""and none of these moves lowers it either."""
MOVES = 5
GAIN = 5e-5
"""Moves of one kind end when one lowers the distortion by less than this fraction."""
LLOYD_ROUNDS, LLOYD_ROUNDS_A_MOVE = 10, 2
BINS, FEW_BINS, FEW_CENTRES = 1 << 14, 1 << 12, 16
"""For up to FEW_CENTRES centres with a start, FEW_BINS are enough."""
PARTS = 1 << 11
"""About the number of bins of the compiled dynamic programme. A quarter of it loses up to 0.1 % at 64 centres."""
ENTRIES = 4
"""With fewer entries for each centre, the values lie in clusters that the bins do not separate."""
OPENINGS = 4
TABLE = 1 << 15
"""The number of run costs to compute at a time, such that they stay in the processor's cache."""


def optimal_centres(w: npt.NDArray[np.floating], *, size: int, start: npt.NDArray[np.floating] | None = None) -> Floats:
    """Centres (size,), ascending, of least sum of squared distances to `w` (n,), float32 or float64.

    Optimal for at most 256 distinct values; for two centres optimal up to a few values near the border. Otherwise a
    local optimum that no move of many borders at once improves (`_refined`): within 0.1 % of the optimum where that was
    computed. It starts from the optimum over bins (from cells of width density^(-1/3) beyond 64 centres) and from
    `start` (size,), if there is one. A settled start is only refined by Lloyd's algorithm. With fewer distinct values
    than centres, the last is repeated.
    """
    if are_many(w) and 2 < size <= MOST_BINNED:
        centres = _centres_of_many(np.ascontiguousarray(w), size, start)
        if centres is not None:
            return _padded(centres, size)
    return centres_of_sorted(np.sort(w), size=size, start=start)


def _centres_of_many(
    values: npt.NDArray[np.float32], size: int, start: npt.NDArray[np.floating] | None
) -> Floats | None:
    """`optimal_centres` over bins. Bins that contain a border are opened, and Lloyd's algorithm continues.

    None where bins do not help, or where opened bins would hold a large part of the values.
    """
    few = start is not None and size <= FEW_CENTRES
    bins = binned(values, bins=FEW_BINS if few else BINS, distinct=EXACT)
    data = bins.opened(bins.endless) if bins is not None else None
    if bins is None or data is None or data.means.size < ENTRIES * size:
        return None
    opened = bins.endless
    edges, settled = None, False
    if start is not None:
        edges, settled = _rested(data, size, np.sort(start).astype(np.float64) - data.shift)
    if edges is None or not settled:
        found = _best_parts(data, size)
        edges = found if edges is None else min(found, edges, key=partial(distortion, data))
    for _ in range(OPENINGS):
        centres = centres_of(data, edges)
        more = opened | bins.holding((centres[1:] + centres[:-1]) / 2)
        if np.array_equal(more, opened):
            break
        opened, data = more, bins.opened(more)
        if data is None:
            return None
        edges = _lloyd(data, centres, rounds=LLOYD_ROUNDS)
    return centres_of(data, edges) + data.shift


def _best_parts(data: Ordered, size: int) -> Indices:
    """The end of Lloyd's algorithm from the best runs of bins; compiled."""
    edges = bin_edges(data, bins=PARTS)
    sums, _ = data.before(edges)
    parts = kernels.best_parts(edges.astype(np.float64), sums, size=min(size, edges.size - 1))
    return _lloyd(data, centres_of(data, edges[parts]), rounds=LLOYD_ROUNDS)


def centres_of_sorted(
    values: npt.NDArray[np.floating], *, size: int, start: npt.NDArray[np.floating] | None = None
) -> Floats:
    """`optimal_centres` of ascending `values`."""
    if not values.size:
        return np.zeros(size)
    firsts = first_of_each(values, most=max(EXACT, size))
    if firsts is not None and firsts.size <= size:
        centres = values[firsts].astype(np.float64)
    else:
        data = summed(values)
        if firsts is not None and firsts.size <= EXACT:
            edges = partition(data, np.append(firsts, values.size), size, longest=firsts.size)
        else:
            begun = None if start is None else np.sort(start).astype(np.float64) - data.shift
            edges = _best_runs(data, size, begun) if size > 2 else _best_of_two(data, size, begun)
        centres = centres_of(data, edges) + data.shift
    return _padded(centres, size)


def _padded(centres: Floats, size: int) -> Floats:
    padded: Floats = np.full(size, centres[-1])
    padded[: centres.size] = centres
    return padded


def first_of_each(values: npt.NDArray[np.floating], *, most: int) -> Indices | None:
    """The first place of each distinct value; None where there are more than `most`."""
    sample = values[:: max(1, values.size // SAMPLE)]
    if np.count_nonzero(sample[1:] != sample[:-1]) >= most:
        return None
    changes = np.flatnonzero(values[1:] != values[:-1]) + 1
    return None if changes.size >= most else np.append(0, changes)


def _best_of_two(data: SortedValues, size: int, start: Floats | None) -> Indices:
    if size == 1:
        return np.array([0, data.size])
    starts = [centres_of(data, _best_halves(data))] + ([] if start is None else [start])
    return min((_lloyd(data, each, rounds=LLOYD_ROUNDS) for each in starts), key=partial(distortion, data))


def _best_runs(data: SortedValues, size: int, start: Floats | None) -> Indices:
    rested, settled = (None, False) if start is None else _rested(data, size, start)
    if rested is not None and settled:
        return rested
    if size > MOST_BINNED:  # so many cells are best laid out like the bins
        first = bin_edges(data, bins=size)
    else:
        bins = min(max(LEAST_BINS, BINS_A_RUN * size), MOST_BINS)
        longest = -(-LONGEST_RUN * bins // size)
        first = partition(data, bin_edges(data, bins=bins), size, longest=longest)
    laid = _lloyd(data, centres_of(data, first), rounds=LLOYD_ROUNDS)
    # Either can mislead: the bins where values lie in clusters, the start where the values have changed.
    found = [_refined(data, edges, size) for edges in (laid, rested) if edges is not None]
    return min(found, key=partial(distortion, data))


def _rested(data: Ordered, size: int, start: Floats) -> tuple[Indices, bool]:
    """Edges of the runs where Lloyd's algorithm from `start` ends, and whether the start was settled."""
    begun = nearest_runs(data, start)
    rested = _lloyd(data, centres_of(data, begun), rounds=LLOYD_ROUNDS)
    least = distortion(data, rested)
    if not distortion(data, begun) < least * (1 + SETTLED):
        return rested, False
    return rested, not distortion(data, _moved(data, rested, size, NEARBY)) < least * (1 - GAIN)


def _best_halves(data: SortedValues) -> Indices:
    """Edges of the best two runs whose border is at the edge of a block, or among the smallest or largest values."""
    n, few = data.size, min(SAMPLE // 8, data.size - 1)
    outer = np.concatenate([np.arange(1, few + 1), np.arange(n - few, n)])
    blocks = np.arange(1, (n - 1) // BLOCK + 1)
    borders = np.concatenate([BLOCK * blocks, outer])
    sums, total = np.concatenate([data.sums[blocks], data.before(outer)[0]]), data.before(np.array([n]))[0]
    explained = sums**2 / borders + (total - sums) ** 2 / (n - borders)
    return edges_of(borders[[explained.argmax()]], n)


def bin_edges(data: Ordered, *, bins: int) -> Indices:
    """Edges of at most `bins` bins of the values, finer where these are denser.

    The widths follow density^(-1/3), which is best for quantization with many cells (Panter and Dite 1951): the sum of
    gap^(2/3) grows by equal amounts from edge to edge. A gap counts for one bin at most, or wide gaps would take all
    bins. Equal widths and equal counts both fail on heavy tails.
    """
    places, values = data.sampled()
    growth = np.cbrt(np.diff(values) ** 2 * np.diff(places))
    for _ in range(20):
        most = growth.sum() / bins
        if growth.max() <= most:
            break
        growth = np.minimum(growth, most)
    grown = np.append(0.0, np.cumsum(growth))
    edges = np.searchsorted(grown, np.linspace(0, grown[-1], bins + 1)[1:-1], side="right")
    return edges_of(np.append(places, data.size)[edges], data.size)


def partition(data: Ordered, edges: Indices, size: int, *, longest: int) -> Indices:
    """The `size` runs of least distortion whose borders are among `edges` (b + 1,), as edges (size + 1,).

    best_k(j) = min over i < j of best_{k-1}(i) + distortion(i, j) (Bellman 1973; Wang and Song 2011), with i at most
    `longest` back, except in the first run. O(size b longest).
    """
    bins = edges.size - 1
    longest = min(longest, bins)
    sums, squares = data.before(edges)
    ends = np.arange(1, bins + 1)[:, None]
    starts = ends - longest + np.arange(longest)
    from_there = (
        edges[starts],
        sums[starts],
        squares[starts],
    )  # a negative index wraps to behind the end, where the cost is infinite
    cost = run_costs(*from_there, edges[ends], sums[ends], squares[ends])[:, 0]
    best, came = squares[1:] - sums[1:] ** 2 / edges[1:], []
    for _ in range(1, min(size, bins)):
        reached = np.concatenate([np.full(longest + 1, np.inf), best[:-1]])
        best, chosen = _step(cost, np.lib.stride_tricks.sliding_window_view(reached, longest)[1:])
        came.append(chosen)
    path = [bins]
    for chosen in reversed(came):
        path.append(int(starts[path[-1] - 1, chosen[path[-1] - 1]]))
    return edges[[0, *reversed(path)]]


def _lloyd(data: Ordered, centres: Floats, *, rounds: int) -> Indices:
    """Edges of the runs where Lloyd's algorithm from `centres` ends, after at most `rounds`."""
    edges = nearest_runs(data, centres)
    for _ in range(rounds - 1):
        moved = nearest_runs(data, centres_of(data, edges))
        if np.array_equal(moved, edges):
            break
        edges = moved
    return edges


def _refined(data: Ordered, edges: Indices, size: int) -> Indices:
    """`edges` after moves of all borders at once, first COARSE, then FINE, while the distortion falls."""
    least = distortion(data, edges)
    for offsets in (COARSE, FINE):
        for _ in range(MOVES):
            moved = _moved(data, edges, size, offsets)
            before, error = least, distortion(data, moved)
            if error < before:
                edges, least = moved, error
            if not error < before * (1 - GAIN):
                break
    return _lloyd(data, centres_of(data, edges), rounds=LLOYD_ROUNDS)


def _filled(data: Ordered, edges: Indices, size: int) -> Indices:
    """Edges of `size` runs: while there are fewer, the runs of largest distortion are cut in two."""
    while edges.size <= size:
        counts = np.diff(edges)
        order = np.argsort(np.where(counts > 1, distortions(data, edges), -1.0), kind="stable")[edges.size - 1 - size :]
        cut = order[counts[order] > 1]
        edges = np.sort(np.concatenate([edges, edges[cut] + counts[cut] // 2]))
    return edges


def _moved(data: Ordered, edges: Indices, size: int, offsets: Floats) -> Indices:
    """The best `size` runs with every border moved by one of `offsets`, in runs; then Lloyd's algorithm.

    Dynamic programming as in `partition`, where each border has its own places: O(size len(offsets)^2).
    """
    edges = _filled(data, edges, size)
    runs = edges.size - 1
    places = np.interp(np.arange(1, runs)[:, None] + offsets, np.arange(runs + 1), edges).astype(np.int64)
    # The first and the last edge do not move: all their places are equal.
    places = np.vstack([np.zeros_like(places[:1]), places, np.full_like(places[:1], edges[-1])])
    sums, squares = data.before(places)
    path = [0]
    for chosen in reversed(_least_way(places, sums, squares)):
        path.append(int(chosen[path[-1]]))
    moved = edges_of(places[np.arange(1, runs), path[-2:0:-1]], data.size)
    return _lloyd(data, centres_of(data, moved), rounds=LLOYD_ROUNDS_A_MOVE)


def _least_way(places: Indices, sums: Floats, squares: Floats) -> Sequence[Indices]:
    """`kernels.least_way`, compiled or not."""
    if kernels.built():
        return list(kernels.least_way(places, sums, squares))
    runs = len(places) - 1
    best, came = np.zeros(places.shape[1]), []
    layers = max(1, TABLE // best.size**2)
    for first in range(0, runs, layers):
        last = min(first + layers, runs)
        old, new = slice(first, last), slice(first + 1, last + 1)
        for cost in run_costs(places[old], sums[old], squares[old], places[new], sums[new], squares[new]):
            best, chosen = _step(cost, best)
            came.append(chosen)
    return came


def run_costs(
    starts: Indices, sums: Floats, squares: Floats, ends: Indices, end_sums: Floats, end_squares: Floats
) -> Floats:
    """For each layer, the distortion [end, start] of the run from a start to an end; infinite where end < start.

    Args:
        starts: (layers, a), with the sums of the values before them, and of their squares.
        ends: (layers, b), with the same.
    """
    counts = (ends[:, :, None] - starts[:, None, :]).astype(np.float64)
    explained = end_sums[:, :, None] - sums[:, None, :]
    np.square(explained, out=explained)
    np.divide(explained, np.maximum(counts, 1.0), out=explained)
    cost: Floats = end_squares[:, :, None] - squares[:, None, :]
    np.subtract(cost, explained, out=cost)
    cost[counts < 0] = np.inf
    return cost


def _step(cost: Floats, best: Floats) -> tuple[Floats, Indices]:
    """min over starts i of best(i) + cost(j, i) for every end j, and the minimizing i."""
    through = cost + best
    chosen: Indices = through.argmin(axis=1)
    return through[np.arange(chosen.size), chosen], chosen
