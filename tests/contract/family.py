"""What the contract suite needs to know of a compression."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from lc_core.compression import Compression
from tests.contract.weights import MATRICES, TINY_MATRICES, TINY_VECTORS, VECTORS, Shape


@dataclass(frozen=True)
class Family:
    """One compression at several hyperparameters, the extremes among them.

    Attributes:
        compressions: what is tried.
        least: (weights, compression, mu) -> the least of `lc_core.compression.objective`, by brute force; on up to
            seven weights.
        exact: whether `compress` reaches it always (else: never ends worse than it starts).
        lossless: whether what it makes it makes again bit for bit (factors only to rounding).
        penalized: whether it pays for what Theta holds: it then depends on mu, and compressing twice prunes twice.
        scales: whether weights `a` times as large give a Delta(Theta) `a` times as large.
        fixed_size: whether Theta's size follows from the shape alone.
        shapes: for which it has a meaning.
        tiny_shapes: those of at most seven weights.
        usual: a small shape, of every test that needs one.
        large: one of some hundred weights, for warm starts.
        ordinary: of layers as they occur.
        relatives: names of other families whose Theta is a start for this one too.
        rounding: by which part of it the objective for float64 weights may be above that for the same in float32.
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
