"""Quantization: every weight of Delta(Theta) is an entry of a codebook."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
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
from lc_core.numerics.kmeans import centres_of_sorted, optimal_centres
from lc_core.numerics.lookup import borders_below
from lc_core.numerics.packing import byte_count, code_width, pack_codes, unpack_codes
from lc_core.numerics.sorted_values import ascending


@dataclass(frozen=True, eq=False)
class Quantized(OrDense):
    """Fixed-length codes into a codebook.

    Attributes:
        shape: of Delta(Theta).
        codes: (n,) int32, flat, in [0, size).
        codebook: (size,), ascending.
    """

    shape: tuple[int, ...]
    codes: Tensor
    codebook: Tensor

    @property
    def dtype(self) -> torch.dtype:
        return self.codebook.dtype

    def decompress(self) -> Tensor:
        return self.codebook.index_select(0, self.codes).reshape(self.shape)

    def encode(self, w: Tensor) -> "Quantized":
        """Theta of other weights with the same codebook: the nearest codes."""
        return encode(w, codebook=self.codebook)

    def macs(self, use: Use) -> int:
        return dense_macs(self.shape, use)

    def own_arrays(self) -> dict[str, Tensor]:
        return {"codes": pack_codes(self.codes, width=self._width()), "codebook": self.codebook}

    def own_form(self) -> Form:
        return {"form": "codebook", "shape": list(self.shape)}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor]) -> "Quantized":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, codebook = tuple(form["shape"]), stored(arrays, "codebook")
        if codebook.dim() != 1 or not codebook.numel():
            raise FormError(f"expected a codebook in one dimension, got shape {tuple(codebook.shape)}")
        codes = unpack_codes(stored(arrays, "codes"), width=code_width(codebook.numel()), count=numel(shape)).int()
        if codes.numel() and int(codes.max()) >= codebook.numel():
            raise FormError(f"expected codes below {codebook.numel()}, got {int(codes.max())}: the codes are damaged")
        return Quantized(shape, codes, codebook)

    def _width(self) -> int:
        return code_width(self.codebook.numel())

    def own_bits(self) -> int:
        codebook = self.codebook.numel() * self.dtype.itemsize * 8
        return codebook + 8 * byte_count(numel(self.shape) * self._width())


@dataclass(frozen=True)
class Codebook:
    """min over c, z of sum_i (w_i - c_z(i))^2: one-dimensional k-means, the codebook c learned.

    Exact up to 256 distinct weights, by dynamic programming. For more, two codes split the sorted weights at the best
    block edge. For more codes, dynamic programming over bins of the weights gives a start; above 64 codes the start has
    one cell for each code, of width density^(-1/3). From this start, and from `previous` if there is one, dynamic
    programming over nearby positions moves all borders between codes at once. Lloyd's algorithm ends the search. A warm
    start never ends worse than it began, with one exception: 65,536 float32 weights or more on a CPU are counted in
    bins, not sorted (up to 64 codes), and the few weights in the bins at its borders may be off. A local optimum: at
    most 0.1 % above the optimum over the C steps of a LeNet300 with 16, 64 and 256 codes, and over other distributions.
    O(n log n + 256^2 size). Carreira-Perpinan and Idelbayev, "Model compression as constrained optimization, with
    application to neural nets. Part II: quantization", arXiv:1707.04319, section 3.1.

    Attributes:
        size: number of codebook entries, at least 1. A tensor with fewer distinct weights repeats entries.
    """

    size: int

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.size < 1:
            raise ValueError(f"size: expected a codebook of at least 1 value, got {self.size}")

    def check(self, shape: tuple[int, ...]) -> None:
        if self.size > numel(shape):
            raise ValueError(
                f"size: expected at most {numel(shape)}, the number of weights, got {self.size}; give it a smaller "
                "codebook, or leave it out of the plan"
            )

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        start = self.start(previous)
        if w.device.type == "cpu" and w.dtype == torch.float32:
            centres = optimal_centres(w.detach().reshape(-1).numpy(), size=self.size, start=start)
        else:
            centres = centres_of_sorted(sorted_array(w), size=self.size, start=start)
        return encode(w, codebook=torch.from_numpy(centres).to(w))

    def start(self, previous: Compressed | None) -> npt.NDArray[np.float64] | None:
        """The codebook (size,) of `previous`, if it has one of this size."""
        if isinstance(previous, Quantized) and previous.codebook.numel() == self.size:
            return previous.codebook.double().cpu().numpy()
        return None

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        codes = outline_tensor(numel(shape), dtype=torch.int32)
        return Quantized(shape, codes, outline_tensor(self.size))


def sorted_array(w: Tensor) -> npt.NDArray[np.floating]:
    """Weights `w` in ascending order (n,): float64 stays, other dtypes become float32. Sorted on their device."""
    values = w.detach().reshape(-1)
    wide = values if values.dtype == torch.float64 else values.float()
    ordered: npt.NDArray[np.floating] = ascending(wide).cpu().numpy()
    return ordered


def encode(w: Tensor, *, codebook: Tensor) -> Quantized:
    """Theta of weights `w` with an ascending `codebook`: the nearest codes."""
    return Quantized(tuple(w.shape), nearest(w.detach().reshape(-1), codebook=codebook), codebook)


def nearest(w: Tensor, *, codebook: Tensor) -> Tensor:
    """Indices (n,) int32 of the entries of `codebook`, ascending, nearest to `w` (n,); of equal ones, the lower."""
    if w.device.type == "cpu" and w.dtype == torch.float32:
        centres = codebook.detach().cpu().numpy().astype(np.float64)
        return torch.from_numpy(borders_below(w.detach().contiguous().numpy(), (centres[1:] + centres[:-1]) / 2))
    wide = codebook.double()
    return torch.bucketize(w.double(), (wide[1:] + wide[:-1]) / 2, out_int32=True)
