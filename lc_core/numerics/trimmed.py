"""One-dimensional k-means that leaves out a given number of values: a codebook whose worst weights are corrected."""

import numpy as np
import numpy.typing as npt

from lc_core.numerics.binned_values import are_many, binned
from lc_core.numerics.kernels import Floats, Indices
from lc_core.numerics.kmeans import EXACT, MOST_BINNED, OPENINGS, bin_edges, centres_of_sorted, run_costs
from lc_core.numerics.sorted_values import Ordered, SortedValues, summed

BINS, FEW_BINS = 128, 64
OCTAVES, HALVINGS, FEW_HALVINGS = -40.0, 14, 4
"""The price is searched by bisection, from the square of the span of the values down over OCTAVES octaves of its root.
More halvings where few values or many centres make the start matter."""
FEW_CENTRES, FINE_BINS, MANY_VALUES = 4, 32, 10_000
"""With at most so few centres and at least so many bins a run and values, k-means does not improve on the bins."""
COUNTED = 1 << 12
"""The number of bins of equal widths for many values."""
FIRST_ROUNDS, ROUNDS = 4, 200
SHRINKS = 0.3, 0.95
"""Steps are extrapolated only where each is this fraction of the step before."""
GAIN = 1e-7
"""Rounds end when one lowers the distortion by less than this fraction."""


def trimmed_centres(
    w: npt.NDArray[np.floating], *, size: int, left_out: int, start: npt.NDArray[np.floating] | None = None
) -> tuple[Floats, Ordered]:
    """Centres (size,), ascending: min over c and S of sum over i not in S of min_j (w_i - c_j)^2, |S| = `left_out`,
    for `w` (n,), float32 or float64, 0 < `left_out` < n. Also the values, sorted as far as needed.

    It alternates, with each half exact: the values left out are the farthest from their nearest centre, so that a run
    stays around each centre; the centres are the means of the runs. Prefix sums, then O(size left_out) a round. A local
    optimum: the best of those reached from the optima over bins (`_priced`; with more than 64 centres, from the optimal
    centres of the values of least magnitude) and from `start` (size,). k-means of the values that stay
    (`centres_of_sorted`) does not improve it; for few centres and many values that is not tried. From 65,536 float32
    values on, up to four centres are found over bins, as in `optimal_centres`. A start may then end worse than it
    began, by a millionth.
    """
    if are_many(w) and size <= FEW_CENTRES:
        found = _trimmed_of_many(np.ascontiguousarray(w), size, left_out, start)
        if found is not None:
            return found
    return trimmed_of_sorted(np.sort(w), size=size, left_out=left_out, start=start)


def _trimmed_of_many(
    values: npt.NDArray[np.float32], size: int, left_out: int, start: npt.NDArray[np.floating] | None
) -> tuple[Floats, Ordered] | None:
    """`trimmed_centres` over bins. Bins in which a run ends are opened, and the alternation continues.

    None where bins do not help, or where opened bins would hold a large part of the values.
    """
    bins = binned(values, bins=COUNTED, distinct=EXACT)
    data = bins.opened(bins.endless) if bins is not None else None
    if bins is None or data is None:
        return None
    opened = bins.endless
    centres = _reached(data, _starts(data, size, left_out, start), left_out)[1]
    for _ in range(OPENINGS):
        more = opened | bins.holding(data.about(_ends(data, data.staying(centres, left_out)))[0])
        if np.array_equal(more, opened):
            break
        opened, data = more, bins.opened(more)
        if data is None:
            return None
        centres = _descended(data, centres, left_out, rounds=ROUNDS)[1]
    return centres + data.shift, data


def trimmed_of_sorted(
    values: npt.NDArray[np.floating], *, size: int, left_out: int, start: npt.NDArray[np.floating] | None = None
) -> tuple[Floats, SortedValues]:
    """`trimmed_centres` of ascending `values`."""
    data = summed(values)
    if size <= MOST_BINNED:
        starts = _starts(data, size, left_out, start)
    else:
        kept = values.size - left_out
        first = int(np.argmin(np.maximum(-values[: left_out + 1], values[kept - 1 :])))  # those of least magnitude
        begun = centres_of_sorted(values[first : first + kept], size=size) - data.shift
        starts = [begun, *_given(data, start)]
    least, best = _reached(data, starts, left_out)
    for _ in range(0 if _is_clear(data, size) else ROUNDS):
        staying = np.concatenate([values[first:end] for first, end in data.staying(best, left_out).T])
        moved = centres_of_sorted(staying, size=size, start=best + data.shift) - data.shift
        error, moved = _descended(data, moved, left_out, rounds=ROUNDS)
        if not error < least * (1 - GAIN):
            break
        least, best = error, moved
    return best + data.shift, data


