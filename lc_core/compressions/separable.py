"""Depthwise-separable convolutions: a few spatial filters for each input channel, then a 1 x 1 convolution."""

from dataclasses import dataclass

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
from lc_core.compressions.tucker import check_kernel
from lc_core.fields import check_numbers
from lc_core.numerics.svd import leading


@dataclass(frozen=True, eq=False)
class Separated(OrDense):
    """depthwise (m r, 1, d, ...), r filters for each input channel, and pointwise (n, m r), of a kernel (n, m, d, ...).

    Filter k of input i is row i r + k of depthwise and column i r + k of pointwise. Each is a Theta of its own. Where
    they take no fewer bits than the dense kernel, it is stored and run instead.
    """

    shape: tuple[int, ...]
    depthwise: Compressed
    pointwise: Compressed

    @property
    def dtype(self) -> torch.dtype:
        return self.depthwise.dtype

    @property
    def multiplier(self) -> int:
        """r: the filters for each input channel."""
        return self.pointwise.shape[1] // self.shape[1]

    def decompress(self) -> Tensor:
        n, m, r = *self.shape[:2], self.multiplier
        filters, weights = self.depthwise.decompress().reshape(m, r, -1), self.pointwise.decompress().reshape(n, m, r)
        return (weights.transpose(0, 1) @ filters).transpose(0, 1).reshape(self.shape)

    def macs(self, use: Use) -> int:
        """A depthwise convolution to m r channels, then a 1 x 1 convolution, both at the size of the output."""
        dense = dense_macs(self.shape, use)
        if use.groups > 1 or self.stored_dense():
            return dense
        return min((numel(self.depthwise.shape) + numel(self.pointwise.shape)) * use.positions, dense)

    def own_arrays(self) -> dict[str, Tensor]:
        return prefixed("depthwise", self.depthwise.pack()) | prefixed("pointwise", self.pointwise.pack())

    def own_form(self) -> Form:
        factors = {"depthwise": self.depthwise.form(), "pointwise": self.pointwise.form()}
        return {"form": "separable", "shape": list(self.shape)} | factors

    @staticmethod
    def unpack(form: Form, depthwise: Compressed, pointwise: Compressed) -> "Separated":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, filters, weights = tuple(form["shape"]), depthwise.shape, pointwise.shape
        fits = len(shape) >= 3 and len(weights) == 2 and filters == (weights[1], 1, *shape[2:])
        if not fits or weights[0] != shape[0] or not shape[1] or not weights[1] or weights[1] % shape[1]:
            raise FormError(f"expected depthwise and pointwise filters of {shape}, got {filters} and {weights}")
        return Separated(shape, depthwise, pointwise)

    def own_bits(self) -> int:
        return self.depthwise.storage_bits() + self.pointwise.storage_bits()


@dataclass(frozen=True)
class Separable:
    """min over D (m, r, d, ...), P (n, m, r) of ||W - sum_k P_k D_k||^2 for a kernel W (n, m, d, ...), where the
    product is W[o, i, x] = sum_k P[o, i, k] D[i, k, x].

    Exact: the slice W[:, i], n x (d ...), of each input channel has a truncated singular value decomposition of its
    own. O(m n d min(n, d)) for kernels of d positions. Guo, Li, Lin, Chen and Li, "Network decoupling: from regular to
    depthwise separable convolutions", arXiv:1808.05517; the layers are those of Chollet, "Xception", arXiv:1610.02357,
    with the filters of the reference.

    Attributes:
        multiplier: r, the spatial filters for each input channel, at least 1; capped where more would change nothing.
    """

    multiplier: int = 1

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.multiplier < 1:
            raise ValueError(f"multiplier: expected at least 1, got {self.multiplier}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._capped(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Separated:
        shape = tuple(w.shape)
        n, m, r = *shape[:2], self._capped(shape)
        slices = w.detach().reshape(n, m, -1).transpose(0, 1).contiguous()
        halves = [leading(each, rank=r).halves() for each in slices]
        pointwise = torch.stack([left for left, _ in halves], dim=1).reshape(n, m * r)
        depthwise = torch.cat([right for _, right in halves]).reshape(m * r, 1, *shape[2:])
        return Separated(shape, Dense(depthwise.contiguous()), Dense(pointwise.contiguous()))

    def outline(self, shape: tuple[int, ...]) -> Separated:
        return separated_outline(shape, multiplier=self._capped(shape))

    def _capped(self, shape: tuple[int, ...]) -> int:
        check_kernel(shape, name="separable")
        return min(self.multiplier, shape[0], numel(shape[2:]))


def separated_outline(shape: tuple[int, ...], *, multiplier: int) -> Separated:
    """The outline of the factors of a kernel of `shape`."""
    channels = shape[1] * multiplier
    depthwise, pointwise = outline_tensor(channels, 1, *shape[2:]), outline_tensor(shape[0], channels)
    return Separated(shape, Dense(depthwise), Dense(pointwise))
