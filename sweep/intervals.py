"""Confidence intervals of measured metrics."""

import math

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
        lost: the sum of scores that the first model has and the second has not (for right or wrong: how many examples).
        won: the reverse; the drop itself is (lost - won) / n.

    The normal interval after half an example is added to each of the four cells (Agresti and Min 2005).
    """
    total, lost, won = n + 2, lost + 0.5, won + 0.5
    drop = (lost - won) / total
    half = Z95 * math.sqrt(max((lost + won) - (lost - won) ** 2 / total, 0.0)) / total
    return drop - half, drop + half
