"""Weights to compress: ordinary ones and the awkward ones (constants, ties, zeros, huge, tiny, heavy tails)."""

from collections.abc import Callable

import torch
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor

from lc_core.compression import Compressed

Shape = tuple[int, ...]

PROPERTY = settings(max_examples=10, derandomize=True)
"""The same examples on every machine: a failure in CI can be repeated."""

MATRICES: tuple[Shape, ...] = ((1, 1), (1, 9), (9, 1), (6, 5), (24, 20), (4, 1, 3), (3, 2, 3, 3), (8, 3, 1, 1))
VECTORS: tuple[Shape, ...] = ((1,), (2,), (7,), (300,))
TINY_MATRICES: tuple[Shape, ...] = ((1, 1), (2, 3), (3, 2), (1, 6), (6, 1), (3, 1, 2))
TINY_VECTORS: tuple[Shape, ...] = ((1,), (2,), (6,))

KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "heavy tails": lambda x: x / (x.roll(1).abs() + 1e-3),
    "ties": lambda x: x.round(),
    "constant": lambda x: torch.full_like(x, 0.3),
    "negative constant": lambda x: torch.full_like(x, -1.7),
    "all zero": torch.zeros_like,
    "mostly zero": lambda x: x * (x > 1.2),
    "signed zeros": lambda x: torch.where(x > 0, 0.0, -0.0),
    "two values": lambda x: torch.where(x > 0.4, 1.5, -0.1),
    "one outlier": lambda x: torch.where(x == x.max(), 1e3, 1e-2 * x),
    "far from zero": lambda x: 100 + x,
    "huge": lambda x: 1e17 * x,
    "tiny": lambda x: 1e-17 * x,
    "one row": lambda x: x[:1].expand_as(x).clone(),
}
"""Kind -> how normal numbers become such weights. Sums of squares of the huge and the tiny ones still fit float32."""


def draw(shape: Shape, *, kind: str, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Weights of `shape` of one of KINDS."""
    return KINDS[kind](torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype))


def weights(shapes: tuple[Shape, ...]) -> st.SearchStrategy[Tensor]:
    """Weights of one of `shapes`: of a known kind, or number by number."""
    seeds = st.integers(0, 2**16)
    known = st.builds(
        lambda shape, kind, seed: draw(shape, kind=kind, seed=seed),
        st.sampled_from(shapes),
        st.sampled_from(sorted(KINDS)),
        seeds,
    )
    return st.one_of(known, known, tiny_weights(tuple(shape for shape in shapes if torch.Size(shape).numel() <= 9)))


def tiny_weights(shapes: tuple[Shape, ...], *, magnitude: float = 100.0) -> st.SearchStrategy[Tensor]:
    """Weights of one of `shapes`, number by number, so that hypothesis can look for the worst."""
    number = st.floats(-magnitude, magnitude, width=32, allow_subnormal=False)

    def fill(shape: Shape) -> st.SearchStrategy[Tensor]:
        n = torch.Size(shape).numel()
        return st.lists(number, min_size=n, max_size=n).map(lambda values: torch.tensor(values).reshape(shape))

    return st.sampled_from(shapes).flatmap(fill)


def squared_error(w: Tensor, theta: Compressed) -> float:
    """The C step's objective ||w - Delta(Theta)||^2, in float64."""
    return float((w.double() - theta.decompress().double()).square().sum())


def slack(w: Tensor) -> float:
    """How much of the objective float32 arithmetic may cost: its rounding error, a few ulp a weight, squared."""
    return 1e-11 * float(w.double().square().sum())
