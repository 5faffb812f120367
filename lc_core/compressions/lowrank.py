"""Low rank: Delta(Theta) is the product of two thin matrices."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

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
from lc_core.fields import check_numbers
from lc_core.numerics.svd import leading, refined

Scheme = Literal["channel", "spatial"]
"""How a convolution kernel (n, m, d1, d2) becomes a matrix.

"channel": n x (m d1 d2). It runs as a convolution to r channels, then a 1 x 1 convolution.
"spatial": (n d1) x (m d2). It runs as a 1 x d2 convolution to r channels, then a d1 x 1 convolution.
Other weights (n, ...) become n x the rest, and only "channel" applies.
"""


@dataclass(frozen=True, eq=False)
class Factored(OrDense):
    """left (rows, r) times right (r, columns): the matrix that `scheme` makes of weights of `shape`.

    The factors are Thetas of their own. Where they hold no fewer numbers than the product, the product runs. Where they
    take no fewer bits, the product is stored and runs.
    """

    shape: tuple[int, ...]
    left: Compressed
    right: Compressed
    scheme: Scheme = "channel"

    @property
    def dtype(self) -> torch.dtype:
        return self.left.dtype

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def decompress(self) -> Tensor:
        return from_matrix(self.left.decompress() @ self.right.decompress(), self.shape, scheme=self.scheme)

    def macs(self, use: Use) -> int:
        dense = dense_macs(self.shape, use)
        if use.groups > 1 or self.stored_dense():
            return dense
        return min(self.rank * macs_per_rank(self.shape, use, scheme=self.scheme), dense)

    def own_arrays(self) -> dict[str, Tensor]:
        return prefixed("left", self.left.pack()) | prefixed("right", self.right.pack())

    def own_form(self) -> Form:
        scheme = {} if self.scheme == "channel" else {"scheme": self.scheme}
        factors = {"left": self.left.form(), "right": self.right.form()}
        return {"form": "factors", "shape": list(self.shape)} | scheme | factors

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor], left: Compressed, right: Compressed) -> "Factored":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, scheme = tuple(form["shape"]), form.get("scheme", "channel")
        if len(shape) != 4 if scheme == "spatial" else len(shape) < 2:
            raise FormError(f"expected weights that the scheme {scheme} has a matrix of, got shape {shape}")
        rows, columns = matrix_shape(shape, scheme=scheme)
        if len(left.shape) != 2 or left.shape[0] != rows or right.shape != (left.shape[1], columns):
            raise FormError(f"expected factors of a {shape} matrix, got {left.shape} and {right.shape}")
        return Factored(shape, left, right, scheme)

    def own_bits(self) -> int:
        return self.left.storage_bits() + self.right.storage_bits()


@dataclass(frozen=True)
class LowRank:
    """min over U (rows, r), V (r, columns) of ||W - U V||_F^2: the truncated singular value decomposition.

    Exact without `previous` (Eckart and Young 1936): O(rows columns min(rows, columns)). From a `previous` of the same
    shape and rank, large float32 layers use subspace iteration, O(rows columns r) a round, until the remaining gain is
    estimated at 1e-4 of the objective. It never ends worse than `previous`; where it would take long, the exact
    solution is computed (`numerics/svd.py`). Each column of U has the norm of its row of V. Idelbayev and
    Carreira-Perpinan, "Low-rank compression of neural nets: learning the rank of each layer", CVPR 2020, section 3; of
    its two schemes for convolutions see `Scheme`.

    Attributes:
        rank: r, at least 1; capped at min(rows, columns).
        scheme: how a kernel becomes a matrix.
    """

    rank: int
    scheme: Scheme = "channel"

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.rank < 1:
            raise ValueError(f"rank: expected at least 1, got {self.rank}")
        check_scheme(self.scheme)

    def check(self, shape: tuple[int, ...]) -> None:
        self._sizes(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Factored:
        shape = tuple(w.shape)
        _, _, rank = self._sizes(shape)
        matrix = as_matrix(w.detach(), scheme=self.scheme)
        start = self._start(previous, shape, rank)
        factors = refined(matrix, *start) if start else None
        left, right = factors or leading(matrix, rank=rank).halves()
        return Factored(shape, Dense(left), Dense(right), self.scheme)

    def outline(self, shape: tuple[int, ...]) -> Factored:
        rows, columns, rank = self._sizes(shape)
        left, right = outline_tensor(rows, rank), outline_tensor(rank, columns)
        return Factored(shape, Dense(left), Dense(right), self.scheme)

    def _start(self, previous: Compressed | None, shape: tuple[int, ...], rank: int) -> tuple[Tensor, Tensor] | None:
        """The factors of `previous`, where they have this shape, scheme and rank and are dense."""
        if not isinstance(previous, Factored) or previous.shape != shape:
            return None
        left, right = previous.left, previous.right
        if previous.scheme != self.scheme or previous.rank != rank:
            return None
        return (left.values, right.values) if isinstance(left, Dense) and isinstance(right, Dense) else None

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        rows, columns = matrix_shape(shape, scheme=self.scheme)
        return rows, columns, min(self.rank, rows, columns)


def check_scheme(scheme: str) -> None:
    """Raises ValueError where there is no such scheme."""
    if scheme not in get_args(Scheme):
        raise ValueError(f'scheme: expected "channel" or "spatial", got {scheme!r}')


def matrix_shape(shape: tuple[int, ...], *, scheme: Scheme) -> tuple[int, int]:
    """Rows and columns of the matrix that `scheme` makes of weights of `shape`. ValueError where it makes none."""
    check_scheme(scheme)
    if scheme == "spatial":
        if len(shape) != 4:
            raise ValueError(f"low rank, spatial: expected a 2-D convolution kernel (n, m, d1, d2), got shape {shape}")
        n, m, height, width = shape
        return n * height, m * width
    if len(shape) < 2:
        raise ValueError(f"low rank: expected weights of a layer (two dimensions or more), got shape {shape}")
    return shape[0], numel(shape[1:])


def as_matrix(w: Tensor, *, scheme: Scheme) -> Tensor:
    """The matrix that `scheme` makes of weights `w`, row by row in memory."""
    rows, columns = matrix_shape(tuple(w.shape), scheme=scheme)
    ordered = w.transpose(1, 2) if scheme == "spatial" else w
    return ordered.reshape(rows, columns).contiguous()


def from_matrix(matrix: Tensor, shape: tuple[int, ...], *, scheme: Scheme) -> Tensor:
    """The inverse of `as_matrix`: weights of `shape`."""
    if scheme == "spatial":
        n, m, height, width = shape
        return matrix.reshape(n, height, m, width).transpose(1, 2).contiguous()
    return matrix.reshape(shape)


def macs_per_rank(shape: tuple[int, ...], use: Use, *, scheme: Scheme) -> int:
    """Multiply-accumulates for each unit of the rank of the two layers that the factors run as.

    Spatial: the output of the first convolution has as many rows as its input and as many columns as the final output.
    """
    rows, columns = matrix_shape(shape, scheme=scheme)
    first = use.inputs[:1] + use.outputs[1:] if scheme == "spatial" else use.outputs
    return columns * numel(first) + rows * use.positions
