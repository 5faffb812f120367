"""Confidence intervals of an accuracy, of a drop and of a mean over seeds, as functions of plain numbers.

A search and a pick use the same bounds.
"""

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054
"""The two-sided 95 % point of the normal distribution."""


def wilson(mean: float, *, n: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a proportion `mean` of `n` independent examples (Wilson 1927)."""
    centre = mean + Z95**2 / (2 * n)
    half = Z95 * math.sqrt(mean * (1 - mean) / n + Z95**2 / (4 * n**2))
    scale = 1 + Z95**2 / n
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def paired_drop(lost: float, won: float, *, n: int) -> tuple[float, float]:
    """The 95 % interval of a drop in accuracy between two models on the same `n` examples.

    Args:
        lost: how many examples the first model has right and the second wrong; of scores, the sum that was lost.
        won: the reverse. The drop itself is (lost - won) / n.

    The normal interval after half an example is added to each of the four cells (Agresti and Min 2005).
    """
    total, lost, won = n + 2, lost + 0.5, won + 0.5
    drop = (lost - won) / total
    half = Z95 * math.sqrt(max((lost + won) - (lost - won) ** 2 / total, 0.0)) / total
    return drop - half, drop + half


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % normal interval of the mean of independent `values`, one or more; of one, that value twice."""
    n, mean = len(values), math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1) if n > 1 else 0.0
    half = Z95 * math.sqrt(variance / n)
    return mean - half, mean + half


def percentile_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 2.5 and the 97.5 % quantile of a bootstrap's values, one finite one at least; NaN and infinity are left out.

    The percentile interval of Efron and Tibshirani (1993, chapter 13), with linear interpolation.
    """
    known = sorted(value for value in values if math.isfinite(value))
    return _quantile(known, 0.025), _quantile(known, 0.975)


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


CONFIDENCE = 0.985
"""One-sided, of the bound by which a winner's mean must meet the target."""


@dataclass(frozen=True)
class Noise:
    """How much the results of one configuration vary from seed to seed.

    Attributes:
        sd: the standard deviation of one result, pooled over all configurations with several seeds; 0 without any.
        dof: the degrees of freedom of that estimate: results minus configurations.
    """

    sd: float
    dof: int


UNKNOWN = Noise(0.0, 0)


def pooled(groups: Iterable[Sequence[float]]) -> Noise:
    """The noise of `groups`, each the results of one configuration; all are taken to vary alike.

    The order of the groups makes no difference, not even in the last bit: the page sums them in another order.
    """
    squares: list[float] = []
    dof = 0
    for results in groups:
        if len(results) > 1 and all(map(math.isfinite, results)):
            mean = math.fsum(results) / len(results)
            deviations = [result - mean for result in results]
            # x * x is rounded correctly everywhere; x**2 is the C library's pow, which may be off in the last bit.
            squares += [deviation * deviation for deviation in deviations]
            dof += len(results) - 1
    return Noise(math.sqrt(math.fsum(squares) / dof) if dof else 0.0, dof)


def half_width(noise: Noise, *, n: int, confidence: float = CONFIDENCE) -> float:
    """t sd / sqrt(n), the one-sided error of a mean of `n` results; infinite while the noise is unknown."""
    return student(confidence, dof=noise.dof) * noise.sd / math.sqrt(n) if n and noise.dof else math.inf


def least_mean(results: Sequence[float], noise: Noise) -> float:
    """The lower bound of the mean over all seeds, with one-sided `CONFIDENCE`: mean - t sd / sqrt(n)."""
    return math.fsum(results) / len(results) - half_width(noise, n=len(results)) if results else -math.inf


@functools.lru_cache(maxsize=4096)
def student(p: float, *, dof: int) -> float:
    """The `p` quantile, p >= 0.5, of Student's t, by bisection of its distribution function.

    >>> round(student(0.975, dof=3), 4), round(student(0.95, dof=10), 4)
    (3.1824, 1.8125)
    """
    low, high = 0.0, math.pi / 2  # of the angle atan(t / sqrt(dof))
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _below(middle, dof=dof) < p else (low, middle)
    return math.sqrt(dof) * math.tan(low)


def _below(angle: float, *, dof: int) -> float:
    """P(t <= sqrt(dof) tan(angle)): a finite series for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4)."""
    odd = dof % 2
    cosine, term, series = math.cos(angle), 1.0, 0.0
    for k in range((dof - odd) // 2):
        series += term
        term *= cosine**2 * (2 * k + 1 + odd) / (2 * k + 2 + odd)
    within = 2 / math.pi * (angle + math.sin(angle) * cosine * series) if odd else math.sin(angle) * series
    return (1 + within) / 2
