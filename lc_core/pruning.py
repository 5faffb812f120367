"""Pruning: Delta(Theta) is zero but on a support."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Dense,
    Form,
    Use,
    dense_bits,
    dense_form,
    dense_macs,
    numel,
    outline_tensor,
    prefixed,
)
from lc_core.packing import (
    byte_count,
    elias_fano_bits,
    pack_bitmap,
    pack_elias_fano,
    unpack_bitmap,
    unpack_elias_fano,
)


@dataclass(frozen=True, eq=False)
class Sparse:
    """Values on a support, zero elsewhere.

    The support is stored as a bitmap or an Elias-Fano code, whichever is smaller. The values are a Theta of their own,
    so that they can be dense or quantized.

    Attributes:
        shape: of Delta(Theta).
        support: (k,) int64, ascending flat indices.
        values: Theta of the (k,) values there.
    """

    shape: tuple[int, ...]
    support: Tensor
    values: Compressed

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def decompress(self) -> Tensor:
        values = self.values.decompress()
        flat = torch.zeros(numel(self.shape), dtype=values.dtype, device=values.device)
        flat[self.support] = values
        return flat.reshape(self.shape)

    def storage_bits(self) -> int:
        return min(self._sparse_bits(), dense_bits(self))

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def pack(self) -> dict[str, Tensor]:
        if self._sparse_bits() >= dense_bits(self):
            return Dense(self.decompress()).pack()
        universe = numel(self.shape)
        if _bitmap_is_smaller(self.support.numel(), universe):
            index = {"bitmap": pack_bitmap(self.support, universe=universe)}
        else:
            index = pack_elias_fano(self.support, universe=universe)
        return index | prefixed("values", self.values.pack())

    def form(self) -> Form:
        if self._sparse_bits() >= dense_bits(self):
            return dense_form(self.shape)
        count = self.support.numel()
        return {"form": "sparse", "shape": list(self.shape), "count": count, "values": self.values.form()}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor], values: Compressed) -> "Sparse":
        """Theta from what `pack` and `form` gave. ValueError where they do not fit together."""
        shape, count = tuple(form["shape"]), form["count"]
        if values.shape != (count,):
            raise ValueError(f"expected {count} values on the support, got shape {values.shape}")
        if _bitmap_is_smaller(count, numel(shape)):
            support = unpack_bitmap(arrays["bitmap"], count=count, universe=numel(shape))
        else:
            support = unpack_elias_fano(arrays["low"], arrays["high"], count=count, universe=numel(shape))
        return Sparse(shape, support, values)

    def _sparse_bits(self) -> int:
        return _index_bits(self.support.numel(), numel(self.shape)) + self.values.storage_bits()


@dataclass(frozen=True)
class L0Pruning:
    """min over theta of ||w - theta||^2 subject to ||theta||_0 <= k, with k = round(keep * number of weights).

    Exact: theta keeps the k weights of largest magnitude, of equal ones the first. O(n). One Theta over several layers
    (`Joint`) shares k among them. Carreira-Perpinan and Idelbayev, "Learning-compression algorithms for neural net
    pruning", CVPR 2018, section 3.

    Attributes:
        keep: the fraction of weights that stay, in [0, 1].
    """

    keep: float

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep: expected a fraction of weights in [0, 1], got {self.keep}")

    def count(self, shape: tuple[int, ...]) -> int:
        """How many weights of a tensor of `shape` stay."""
        return round(self.keep * numel(shape))

    def select(self, scores: Tensor) -> Tensor:
        """The support of largest sum of `scores`, of the weights' shape: ascending flat indices."""
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


def largest(scores: Tensor, *, count: int) -> Tensor:
    """Ascending indices (count,) of the largest of `scores` (n,); of equal scores the first ones.

    Selection by threshold, O(n): the same on every device, ties included.
    """
    n = scores.numel()
    if count == 0:
        return torch.empty(0, dtype=torch.int64, device=scores.device)
    threshold = scores.kthvalue(n - count + 1).values
    chosen = scores > threshold
    tied = (scores == threshold).nonzero().reshape(-1)[: count - int(chosen.sum())]
    chosen[tied] = True
    return chosen.nonzero().reshape(-1)


def _bitmap_is_smaller(count: int, universe: int) -> bool:
    return 8 * byte_count(universe) <= elias_fano_bits(count, universe)


def _index_bits(count: int, universe: int) -> int:
    return min(8 * byte_count(universe), elias_fano_bits(count, universe))
