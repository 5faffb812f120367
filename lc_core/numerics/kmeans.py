"""One-dimensional k-means: dynamic programming over sorted values, then over the neighbourhoods of its borders."""

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
"""Up to as many distinct values are parted exactly."""
LEAST_BINS, BINS_A_RUN, MOST_BINS = 128, 12, 512
LONGEST_RUN = 16
"""No run takes more bins than this many times its share, but the first."""
MOST_BINNED = 64
"""More centres than this are too many for so few bins."""
COARSE = np.arange(-19, 20) / 16
FINE = np.arange(-8, 9) / 96
"""Where a border may move, in runs: past the border next to it, so that a run can vanish here and another appear
anywhere, by all between moving up; then closer, for what the coarse steps are too long to see."""
SETTLED = 1e-3
"""A start whose distortion Lloyd's algorithm lowers by less than this part of it is where the last C step put it,"""
NEARBY = np.unique(np.outer([-1, 1], [0.0, 0.01, 0.03, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.2]))
"""and stays where none of these moves pays either."""
MOVES = 5
GAIN = 5e-5
"""A move that lowers the distortion by less than this part of it is the last of its kind."""
LLOYD_ROUNDS, LLOYD_ROUNDS_A_MOVE = 10, 2
BINS, FEW_BINS, FEW_CENTRES = 1 << 14, 1 << 12, 16
"""For a few centres that a start is near, few bins will do."""
PARTS = 1 << 11
"""So many of them, about, does the compiled programme see: a quarter loses up to 0.1 % at 64 centres."""
ENTRIES = 4
"""Less than so many a centre, and the values lie in lumps that the bins do not part."""
OPENINGS = 4
TABLE = 1 << 15
"""Costs of runs that are worked out at a time: few enough to stay in a processor's cache."""


def optimal_centres(w: npt.NDArray[np.floating], *, size: int, start: npt.NDArray[np.floating] | None = None) -> Floats:
    """Centres (size,), ascending, of least sum of squared distances to `w` (n,), float32 or float64.

    Optimal for at most 256 distinct values, and but for a few values about the border for two centres. For more a local
    optimum, better than those of Lloyd's algorithm in that it is one also for moves of many borders at once
    (`_refined`): within 0.1 % of the optimum where that was worked out. It goes on from the optimum over some bins
    (from cells of width density^(-1/3) beyond 64 centres) and from `start` (size,), if there is one; a start at rest
    but for little, which moves nearby do not better, is only laid to rest.
    Fewer distinct values than centres: the last is repeated.
    """
    if are_many(w) and 2 < size <= MOST_BINNED:
        centres = _centres_of_many(np.ascontiguousarray(w), size, start)
        if centres is not None:
            return _padded(centres, size)
    return centres_of_sorted(np.sort(w), size=size, start=start)


def _centres_of_many(
    values: npt.NDArray[np.float32], size: int, start: npt.NDArray[np.floating] | None
) -> Floats | None:
    """`optimal_centres` over bins: those that a border comes to lie in are opened, and Lloyd's algorithm goes on.

    None where the bins are no use, or would have to be opened for a large part of the values.
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
    """Where Lloyd's algorithm rests from the best runs of some parts of the values; compiled."""
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
    firsts = _first_of_each(values, most=max(EXACT, size))
    if firsts is not None and firsts.size <= size:
        centres = values[firsts].astype(np.float64)
    else:
        data = summed(values)
        if firsts is not None and firsts.size <= EXACT:
            edges = _partition(data, np.append(firsts, values.size), size, longest=firsts.size)
        else:
            begun = None if start is None else np.sort(start).astype(np.float64) - data.shift
            edges = _best_runs(data, size, begun) if size > 2 else _best_of_two(data, size, begun)
        centres = centres_of(data, edges) + data.shift
    return _padded(centres, size)


def _padded(centres: Floats, size: int) -> Floats:
    padded: Floats = np.full(size, centres[-1])
    padded[: centres.size] = centres
    return padded


