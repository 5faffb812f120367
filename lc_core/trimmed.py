"""One-dimensional k-means of all but a given number of values: the codebook of weights of which some are corrected."""

import numpy as np
import numpy.typing as npt

from lc_core.kmeans import MOST_BINNED, bin_edges, centres_of_sorted, run_costs
from lc_core.sorted_values import Floats, Indices, SortedValues, summed

BINS, FEW_BINS = 128, 64
OCTAVES, HALVINGS, FEW_HALVINGS = -40.0, 14, 4
"""Prices are looked for from the square of the values' span down, over so many octaves of its root; more narrowly where
few values or many centres make the start count."""
FINE_BINS, MANY_VALUES = 32, 10_000
"""With so many bins a run, and values, the optimum over bins is so near the optimum that k-means finds nothing more."""
FIRST_ROUNDS, ROUNDS = 4, 200
SHRINKS = 0.3, 0.95
"""Steps that shrink to a smaller part end soon, those that shrink to a larger lead too far to be followed."""
GAIN = 1e-7
"""A round that lowers the distortion by less than this part of it is the last."""


def trimmed_centres(
    values: npt.NDArray[np.floating], *, size: int, left_out: int, start: npt.NDArray[np.floating] | None = None
) -> Floats:
    """Centres (size,), ascending: min over c and S of sum over i not in S of min_j (v_i - c_j)^2, |S| = `left_out`,
    for `values` v (n,), ascending.

    Alternating, each half exact: those left out are the farthest from their nearest centre, so that what stays is a run
    about each centre; the centres are the runs' means. Prefix sums, then O(size left_out) a round. A local optimum: the
    best of those reached from the optima over some bins (`_priced`; from the optimal centres of the least values where
    those are more than 64) and from `start` (size,), that k-means of what stays (`centres_of_sorted`) does not better;
    of few centres and many values that is not tried.
    """
    if not 0 < left_out < values.size:
        return centres_of_sorted(values, size=size, start=start)
    data, clear = summed(values), FINE_BINS * size <= BINS and values.size >= MANY_VALUES
    if size <= MOST_BINNED:
        if clear:
            bins, halvings = max(FEW_BINS, FINE_BINS * size), FEW_HALVINGS
            optima = _bracketing(data, size, left_out, bins=bins, halvings=halvings)[-1:]
        else:
            optima = _bracketing(data, size, left_out, bins=BINS, halvings=HALVINGS)
        starts = [_means(data, runs, size) for runs in optima]
    else:
        kept = values.size - left_out
        first = int(np.argmin(np.maximum(-values[: left_out + 1], values[kept - 1 :])))  # those of least magnitude
        starts = [centres_of_sorted(values[first : first + kept], size=size) - data.shift]
    if start is not None:
        starts.append(np.sort(start).astype(np.float64) - data.shift)
    best = starts[0]
    if len(starts) > 1:
        begun = [_descended(data, centres, left_out, rounds=FIRST_ROUNDS) for centres in starts]
        _, best = min(begun, key=lambda found: found[0])
    least, best = _descended(data, best, left_out, rounds=ROUNDS)
    if clear:
        return best + data.shift
    for _ in range(ROUNDS):
        staying = np.concatenate([values[first:end] for first, end in _staying(data, best, left_out).T])
        moved = centres_of_sorted(staying, size=size, start=best + data.shift) - data.shift
        error, moved = _descended(data, moved, left_out, rounds=ROUNDS)
        if not error < least * (1 - GAIN):
            break
        least, best = error, moved
    return best + data.shift


def bounds_of_staying(values: npt.NDArray[np.floating], centres: Floats, left_out: int) -> Floats:
    """Of the ascending `values` that stay about each of the ascending `centres` when the farthest go: a number just
    below the least, and the largest, run by run."""
    runs = _staying(SortedValues(values, 0.0, np.zeros(1), np.zeros(1)), centres, left_out)
    first, end = runs[:, runs[0] < runs[1]]
    below = np.nextafter(values[first].astype(np.float64), -np.inf)
    return np.stack([below, values[end - 1]], axis=1).reshape(-1)


