"""The least distortion of one-dimensional k-means, by dynamic programming: the optimum that C steps compare with."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

STRIDE, ENDS = 8, 2000


def distortion(w: Floats, centres: Floats) -> float:
    """Sum of squared distances of `w` (n,) to the nearest of `centres`, in float64."""
    ordered = np.sort(centres.astype(np.float64).reshape(-1))
    nearest = ordered[np.searchsorted((ordered[1:] + ordered[:-1]) / 2, w)]
    return float(((w - nearest) ** 2).sum())


def optimum(w: Floats, *, size: int, stride: int = STRIDE, ends: int = ENDS) -> float:
    """The least distortion of `w` (n,) with `size` centres.

    best_k(j) = min over i <= j of best_{k-1}(i) + distortion(i, j) for borders at every `stride`-th of the sorted
    values and at each of the `ends` smallest and largest, then Lloyd's algorithm among all values. The best i never
    falls as j grows: halving over j, O(size n / stride log n).
    """
    values = np.sort(w.astype(np.float64))
    values -= values.mean()
    n = values.size
    sums, squares = (np.append(0.0, np.cumsum(values**power)) for power in (1, 2))
    every = np.arange(n + 1)
    places = every[(every % stride == 0) | (every < ends) | (every > n - ends)]
    left = squares[places] - sums[places] ** 2 / np.maximum(places, 1)  # the first run's distortion
    came = []
    for _ in range(size - 1):
        left, chosen = _one_more(left - squares[places], sums[places], squares[places], places)
        came.append(chosen)
    path = [places.size - 1]
    for chosen in reversed(came):
        path.append(int(chosen[path[-1]]))
    edges = np.unique(places[[0, *path]])
    for _ in range(100):
        centres = np.diff(sums[edges]) / np.diff(edges)
        borders = np.searchsorted(values, (centres[1:] + centres[:-1]) / 2)
        moved = np.unique(np.concatenate([[0], borders, [n]]))
        if np.array_equal(moved, edges):
            break
        edges = moved
    return float((np.diff(squares[edges]) - np.diff(sums[edges]) ** 2 / np.diff(edges)).sum())


def _one_more(ahead: Floats, sums: Floats, squares: Floats, places: Indices) -> tuple[Floats, Indices]:
    """min over i <= j of ahead(i) - (sum from i to j)^2 / (j - i), plus the squares before j, and where it is."""
    last = places.size - 1
    least, chosen = np.zeros(places.size), np.zeros(places.size, dtype=np.int64)
    least[0] = ahead[0]
    step = 1 << last.bit_length()
    while step:
        j = np.arange(step, last + 1, 2 * step) if step <= last else np.array([last])
        low = chosen[np.maximum(j - step, 0)]
        high = np.minimum(np.where(j + step <= last, chosen[np.minimum(j + step, last)], chosen[last]), j - 1)
        if step > last:
            low, high = np.array([0]), np.array([last - 1])
        low = np.minimum(low, high)
        counts = high - low + 1
        starts = np.append(0, np.cumsum(counts)[:-1])
        i = np.arange(counts.sum()) - np.repeat(starts - low, counts)
        ends = np.repeat(j, counts)
        through = ahead[i] - (sums[ends] - sums[i]) ** 2 / (places[ends] - places[i])
        least[j] = np.minimum.reduceat(through, starts)
        reached = np.flatnonzero(through == np.repeat(least[j], counts))
        chosen[j] = i[reached[np.searchsorted(reached, starts)]]
        step //= 2
    return least + squares, chosen
