"""Packed integers: they come back unchanged, have the stated size, and are refused where they are damaged."""

import math
import tracemalloc
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lc_core.numerics.packing import (
    LARGEST_GROUP,
    byte_count,
    code_width,
    elias_fano_bits,
    pack_bitmap,
    pack_codes,
    pack_combinations,
    pack_elias_fano,
    unpack_bitmap,
    unpack_codes,
    unpack_combinations,
    unpack_elias_fano,
)
from tests.contract.weights import PROPERTY


def random_support(universe: int, count: int, *, seed: int = 0) -> Tensor:
    chosen = np.random.default_rng(seed).choice(universe, count, replace=False)
    return torch.from_numpy(np.sort(chosen).astype(np.int64))


@st.composite
def supports(draw: st.DrawFn) -> tuple[Tensor, int]:
    """(ascending indices, universe), from empty to full."""
    universe = draw(st.integers(1, 300))
    chosen = draw(st.sets(st.integers(0, universe - 1), max_size=universe))
    return torch.tensor(sorted(chosen), dtype=torch.int64), universe


@pytest.mark.parametrize("size, width", [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_a_code_is_as_wide_as_it_must_be(size, width):
    assert code_width(size) == width


@pytest.mark.parametrize("bits, count", [(0, 0), (1, 1), (8, 1), (9, 2)])
def test_bits_fill_whole_bytes(bits, count):
    assert byte_count(bits) == count


@pytest.mark.parametrize("width", range(17))
@given(data=st.data())
@PROPERTY
def test_codes_of_every_width_come_back_from_the_fewest_bytes(width, data):
    values = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    codes = torch.tensor(values, dtype=torch.int64)
    packed = pack_codes(codes, width=width)
    assert packed.dtype == torch.uint8
    assert packed.numel() == math.ceil(len(values) * width / 8)
    assert unpack_codes(packed, width=width, count=len(values)).tolist() == values


def test_codes_are_laid_out_lowest_bit_first():
    assert pack_codes(torch.tensor([1, 2, 3, 0, 1]), width=2).tolist() == [0b00_11_10_01, 0b01]
    assert pack_codes(torch.tensor([5, 1]), width=3).tolist() == [0b001_101]


@pytest.mark.parametrize("width", [*range(18), 24, 31, 32, 33, 48, 62])
def test_codes_are_their_bits_one_after_another(width):
    """The format, written out bit by bit; unpacked also as its last byte's unused bits are set."""
    for count in (0, 1, 2, 7, 8, 9, 23, 64, 1001):
        codes = np.random.default_rng(count).integers(0, 2**width, count, dtype=np.int64)
        bits = (codes[:, None] >> np.arange(width)) & 1
        expected = np.packbits(bits.astype(np.uint8).reshape(-1), bitorder="little")
        packed = pack_codes(torch.from_numpy(codes), width=width)
        assert packed.tolist() == expected.tolist(), count
        unused = 8 * packed.numel() - count * width
        if unused:
            packed[-1] |= (0xFF << (8 - unused)) & 0xFF
        assert unpack_codes(packed, width=width, count=count).tolist() == codes.tolist(), count


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64])
def test_codes_of_any_integer_type_are_packed(dtype):
    assert pack_codes(torch.tensor([1, 2, 3, 0, 1], dtype=dtype), width=2).tolist() == [0b00_11_10_01, 0b01]


def test_packing_takes_little_more_memory_than_its_result():
    """A million codes of 8 bits are 1 MB; as bits in int64 they were 64 MB."""
    codes = torch.arange(1_000_000) % 256
    for width in (8, 5):
        tracemalloc.start()
        packed = pack_codes(codes % 2**width, width=width)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 6 * codes.numel()
        assert torch.equal(unpack_codes(packed, width=width, count=codes.numel()), codes % 2**width)


@given(supports())
@PROPERTY
def test_a_support_comes_back_from_a_bitmap(case):
    support, universe = case
    bitmap = pack_bitmap(support, universe=universe)
    assert bitmap.numel() == math.ceil(universe / 8)
    assert torch.equal(unpack_bitmap(bitmap, count=support.numel(), universe=universe), support)


@given(supports())
@PROPERTY
def test_a_support_comes_back_from_its_elias_fano_code(case):
    support, universe = case
    code = pack_elias_fano(support, universe=universe)
    assert 8 * sum(array.numel() for array in code.values()) == elias_fano_bits(support.numel(), universe)
    assert torch.equal(unpack_elias_fano(**code, count=support.numel(), universe=universe), support)