def _bracketing(data: SortedValues, size: int, left_out: int, *, bins: int, halvings: int) -> list[Indices]:
    """The optima over bins (`_priced`) at two prices, that leave out just more and just no more than `left_out`."""
    n = data.size
    edges = bin_edges(data, bins=bins) if n > bins else np.arange(n + 1)
    sums, squares = (part[None] for part in data.before(edges))
    costs = run_costs(edges[None], sums, squares, edges[None], sums, squares)[0]
    span = float(data.values[-1]) - float(data.values[0])
    low, high = OCTAVES, 0.0
    more = fewer = None
    for _ in range(halvings):
        middle = (low + high) / 2
        runs = _priced(edges, costs, size, (span * 2**middle) ** 2)
        stay = int((runs[1] - runs[0]).sum())
        if 0 < stay < n - left_out:
            low, more = middle, runs
        elif stay:
            high, fewer = middle, runs
        else:
            low = middle
    if fewer is None:
        fewer = _priced(edges, costs, size, span**2)
    return [fewer] if more is None else [more, fewer]


def _means(data: SortedValues, runs: Indices, size: int) -> Floats:
    """Means (size,) of the runs that hold a value, of which there is one; the last is repeated."""
    firsts, ends = runs[:, runs[1] > runs[0]]
    means = (data.before(ends)[0] - data.before(firsts)[0]) / (ends - firsts)
    return np.append(means, np.repeat(means[-1], size - means.size))


def _priced(edges: Indices, costs: Floats, size: int, price: float) -> Indices:
    """First places and ends (2, size) of the runs of bins of least distortion plus `price` for each value in none.

    best_k(j) = min over i <= j of min over h <= i of best_{k-1}(h) + distortion(h, i), plus what lies between i and j
    times the price: O(size bins^2).
    """
    paid = price * edges
    best, came = paid, []
    for _ in range(size):
        through = costs + best
        firsts = through.argmin(axis=1)
        ended = through[np.arange(edges.size), firsts] - paid
        least = np.minimum.accumulate(ended)
        came.append((firsts, np.maximum.accumulate(np.where(ended == least, np.arange(edges.size), 0))))
        best = least + paid
    runs, place = np.empty((2, size), np.int64), edges.size - 1
    for number in reversed(range(size)):
        firsts, lasts = came[number]
        runs[1, number] = edges[lasts[place]]
        place = firsts[lasts[place]]
        runs[0, number] = edges[place]
    return runs


def _descended(data: SortedValues, centres: Floats, left_out: int, *, rounds: int) -> tuple[float, Floats]:
    """The distortion and the centres where alternating from `centres` ends, or comes to in `rounds`.

    It nears its end by the same part each time, so that every second round goes on to where that leads (Aitken's
    delta-squared process); what that does not lower is taken back.
    """
    least, found, before, safe = np.inf, centres, None, None
    for _ in range(rounds):
        runs = _staying(data, found, left_out)
        counts = np.maximum(runs[1] - runs[0], 1)
        sums, squares = (before_runs[1] - before_runs[0] for before_runs in data.before(runs))
        error = float((squares - sums**2 / counts).sum())
        if not error < least:
            if safe is None:
                break
            found, before, safe = safe, None, None
            continue
        gain, least = least - error, error
        moved = np.sort(np.where(runs[1] > runs[0], sums / counts, found))
        step, found, safe = moved - found, moved, None
        if gain < GAIN * error:
            break
        part = 0.0 if before is None else float(step @ before) / float(before @ before)
        if SHRINKS[0] < part < SHRINKS[1]:
            found, safe, before = np.sort(moved + step * (part / (1 - part))), moved, None
        else:
            before = step
    return least, found if safe is None else safe


def _staying(data: SortedValues, centres: Floats, left_out: int) -> Indices:
    """First places and ends (2, k) of the runs that stay about ascending `centres` when the farthest go."""
    values, k = data.values, centres.size
    places = data.below(np.concatenate([(centres[1:] + centres[:-1]) / 2, centres]))
    borders = np.concatenate([[0], places[: k - 1], [values.size]])
    middles = np.minimum(np.maximum(places[k - 1 :], borders[:-1]), borders[1:])
    # Only the outermost of either side of a centre can be among the farthest.
    firsts = np.concatenate([borders[:-1], np.maximum(borders[1:] - left_out, middles)])
    lasts = np.concatenate([np.minimum(borders[:-1] + left_out, middles), borders[1:]])
    sides = zip(np.concatenate([centres, centres]) + data.shift, firsts, lasts, strict=True)
    distances = np.abs(np.concatenate([values[first:last] - centre for centre, first, last in sides]))
    side = np.repeat(np.arange(2 * k), lasts - firsts)
    gone = np.bincount(side[np.argpartition(distances, -left_out)[-left_out:]], minlength=2 * k)
    return np.stack([borders[:-1] + gone[:k], borders[1:] - gone[k:]])
