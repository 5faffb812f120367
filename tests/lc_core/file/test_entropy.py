"""The figures of entropy coding: against formulas, brute force and known codes."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lc_core import CP, Chain, Codebook, GroupPruning, L0Pruning, LowRank, NMPruning, Sum, UniformQuantization
from lc_core.compression import Dense
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.file.entropy import coded_sizes, entropy_bits, huffman_bits
from tests.golden.test_format import every_form
from tests.lc_core.models import compressed, randn

COUNTS = st.lists(st.integers(0, 1000), min_size=1, max_size=30).map(np.array)


def test_the_entropy_of_known_distributions():
    assert entropy_bits(np.array([8, 8])) == 16
    assert entropy_bits(np.array([4, 2, 1, 1])) == 14
    assert entropy_bits(np.array([7, 0])) == 0
    assert entropy_bits(np.array([], dtype=np.int64)) == 0


def test_huffmans_own_lengths():
    assert huffman_bits(np.array([4, 2, 1, 1])) == 4 * 1 + 2 * 2 + 3 + 3
    assert huffman_bits(np.array([8, 8])) == 16
    assert huffman_bits(np.array([1, 1, 1])) == 5
    assert huffman_bits(np.array([9, 0])) == 0


@given(COUNTS)
def test_huffman_is_within_a_bit_a_symbol_of_the_entropy(counts):
    entropy, total = entropy_bits(counts), int(counts.sum())
    assert entropy - 1e-6 <= huffman_bits(counts) <= entropy + total
    assert entropy <= total * math.log2(max(len(counts), 2)) + 1e-6


@given(st.lists(st.integers(1, 20), min_size=2, max_size=5))
def test_no_prefix_code_is_shorter(counts):
    """Brute force: all lengths that Kraft's inequality allows."""
    lengths = itertools.product(range(1, len(counts)), repeat=len(counts))
    allowed = (each for each in lengths if sum(2.0**-length for length in each) <= 1)
    best = min(sum(n * length for n, length in zip(counts, each, strict=True)) for each in allowed)
    assert huffman_bits(np.array(counts)) == best


def test_codes_and_supports_are_counted_apart():
    codes = torch.tensor([0] * 12 + [1] * 4)
    sizes = coded_sizes([Quantized((16,), codes, torch.tensor([-1.0, 1.0]))])
    assert sizes.keys() == {"codes"}
    found = sizes["codes"]
    assert (found.packed_bytes, found.huffman_bytes) == (2, 2)
    assert found.entropy_bytes == math.ceil((12 * math.log2(16 / 12) + 4 * 2) / 8)


PLANS = [
    Codebook(size=3),
    UniformQuantization(bits=4),
    L0Pruning(keep=0.1),
    NMPruning(2, 4),
    Chain(L0Pruning(keep=0.1), Codebook(size=4)),
    Chain(GroupPruning(keep=0.5), Codebook(size=2)),
    Chain(LowRank(rank=3), Codebook(size=4)),
    Sum(L0Pruning(keep=0.02), Codebook(size=2)),
]


@pytest.mark.parametrize("plan", PLANS, ids=repr)
def test_every_code_and_index_is_in_a_figure(plan):
    """Packed bytes are all but floats and zero points; the entropy is not above them."""
    model = nn.Linear(60, 50)
    _, thetas = compressed(model, {"*": plan})
    sizes = coded_sizes(thetas)
    packed = [array for name, array in thetas[0].pack().items() if name != "zero" and array.dtype == torch.uint8]
    assert sum(each.packed_bytes for each in sizes.values()) == sum(array.numel() for array in packed)
    for each in sizes.values():
        assert 0 < each.entropy_bytes <= each.packed_bytes
        assert each.zstd_bytes < each.packed_bytes + 20


def test_the_gaps_of_a_support_count_from_before_its_first_index():
    """Of 0, 1, ..., 7 all gaps are 1: a single symbol, whose code takes no bits."""
    theta = Sparse((4000,), torch.arange(8), Dense(torch.ones(8)))
    assert coded_sizes([theta])["supports"].huffman_bytes == 0


def test_what_has_no_codes_has_no_figures():
    _, thetas = compressed(nn.Conv2d(6, 5, 3), {"*": CP(rank=2)})
    assert coded_sizes(thetas) == {}


def test_every_stored_form_is_taken():
    sizes = coded_sizes(list(every_form().values()))
    packed = [array for theta in every_form().values() for name, array in theta.pack().items() if "zero" not in name]
    assert sum(each.packed_bytes for each in sizes.values()) == sum(
        array.numel() for array in packed if array.dtype == torch.uint8
    )


def test_equal_codes_take_almost_nothing():
    sizes = coded_sizes([Quantized((8000,), torch.zeros(8000, dtype=torch.int64), torch.tensor([1.0, 2.0]))])["codes"]
    assert (sizes.packed_bytes, sizes.entropy_bytes, sizes.huffman_bytes) == (1000, 0, 0)
    assert sizes.zstd_bytes < 30


def test_drawn_codes_cannot_be_made_smaller():
    codes = (randn(80_000, seed=1) > 0).long()
    sizes = coded_sizes([Quantized((80_000,), codes, torch.tensor([1.0, 2.0]))])["codes"]
    assert sizes.packed_bytes == 10_000 == sizes.huffman_bytes
    assert 9_990 < sizes.entropy_bytes <= 10_000 <= sizes.zstd_bytes
