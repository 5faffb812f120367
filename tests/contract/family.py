"""The facts on a compression that the contract suite needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lc_core.compression import Compression
from tests.contract.weights import MATRICES, TINY_MATRICES, TINY_VECTORS, VECTORS, Shape


@dataclass(frozen=True)
class Family:
    """One compression at several hyperparameters, including the extremes.

    Attributes:
        compressions: the compression with each hyperparameter.
        least: (weights, compression, mu) -> the least of `lc_core.compression.objective`, by brute force; on up to
            seven weights.
        exact: whether `compress` always reaches `least`; otherwise it never ends worse than it starts.
        lossless: whether compressing its own output gives the same bits (for factors, up to rounding).
        penalized: whether it is a penalty form: it depends on mu, and compressing twice prunes twice.
        scales: whether weights `a` times as large give a Delta(Theta) `a` times as large.
        fixed_size: whether Theta's size follows from the shape alone.
        shapes: shapes that it can compress.
        tiny_shapes: shapes of at most seven weights.
        usual: the small shape of tests that need one.
        large: a shape of some hundred weights, for warm starts.
        ordinary: shapes of usual layers.
        relatives: names of other families whose Theta can be the start of this one.
        rounding: relative difference allowed between the objectives of the same weights in float64 and float32.
    """

    compressions: tuple[Compression, ...]
    least: Callable[[Tensor, Any, float], float]
    exact: bool = True
    lossless: bool = True
    penalized: bool = False
    scales: bool = True
    fixed_size: bool = True
    shapes: tuple[Shape, ...] = MATRICES + VECTORS
    tiny_shapes: tuple[Shape, ...] = TINY_MATRICES + TINY_VECTORS
    usual: Shape = (6, 5)
    large: Shape = (24, 20)
    ordinary: tuple[Shape, ...] = ((64, 128), (10, 64), (7, 300), (6, 2, 3, 3))
    relatives: tuple[str, ...] = ()
    rounding: float = 1e-9
