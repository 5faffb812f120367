"""The two interfaces: `Compression` solves the C step by its hyperparameters, `Compressed` is the solution Theta.

Let Delta be the decompression mapping and w the weights. The C step is Theta = Pi(w) = argmin of ||w - Delta(Theta)||^2
for a constraint form, and argmin of mu/2 ||w - Delta(Theta)||^2 + alpha C(Theta) for a penalty form (Carreira-Perpinan
and Idelbayev, "Model compression as constrained optimization", arXiv:1707.01209, section 3).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

Form = dict[str, Any]
"""How to read packed arrays: JSON data with the key "form" and the fields of that form."""


class FormError(ValueError):
    """A stored form is not one that lc_core writes, or the arrays do not fit it."""


@dataclass(frozen=True)
class Use:
    """The sizes with which a layer runs once on one example.

    Attributes:
        inputs: spatial sizes of the input: (length,) for a 1-D convolution, (height, width) for a 2-D one, all but the
            last dimension for a linear layer.
        outputs: spatial sizes of the output.
        groups: the groups of a convolution.
    """

    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    groups: int = 1

    @property
    def positions(self) -> int:
        """The number of output positions. The layer applies its whole weight at each."""
        return numel(self.outputs)


class Compressed(Protocol):
    """Theta, frozen: the solution of a C step, which the packed file stores."""

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
        """Bits that `pack` writes, with each array rounded up to whole bytes.

        `pack` writes dense values where they take no more bits.
        """
        ...

    def macs(self, use: Use) -> int:
        """Multiply-accumulates of a layer whose weight is Delta(Theta).

        Factors run as layers of their own where that takes less. Zeros and codes save nothing. A convolution of several
        groups never runs in factors.
        """
        ...

    def pack(self) -> dict[str, Tensor]:
        """The arrays to store, by name. On the meta device the arrays have no values."""
        ...

    def form(self) -> Form:
        """How `lc_core.file.forms.unpack` reads the arrays of `pack`."""
        ...


class Compression(Protocol):
    """One way to compress, with its hyperparameters; a frozen dataclass."""

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Compressed:
        """Theta = Pi(w), the C step's solution.

        Args:
            w: weights to project, of any shape that this compression can take.
            mu: the penalty parameter; above 0 for a penalty form. Constraint forms ignore it.
            previous: Theta of the C step before, of the same shape, as a warm start.
        """
        ...

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises ValueError where these hyperparameters remove all weights of `shape`, or ask for more than there are.

        `compress` also takes such cases. A study refuses them, since no user means them.
        """
        ...

    def outline(self, shape: tuple[int, ...]) -> Compressed | None:
        """Theta for float32 weights of `shape`, without values, on the meta device. It gives sizes before training.

        None where the size depends on the values of the weights. ValueError where the compression cannot take `shape`.
        """
        ...


@runtime_checkable
class Penalized(Compression, Protocol):
    """A penalty form: its C step adds a cost of Theta to the objective. A constraint form has no cost."""

    def cost(self, theta: Compressed) -> float:
        """alpha C(Theta)."""
        ...


def objective(compression: Compression, w: Tensor, theta: Compressed, *, mu: float) -> float:
    """2/mu times the objective of the C step: ||w - Delta(Theta)||^2 + 2/mu alpha C(Theta), in float64."""
    error = float(torch.sum((w.double() - theta.decompress().double()) ** 2))
    cost = compression.cost(theta) if isinstance(compression, Penalized) else 0.0
    return error + 2 / mu * cost if cost else error


@dataclass(frozen=True, eq=False)
class Dense:
    """Weights stored uncompressed."""

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
        """Theta of other weights, also uncompressed."""
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


class Own(Compressed, Protocol):
    """A Theta with a form of its own."""

    def own_bits(self) -> int:
        """Bits that `own_arrays` take, with each array rounded up to whole bytes."""
        ...

    def own_arrays(self) -> dict[str, Tensor]:
        """The arrays of its own form, by name."""
        ...

    def own_form(self) -> Form:
        """How the arrays of its own form are read."""
        ...

    def stored_dense(self) -> bool:
        """Whether it is stored dense, since its own form takes as many bits or more."""
        ...


class OrDense:
    """A Theta with a form of its own is stored in that, or dense where that takes no more bits."""

    def stored_dense(self: Own) -> bool:
        return self.own_bits() >= dense_bits(self)

    def storage_bits(self: Own) -> int:
        return min(self.own_bits(), dense_bits(self))

    def pack(self: Own) -> dict[str, Tensor]:
        return Dense(self.decompress()).pack() if self.stored_dense() else self.own_arrays()

    def form(self: Own) -> Form:
        return dense_form(self.shape) if self.stored_dense() else self.own_form()


def dense_form(shape: tuple[int, ...]) -> Form:
    """The form of dense values of `shape`."""
    return {"form": "dense", "shape": list(shape)}


def dense_bits(theta: Compressed) -> int:
    """Bits of Delta(Theta) stored dense."""
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
    """`arrays` with `name` and a dot before each name. A Theta stores the Thetas that it consists of in this way."""
    return {f"{name}.{key}": array for key, array in arrays.items()}


def unprefixed(name: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `prefixed`: the arrays under `name`."""
    return {key[len(name) + 1 :]: array for key, array in arrays.items() if key.startswith(f"{name}.")}


def numel(shape: tuple[int, ...]) -> int:
    """Number of elements of a tensor of `shape`."""
    return math.prod(shape)


def outline_tensor(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of `shape` without values, on the meta device."""
    return torch.empty(shape, dtype=dtype, device="meta")
