"""Compressions made of compressions."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import Compressed, numel
from lc_core.pruning import L0Pruning, Sparse, largest
from lc_core.quantization import Codebook, Quantized, nearest

ROUNDS = 20


@dataclass(frozen=True)
class Chain:
    """min over S, c, z of sum_{i in S} (w_i - c_z(i))^2 + sum_{i not in S} w_i^2 with |S| = k: prune, then quantize.

    `first` chooses the support S, `then` quantizes what it leaves. Alternating, each half exact: for a codebook, S is
    the k weights of largest gain w^2 - (w - c_z)^2; for a support, c and z are k-means of its weights. The objective
    never rises and ends no higher than that of `previous` or, without it, of S = the largest magnitudes. A local
    optimum. It stores exactly k codes, also where a smaller support would serve as well. O(n log n) a round.

    Attributes:
        first: the pruning.
        then: the quantization of the weights that stay.
    """

    first: L0Pruning
    then: Codebook

    def __post_init__(self) -> None:
        _check_pair(self.first, self.then)

    def check(self, shape: tuple[int, ...]) -> None:
        self.first.check(shape)
        self.then.check((self.first.count(shape),))

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        flat = w.detach().reshape(-1)
        theta = self._start(w, mu, previous)
        error = _squared_error(flat, theta)
        for _ in range(ROUNDS):
            assert isinstance(theta.values, Quantized)
            support = self._support(flat, theta.values.codebook)
            moved = Sparse(theta.shape, support, self.then.compress(flat[support], mu=mu, previous=theta.values))
            moved_error = _squared_error(flat, moved)
            if not moved_error < error:
                break
            theta, error = moved, moved_error
        return theta

    def outline(self, shape: tuple[int, ...]) -> Sparse:
        return self.first.outline_with(shape, values=self.then.outline((self.first.count(shape),)))

    def _start(self, w: Tensor, mu: float, previous: Compressed | None) -> Sparse:
        flat = w.detach().reshape(-1)
        codebook = _codebook(previous)
        if codebook is not None and codebook.numel() == self.then.size:
            support = self._support(flat, codebook)
            codes = nearest(flat[support], codebook=codebook)
            return Sparse(tuple(w.shape), support, Quantized((support.numel(),), codes, codebook))
        support = self.first.compress(w, mu=mu).support
        return Sparse(tuple(w.shape), support, self.then.compress(flat[support], mu=mu))

    def _support(self, flat: Tensor, codebook: Tensor) -> Tensor:
        exact = flat.double()
        distance = exact - codebook.double()[nearest(flat, codebook=codebook)]
        return largest(exact**2 - distance**2, count=self.first.count((numel(tuple(flat.shape)),)))


def _codebook(theta: Compressed | None) -> Tensor | None:
    quantized = theta.values if isinstance(theta, Sparse) else None
    return quantized.codebook if isinstance(quantized, Quantized) else None


def _check_pair(first: object, then: object) -> None:
    if not (isinstance(first, L0Pruning) and isinstance(then, Codebook)):
        pair = f"{type(first).__name__}, then {type(then).__name__}"
        raise ValueError(f"chain: expected L0Pruning, then Codebook, got {pair}")


def _squared_error(flat: Tensor, theta: Sparse) -> float:
    return float(torch.sum((flat.double() - theta.decompress().reshape(-1).double()) ** 2))
