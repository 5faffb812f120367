"""Low rank: Delta(Theta) is the product of two thin matrices."""

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


@dataclass(frozen=True, eq=False)
class Factored:
    """left (m, r) times right (r, n), seen as `shape` = (m, ...) with n its other dimensions together.

    The factors are Thetas of their own. Where they hold no fewer numbers than the product, the product is what runs;
    where they take no fewer bits, the product is what is stored.
    """

    shape: tuple[int, ...]
    left: Compressed
    right: Compressed

    @property
    def dtype(self) -> torch.dtype:
        return self.left.dtype

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def decompress(self) -> Tensor:
        return (self.left.decompress() @ self.right.decompress()).reshape(self.shape)

    def storage_bits(self) -> int:
        return min(self._factor_bits(), dense_bits(self))

    def macs(self, use: Use) -> int:
        dense = dense_macs(self.shape, use)
        if use.groups > 1:
            return dense
        return min((numel(self.left.shape) + numel(self.right.shape)) * use.positions, dense)

    def pack(self) -> dict[str, Tensor]:
        if self._factor_bits() >= dense_bits(self):
            return Dense(self.decompress()).pack()
        return prefixed("left", self.left.pack()) | prefixed("right", self.right.pack())

    def form(self) -> Form:
        if self._factor_bits() >= dense_bits(self):
            return dense_form(self.shape)
        return {"form": "factors", "shape": list(self.shape), "left": self.left.form(), "right": self.right.form()}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor], left: Compressed, right: Compressed) -> "Factored":
        """Theta from what `pack` and `form` gave. ValueError where they do not fit together."""
        shape = tuple(form["shape"])
        inner = left.shape[1:] + right.shape[:1]
        if left.shape[:1] != shape[:1] or len(inner) != 2 or inner[0] != inner[1]:
            raise ValueError(f"expected factors of a {shape} matrix, got {left.shape} and {right.shape}")
        if right.shape[1:] != (numel(shape[1:]),):
            raise ValueError(f"expected factors of a {shape} matrix, got {left.shape} and {right.shape}")
        return Factored(shape, left, right)

    def _factor_bits(self) -> int:
        return self.left.storage_bits() + self.right.storage_bits()


@dataclass(frozen=True)
class LowRank:
    """min over U (m, r), V (r, n) of ||W - U V||_F^2: the truncated singular value decomposition.

    Exact (Eckart and Young 1936). O(m n min(m, n)). A convolution kernel (n, m, d, d) is seen as n x m d d, which runs
    as a convolution to r channels and a 1 x 1 convolution after it. The singular values are shared evenly between the
    factors. Idelbayev and Carreira-Perpinan, "Low-rank compression of neural nets: learning the rank of each layer",
    CVPR 2020, section 3.

    Attributes:
        rank: r, at least 1; capped at min(m, n).
    """

    rank: int

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank: expected at least 1, got {self.rank}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._sizes(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Factored:
        shape = tuple(w.shape)
        m, n, rank = self._sizes(shape)
        u, s, vt = torch.linalg.svd(w.detach().reshape(m, n), full_matrices=False)
        root = s[:rank].sqrt()
        # Row by row, as they come back from a file: a product's rounding depends on how its factors lie in memory.
        left, right = (u[:, :rank] * root).contiguous(), (root[:, None] * vt[:rank]).contiguous()
        return Factored(shape, Dense(left), Dense(right))

    def outline(self, shape: tuple[int, ...]) -> Factored:
        m, n, rank = self._sizes(shape)
        return Factored(shape, Dense(outline_tensor(m, rank)), Dense(outline_tensor(rank, n)))

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        if len(shape) < 2:
            raise ValueError(f"low rank: expected weights of a layer (two dimensions or more), got shape {shape}")
        m, n = shape[0], numel(shape[1:])
        return m, n, min(self.rank, m, n)