@pytest.mark.parametrize("universe", [1, 2, 1000, 266_200])
@pytest.mark.parametrize("fraction", [0.0, 1e-4, 0.01, 0.25, 1.0])
@pytest.mark.parametrize("where", ["first", "last", "anywhere"])
def test_the_size_of_an_elias_fano_code_does_not_depend_on_where_the_indices_are(universe, fraction, where):
    count = round(fraction * universe)
    support = {
        "first": torch.arange(count),
        "last": torch.arange(universe - count, universe),
        "anywhere": random_support(universe, count),
    }[where]
    code = pack_elias_fano(support, universe=universe)
    assert 8 * sum(array.numel() for array in code.values()) == elias_fano_bits(count, universe)
    assert torch.equal(unpack_elias_fano(**code, count=count, universe=universe), support)


def test_an_elias_fano_code_has_no_bit_to_spare():
    """Of 7 indices below 256, with 5 low bits each, the last one's high part ends at bit 7 + 255 // 32 = 14 of 16.

    Of 9, with 4 low bits each, it ends at bit 9 + 15 = 24 of 24.
    """
    assert elias_fano_bits(7, 256) == 8 * (5 + 2)
    assert elias_fano_bits(9, 256) == 8 * (5 + 3)
    assert pack_elias_fano(torch.arange(247, 256), universe=256)["high"][-1] >= 128


@pytest.mark.parametrize("universe", [100, 1000, 17_024, 266_200, 10**7])
@pytest.mark.parametrize("fraction", [1e-5, 1e-4, 1e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25])
def test_an_elias_fano_code_stays_near_the_information_bound(universe, fraction):
    """Wherever it beats a bitmap: above log2 (universe choose k), by 0.76 bits an index at most, 0.56 when sparse.

    Two bytes more for the rounding of its two arrays, and half a log for Stirling's approximation of few indices.
    """
    count = max(round(fraction * universe), 1)
    bound = (math.lgamma(universe + 1) - math.lgamma(count + 1) - math.lgamma(universe - count + 1)) / math.log(2)
    stated = 0.56 if fraction <= 0.01 else 0.76
    rounding = 14 + 0.5 * math.log2(2 * math.pi * count) + 1
    assert bound <= elias_fano_bits(count, universe) <= bound + stated * count + rounding


def test_sizes_are_known_without_numbers():
    support = torch.empty(37, dtype=torch.int64, device="meta")
    assert pack_codes(support, width=5).shape == (24,)
    assert pack_bitmap(support, universe=100).shape == (13,)
    code = pack_elias_fano(support, universe=1000)
    real = pack_elias_fano(random_support(1000, 37), universe=1000)
    assert {name: (a.shape, a.dtype) for name, a in code.items()} == {n: (a.shape, a.dtype) for n, a in real.items()}
    assert all(array.device.type == "meta" for array in code.values())


@pytest.mark.parametrize("size, count", [(1, 1), (2, 1), (4, 2), (5, 0), (5, 5), (6, 3), (9, 2), (7, 6)])
def test_every_combination_has_its_own_code(size, count):
    everything = [[i in kept for i in range(size)] for kept in combinations(range(size), count)]
    chosen = torch.tensor(everything).reshape(-1, size)
    packed = pack_combinations(chosen, count=count)
    width = math.ceil(math.log2(math.comb(size, count)))
    assert packed.numel() == math.ceil(len(chosen) * width / 8)
    codes = unpack_codes(packed, width=width, count=len(chosen))
    assert sorted(codes.tolist()) == list(range(len(chosen)))
    assert torch.equal(unpack_combinations(packed, groups=len(chosen), size=size, count=count), chosen)


def test_two_of_four_are_numbered_in_the_order_of_their_last_positions():
    chosen = torch.tensor([[i in kept for i in range(4)] for kept in [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]])
    assert unpack_codes(pack_combinations(chosen, count=2), width=3, count=6).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("size, count", [(32, 16), (64, 32), (64, 1), (64, 63), (33, 8)])
def test_combinations_of_large_groups_come_back(size, count):
    order = np.random.default_rng(0).random((50, size)).argsort(axis=1)
    chosen = torch.from_numpy(order < count)
    chosen[0], chosen[1] = torch.arange(size) < count, torch.arange(size) >= size - count
    packed = pack_combinations(chosen, count=count)
    assert packed.numel() == math.ceil(50 * (math.comb(size, count) - 1).bit_length() / 8)
    assert torch.equal(unpack_combinations(packed, groups=50, size=size, count=count), chosen)


def test_the_size_of_combinations_is_known_without_numbers():
    chosen = torch.empty(11, 4, dtype=torch.bool, device="meta")
    packed = pack_combinations(chosen, count=2)
    assert packed.device.type == "meta"
    assert (packed.shape, packed.dtype) == ((5,), torch.uint8)


