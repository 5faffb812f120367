"""Pruning by a threshold on magnitudes. The number of weights that stay, and so the size, depends on the weights."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import Compressed, Dense
from lc_core.compressions.pruning import Sparse
from lc_core.fields import check_numbers
from lc_core.numerics.sorted_values import ascending


@dataclass(frozen=True)
class L1Pruning:
    """min over theta of ||w - theta||^2 subject to ||theta||_1 <= radius: the projection on the l1 ball.

    Exact: all weights shrink towards zero by one threshold, such that their magnitudes sum to the radius. The sorted
    magnitudes give it. Weights inside the ball do not change. Computed in float64 and then rounded down to w's dtype,
    so that the l1 norm, summed in float64, is at most the radius. O(n log n). One Theta over several layers (`Joint`)
    shares the radius among them. Duchi, Shalev-Shwartz, Singer and Chandra, "Efficient projections onto the l1-ball for
    learning in high dimensions", ICML 2008, section 4 and figure 1; Carreira-Perpinan and Idelbayev,
    "Learning-compression algorithms for neural net pruning", CVPR 2018.

    Attributes:
        radius: the radius of the ball, in the units of the weights, at least 0.
    """

    radius: float

    def __post_init__(self) -> None:
        check_numbers(self)
        if not 0 <= self.radius < math.inf:
            raise ValueError(f"radius: expected a finite number of at least 0, got {self.radius}")

    def check(self, shape: tuple[int, ...]) -> None:
        if not self.radius > 0:
            raise ValueError(f"radius: expected above 0, so that a weight stays, got {self.radius}")

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        w = w.detach()
        magnitudes = w.reshape(-1).abs()
        if _sum(magnitudes) <= self.radius:
            return _nonzeros(w)
        return _nonzeros(torch.copysign(_shrunk_to(magnitudes, self.radius), w.reshape(-1)).reshape(w.shape))

    def outline(self, shape: tuple[int, ...]) -> None:
        return None


@dataclass(frozen=True)
class L0Penalty:
    """min over theta of mu/2 ||w - theta||^2 + alpha ||theta||_0: a hard threshold.

    Exact, weight by weight: w_i stays where |w_i| > sqrt(2 alpha / mu); at the threshold itself, where both cost the
    same, it is dropped. O(n). Carreira-Perpinan and Idelbayev, "Learning-compression algorithms for neural net
    pruning", CVPR 2018.

    Attributes:
        alpha: the cost of a weight that stays, in the units of the loss, at least 0.
    """

    alpha: float

    def __post_init__(self) -> None:
        check_numbers(self)
        _check_price(self.alpha)

    def cost(self, theta: Compressed) -> float:
        """alpha ||theta||_0."""
        return self.alpha * int(torch.count_nonzero(theta.decompress()))

    def check(self, shape: tuple[int, ...]) -> None:
        _check_paid(self.alpha)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        threshold = math.sqrt(2 * _price(self.alpha, mu))
        return _nonzeros(torch.where(w.detach().abs().double() > threshold, w.detach(), 0))

    def outline(self, shape: tuple[int, ...]) -> None:
        return None


@dataclass(frozen=True)
class L1Penalty:
    """min over theta of mu/2 ||w - theta||^2 + alpha ||theta||_1: a soft threshold.

    Exact, weight by weight: theta_i = sign(w_i) max(|w_i| - alpha / mu, 0), in float64, then rounded to w's dtype.
    O(n). Carreira-Perpinan and Idelbayev, "Learning-compression algorithms for neural net pruning", CVPR 2018.

    Attributes:
        alpha: the cost of a unit of magnitude, in the units of the loss, at least 0.
    """

    alpha: float

    def __post_init__(self) -> None:
        check_numbers(self)
        _check_price(self.alpha)

    def cost(self, theta: Compressed) -> float:
        """alpha ||theta||_1."""
        return self.alpha * _sum(theta.decompress().abs())

    def check(self, shape: tuple[int, ...]) -> None:
        _check_paid(self.alpha)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        exact = w.detach().double()
        shrunk = (exact.abs() - _price(self.alpha, mu)).clamp(min=0)
        return _nonzeros(torch.copysign(shrunk, exact).to(w.dtype))

    def outline(self, shape: tuple[int, ...]) -> None:
        return None


def _nonzeros(values: Tensor) -> Sparse:
    """Theta of the nonzero `values`."""
    flat = values.reshape(-1)
    support = flat.nonzero().reshape(-1)
    return Sparse(tuple(values.shape), support, Dense(flat[support]))


def _shrunk_to(magnitudes: Tensor, radius: float) -> Tensor:
    """`magnitudes` (n,) minus one threshold, clamped at zero, such that they sum to at most `radius`."""
    if radius == 0:
        return torch.zeros_like(magnitudes)
    # Relative to the largest: sums far above the radius would lose it to rounding.
    largest = magnitudes.max().double()
    depths, sorted_depths = magnitudes.double() - largest, ascending(magnitudes).flip(0).double() - largest
    places = torch.arange(1, len(depths) + 1, device=depths.device)
    thresholds = (sorted_depths.cumsum(0) - radius) / places
    kept = int(torch.count_nonzero(sorted_depths > thresholds))
    threshold = float(thresholds[kept - 1])
    while True:
        shrunk = _cut((depths - threshold).clamp(min=0), magnitudes.dtype)
        excess = _sum(shrunk) - radius
        if not excess > 0:
            return shrunk
        threshold = max(threshold + excess / kept, math.nextafter(threshold, math.inf))


def _cut(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Float64 `values`, at least 0, rounded down to `dtype`."""
    nearest = values.to(dtype)
    integers = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    # The bits of a positive float, read as an integer, less one: the float below.
    return (nearest.view(integers) - (nearest.double() > values).to(integers)).view(dtype)


def _sum(values: Tensor) -> float:
    """The sum of the whole tensor in float64: the same values in the same order give the same sum."""
    return float(values.sum(dtype=torch.float64))


def _price(alpha: float, mu: float) -> float:
    """alpha / mu. ValueError where mu is not above 0."""
    if not mu > 0:
        raise ValueError(f"mu: expected above 0, which penalty forms need, got {mu}")
    return alpha / mu


def _check_price(alpha: float) -> None:
    if not 0 <= alpha < math.inf:
        raise ValueError(f"alpha: expected a finite number of at least 0, got {alpha}")


def _check_paid(alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(f"alpha: expected above 0, so that something is pruned, got {alpha}")
