"""Hyperparameters at the edges of their range and beyond: which are lossless, which are refused, and ties."""

import math

import pytest
import torch

from lc_core import Chain, Codebook, Compression, L0Pruning, LowRank
from lc_core.compression import Use
from lc_core.compressions.pruning import largest
from tests.contract.weights import draw, slack, squared_error


@pytest.mark.parametrize(
    "compression",
    [L0Pruning(keep=1.0), Codebook(size=30), Codebook(size=31), Chain(L0Pruning(keep=1.0), Codebook(size=30))],
    ids=str,
)
@pytest.mark.parametrize("kind", ["normal", "ties", "constant", "all zero", "huge", "tiny", "one outlier"])
def test_nothing_is_lost_where_the_codebook_holds_every_value(compression, kind):
    w = draw((6, 5), kind=kind, seed=1)
    assert torch.equal(compression.compress(w, mu=1.0).decompress(), w)


def test_a_codebook_of_all_values_keeps_very_different_magnitudes():
    w = torch.tensor([1e-10, 1.0, 1e10, -1e-10])
    assert torch.equal(Codebook(size=4).compress(w, mu=1.0).decompress(), w)


def test_full_rank_loses_only_rounding_and_is_stored_dense():
    w = draw((6, 5), kind="normal", seed=2)
    theta = LowRank(rank=5).compress(w, mu=1.0)
    assert squared_error(w, theta) <= slack(w)
    assert theta.form()["form"] == "dense"
    assert theta.macs(Use()) == 30


def test_keep_nothing_gives_zeros_in_no_bits():
    w = draw((6, 5), kind="normal", seed=3)
    for compression in (L0Pruning(keep=0.0), Chain(L0Pruning(keep=0.0), Codebook(size=2))):
        theta = compression.compress(w, mu=1.0)
        assert torch.equal(theta.decompress(), torch.zeros(6, 5))
        assert theta.storage_bits() == 0


def test_of_equal_magnitudes_the_first_stay():
    w = torch.tensor([1.0, -2.0, 2.0, -1.0, 1.0, 2.0])
    assert L0Pruning(keep=0.5).compress(w, mu=1.0).support.tolist() == [1, 2, 5]
    assert L0Pruning(keep=4 / 6).compress(w, mu=1.0).support.tolist() == [0, 1, 2, 5]
    assert L0Pruning(keep=2 / 6).compress(w, mu=1.0).support.tolist() == [1, 2]


def test_the_largest_are_as_many_as_asked_for_and_ascending():
    scores = torch.tensor([0.0, 3.0, 3.0, 1.0, 3.0])
    expected = [[], [1], [1, 2], [1, 2, 4], [1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert [largest(scores, count=count).tolist() for count in range(6)] == expected


def test_a_constant_takes_one_entry_and_no_code_bits():
    theta = Codebook(size=1).compress(torch.full((6, 5), 0.3), mu=1.0)
    assert theta.storage_bits() == 32
    assert torch.equal(theta.decompress(), torch.full((6, 5), 0.3))


def test_a_convolution_kernel_is_factored_by_output_channel():
    w = draw((8, 3, 3, 3), kind="normal", seed=5)
    theta = LowRank(rank=2).compress(w, mu=1.0)
    assert theta.left.shape == (8, 2)
    assert theta.right.shape == (2, 27)
    assert theta.macs(Use(outputs=(1,))) == 2 * (8 + 27)


@pytest.mark.parametrize(
    "compression, shape, said",
    [
        (L0Pruning(keep=0.0), (6, 5), "keep: .* got 0.0"),
        (L0Pruning(keep=0.01), (6, 5), "keep: .* got 0.01"),
        (Codebook(size=31), (6, 5), "size: expected at most 30, .* got 31"),
        (LowRank(rank=1), (6,), r"low rank: .* got shape \(6,\)"),
        (Chain(L0Pruning(keep=0.0), Codebook(size=1)), (6, 5), "keep: .* got 0.0"),
        (Chain(L0Pruning(keep=0.5), Codebook(size=16)), (6, 5), "size: expected at most 15, .* got 16"),
    ],
    ids=str,
)
def test_check_refuses_what_no_user_means(compression: Compression, shape, said):
    with pytest.raises(ValueError, match=said):
        compression.check(shape)


@pytest.mark.parametrize(
    "compression",
    [L0Pruning(keep=0.04), L0Pruning(keep=1.0), Codebook(size=1), Codebook(size=30), LowRank(rank=1), LowRank(rank=5)],
    ids=str,
)
def test_check_lets_the_whole_range_pass(compression: Compression):
    for each in (compression, Chain(L0Pruning(keep=0.5), Codebook(size=15))):
        each.check((6, 5))
        assert each.compress(draw((6, 5), kind="normal", seed=1), mu=1.0).shape == (6, 5)


@pytest.mark.parametrize("keep", [-0.1, 1.0001, math.nan, math.inf])
def test_a_fraction_outside_its_range_is_refused(keep):
    with pytest.raises(ValueError, match=rf"keep: expected a fraction of weights in \[0, 1\], got {keep}"):
        L0Pruning(keep=keep)


@pytest.mark.parametrize("size", [0, -1])
def test_a_codebook_or_rank_below_one_is_refused(size):
    with pytest.raises(ValueError, match=f"size: expected a codebook of at least 1 value, got {size}"):
        Codebook(size=size)
    with pytest.raises(ValueError, match=f"rank: expected at least 1, got {size}"):
        LowRank(rank=size)


def test_a_vector_has_no_low_rank():
    with pytest.raises(ValueError, match=r"low rank: expected weights of a layer .* got shape \(5,\)"):
        LowRank(rank=1).compress(torch.ones(5), mu=1.0)
