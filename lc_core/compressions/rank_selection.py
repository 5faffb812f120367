"""Rank selection: low rank that learns the rank, by a price for it."""

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from lc_core.compression import Compressed, Dense, Use, dense_macs, numel
from lc_core.compressions.lowrank import Factored, Scheme, as_matrix, check_scheme, macs_per_rank, matrix_shape
from lc_core.fields import check_numbers
from lc_core.numerics.svd import leading

Criterion = Literal["storage", "macs"]


@dataclass(frozen=True)
class RankSelection:
    """min over r, U (rows, r), V (r, columns) of mu/2 ||W - U V||_F^2 + alpha C(r): the rank of each layer is learned.

    C(r) is the number of stored values, min(r (rows + columns), rows columns), or the multiply-accumulates of the
    layers that run. Where no rank is cheaper than W, W itself is kept, uncompressed. Exact: of all r, and W, it takes
    the least of mu/2 times the energy of the dropped singular values plus the price; of equal ones, the lowest rank.
    Rank 0 is all zeros and takes no bits. O(rows columns min(rows, columns)); it does not use `previous`. Idelbayev and
    Carreira-Perpinan, "Low-rank compression of neural nets: learning the rank of each layer", CVPR 2020, section 4.

    Attributes:
        alpha: the price of a number or of a multiply-accumulate, at least 0.
        criterion: what the price is for, "storage" or "macs". They are the same for a linear layer.
        scheme: how a convolution kernel becomes a matrix.
        use: the sizes with which the layer runs (`accounting.layer_uses`), for "macs". By default a single position.
    """

    alpha: float
    criterion: Criterion = "storage"
    scheme: Scheme = "channel"
    use: Use = field(default_factory=Use)

    def __post_init__(self) -> None:
        check_numbers(self)
        if not (self.alpha >= 0 and math.isfinite(self.alpha)):
            raise ValueError(f"alpha: expected a price of at least 0, got {self.alpha}")
        if self.criterion not in get_args(Criterion):
            raise ValueError(f'criterion: expected "storage" or "macs", got {self.criterion!r}')
        check_scheme(self.scheme)

    def check(self, shape: tuple[int, ...]) -> None:
        matrix_shape(shape, scheme=self.scheme)
        if self.criterion == "macs" and len(shape) > 2 and self.use == Use():
            raise ValueError("use: expected how the convolution is used (`layer_uses`), which MACs depend on, got none")

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Factored | Dense:
        if not mu > 0:
            raise ValueError(f"mu: expected above 0, as a penalty form needs, got {mu}")
        shape = tuple(w.shape)
        rows, columns = matrix_shape(shape, scheme=self.scheme)
        if self.criterion == "macs" and self.use.groups > 1:
            return Dense(w.detach().clone())  # no rank makes it cheaper
        found = leading(as_matrix(w.detach(), scheme=self.scheme), rank=min(rows, columns))
        energies = torch.cat([found.s**2, found.s.new_zeros(1)])
        left_out = energies.flip(0).cumsum(0).flip(0)[: self._ranks(shape)]
        prices = self.alpha * self._price(shape) * torch.arange(len(left_out), device=w.device, dtype=torch.float64)
        totals = mu / 2 * left_out + prices
        rank = int(totals.argmin())
        if float(totals[rank]) > self.alpha * self._dense_price(shape):
            return Dense(w.detach().clone())
        left, right = found.truncated(rank).halves()
        return Factored(shape, Dense(left), Dense(right), self.scheme)

    def outline(self, shape: tuple[int, ...]) -> None:
        matrix_shape(shape, scheme=self.scheme)

    def cost(self, theta: Compressed) -> float:
        """alpha C(r)."""
        if self.criterion == "macs":
            return self.alpha * theta.macs(self.use)
        rank = theta.rank if isinstance(theta, Factored) else math.inf
        return self.alpha * min(rank * self._price(theta.shape), self._dense_price(theta.shape))

    def _price(self, shape: tuple[int, ...]) -> int:
        """The cost of a unit of rank."""
        if self.criterion == "macs":
            return macs_per_rank(shape, self.use, scheme=self.scheme)
        return sum(matrix_shape(shape, scheme=self.scheme))

    def _dense_price(self, shape: tuple[int, ...]) -> int:
        return dense_macs(shape, self.use) if self.criterion == "macs" else numel(shape)

    def _ranks(self, shape: tuple[int, ...]) -> int:
        """The number of ranks, from 0, that are stored and run as factors."""
        caps = [-(-numel(shape) // sum(matrix_shape(shape, scheme=self.scheme)))]
        if self.criterion == "macs":
            caps.append(-(-self._dense_price(shape) // max(self._price(shape), 1)))
        return max(1, min(caps))
