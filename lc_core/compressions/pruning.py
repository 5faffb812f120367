"""Pruning: Delta(Theta) is zero outside a support."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Dense,
    Form,
    FormError,
    OrDense,
    Use,
    dense_macs,
    numel,
    outline_tensor,
    prefixed,
)
from lc_core.compressions.nm import Pattern
from lc_core.fields import check_numbers
from lc_core.numerics.support import pack_support, support_bits, unpack_support

SAMPLE = 2**16
"""The number of scores in the sample that gives a first threshold."""


@dataclass(frozen=True, eq=False)
class Sparse(OrDense):
    """Values on a support, zero elsewhere.

    The support is stored as a bitmap or an Elias-Fano code, whichever is smaller, or as the codes of an N:M pattern.
    The values are a Theta of their own: they can be dense or quantized.

    Attributes:
        shape: of Delta(Theta).
        support: (k,) int64, ascending flat indices.
        values: Theta of the (k,) values there.
        pattern: the N:M pattern of the support, if its codes store the support.
    """

    shape: tuple[int, ...]
    support: Tensor
    values: Compressed
    pattern: Pattern | None = None

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def decompress(self) -> Tensor:
        values = self.values.decompress()
        flat = torch.zeros(numel(self.shape), dtype=values.dtype, device=values.device)
        flat[self.support] = values
        return flat.reshape(self.shape)

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def own_arrays(self) -> dict[str, Tensor]:
        if self.pattern:
            index = self.pattern.pack(self.support, shape=self.shape)
        else:
            index = pack_support(self.support, universe=numel(self.shape))
        return index | prefixed("values", self.values.pack())

    def own_form(self) -> Form:
        count = self.support.numel()
        form = {"form": "sparse", "shape": list(self.shape), "count": count, "values": self.values.form()}
        return form | {"pattern": [self.pattern.n, self.pattern.m]} if self.pattern else form

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor], values: Compressed) -> "Sparse":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, count = tuple(form["shape"]), form["count"]
        if values.shape != (count,):
            raise FormError(f"expected {count} values on the support, got shape {values.shape}")
        if "pattern" not in form:
            return Sparse(shape, unpack_support(arrays, count=count, universe=numel(shape)), values)
        pattern = stored_pattern(form)
        if pattern.count(shape) != count:
            raise FormError(f"expected {pattern.count(shape)} weights of {shape} by the pattern, got {count}")
        return Sparse(shape, pattern.unpack(arrays, shape=shape), values, pattern)

    def own_bits(self) -> int:
        if self.pattern:
            return self.pattern.index_bits(self.shape) + self.values.storage_bits()
        return support_bits(self.support.numel(), numel(self.shape)) + self.values.storage_bits()


def stored_pattern(form: Form) -> Pattern:
    """The N:M pattern of a sparse form that has one. FormError where it could not store a support."""
    shape, (n, m) = tuple(form["shape"]), form["pattern"]
    if not 1 <= n <= m or len(shape) < 2 or not Pattern(n, m).saves(shape):
        raise FormError(f"expected a pattern of a layer that makes its index smaller, got {n} of {m} in {shape}")
    return Pattern(n, m)


@dataclass(frozen=True)
class L0Pruning:
    """min over theta of ||w - theta||^2 subject to ||theta||_0 <= k, with k = round(keep * number of weights).

    Exact: theta keeps the k weights of largest magnitude; of equal ones, the first. O(n). One Theta over several layers
    (`Joint`) shares k among them. Carreira-Perpinan and Idelbayev, "Learning-compression algorithms for neural net
    pruning", CVPR 2018, section 3.

    Attributes:
        keep: the fraction of weights that stay, in [0, 1].
    """

    keep: float

    def __post_init__(self) -> None:
        check_numbers(self)
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep: expected a fraction of weights in [0, 1], got {self.keep}")

    def count(self, shape: tuple[int, ...]) -> int:
        """The number of weights of a tensor of `shape` that stay."""
        return round(self.keep * numel(shape))

    def select(self, scores: Tensor) -> Tensor:
        """The support with the largest sum of `scores`, as ascending flat indices. `scores` has the shape of the
        weights."""
        return largest(scores.reshape(-1), count=self.count(tuple(scores.shape)))

    def check(self, shape: tuple[int, ...]) -> None:
        if self.count(shape) < 1:
            raise ValueError(f"keep: expected above 0, so that a weight of {numel(shape)} stays, got {self.keep}")

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        flat = w.detach().reshape(-1)
        support = self.select(w.detach().abs())
        return Sparse(tuple(w.shape), support, Dense(flat[support]))

    def outline(self, shape: tuple[int, ...]) -> Sparse:
        return self.outline_with(shape, values=Dense(outline_tensor(self.count(shape))))

    def outline_with(self, shape: tuple[int, ...], *, values: Compressed) -> Sparse:
        """The outline whose kept weights are stored as `values`."""
        return Sparse(shape, outline_tensor(self.count(shape), dtype=torch.int64), values)


@dataclass(frozen=True)
class NMPruning:
    """min over theta of ||w - theta||^2 subject to n nonzeros in every m consecutive weights along dimension 1.

    Dimension 1 holds the inputs of an output; for a convolution, the input channels at each position of the kernel. A
    group of l < m at the end keeps n l / m, rounded up. Exact: each group keeps its n weights of largest magnitude; of
    equal ones, the first. O(log m) a weight. Mishra et al., "Accelerating sparse deep neural
    networks", arXiv:2104.08378 (2:4).

    Attributes:
        n: weights of a group that stay, from 1 to m.
        m: weights of a group.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        check_numbers(self)
        Pattern(self.n, self.m)  # checks n and m

    @property
    def pattern(self) -> Pattern:
        """The groups, and the number of weights that stay in each."""
        return Pattern(self.n, self.m)

    def count(self, shape: tuple[int, ...]) -> int:
        """The number of weights of a layer of `shape` that stay."""
        return self.pattern.count(shape)

    def select(self, scores: Tensor) -> Tensor:
        """The support with the largest sum of `scores`, as ascending flat indices. `scores` has the shape of the
        weights."""
        return self.pattern.select(scores)

    def check(self, shape: tuple[int, ...]) -> None:
        self.count(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Sparse:
        support = self.select(w.detach().abs())
        return self._sparse(tuple(w.shape), support, Dense(w.detach().reshape(-1)[support]))

    def outline(self, shape: tuple[int, ...]) -> Sparse:
        return self.outline_with(shape, values=Dense(outline_tensor(self.count(shape))))

    def outline_with(self, shape: tuple[int, ...], *, values: Compressed) -> Sparse:
        """The outline whose kept weights are stored as `values`."""
        return self._sparse(shape, outline_tensor(self.count(shape), dtype=torch.int64), values)

    def _sparse(self, shape: tuple[int, ...], support: Tensor, values: Compressed) -> Sparse:
        return Sparse(shape, support, values, self.pattern if self.pattern.saves(shape) else None)


def largest(scores: Tensor, *, count: int) -> Tensor:
    """Ascending indices (count,) of the largest of `scores` (n,); of equal scores, the first.

    Selection by threshold, O(n). Every device gives the same result, also for ties. On a CPU NumPy's partition is six
    times as fast as torch's kthvalue.
    """
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    if scores.device.type != "cpu":
        return _largest_by_kthvalue(scores, count)
    exact = scores.float() if scores.dtype == torch.bfloat16 else scores  # NumPy has no bfloat16
    return torch.from_numpy(_largest_by_partition(exact.detach().numpy(), count))


def _largest_by_kthvalue(scores: Tensor, count: int) -> Tensor:
    threshold = scores.kthvalue(scores.numel() - count + 1).values
    chosen = scores > threshold
    tied = (scores == threshold).nonzero().reshape(-1)[: count - int(chosen.sum())]
    chosen[tied] = True
    return chosen.nonzero().reshape(-1)


def _largest_by_partition(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    """For few of many, only scores above a bound are sorted. A sample gives a bound that is safely below the
    threshold."""
    if scores.size > 4 * SAMPLE and count <= scores.size // 8:
        sample = scores[:: scores.size // SAMPLE]
        rank = int(1.05 * count / scores.size * sample.size) + 64  # about four standard deviations above its share
        likely = np.flatnonzero(scores >= np.partition(sample, sample.size - rank)[sample.size - rank])
        if likely.size >= count:
            return likely[_partitioned(scores[likely], count)]
    return _partitioned(scores, count)


def _partitioned(scores: npt.NDArray[Any], count: int) -> npt.NDArray[np.int64]:
    threshold = np.partition(scores, scores.size - count)[scores.size - count]
    candidates = np.flatnonzero(scores >= threshold)
    tied = np.flatnonzero(scores[candidates] == threshold)
    return np.delete(candidates, tied[tied.size - (candidates.size - count) :])
