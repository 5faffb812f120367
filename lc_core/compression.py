"""The two interfaces: `Compression`, hyperparameters that solve the C step, and `Compressed`, its solution Theta.

With decompression mapping Delta and weights w, the C step is Theta = Pi(w) = argmin of ||w - Delta(Theta)||^2 for a
constraint form, argmin of mu/2 ||w - Delta(Theta)||^2 + alpha C(Theta) for a penalty form (Carreira-Perpinan and
Idelbayev, "Model compression as constrained optimization", arXiv:1707.01209, section 3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Form = dict[str, Any]
"""How packed arrays are to be read: JSON data with the key "form" and what that form needs."""


class FormError(ValueError):
    """A stored form is not one that lc_core writes, or the arrays do not fit it."""


@dataclass(frozen=True)
class Use:
    """How one example uses a layer, once.

    Attributes:
        inputs: spatial sizes of what goes in: (length,) of a 1-D convolution, (height, width) of a 2-D one, all but the
            last dimension for a linear layer.
        outputs: of what comes out.
        groups: of a convolution.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    groups: int = 1

    @property
    def positions(self) -> int:
        """Output positions, at each of which the layer's whole weight is applied."""
        return numel(self.outputs)


class Compressed(Protocol):
    """Theta, frozen: what a C step found and what the packed file stores."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of Delta(Theta)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of Delta(Theta)."""
        ...

    def decompress(self) -> Tensor:
        """Delta(Theta): a dense tensor of `shape`, on the device of the compressed weights."""
        ...

    def storage_bits(self) -> int:
        """Bits that `pack` writes, each array rounded up to whole bytes; dense values where those take no more."""
        ...

    def macs(self, use: Use) -> int:
        """Multiply-accumulates of a layer whose weight is Delta(Theta), as it would run: factors as layers of their own
        where that is less, zeros and codes saving none. In a convolution of several groups nothing runs in factors."""
        ...

    def pack(self) -> dict[str, Tensor]:
        """The arrays to store, by name. On the meta device: the same arrays without their numbers."""
        ...

    def form(self) -> Form:
        """How `pack`'s arrays are to be read, for `lc_core.file.forms.unpack`."""
        ...


class Compression(Protocol):
    """Hyperparameters of one way to compress; a frozen dataclass."""

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Compressed:
        """Theta = Pi(w), the C step's solution.

        Args:
            w: weights to project, of any shape that the compression has a meaning for.
            mu: the penalty parameter, above 0 for a penalty form; constraint forms do not depend on it.
            previous: Theta of the C step before, of the same shape, to start from.
        """
        ...

    def check(self, shape: tuple[int, ...]) -> None:
        """ValueError where these hyperparameters leave nothing of weights of `shape`, or ask for more than there is.

        `compress` takes such cases too; a study refuses them, since no user means them.
        """
        ...

    def outline(self, shape: tuple[int, ...]) -> Compressed | None:
        """Theta for float32 weights of `shape` without its numbers, on the meta device: for sizes before training.

        None where the size depends on the numbers. ValueError where `shape` has no meaning for the compression.
        """
        ...


@runtime_checkable
class Penalized(Compression, Protocol):
    """A compression whose C step also pays for what Theta holds; a constraint form pays nothing."""

    def cost(self, theta: Compressed) -> float:
        """alpha C(Theta)."""
        ...


def objective(compression: Compression, w: Tensor, theta: Compressed, *, mu: float) -> float:
    """What the C step minimises, 2/mu times: ||w - Delta(Theta)||^2 + 2/mu alpha C(Theta), in float64."""
    error = float(torch.sum((w.double() - theta.decompress().double()) ** 2))
    cost = compression.cost(theta) if isinstance(compression, Penalized) else 0.0
    return error + 2 / mu * cost if cost else error


@dataclass(frozen=True, eq=False)
class Dense:
    """Values stored as they are."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    def decompress(self) -> Tensor:
        return self.values

    def encode(self, w: Tensor) -> "Dense":
        """Theta of other weights: they too as they are."""
        return Dense(w)

    def storage_bits(self) -> int:
        return dense_bits(self)

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def pack(self) -> dict[str, Tensor]:
        return {"dense": self.values.reshape(-1)}

    def form(self) -> Form:
        return dense_form(self.shape)

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor]) -> "Dense":
        return Dense(shaped(stored(arrays, "dense"), form["shape"]))


def dense_form(shape: tuple[int, ...]) -> Form:
    """How dense values of `shape` are read."""
    return {"form": "dense", "shape": list(shape)}


def dense_bits(theta: Compressed) -> int:
    """Bits of Delta(Theta) stored as it is."""
    return numel(theta.shape) * theta.dtype.itemsize * 8


def dense_macs(shape: tuple[int, ...], use: Use) -> int:
    """Multiply-accumulates of a layer whose weight is a dense tensor of `shape`."""
    return numel(shape) * use.positions


def stored(arrays: Mapping[str, Tensor], name: str) -> Tensor:
    """The array `name`. FormError where there is none."""
    if name not in arrays:
        raise FormError(f"expected an array {name!r}, got {sorted(arrays)[:9]}")
    return arrays[name]


def shaped(array: Tensor, shape: Sequence[int]) -> Tensor:
    """`array` in `shape`. FormError where it holds another number of values."""
    if array.numel() != math.prod(shape):
        raise FormError(f"expected values of shape {list(shape)}, got {array.numel()} of them")
    return array.reshape(tuple(shape))


def prefixed(name: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`arrays` under names that start with `name` and a dot: how a Theta stores the Thetas it is made of."""
    return {f"{name}.{key}": array for key, array in arrays.items()}


def unprefixed(name: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `prefixed`: the arrays under `name`."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}.")}


def numel(shape: tuple[int, ...]) -> int:
    """Number of elements of a tensor of `shape`."""
    return math.prod(shape)


def outline_tensor(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of `shape` without numbers."""
    return torch.empty(shape, dtype=dtype, device="meta")
