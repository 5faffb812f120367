"""Integers in as few bits as their range needs: fixed-width codes, bitmaps and Elias-Fano coded index sets.

Every function also takes tensors on the meta device and then returns the size of the result without its numbers, so
that a size known before training and the bytes written after it come from the same code.
"""

import numpy as np
import torch
from torch import Tensor


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
    integers = codes.detach().cpu().numpy().astype(np.int64)
    bits = (integers[:, None] >> np.arange(width)) & 1
    return torch.from_numpy(np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little"))


def unpack_codes(packed: Tensor, *, width: int, count: int) -> Tensor:
    """The inverse of `pack_codes`: int64 (count,). ValueError where `packed` has another length than they need."""
    expected = byte_count(count * width)
    if packed.dtype != torch.uint8 or packed.numel() != expected:
        raise ValueError(f"expected {expected} bytes of {width}-bit codes, got {packed.numel()} of {packed.dtype}")
    bits = np.unpackbits(packed.numpy(), count=count * width, bitorder="little").reshape(count, width)
    return torch.from_numpy(bits.astype(np.int64) @ (np.int64(1) << np.arange(width, dtype=np.int64)))


def elias_fano_bits(count: int, universe: int) -> int:
    """Bits of the Elias-Fano code of `count` indices below `universe`, its two arrays rounded up to whole bytes."""
    return _elias_fano_bits(count, universe, _elias_fano_width(count, universe))


def pack_elias_fano(support: Tensor, *, universe: int) -> dict[str, Tensor]:
    """Ascending indices (k,) below `universe`: their `width` low bits as they are, their high parts in unary.

    The size depends on k and `universe` alone and stays within 0.56 bits an index of log2(universe choose k) for small
    k / universe, within 0.76 at a quarter, past which a bitmap is smaller (Elias 1974; Fano 1971; Vigna,
    "Quasi-succinct indices", WSDM 2013, section 3).
    """
    count = support.numel()
    width = _elias_fano_width(count, universe)
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
    """The inverse of `pack_elias_fano`: int64 (count,), ascending. ValueError where the arrays are not such a code."""
    width = _elias_fano_width(count, universe)
    ones = _set_bits(high, length=byte_count(_high_bits(count, universe, width)) * 8, count=count)
    support = ((ones - torch.arange(count)) << width) | unpack_codes(low, width=width, count=count)
    if count and (int(support[-1]) >= universe or bool((support[1:] <= support[:-1]).any())):
        raise ValueError(f"expected ascending indices below {universe}, got others: the index is damaged")
    return support


def pack_bitmap(support: Tensor, *, universe: int) -> Tensor:
    """Ascending indices (k,) below `universe` as one bit a position: uint8 (ceil(universe / 8),)."""
    if support.device.type == "meta":
        return torch.empty(byte_count(universe), dtype=torch.uint8, device="meta")
    bits = np.zeros(universe, dtype=np.uint8)
    bits[support.detach().cpu().numpy()] = 1
    return torch.from_numpy(np.packbits(bits, bitorder="little"))


def unpack_bitmap(bitmap: Tensor, *, count: int, universe: int) -> Tensor:
    """The inverse of `pack_bitmap`: int64 (count,), ascending. ValueError where it holds another count."""
    return _set_bits(bitmap, length=universe, count=count)


def _elias_fano_width(count: int, universe: int) -> int:
    """The number of low bits that makes the code smallest."""
    return min(range(universe.bit_length() + 1), key=lambda width: _elias_fano_bits(count, universe, width))


def _elias_fano_bits(count: int, universe: int, width: int) -> int:
    return 8 * (byte_count(count * width) + byte_count(_high_bits(count, universe, width)))


def _high_bits(count: int, universe: int, width: int) -> int:
    return count + (max(universe - 1, 0) >> width)


def _set_bits(packed: Tensor, *, length: int, count: int) -> Tensor:
    if packed.dtype != torch.uint8 or packed.numel() != byte_count(length):
        raise ValueError(f"expected {byte_count(length)} bytes of bits, got {packed.numel()} of {packed.dtype}")
    bits = np.unpackbits(packed.numpy(), bitorder="little")
    ones = np.flatnonzero(bits)
    if ones.size != count or (count and ones[-1] >= length):
        raise ValueError(f"expected {count} indices below {length}, got {ones.size}: the index is damaged")
    return torch.from_numpy(ones)
