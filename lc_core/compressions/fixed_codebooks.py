"""Quantization to codebooks that are given, or given up to a scale. They are stored as learned codebooks are."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import Compressed, numel, outline_tensor
from lc_core.compressions.quantization import Quantized, encode
from lc_core.fields import check_numbers
from lc_core.numerics.sorted_values import ascending

EXPONENTS = range(-126, 128)
"""Exponents of the powers of two that float32 holds at full precision."""
LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class FixedCodebook:
    """min over z of sum_i (w_i - c_z(i))^2, the codebook c given.

    Exact: every weight takes the nearest value; of two equally near, the lower. O(n log size). Carreira-Perpinan and
    Idelbayev, "Model compression as constrained optimization, with application to neural nets. Part II: quantization",
    arXiv:1707.04319, the case of a fixed codebook.

    Attributes:
        values: c, at least one, distinct and within float32's range, in any order; rounded to the weights' dtype.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_numbers(self)
        given = self.values
        if not given or len(set(given)) < len(given) or not all(abs(value) <= LARGEST for value in given):
            raise ValueError(f"values: expected distinct finite numbers, at least one, got {given}")

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        return encode(w, codebook=_codebook(w, *sorted(self.values)))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=len(self.values))


@dataclass(frozen=True)
class Binary:
    """min over z of ||w - z||^2, every z_i -1 or +1: the sign, +1 for zero.

    Exact. O(n). Carreira-Perpinan and Idelbayev, arXiv:1707.04319, binarization.
    """

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        return _signs(w, scale=torch.ones((), dtype=w.dtype, device=w.device))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=2)


@dataclass(frozen=True)
class ScaledBinary:
    """min over a >= 0, z of ||w - a z||^2, every z_i -1 or +1: z the sign, +1 for zero, and a = mean |w|.

    Exact: for a >= 0 the sign is nearest whatever a is, and a is then its least-squares value. O(n). Carreira-Perpinan
    and Idelbayev, arXiv:1707.04319, binarization with scale.
    """

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        magnitudes = w.detach().abs()
        return _signs(w, scale=_mean(magnitudes.sum(dtype=torch.float64), magnitudes).to(w.dtype))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=2)


@dataclass(frozen=True)
class Ternary:
    """min over z of ||w - z||^2, every z_i -1, 0 or +1: the nearest.

    Exact. O(n). Carreira-Perpinan and Idelbayev, arXiv:1707.04319, ternarization.
    """

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        return encode(w, codebook=_codebook(w, -1.0, 0.0, 1.0))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=3)


@dataclass(frozen=True)
class ScaledTernary:
    """min over a >= 0, z of ||w - a z||^2, every z_i -1, 0 or +1.

    Exact: with k nonzero z_i the best are those of the k largest |w_i|, and a is their mean. The error is then ||w||^2
    - (sum of the k largest |w_i|)^2 / k, so that one pass over the sorted magnitudes finds the best k. O(n log n).
    Carreira-Perpinan and Idelbayev, arXiv:1707.04319, ternarization with scale.
    """

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        scale = _ternary_scale(w.detach().reshape(-1).abs()).to(w.dtype)
        zero = torch.zeros_like(scale)
        return encode(w, codebook=torch.stack([zero - scale, zero, scale]))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=3)


@dataclass(frozen=True)
class PowersOfTwo:
    """min over z of ||w - z||^2, every z_i 0 or +-2^e with e one of `exponents`: the nearest; of two equally near, the
    lower.

    Exact. O(n log size). Carreira-Perpinan and Idelbayev, arXiv:1707.04319, powers of two.

    Attributes:
        exponents: distinct whole numbers from -126 to 127, at least one: tuple(range(-6, 1)) for 1/64 to 1.
    """

    exponents: tuple[int, ...]

    def __post_init__(self) -> None:
        check_numbers(self)
        given = self.exponents
        if not given or len(set(given)) < len(given) or any(e not in EXPONENTS for e in given):
            raise ValueError(
                f"exponents: expected distinct whole numbers from {EXPONENTS[0]} to {EXPONENTS[-1]}, at least one, "
                f"got {given}"
            )

    def check(self, shape: tuple[int, ...]) -> None:
        return None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Quantized:
        powers = [2.0**e for e in sorted(self.exponents)]
        return encode(w, codebook=_codebook(w, *[-power for power in reversed(powers)], 0.0, *powers))

    def outline(self, shape: tuple[int, ...]) -> Quantized:
        return _outline(shape, size=2 * len(self.exponents) + 1)


def _codebook(w: Tensor, *values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).to(w)


def _outline(shape: tuple[int, ...], *, size: int) -> Quantized:
    return Quantized(shape, outline_tensor(numel(shape), dtype=torch.int32), outline_tensor(size))


def _signs(w: Tensor, *, scale: Tensor) -> Quantized:
    codes = (w.detach().reshape(-1) >= 0).int()
    return Quantized(tuple(w.shape), codes, torch.stack([0 - scale, scale]))


def _ternary_scale(magnitudes: Tensor) -> Tensor:
    """The mean, float64 (), of the k largest of `magnitudes` (n,), for the best k."""
    if not magnitudes.numel():
        return torch.zeros((), dtype=torch.float64, device=magnitudes.device)
    descending = ascending(magnitudes).flip(0)
    sums = descending.cumsum(0, dtype=torch.float64)
    counts = torch.arange(1, descending.numel() + 1, dtype=torch.float64, device=descending.device)
    best = int(torch.argmax(sums / counts.sqrt()))  # the square root of the objective: it cannot overflow
    return _mean(sums[best], descending[: best + 1])


def _mean(total: Tensor, values: Tensor) -> Tensor:
    """The mean, float64 (), of `values`, whose sum is `total`. Equal values have exactly that value for their mean."""
    if not values.numel():
        return total
    return (total / values.numel()).clamp(values.min().double(), values.max().double())