def bounds_of_staying(data: Ordered, centres: Floats, left_out: int) -> Floats | None:
    """For the run that stays around each of the ascending `centres`: a number just below its least value, and its
    largest value. None where these are not known exactly."""
    runs = data.staying(centres - data.shift, left_out)
    if not data.about(_ends(data, runs))[1].all():
        return None
    first, end = runs[:, runs[0] < runs[1]]
    least, most = data.about(first)[0] + data.shift, data.about(end - 1)[0] + data.shift
    return np.stack([np.nextafter(least, -np.inf), most], axis=1).reshape(-1)


def _is_clear(data: Ordered, size: int) -> bool:
    return size <= FEW_CENTRES and data.size >= MANY_VALUES


def _given(data: Ordered, start: npt.NDArray[np.floating] | None) -> list[Floats]:
    return [] if start is None else [np.sort(start).astype(np.float64) - data.shift]


def _starts(data: Ordered, size: int, left_out: int, start: npt.NDArray[np.floating] | None) -> list[Floats]:
    """Centres of the optima over bins, and the given start."""
    if _is_clear(data, size):
        bins, halvings = max(FEW_BINS, FINE_BINS * size), FEW_HALVINGS
        optima = _bracketing(data, size, left_out, bins=bins, halvings=halvings)[-1:]
    else:
        optima = _bracketing(data, size, left_out, bins=BINS, halvings=HALVINGS)
    return [*(_means(data, runs, size) for runs in optima), *_given(data, start)]


def _reached(data: Ordered, starts: list[Floats], left_out: int) -> tuple[float, Floats]:
    """The distortion and the centres at the end of the alternation from the most promising of `starts`."""
    best = starts[0]
    if len(starts) > 1:
        begun = [_descended(data, centres, left_out, rounds=FIRST_ROUNDS) for centres in starts]
        _, best = min(begun, key=lambda found: found[0])
    return _descended(data, best, left_out, rounds=ROUNDS)


def _ends(data: Ordered, runs: Indices) -> Indices:
    """Places of the outermost values of `runs`, and of the values next to them."""
    firsts, ends = runs
    places: Indices = np.clip(np.concatenate([firsts - 1, firsts, ends - 1, ends]), 0, data.size - 1)
    return places


def _bracketing(data: Ordered, size: int, left_out: int, *, bins: int, halvings: int) -> list[Indices]:
    """The optima over bins (`_priced`) at two nearby prices: one leaves out more than `left_out`, one does not."""
    n = data.size
    edges = bin_edges(data, bins=bins) if n > bins else np.arange(n + 1)
    sums, squares = (part[None] for part in data.before(edges))
    costs = run_costs(edges[None], sums, squares, edges[None], sums, squares)[0]
    span = float(np.ptp(data.about(np.array([0, n - 1]))[0]))
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


def _means(data: Ordered, runs: Indices, size: int) -> Floats:
    """Means (size,) of the nonempty runs, of which there is at least one; the last is repeated."""
    firsts, ends = runs[:, runs[1] > runs[0]]
    means = (data.before(ends)[0] - data.before(firsts)[0]) / (ends - firsts)
    return np.append(means, np.repeat(means[-1], size - means.size))


def _priced(edges: Indices, costs: Floats, size: int, price: float) -> Indices:
    """First places and ends (2, size) of the runs of bins of least distortion plus `price` for each value in no run.

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


def _descended(data: Ordered, centres: Floats, left_out: int, *, rounds: int) -> tuple[float, Floats]:
    """The distortion and the centres at the end of the alternation from `centres`, after at most `rounds`.

    The steps shrink by the same factor each time, so that every second round extrapolates to the limit (Aitken's
    delta-squared process). An extrapolation that does not lower the distortion is undone.
    """
    least, found, before, safe = np.inf, centres, None, None
    for _ in range(rounds):
        runs = data.staying(found, left_out)
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
