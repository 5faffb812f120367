"""Quantization: all assignments are tried, all scales at which an assignment changes, and all values of a type."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from torch import Tensor

from lc_core import (
    Binary,
    Cast,
    Codebook,
    FixedCodebook,
    PowersOfTwo,
    ScaledBinary,
    ScaledTernary,
    Ternary,
    UniformQuantization,
)
from tests.contract.brute_force import Floats, flat, least_assignment
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def quantized(w: Tensor, compression: Codebook, mu: float) -> float:
    return least_assignment(flat(w), compression.size)


def assigned(w: Tensor, compression: object, mu: float) -> float:
    """The least error over all assignments of weights to the values, in float32."""
    values = np.array(values_of(compression), dtype=np.float32).astype(np.float64)
    assignments = np.array(list(product(values, repeat=w.numel())))
    return float(((flat(w) - assignments) ** 2).sum(axis=1).min())


def values_of(compression: object) -> list[float]:
    match compression:
        case FixedCodebook(values=values):
            return list(values)
        case Binary():
            return [-1.0, 1.0]
        case Ternary():
            return [-1.0, 0.0, 1.0]
        case PowersOfTwo(exponents=exponents):
            return [0.0] + [sign * 2.0**exponent for sign in (-1, 1) for exponent in exponents]
    raise AssertionError(compression)


def scaled(w: Tensor, compression: object, mu: float) -> float:
    """The least error over all assignments of -1, 0 (if ternary) or 1, with the scale of least squares."""
    signs = (-1, 0, 1) if isinstance(compression, ScaledTernary) else (-1, 1)
    return float(after_projection(flat(w), np.array(list(product(signs, repeat=w.numel())), dtype=float)).min())


def after_projection(values: Floats, patterns: Floats, *, rounding: float = 0.0) -> Floats:
    """Squared distances of `values` to each of `patterns` (count, n) at its best scale of 0 or above.

    Rounding may bring the products of scale and pattern nearer by the fraction `rounding`.
    """
    squares = (patterns**2).sum(axis=1)
    scales = np.maximum(patterns @ values, 0) / np.where(squares > 0, squares, 1)
    products = scales[:, None] * patterns
    return (np.maximum(np.abs(values - products) - rounding * np.abs(products), 0) ** 2).sum(axis=1)


def uniform(w: Tensor, compression: UniformQuantization, mu: float) -> float:
    """The least error over all zero points and scales. The codes only change at certain scales, which are all tried."""
    rows = w.double().numpy().reshape(1 if compression.granularity == "tensor" else w.shape[0], -1)
    ranges = list(step_ranges(compression))
    return sum(min(least_in_steps(row, lowest, highest) for lowest, highest in ranges) for row in rows)


def least_in_steps(row: Floats, lowest: int, highest: int) -> float:
    return float(after_projection(row, steps_at_all_scales(row, lowest, highest), rounding=2**-23).min())


def step_ranges(compression: UniformQuantization) -> Iterator[tuple[int, int]]:
    """The least and the largest number of steps from zero, for each zero point."""
    if compression.symmetric:
        most = 2 ** (compression.bits - 1) - 1
        yield -most, most
    else:
        last = 2**compression.bits - 1
        for zero in range(last + 1):
            yield -zero, last - zero


def steps_at_all_scales(row: Floats, lowest: int, highest: int) -> Floats:
    """All roundings of `row` to whole steps of some scale above 0, clipped to [lowest, highest]: (count, n)."""
    halves = np.arange(lowest, highest) + 0.5
    changes = (row[:, None] / halves).reshape(-1)
    changes = np.sort(changes[changes > 0])
    if not changes.size:
        return np.zeros((1, row.size))
    between = np.concatenate([changes[:1] / 2, (changes[1:] + changes[:-1]) / 2, changes[-1:] * 2, changes])
    return np.clip(np.rint(row / between[between > 0][:, None]), lowest, highest)


def rounded(w: Tensor, compression: Cast, mu: float) -> float:
    """Every finite value of the type is tried for every weight."""
    kept = getattr(torch, compression.dtype)
    integers = torch.arange(2 ** (8 * kept.itemsize), dtype=torch.int32)
    patterns = integers.to(torch.uint8).view(kept) if kept.itemsize == 1 else integers.to(torch.int16).view(kept)
    values = patterns.double().numpy()
    values = values[np.isfinite(values)]
    return float(sum((value - values[np.abs(value - values).argmin()]) ** 2 for value in flat(w)))


FIXED = (
    FixedCodebook(values=(0.25,)),
    FixedCodebook(values=(3.0, -50.0, 0.1, -1.5)),
    Binary(),
    Ternary(),
    PowersOfTwo(exponents=(0,)),
    PowersOfTwo(exponents=(-2, 3, 1)),
)
TENSOR = (
    *[UniformQuantization(bits=bits) for bits in (1, 2, 4, 8)],
    *[UniformQuantization(bits=bits, symmetric=True) for bits in (2, 3, 8)],
)
CHANNEL = (
    *[UniformQuantization(bits=bits, granularity="channel") for bits in (1, 3)],
    *[UniformQuantization(bits=bits, symmetric=True, granularity="channel") for bits in (2, 8)],
)


FAMILIES = {
    "Codebook": Family(
        tuple(Codebook(size=size) for size in (1, 2, 3, 5, 40)),
        quantized,
        relatives=("FixedCodebook", "ScaledBinary and ScaledTernary"),
    ),
    "FixedCodebook": Family(FIXED, assigned, scales=False, rounding=1e-6),
    "ScaledBinary and ScaledTernary": Family((ScaledBinary(), ScaledTernary()), scaled),
    "UniformQuantization by tensor": Family(
        TENSOR, uniform, exact=False, relatives=("UniformQuantization by channel",), rounding=1e-5
    ),
    "UniformQuantization by channel": Family(
        CHANNEL,
        uniform,
        exact=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
        relatives=("UniformQuantization by tensor",),
        rounding=1e-5,
    ),
    "Cast": Family(
        tuple(Cast(dtype=dtype) for dtype in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")),
        rounded,
        scales=False,
    ),
}
