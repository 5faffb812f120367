"""Weights in a narrower floating-point type."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Form,
    FormError,
    OrDense,
    Use,
    dense_macs,
    numel,
    outline_tensor,
    shaped,
    stored,
)

DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float8_e4m3fn": torch.float8_e4m3fn,
    "float8_e5m2": torch.float8_e5m2,
}
WEIGHTS = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Rounded(OrDense):
    """Weights stored in a narrower dtype than they are used in.

    Attributes:
        values: the weights in the stored dtype, of the shape of Delta(Theta).
        dtype: the dtype of Delta(Theta).
    """

    values: Tensor
    dtype: torch.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def decompress(self) -> Tensor:
        return self.values.to(self.dtype)

    def encode(self, w: Tensor) -> "Rounded":
        """Theta of other weights in the same stored dtype: the nearest values."""
        return Rounded(_nearest(w.detach(), dtype=self.values.dtype), w.dtype)

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def own_arrays(self) -> dict[str, Tensor]:
        return {"values": self.values.reshape(-1)}

    def own_form(self) -> Form:
        return {
            "form": "cast",
            "shape": list(self.shape),
            "stored": _name(self.values.dtype, DTYPES),
            "dtype": _name(self.dtype, WEIGHTS),
        }

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor]) -> "Rounded":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        values = stored(arrays, "values")
        if values.dtype != DTYPES[form["stored"]]:
            raise FormError(f"expected values in {form['stored']}, got {values.dtype}")
        return Rounded(shaped(values, form["shape"]), WEIGHTS[form["dtype"]])

    def own_bits(self) -> int:
        return numel(self.shape) * self.values.dtype.itemsize * 8


@dataclass(frozen=True)
class Cast:
    """min over theta of ||w - theta||^2, every theta_i a finite value of `dtype`: rounding to nearest, ties to even.

    Exact: larger magnitudes become the largest finite value. float64 weights go through float32. O(n).

    Attributes:
        dtype: float16, bfloat16, float8_e4m3fn (to 448, 3 bits of fraction) or float8_e5m2 (to 57344, 2 bits).
    """

    dtype: str

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Rounded:
        return Rounded(_nearest(w.detach(), dtype=DTYPES[self.dtype]), w.dtype)

    def outline(self, shape: tuple[int, ...]) -> Rounded:
        return Rounded(outline_tensor(*shape, dtype=DTYPES[self.dtype]), torch.float32)


def in_dtype(theta: Compressed, dtype: torch.dtype) -> Compressed:
    """`theta` with its values (codebook, scales, factors, kept weights) rounded to nearest in `dtype`, which then is
    that of Delta(Theta). Codes and supports stay. Values beyond the finite ones of `dtype` become the largest.
    """
    changed: Compressed = theta if theta.dtype == dtype else _converted(theta, dtype)
    return changed


def _converted(value: Any, dtype: torch.dtype) -> Any:
    match value:
        case Rounded():
            return replace(value, dtype=dtype)
        case Tensor() if value.is_floating_point():
            return _nearest(value, dtype=dtype) if dtype.itemsize < value.dtype.itemsize else value.to(dtype)
        case tuple():
            return tuple(_converted(each, dtype) for each in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{each.name: _converted(getattr(value, each.name), dtype) for each in fields(value)})
    return value


def _nearest(w: Tensor, *, dtype: torch.dtype) -> Tensor:
    """A copy of `w` in `dtype`, through float32. Clamped first: torch converts larger values to inf or NaN."""
    largest = torch.finfo(dtype).max
    held = w.float().clamp(-largest, largest)
    return held.to(dtype, copy=True, memory_format=torch.contiguous_format)


def _name(dtype: torch.dtype, names: Mapping[str, torch.dtype]) -> str:
    return next(name for name, each in names.items() if each == dtype)
