"""Integers in as few bits as their range needs: fixed-width codes, bitmaps, Elias-Fano coded sets, combinations.

Every function also takes tensors on the meta device and then returns a result without values. So the size that is known
before training and the bytes written after it come from the same code.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

LARGEST_GROUP = 64
"""The largest group that `pack_combinations` takes: (64 choose 32) fits an int64."""


class DamagedError(ValueError):
    """Packed bits are not what any pack function writes."""


def code_width(size: int) -> int:
    """Bits of a fixed-length code that tells `size` values apart: ceil(log2 size)."""
    return max(size - 1, 0).bit_length()


def byte_count(bits: int) -> int:
    """Whole bytes that hold `bits` bits."""
    return -(-bits // 8)


def pack_codes(codes: Tensor, *, width: int) -> Tensor:
    """`codes` (n,), integers in [0, 2^width), as uint8 (ceil(n * width / 8),), lowest bit first."""
    size = byte_count(codes.numel() * width)
    if codes.device.type == "meta":
        return torch.empty(size, dtype=torch.uint8, device="meta")
    period = _period(width)
    columns = np.zeros((-(-codes.numel() // period), period), dtype=_unsigned(width))
    columns.reshape(-1)[: codes.numel()] = codes.detach().cpu().numpy()
    packed = np.zeros((len(columns), period * width // 8), dtype=np.uint8)
    for place, byte, shift in _overlaps(width):
        column = columns[:, place]
        packed[:, byte] |= (column << shift if shift > 0 else column >> -shift).astype(np.uint8)
    return torch.from_numpy(packed.reshape(-1)[:size])


def unpack_codes(packed: Tensor, *, width: int, count: int) -> Tensor:
    """The inverse of `pack_codes`: int64 (count,). DamagedError where `packed` has another length than they need."""
    expected = byte_count(count * width)
    if packed.dtype != torch.uint8 or packed.numel() != expected:
        raise DamagedError(f"expected {expected} bytes of {width}-bit codes, got {packed.numel()} of {packed.dtype}")
    period = _period(width)
    padded = np.zeros((-(-count // period), period * width // 8), dtype=np.uint8)
    padded.reshape(-1)[:expected] = packed.numpy()
    columns = np.zeros((len(padded), period), dtype=_unsigned(width))
    for place, byte, shift in _overlaps(width):
        bits = padded[:, byte].astype(columns.dtype)
        columns[:, place] |= bits >> shift if shift > 0 else bits << -shift
    columns &= columns.dtype.type((1 << width) - 1)
    return torch.from_numpy(columns.reshape(-1)[:count].astype(np.int64))


def elias_fano_bits(count: int, universe: int) -> int:
    """Bits of the Elias-Fano code of `count` indices below `universe`, its two arrays rounded up to whole bytes."""
    return _elias_fano_bits(count, universe, elias_fano_width(count, universe))


def pack_elias_fano(support: Tensor, *, universe: int) -> dict[str, Tensor]:
    """Ascending indices (k,) below `universe`: their `width` low bits directly, their high parts in unary.

    The size depends on k and `universe` alone and stays within 0.56 bits an index of log2(universe choose k) for small
    k / universe, within 0.76 at a quarter, past which a bitmap is smaller (Elias 1974; Fano 1971; Vigna,
    "Quasi-succinct indices", WSDM 2013, section 3).
    """
    count = support.numel()
    width = elias_fano_width(count, universe)
    size = byte_count(_high_bits(count, universe, width))
    if support.device.type == "meta":
        high = torch.empty(size, dtype=torch.uint8, device="meta")
        return {"low": pack_codes(support, width=width), "high": high}
    indices = support.detach().cpu().numpy()
    unary = np.zeros(size * 8, dtype=np.uint8)
    unary[(indices >> width) + np.arange(count)] = 1
    low = pack_codes(torch.from_numpy(indices & ((1 << width) - 1)), width=width)
    return {"low": low, "high": torch.from_numpy(np.packbits(unary, bitorder="little"))}


def unpack_elias_fano(low: Tensor, high: Tensor, *, count: int, universe: int) -> Tensor:
    """The inverse of `pack_elias_fano`: int64 (count,), ascending. DamagedError where they are no such code."""
    width = elias_fano_width(count, universe)
    ones = _set_bits(high, length=byte_count(_high_bits(count, universe, width)) * 8, count=count)
    support = ((ones - torch.arange(count)) << width) | unpack_codes(low, width=width, count=count)
    if count and (int(support[-1]) >= universe or bool((support[1:] <= support[:-1]).any())):
        raise DamagedError(f"expected ascending indices below {universe}, got others: the index is damaged")
    return support


def pack_bitmap(support: Tensor, *, universe: int) -> Tensor:
    """Ascending indices (k,) below `universe` as one bit a position: uint8 (ceil(universe / 8),)."""
    if support.device.type == "meta":
        return torch.empty(byte_count(universe), dtype=torch.uint8, device="meta")
    bits = np.zeros(universe, dtype=np.uint8)
    bits[support.detach().cpu().numpy()] = 1
    return torch.from_numpy(np.packbits(bits, bitorder="little"))


def unpack_bitmap(bitmap: Tensor, *, count: int, universe: int) -> Tensor:
    """The inverse of `pack_bitmap`: int64 (count,), ascending. DamagedError where it holds another count."""
    return _set_bits(bitmap, length=universe, count=count)


def pack_combinations(chosen: Tensor, *, count: int) -> Tensor:
    """Bools (groups, size), `count` true in each group, as one code of ceil(log2 (size choose count)) bits a group.

    A code is the rank of its group's combination: positions p_1 < ... < p_count have the rank sum_j (p_j choose j)
    (combinatorial number system; Knuth, The Art of Computer Programming 4A, section 7.2.1.3).
    """
    groups, size = chosen.shape
    assert size <= LARGEST_GROUP
    width = code_width(math.comb(size, count))
    if chosen.device.type == "meta":
        return torch.empty(byte_count(groups * width), dtype=torch.uint8, device="meta")
    positions = (np.flatnonzero(chosen.detach().cpu().numpy()) % size).reshape(groups, count)
    ranks = np.zeros(groups, dtype=np.int64)
    for j in range(1, count + 1):
        ranks += _binomials(size, j)[positions[:, j - 1]]
    return pack_codes(torch.from_numpy(ranks), width=width)


def unpack_combinations(packed: Tensor, *, groups: int, size: int, count: int) -> Tensor:
    """The inverse of `pack_combinations`: bool (groups, size). DamagedError where `packed` holds no such codes."""
    if size > LARGEST_GROUP:
        raise DamagedError(f"expected groups of at most {LARGEST_GROUP}, got {size}")
    combinations = math.comb(size, count)
    ranks = unpack_codes(packed, width=code_width(combinations), count=groups).numpy()
    if ranks.size and ranks.max() >= combinations:
        raise DamagedError(f"expected codes below {combinations}, got {ranks.max()}: the index is damaged")
    chosen = np.zeros((groups, size), dtype=np.bool_)
    everywhere = np.arange(groups)
    for j in range(count, 0, -1):
        binomials = _binomials(size, j)
        positions = np.searchsorted(binomials, ranks, side="right") - 1
        chosen[everywhere, positions] = True
        ranks -= binomials[positions]
    return torch.from_numpy(chosen)


def _binomials(size: int, j: int) -> npt.NDArray[np.int64]:
    """(0 choose j), (1 choose j), ..., (size - 1 choose j); all below (64 choose 32), which an int64 holds."""
    return np.array([math.comb(i, j) for i in range(size)], dtype=np.int64)


def _period(width: int) -> int:
    """The number of codes after which a code starts at a byte's start again."""
    return 8 // math.gcd(8, width)