def test_codes_past_the_last_combination_and_groups_too_large_are_refused():
    """Two of four are six: 0 to 5 in three bits."""
    with pytest.raises(ValueError, match="expected codes below 6, got 6: the index is damaged"):
        unpack_combinations(pack_codes(torch.tensor([5, 6]), width=3), groups=2, size=4, count=2)
    with pytest.raises(ValueError, match="expected 1 bytes of 3-bit codes, got 2"):
        unpack_combinations(torch.zeros(2, dtype=torch.uint8), groups=2, size=4, count=2)
    with pytest.raises(ValueError, match=f"expected groups of at most {LARGEST_GROUP}, got 65"):
        unpack_combinations(torch.zeros(1, dtype=torch.uint8), groups=1, size=65, count=1)


@pytest.mark.parametrize("change", [-1, 1])
def test_codes_of_another_length_are_refused(change):
    packed = pack_codes(torch.arange(10), width=4)
    with pytest.raises(ValueError, match=rf"expected 5 bytes of 4-bit codes, got {5 + change}"):
        unpack_codes(resized(packed, change), width=4, count=10)
    with pytest.raises(ValueError, match=r"of torch\.int8"):
        unpack_codes(packed.to(torch.int8), width=4, count=10)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_bitmap_of_another_length_is_refused(change):
    bitmap = pack_bitmap(torch.tensor([1, 5, 19]), universe=20)
    with pytest.raises(ValueError, match=f"expected 3 bytes of bits, got {3 + change}"):
        unpack_bitmap(resized(bitmap, change), count=3, universe=20)


def test_every_flipped_bit_of_a_bitmap_is_refused():
    bitmap = pack_bitmap(torch.tensor([1, 5, 19]), universe=20)
    for damaged in flipped(bitmap):
        with pytest.raises(ValueError, match="the index is damaged"):
            unpack_bitmap(damaged, count=3, universe=20)


def test_a_bit_past_the_end_of_a_bitmap_is_refused():
    bitmap = pack_bitmap(torch.tensor([1, 5]), universe=20)
    bitmap[2] |= 1 << 7
    with pytest.raises(ValueError, match="expected 3 indices below 20"):
        unpack_bitmap(bitmap, count=3, universe=20)


def test_every_flipped_bit_of_the_high_parts_is_refused():
    code = pack_elias_fano(random_support(500, 20), universe=500)
    for damaged in flipped(code["high"]):
        with pytest.raises(ValueError, match="the index is damaged"):
            unpack_elias_fano(code["low"], damaged, count=20, universe=500)


def test_an_index_past_the_universe_is_refused():
    """Six low bits and a high part of seven: 511 where 499 is the last."""
    code = pack_elias_fano(torch.tensor([499]), universe=500)
    assert code["low"].tolist() == [499 % 64]
    assert code["high"].tolist() == [1 << 7]
    with pytest.raises(ValueError, match="expected ascending indices below 500"):
        unpack_elias_fano(torch.tensor([63], dtype=torch.uint8), code["high"], count=1, universe=500)


def test_indices_that_do_not_ascend_are_refused():
    code = pack_elias_fano(torch.tensor([10, 11, 12, 400]), universe=500)
    with pytest.raises(ValueError, match="expected ascending indices below 500"):
        unpack_elias_fano(torch.zeros_like(code["low"]), code["high"], count=4, universe=500)


@pytest.mark.parametrize("part", ["low", "high"])
@pytest.mark.parametrize("change", [-1, 1])
def test_elias_fano_arrays_of_another_length_are_refused(part, change):
    code = pack_elias_fano(random_support(500, 20), universe=500)
    with pytest.raises(ValueError, match=r"expected .* bytes of"):
        unpack_elias_fano(**code | {part: resized(code[part], change)}, count=20, universe=500)


@given(st.binary(max_size=12), st.binary(max_size=12), st.integers(0, 20), st.integers(0, 60))
@PROPERTY
def test_random_bytes_are_an_ascending_support_or_refused(low, high, count, universe):
    arrays = [torch.tensor(list(part), dtype=torch.uint8) for part in (low, high)]
    support, refused = [], ""
    try:
        support = unpack_elias_fano(*arrays, count=count, universe=universe).tolist()
    except ValueError as error:
        refused = str(error)
    if refused:
        assert "expected" in refused
    else:
        assert len(support) == count
        assert support == sorted(set(support))
        assert all(0 <= index < universe for index in support)


def resized(array: Tensor, change: int) -> Tensor:
    return torch.cat([array, array.new_zeros(1)]) if change > 0 else array[:change]


def flipped(array: Tensor) -> list[Tensor]:
    """`array` with each of its bits flipped in turn."""
    damaged = []
    for place in range(array.numel()):
        for bit in range(8):
            copy = array.clone()
            copy[place] ^= 1 << bit
            damaged.append(copy)
    return damaged
