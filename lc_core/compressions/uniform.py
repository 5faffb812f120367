"""Uniform quantization: every weight of Delta(Theta) is a whole number of steps from zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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
    stored,
)
from lc_core.fields import check_numbers
from lc_core.numerics.grids import Grid, best_grid, widest_grid
from lc_core.numerics.packing import byte_count, pack_codes, unpack_codes

Granularity = Literal["tensor", "channel"]


@dataclass(frozen=True, eq=False)
class Uniform(OrDense):
    """scale * (code - zero), one scale and zero point for all weights or for each output channel.

    Attributes:
        shape: of Delta(Theta).
        codes: (n,) uint8, flat, below 2^bits; below 2^bits - 1 in the symmetric form.
        scale: (1,) or (shape[0],), not negative.
        zero: the code of 0, uint8, one for each scale; None in the symmetric form, where it is the middle code.
        bits: bits of a code.
    """

    shape: tuple[int, ...]
    codes: Tensor
    scale: Tensor
    zero: Tensor | None
    bits: int

    @property
    def dtype(self) -> torch.dtype:
        return self.scale.dtype

    def decompress(self) -> Tensor:
        channels = self.scale.numel()
        codes = self.codes.reshape(channels, self.codes.numel() // channels).to(self.dtype)
        return ((codes - self._grid().zero[:, None]) * self.scale[:, None]).reshape(self.shape)

    def encode(self, w: Tensor) -> "Uniform":
        """Theta of other weights on the same grid: the nearest codes. With scales for channels, the weights must have
        as many channels."""
        grid = self._grid()
        codes = grid.nearest(_rows(w, grid.scale.numel()).double()).to(torch.uint8).reshape(-1)
        return Uniform(tuple(w.shape), codes, self.scale, self.zero, self.bits)

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def own_arrays(self) -> dict[str, Tensor]:
        arrays = {"codes": pack_codes(self.codes, width=self.bits), "scale": self.scale}
        return arrays if self.zero is None else arrays | {"zero": self.zero}

    def own_form(self) -> Form:
        return {"form": "uniform", "shape": list(self.shape), "bits": self.bits, "symmetric": self.zero is None}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor]) -> "Uniform":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, bits, scale = tuple(form["shape"]), form["bits"], stored(arrays, "scale")
        zero = None if form["symmetric"] else stored(arrays, "zero")
        if not 1 <= bits <= 8:
            raise FormError(f"expected codes of 1 to 8 bits, got {bits!r}")
        if tuple(scale.shape) not in {(1,), shape[:1]} or not scale.numel():
            raise FormError(f"expected one scale or one for each channel of {shape}, got shape {tuple(scale.shape)}")
        if zero is not None and (zero.shape != scale.shape or zero.dtype != torch.uint8 or int(zero.max()) >> bits):
            raise FormError(f"expected {scale.numel()} zero points of {bits} bits, got {zero.dtype}, {zero.tolist()}")
        codes = unpack_codes(stored(arrays, "codes"), width=bits, count=numel(shape)).to(torch.uint8)
        if zero is None and codes.numel() and int(codes.max()) > 2 * _middle(bits):
            raise FormError(f"expected codes up to {2 * _middle(bits)}, got {int(codes.max())}: the codes are damaged")
        return Uniform(shape, codes, scale, zero, bits)

    def _grid(self) -> Grid:
        zero = torch.full_like(self.scale, _middle(self.bits)) if self.zero is None else self.zero.to(self.scale)
        return Grid(self.scale, zero, _last(self.bits, symmetric=self.zero is None))

    def own_bits(self) -> int:
        zeros = 0 if self.zero is None else self.zero.numel() * 8
        scales = self.scale.numel() * self.dtype.itemsize * 8
        return scales + zeros + 8 * byte_count(numel(self.shape) * self.bits)


@dataclass(frozen=True)
class UniformQuantization:
    """min over s, z, q of sum_i (w_i - s (q_i - z))^2, s >= 0, q and z whole numbers from 0 to 2^bits - 1.

    Symmetric: z is the middle of q from 0 to 2^bits - 2, so that q - z goes from -(2^(bits-1) - 1) to 2^(bits-1) - 1.
    Either way 0 is a value of the grid. The grid is for all weights, or for each output channel (dimension 0).

    It alternates: for fixed s and z every q_i is the nearest; for fixed q and z, s = w^T (q - z) / ||q - z||^2. It
    starts from the best of the grid between the smallest and the largest weight, of ranges down to 1/64 of it, and of
    `previous`. Each round also tries z one up and one down, and s somewhat larger and smaller. A local optimum (the
    global one for six weights nine times of ten), never worse than the grid between the extremes or than `previous`;
    zeros and constants are exact. One bit is 0 and one other value; its sign is then that of `previous`, since LC would
    alternate between the signs. At most 7 + 12 * 5 passes over the weights or, from 64 weights a code on, over runs
    of the sorted weights: O(n log n + 2^bits log n a pass).

    Attributes:
        bits: bits of a code, 1 to 8; from 2 on where symmetric.
        symmetric: whether the grid reaches as far below 0 as above. It then stores no zero point.
        granularity: "tensor" for one scale and zero point, "channel" for one for each output channel of weights in two
            dimensions or more.
    """

    bits: int
    symmetric: bool = False
    granularity: Granularity = "tensor"

    def __post_init__(self) -> None:
        check_numbers(self)
        least = 2 if self.symmetric else 1
        if not least <= self.bits <= 8:
            raise ValueError(f"bits: expected a whole number from {least} to 8, got {self.bits}")
        if self.granularity not in ("tensor", "channel"):
            raise ValueError(f"granularity: expected tensor or channel, got {self.granularity!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._channels(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Uniform:
        shape = tuple(w.shape)
        rows = _rows(w, self._channels(shape))
        before = previous._grid() if isinstance(previous, Uniform) and self._same_grid(previous, rows) else None
        grid = best_grid(rows, last=_last(self.bits, symmetric=self.symmetric), symmetric=self.symmetric, before=before)
        return self._nearest(grid, rows, shape)

    def between_extremes(self, w: Tensor) -> Uniform:
        """Each weight at the nearest value of the grid between the smallest weight, the largest and 0.

        Symmetric: between the largest magnitude and its negative.
        """
        shape = tuple(w.shape)
        rows = _rows(w, self._channels(shape))
        grid = widest_grid(rows, last=_last(self.bits, symmetric=self.symmetric), symmetric=self.symmetric)
        return self._nearest(grid, rows, shape)

    def _nearest(self, grid: Grid, rows: Tensor, shape: tuple[int, ...]) -> Uniform:
        zero = None if self.symmetric else grid.zero.to(torch.uint8)
        return Uniform(shape, grid.nearest(rows.double()).to(torch.uint8).reshape(-1), grid.scale, zero, self.bits)

    def outline(self, shape: tuple[int, ...]) -> Uniform:
        channels = self._channels(shape)
        codes = outline_tensor(numel(shape), dtype=torch.uint8)
        zero = None if self.symmetric else outline_tensor(channels, dtype=torch.uint8)
        return Uniform(shape, codes, outline_tensor(channels), zero, self.bits)

    def _channels(self, shape: tuple[int, ...]) -> int:
        if self.granularity == "tensor":
            return 1
        if len(shape) < 2:
            raise ValueError(
                f"granularity: expected tensor for weights of shape {shape}, without channels, got channel"
            )
        return shape[0]

    def _same_grid(self, previous: Uniform, rows: Tensor) -> bool:
        alike = previous.bits == self.bits and (previous.zero is None) == self.symmetric
        return alike and previous.scale.numel() == rows.shape[0] and previous.dtype == rows.dtype


def _last(bits: int, *, symmetric: bool) -> int:
    return (1 << bits) - 2 if symmetric else (1 << bits) - 1


def _middle(bits: int) -> int:
    return (1 << bits - 1) - 1


def _rows(w: Tensor, channels: int) -> Tensor:
    return w.detach().reshape(channels, w.numel() // channels)
