"""The pairs of compressions that a `Chain` can join: the start and one round of each alternation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from lc_core.compression import Compressed, Compression
from lc_core.compressions.cast import Cast, Rounded
from lc_core.compressions.factors import FactorThenQuantize, Quantizer
from lc_core.compressions.lowrank import Factored, LowRank
from lc_core.compressions.pruning import L0Pruning, NMPruning, Sparse
from lc_core.compressions.quantization import Codebook, Quantized
from lc_core.compressions.structured import Grouped, GroupPruning
from lc_core.compressions.tucker import Tucker2
from lc_core.compressions.uniform import Uniform, UniformQuantization

Pruning = L0Pruning | NMPruning
MADE = {Codebook: Quantized, UniformQuantization: Uniform, Cast: Rounded, LowRank: Factored}
"""The second compression -> the Theta that it makes."""


@runtime_checkable
class Encoding(Compressed, Protocol):
    """A Theta that can store other weights by its own parameters."""

    def encode(self, w: Tensor) -> Compressed:
        """Theta of `w` by this one's parameters: the nearest values."""
        ...


class Pair(Protocol):
    """The operations of a chain on its two compressions."""

    def check(self, shape: tuple[int, ...]) -> None: ...

    def outline(self, shape: tuple[int, ...]) -> Compressed | None: ...

    def start(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Compressed:
        """The Theta to start from: no worse than `previous` where that came from the same pair."""
        ...

    def step(self, w: Tensor, *, mu: float, theta: Compressed) -> Compressed:
        """Theta after one round: the first compression with the second fixed, then the second with the first fixed."""
        ...


def pair(first: Compression, then: Compression) -> Pair:
    """The pair of `first`, then `then`. ValueError where they cannot be joined."""
    match first, then:
        case L0Pruning() | NMPruning() | GroupPruning(), UniformQuantization(granularity="channel"):
            raise ValueError("chain: expected one scale for the weights that stay, got granularity channel")
        case L0Pruning() | NMPruning(), Codebook() | UniformQuantization() | Cast():
            return PruneThenQuantize(first, then)
        case GroupPruning(), Codebook() | UniformQuantization() | Cast():
            return PruneGroupsThen(first, then)
        case GroupPruning(), LowRank(scheme="channel"):
            return PruneGroupsThen(first, then)
        case LowRank() | Tucker2(), Codebook() | UniformQuantization() | Cast():
            return FactorThenQuantize(first, then)
    got = f"{type(first).__name__}, then {type(then).__name__}"
    raise ValueError(
        "chain: expected pruning, then quantization; group pruning, then low rank; or low rank or Tucker-2, then "
        f"quantization, got {got}"
    )


@dataclass(frozen=True)
class PruneThenQuantize:
    """min over S and Theta of sum_{i in S} (w_i - Delta_i)^2 + sum_{i not in S} w_i^2, with S allowed by `first`.

    For given values of `then`, S is the support of largest gain w^2 - (w - Delta)^2. For a given S, `then` compresses
    the weights on S. It always stores as many values as `first` keeps, even where fewer would do.
    """

    first: Pruning
    then: Quantizer

    def check(self, shape: tuple[int, ...]) -> None:
        self.first.check(shape)
        self.then.check((self.first.count(shape),))

    def outline(self, shape: tuple[int, ...]) -> Sparse:
        return self.first.outline_with(shape, values=self.then.outline((self.first.count(shape),)))

    def start(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Sparse:
        pruned = self.first.compress(w, mu=mu)
        if isinstance(previous, Sparse) and isinstance(previous.values, MADE[type(self.then)]):
            return self.step(w, mu=mu, theta=replace(pruned, values=previous.values))
        return replace(pruned, values=self.then.compress(pruned.values.decompress(), mu=mu))

    def step(self, w: Tensor, *, mu: float, theta: Compressed) -> Sparse:
        assert isinstance(theta, Sparse)
        support = self.first.select(_gain(w, theta.values))
        values = self.then.compress(w.reshape(-1)[support], mu=mu, previous=theta.values)
        return replace(theta, support=support, values=values)


@dataclass(frozen=True)
class PruneGroupsThen:
    """min over S and Theta of ||W - [Delta(Theta) on S, 0 elsewhere]||^2, with as many groups in S as `first` keeps.

    `then` compresses each layer's weight on S; biases and norms stay uncompressed. For given values of a quantizer, or
    a given subspace of a low rank (row space for output groups, column space for input groups), S holds the groups
    whose squared error falls most when they stay.
    """

    first: GroupPruning
    then: Quantizer | LowRank

    def check(self, shape: tuple[int, ...]) -> None:
        self.first.check(shape)
        outline = self.first.outline(shape)
        if outline is not None:
            self.then.check(outline.values[0].shape)

    def outline(self, shape: tuple[int, ...]) -> Grouped | None:
        return self.first.outline_with(shape, weight=self.then.outline)

    def start(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Grouped:
        parts = self.first.parts_of(tuple(w.shape))
        same = isinstance(previous, Grouped) and previous.parts == parts
        if isinstance(previous, Grouped) and same and isinstance(previous.values[0], MADE[type(self.then)]):
            return self.step(w, mu=mu, theta=previous)
        pruned = self.first.compress(w, mu=mu)
        return self._compress(pruned, mu=mu, before=(None,) * len(parts))

    def step(self, w: Tensor, *, mu: float, theta: Compressed) -> Grouped:
        assert isinstance(theta, Grouped)
        pieces = self.first.split(w)
        gains = [
            _energy(piece, values, axis=part.axis) if isinstance(values, Factored) else _gain(piece, values)
            for piece, values, part in zip(pieces, theta.values, theta.parts, strict=True)
        ]
        moved = self.first.gather(w, self.first.select(gains, shape=theta.shape))
        return self._compress(moved, mu=mu, before=theta.values)

    def _compress(self, pruned: Grouped, *, mu: float, before: Sequence[Compressed | None]) -> Grouped:
        values = [
            self.then.compress(kept.decompress(), mu=mu, previous=start) if len(part.shape) > 1 else kept
            for part, kept, start in zip(pruned.parts, pruned.values, before, strict=True)
        ]
        return replace(pruned, values=tuple(values))


def _gain(w: Tensor, values: Compressed) -> Tensor:
    """The fall of the squared error where `w` is stored by the parameters of `values` and not dropped, in float64."""
    assert isinstance(values, Encoding)
    exact = w.double()
    gain: Tensor = exact**2 - (exact - values.encode(w).decompress().double()) ** 2
    return gain


def _energy(w: Tensor, values: Factored, *, axis: int) -> Tensor:
    """The same for low rank, slice by slice: the squares of the part of `w` in the subspace of the factors."""
    matrix = w.double().reshape(w.shape[0], -1)
    if axis == 0:
        inside = matrix @ torch.linalg.qr(values.right.decompress().double().T).Q
    else:
        inside = (torch.linalg.qr(values.left.decompress().double()).Q.T @ matrix).reshape(-1, *w.shape[1:])
    energy: Tensor = inside.square()
    return energy