def _first_of_each(values: npt.NDArray[np.floating], *, most: int) -> Indices | None:
    """Places of the first of each distinct value; None where there are more than `most`."""
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
    if size > MOST_BINNED:  # that many cells are best laid as the bins are
        first = bin_edges(data, bins=size)
    else:
        bins = min(max(LEAST_BINS, BINS_A_RUN * size), MOST_BINS)
        longest = -(-LONGEST_RUN * bins // size)
        first = _partition(data, bin_edges(data, bins=bins), size, longest=longest)
    laid = _lloyd(data, centres_of(data, first), rounds=LLOYD_ROUNDS)
    # Either may lead astray, the bins where the values lie in lumps, the start where these were others.
    found = [_refined(data, edges, size) for edges in (laid, rested) if edges is not None]
    return min(found, key=partial(distortion, data))


def _rested(data: Ordered, size: int, start: Floats) -> tuple[Indices, bool]:
    """Edges of the runs where Lloyd's algorithm from `start` rests, and whether that may be left at that."""
    begun = nearest_runs(data, start)
    rested = _lloyd(data, centres_of(data, begun), rounds=LLOYD_ROUNDS)
    least = distortion(data, rested)
    if not distortion(data, begun) < least * (1 + SETTLED):
        return rested, False
    return rested, not distortion(data, _moved(data, rested, size, NEARBY)) < least * (1 - GAIN)


def _best_halves(data: SortedValues) -> Indices:
    """Edges of two runs: the best whose border is at the edge of a block, or among the smallest or largest values."""
    n, few = data.size, min(SAMPLE // 8, data.size - 1)
    outer = np.concatenate([np.arange(1, few + 1), np.arange(n - few, n)])
    blocks = np.arange(1, (n - 1) // BLOCK + 1)
    borders = np.concatenate([BLOCK * blocks, outer])
    sums, total = np.concatenate([data.sums[blocks], data.before(outer)[0]]), data.before(np.array([n]))[0]
    explained = sums**2 / borders + (total - sums) ** 2 / (n - borders)
    return edges_of(borders[[explained.argmax()]], n)


def bin_edges(data: Ordered, *, bins: int) -> Indices:
    """Edges of at most `bins` bins of the values, finer where these are denser.

    The bins' widths follow density^(-1/3), the best for quantization with many cells (Panter and Dite 1951): the sum of
    gap^(2/3) grows by equal amounts from edge to edge, a gap counting for one bin at most, or wide ones would take them
    all. Equal widths and equal counts both fail on heavy tails.
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


def _partition(data: Ordered, edges: Indices, size: int, *, longest: int) -> Indices:
    """The `size` runs of least distortion whose borders are among `edges` (b + 1,), as edges (size + 1,).

    best_k(j) = min over i < j of best_{k-1}(i) + distortion(i, j) (Bellman 1973; Wang and Song 2011), with i no further
    back than `longest` but in the first run. O(size b longest).
    """
    bins = edges.size - 1
    longest = min(longest, bins)
    sums, squares = data.before(edges)
    ends = np.arange(1, bins + 1)[:, None]
    starts = ends - longest + np.arange(longest)
    from_there = edges[starts], sums[starts], squares[starts]  # where negative, from behind the end: infinite
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
    """Edges of the runs where Lloyd's algorithm from `centres` rests, or comes to in `rounds`."""
    edges = nearest_runs(data, centres)
    for _ in range(rounds - 1):
        moved = nearest_runs(data, centres_of(data, edges))
        if np.array_equal(moved, edges):
            break
        edges = moved
    return edges


def _refined(data: Ordered, edges: Indices, size: int) -> Indices:
    """`edges` after moves of all borders at once, first COARSE ones, then FINE ones, while they pay."""
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
    """Edges of `size` runs: those of largest distortion cut in two while there are fewer."""
    while edges.size <= size:
        counts = np.diff(edges)
        order = np.argsort(np.where(counts > 1, distortions(data, edges), -1.0), kind="stable")[edges.size - 1 - size :]
        cut = order[counts[order] > 1]
        edges = np.sort(np.concatenate([edges, edges[cut] + counts[cut] // 2]))
    return edges


def _moved(data: Ordered, edges: Indices, size: int, offsets: Floats) -> Indices:
    """The best `size` runs whose every border is moved by one of `offsets`, counted in runs, and Lloyd's from there.

    Dynamic programming as in `_partition`, every border with places of its own: O(size len(offsets)^2).
    """
    edges = _filled(data, edges, size)
    runs = edges.size - 1
    places = np.interp(np.arange(1, runs)[:, None] + offsets, np.arange(runs + 1), edges).astype(np.int64)
    # The first and the last edge stay: each is a border all of whose places are one.
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
    """For each layer the distortion [end, start] of the run from a start to an end: infinite where that is backwards.

    Args:
        starts: (layers, a), and the sums of the values, and of their squares, before them.
        ends: (layers, b), and the same.
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
    """min over starts i of best(i) + cost(j, i) for every end j, and where it is reached."""
    through = cost + best
    chosen: Indices = through.argmin(axis=1)
    return through[np.arange(chosen.size), chosen], chosen
