"""A test of paired differences, and its correction for several comparisons."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def signed_rank(differences: Sequence[float]) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test that differences are symmetric about zero.

    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945): differences of zero are left
    out, and equal ones share their mean rank. Exact: the ranks' signs are enumerated by dynamic programming, O(n^3) for
    n differences. 1 without a difference.
    """
    values = np.round(np.asarray(differences, dtype=np.float64), 12)  # errors are sums of 1/n
    values = values[values != 0]
    doubled = _doubled_ranks(np.abs(values))
    ways = np.zeros(int(doubled.sum()) + 1)
    ways[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(ways)
        moved[rank:] = ways[: len(ways) - rank]
        ways = (ways + moved) / 2
    positive = int(doubled[values > 0].sum())
    tail = min(float(ways[: positive + 1].sum()), float(ways[positive:].sum()))
    return min(1.0, 2 * tail)


def _doubled_ranks(magnitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Twice the ranks from 1, where equal magnitudes share their mean rank."""
    _, inverse, counts = np.unique(magnitudes, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((2 * ends - counts + 1)[inverse.reshape(-1)], dtype=np.int64)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values, corrected so that one false rejection among all has the probability that each says.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected, largest = [0.0] * len(p_values), 0.0
    for before, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - before) * p_values[place]))
        corrected[place] = largest
    return corrected
