"""Tucker decomposition of convolution kernels over their channels: a smaller core between two factors."""

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
from lc_core.fields import check_numbers

ROUNDS = 100
FALL = 1e-5
"""The alternation ends when a round lowers the objective by less than this part of it."""


@dataclass(frozen=True, eq=False)
class Tucker(OrDense):
    """core (s, t, d, ...) times left (n, s) over the output channels and right (m, t) over the input channels.

    Each is a Theta of its own. Where they take no fewer bits than the dense kernel, it is stored and run instead.
    """

    shape: tuple[int, ...]
    core: Compressed
    left: Compressed
    right: Compressed

    @property
    def dtype(self) -> torch.dtype:
        return self.core.dtype

    @property
    def ranks(self) -> tuple[int, int]:
        """s and t: the channels between the layers that run."""
        return self.left.shape[1], self.right.shape[1]

    def decompress(self) -> Tensor:
        core = self.core.decompress().reshape(*self.ranks, -1)
        return _expanded(core, self.left.decompress(), self.right.decompress()).reshape(self.shape)

    def macs(self, use: Use) -> int:
        """A 1 x 1 convolution to t channels on the input, the convolution of the core to s, then a 1 x 1
        convolution."""
        dense = dense_macs(self.shape, use)
        if use.groups > 1 or self.stored_dense():
            return dense
        outgoing = numel(self.core.shape) + numel(self.left.shape)
        return min(numel(self.right.shape) * numel(use.inputs) + outgoing * use.positions, dense)

    def own_arrays(self) -> dict[str, Tensor]:
        packed = [prefixed(name, part.pack()) for name, part in self._parts().items()]
        return packed[0] | packed[1] | packed[2]

    def own_form(self) -> Form:
        return {"form": "tucker", "shape": list(self.shape)} | {
            name: part.form() for name, part in self._parts().items()
        }

    @staticmethod
    def unpack(form: Form, core: Compressed, left: Compressed, right: Compressed) -> "Tucker":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape = tuple(form["shape"])
        sizes, ranks = left.shape[:1] + right.shape[:1], left.shape[1:] + right.shape[1:]
        small = all(rank <= size for rank, size in zip(ranks, sizes, strict=False))
        if len(left.shape) != 2 or sizes + core.shape[2:] != shape or ranks != core.shape[:2] or not small:
            raise FormError(f"expected a core and factors of {shape}, got {core.shape}, {left.shape}, {right.shape}")
        return Tucker(shape, core, left, right)

    def _parts(self) -> dict[str, Compressed]:
        return {"core": self.core, "left": self.left, "right": self.right}

    def own_bits(self) -> int:
        return sum(part.storage_bits() for part in self._parts().values())


@dataclass(frozen=True)
class Tucker2:
    """min over G (s, t, d, ...), U (n, s), V (m, t) of ||W - G x_1 U x_2 V||^2 for a kernel W (n, m, d, ...).

    It alternates, with each half exact: for fixed V, U holds the leading left singular vectors of W x_2 V^T as a matrix
    n x (t d ...), and likewise V for fixed U; G = W x_1 U^T x_2 V^T (higher-order orthogonal iteration). It starts from
    V of `previous` or, without it, from the leading singular vectors of W over its input channels; the objective never
    rises above that of the start. A local optimum. float64. De Lathauwer, De Moor and Vandewalle, "On the best rank-1
    and rank-(R1, ..., RN) approximation of higher-order tensors", SIAM J. Matrix Anal. Appl. 2000; Kim et al.,
    "Compression of deep convolutional neural networks for fast and low power mobile applications", ICLR 2016.

    Attributes:
        ranks: s of the output and t of the input channels, at least 1; capped where more would change nothing.
    """

    ranks: tuple[int, int]

    def __post_init__(self) -> None:
        check_numbers(self)
        if len(tuple(self.ranks)) != 2 or min(self.ranks) < 1:
            raise ValueError(f"ranks: expected two of at least 1 (outputs, inputs), got {self.ranks}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._capped(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Tucker:
        shape = tuple(w.shape)
        s, t = self._capped(shape)
        exact, scale = normalized(w.detach().reshape(*shape[:2], -1))
        if isinstance(previous, Tucker) and previous.shape == shape and previous.ranks == (s, t):
            right = torch.linalg.qr(previous.right.decompress().double()).Q
        else:
            right = leading_vectors(exact.transpose(0, 1), t)
        error = float("inf")
        for _ in range(ROUNDS):
            left = leading_vectors(right.T @ exact, s)
            projected = torch.tensordot(left.T, exact, dims=1)
            right = leading_vectors(projected.transpose(0, 1), t)
            core = right.T @ projected
            before, error = error, float((exact - _expanded(core, left, right)).square().sum())
            if not error < (1 - FALL) * before:
                break
        parts = [(core * scale).reshape(s, t, *shape[2:]), left, right]
        return Tucker(shape, *[Dense(part.to(w.dtype).contiguous()) for part in parts])

    def outline(self, shape: tuple[int, ...]) -> Tucker:
        s, t = self._capped(shape)
        core, left, right = outline_tensor(s, t, *shape[2:]), outline_tensor(shape[0], s), outline_tensor(shape[1], t)
        return Tucker(shape, Dense(core), Dense(left), Dense(right))

    def _capped(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Ranks capped: a core s x (t d ...) has at most t d ... independent rows, and likewise for t."""
        check_kernel(shape, name="Tucker")
        positions = numel(shape[2:])
        s = min(self.ranks[0], shape[0], min(self.ranks[1], shape[1]) * positions)
        return s, min(self.ranks[1], shape[1], s * positions)


def check_kernel(shape: tuple[int, ...], *, name: str) -> None:
    """ValueError where `shape` is not a convolution kernel's."""
    if len(shape) < 3:
        raise ValueError(f"{name}: expected a convolution kernel (n, m, d, ...), got shape {shape}")


def normalized(w: Tensor) -> tuple[Tensor, float]:
    """`w` / scale in float64 and scale: the largest magnitude, so that no product leaves the range; 1 for zeros."""
    scale = float(w.abs().max()) or 1.0
    return w.double().contiguous() / scale, scale


def leading_vectors(unfolded: Tensor, count: int) -> Tensor:
    """The `count` leading left singular vectors of a float64 tensor seen as its first dimension by the rest."""
    matrix = unfolded.reshape(unfolded.shape[0], -1)
    vectors: Tensor = torch.linalg.eigh(matrix @ matrix.T).eigenvectors
    return vectors.flip(1)[:, :count]


def _expanded(core: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """core (s, t, d) times left (n, s) times right (m, t): (n, m, d)."""
    outputs = (left @ core.reshape(core.shape[0], -1)).reshape(left.shape[0], *core.shape[1:])
    return right @ outputs
