"""One-dimensional k-means, by dynamic programming over sorted values and Lloyd's algorithm on their prefix sums."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

BINS = 256
LLOYD_ROUNDS = 100


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Sorted values (n,) and the prefix sums (n + 1,) of them and of their squares, all float64, centred."""

    values: Floats
    sums: Floats
    squares: Floats

    def centres(self, edges: Indices) -> Floats:
        """Means (k,) of the runs between consecutive `edges` (k + 1,); every run holds a value."""
        means: Floats = np.diff(self.sums[edges]) / np.diff(edges)
        return means

    def distortion(self, edges: Indices) -> float:
        """Sum over the runs of the squared distances to their mean."""
        return float(self.squares[-1] - (np.diff(self.sums[edges]) ** 2 / np.diff(edges)).sum())


def optimal_centres(w: npt.NDArray[np.floating], *, size: int, start: npt.NDArray[np.floating] | None = None) -> Floats:
    """Centres (size,), ascending, of least sum of squared distances to `w` (n,).

    Optimal for at most 256 distinct values; for more, a local optimum reached from the optimum over 256 bins (beyond 64
    centres, from cells of width density^(-1/3)) or from `start` (size,), whichever is better. Fewer distinct values
    than centres: the last is repeated.
    """
    if not w.size:
        return np.zeros(size)
    ordered = np.sort(w).astype(np.float64)
    starts_of_distinct = np.flatnonzero(np.diff(ordered, prepend=np.nan))
    if starts_of_distinct.size <= size:
        centres = ordered[starts_of_distinct]
    else:
        shift = ordered[ordered.size // 2]
        values = ordered - shift
        data = _Sorted(values, _prefix(values), _prefix(values**2))
        centres = (
            _best_centres(data, starts_of_distinct, size, None if start is None else np.sort(start) - shift) + shift
        )
    padded: Floats = np.full(size, centres[-1])
    padded[: centres.size] = centres
    return padded


def _best_centres(data: _Sorted, starts_of_distinct: Indices, size: int, start: Floats | None) -> Floats:
    if starts_of_distinct.size <= BINS:
        edges = _partition(data, np.append(starts_of_distinct, data.values.size), size)
        return data.centres(edges)
    if size <= BINS // 4:
        first = _partition(data, _bin_edges(data.values, bins=BINS), size)
    else:  # too few bins for the programme; that many cells are best laid as the bins are
        first = _bin_edges(data.values, bins=size)
    found = [_lloyd(data, data.centres(first))]
    if start is not None:
        found.append(_lloyd(data, start.astype(np.float64)))
    return data.centres(min(found, key=data.distortion))


def _prefix(values: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(values)])


def _bin_edges(values: Floats, *, bins: int) -> Indices:
    """Edges of at most `bins` bins of sorted `values`, finer where the values are denser.

    The bins' widths follow density^(-1/3), the best for quantization with many cells (Panter and Dite 1951): the sum of
    gap^(2/3) grows by equal amounts from edge to edge. Equal widths and equal counts both fail on heavy tails.
    """
    growth = np.concatenate([[0.0], np.cumsum(np.cbrt(np.diff(values)) ** 2)])
    edges = np.searchsorted(growth, np.linspace(0, growth[-1], bins + 1)[1:-1], side="right")
    return np.unique(np.concatenate([[0], edges, [values.size]])).astype(np.int64)


def _partition(data: _Sorted, edges: Indices, size: int) -> Indices:
    """The `size` runs of least distortion whose borders are among `edges` (b + 1,), as edges (size + 1,).

    best_k(j) = min over i < j of best_{k-1}(i) + distortion(i, j) (Bellman 1973; Wang and Song 2011), O(size b^2).
    """
    counts = (edges[None, :] - edges[:, None]).astype(np.float64)
    sums = data.sums[edges][None, :] - data.sums[edges][:, None]
    squares = data.squares[edges][None, :] - data.squares[edges][:, None]
    ordered = counts > 0
    cost = np.where(ordered, squares - sums**2 / np.where(ordered, counts, 1.0), np.inf)
    best, borders = cost[0], []
    for _ in range(1, min(size, edges.size - 1)):
        through = best[:, None] + cost
        borders.append(through.argmin(axis=0))
        best = through.min(axis=0)
    runs = [edges.size - 1]
    for border in reversed(borders):
        runs.append(int(border[runs[-1]]))
    return edges[[0, *reversed(runs)]]


def _lloyd(data: _Sorted, centres: Floats) -> Indices:
    """Edges of the runs where Lloyd's algorithm from `centres` rests; a centre left without values is dropped."""
    edges = np.zeros(0, dtype=np.int64)
    for _ in range(LLOYD_ROUNDS):
        borders = np.searchsorted(data.values, (centres[1:] + centres[:-1]) / 2, side="right")
        moved = np.unique(np.concatenate([[0], borders, [data.values.size]]))
        if np.array_equal(moved, edges):
            break
        edges = moved
        centres = data.centres(edges)
    return edges