def _unsigned(width: int) -> np.dtype[Any]:
    """The smallest unsigned integers that hold `width` bits."""
    return np.dtype(f"u{next(size for size in (1, 2, 4, 8) if 8 * size >= width)}")


def _overlaps(width: int) -> Iterator[tuple[int, int, int]]:
    """(code, byte, bits from the byte's start to the code's start) for all codes and bytes of a period that overlap."""
    for place in range(_period(width)):
        for byte in range(place * width // 8, byte_count((place + 1) * width)):
            yield place, byte, place * width - 8 * byte


def elias_fano_width(count: int, universe: int) -> int:
    """The number of low bits that makes the code smallest."""
    return min(range(universe.bit_length() + 1), key=lambda width: _elias_fano_bits(count, universe, width))


def _elias_fano_bits(count: int, universe: int, width: int) -> int:
    return 8 * (byte_count(count * width) + byte_count(_high_bits(count, universe, width)))


def _high_bits(count: int, universe: int, width: int) -> int:
    return count + (max(universe - 1, 0) >> width)


def _set_bits(packed: Tensor, *, length: int, count: int) -> Tensor:
    if packed.dtype != torch.uint8 or packed.numel() != byte_count(length):
        raise DamagedError(f"expected {byte_count(length)} bytes of bits, got {packed.numel()} of {packed.dtype}")
    bits = np.unpackbits(packed.numpy(), bitorder="little")
    ones = np.flatnonzero(bits)
    if ones.size != count or (count and ones[-1] >= length):
        raise DamagedError(f"expected {count} indices below {length}, got {ones.size}: the index is damaged")
    return torch.from_numpy(ones)
