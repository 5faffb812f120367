"""Edge cases of chains and sums: pairs that are refused, starts, small examples by hand."""

import pytest
import torch

from lc_core import (
    Cast,
    Chain,
    Codebook,
    GroupPruning,
    L0Penalty,
    L0Pruning,
    L1Pruning,
    LowRank,
    NMPruning,
    Sum,
    UniformQuantization,
)
from lc_core.compression import objective
from tests.contract.families.combination import corrected_quantized, grouped_low_rank, grouped_quantized
from tests.contract.weights import draw, slack, squared_error


@pytest.mark.parametrize(
    "first, then",
    [
        (Codebook(size=2), L0Pruning(keep=0.5)),
        (L0Pruning(keep=0.5), L0Pruning(keep=0.5)),
        (L1Pruning(radius=1.0), Codebook(size=2)),
        (L0Pruning(keep=0.5), LowRank(rank=1)),
        (NMPruning(n=2, m=4), LowRank(rank=1)),
        (LowRank(rank=1), L0Pruning(keep=0.5)),
        (GroupPruning(keep=0.5), L0Pruning(keep=0.5)),
    ],
    ids=str,
)
def test_a_pair_that_means_nothing_is_refused(first, then):
    pair = f"{type(first).__name__}, then {type(then).__name__}"
    with pytest.raises(ValueError, match=f"chain: expected pruning, then quantization; .* got {pair}"):
        Chain(first, then)


@pytest.mark.parametrize("first", [L0Pruning(keep=0.5), NMPruning(n=2, m=4), GroupPruning(keep=0.5)], ids=str)
def test_scales_by_channel_mean_nothing_for_the_weights_that_stay(first):
    with pytest.raises(
        ValueError, match="chain: expected one scale for the weights that stay, got granularity channel"
    ):
        Chain(first, UniformQuantization(bits=4, granularity="channel"))


@pytest.mark.parametrize("terms", [(), (Codebook(size=2),)], ids=str)
def test_a_sum_of_fewer_than_two_is_refused(terms):
    with pytest.raises(ValueError, match=f"sum: expected two compressions or more, got {len(terms)}"):
        Sum(*terms)


@pytest.mark.parametrize(
    "compression, shape, said",
    [
        (Chain(GroupPruning(keep=0.1), Codebook(size=2)), (4, 5), "keep: expected above 0.* got 0.1"),
        (Chain(GroupPruning(keep=0.5), Codebook(size=16)), (4, 5), "size: expected at most 10, .* got 16"),
        (
            Chain(GroupPruning(keep=0.5), Codebook(size=2)),
            (20,),
            r"groups: expected weights of a layer .* got shape \(20,\)",
        ),
        (Sum(L0Pruning(keep=0.01), Codebook(size=2)), (4, 5), "keep: .* got 0.01"),
        (Sum(L0Pruning(keep=0.5), Codebook(size=21)), (4, 5), "size: expected at most 20, .* got 21"),
        (GroupPruning(keep=0.1), (4, 5), "keep: expected above 0, so that a group of 4 stays, got 0.1"),
        (GroupPruning(keep=0.1, axis="input"), (4, 3), "keep: expected above 0, so that a group of 3 stays, got 0.1"),
    ],
    ids=str,
)
def test_check_refuses_what_no_user_means(compression, shape, said):
    with pytest.raises(ValueError, match=said):
        compression.check(shape)


def test_group_pruning_says_what_it_takes():
    with pytest.raises(ValueError, match=r"keep: expected a fraction of groups in \[0, 1\], got 1.5"):
        GroupPruning(keep=1.5)
    with pytest.raises(ValueError, match="axis: expected 'output' or 'input', got 'rows'"):
        GroupPruning(keep=0.5, axis="rows")


def test_of_groups_of_equal_norm_the_first_stay():
    w = torch.tensor([[1.0, 0.0], [0.0, -2.0], [2.0, 0.0], [0.0, 2.0]])
    assert GroupPruning(keep=0.5).compress(w, mu=1.0).kept.tolist() == [1, 2]
    assert GroupPruning(keep=0.5, axis="input").compress(w, mu=1.0).kept.tolist() == [1]


def test_a_sum_corrects_outliers_exactly():
    w = torch.tensor([1.0, -1.0, 1.0, 9.0, -1.0, -1.0, 1.0, -7.0, 1.0, -1.0])
    theta = Sum(L0Pruning(keep=0.2), Codebook(size=2)).compress(w, mu=1.0)
    assert torch.equal(theta.decompress(), w)
    sparse, codes = theta.terms
    assert sparse.support.tolist() == [3, 7]
    assert codes.codebook.tolist() == [-1.0, 1.0]


def test_a_sum_is_mostly_optimal_on_seven_weights_and_never_worse_than_its_first_round():
    optimal = 0
    for seed in range(100):
        w = draw((7,), kind="heavy tails", seed=seed)
        pruning, codebook = L0Pruning(keep=1 / 7), Codebook(size=2)
        compression = Sum(pruning, codebook)
        error = squared_error(w, compression.compress(w, mu=1.0))
        sparse = pruning.compress(w, mu=1.0)
        rest = w - sparse.decompress()
        assert error <= squared_error(rest, codebook.compress(rest, mu=1.0)) + slack(w)
        optimal += error <= corrected_quantized(w, compression, 1.0) * (1 + 1e-6) + slack(w)
    assert optimal >= 60


@pytest.mark.parametrize("axis", ["output", "input"])
def test_chains_of_groups_are_mostly_optimal_and_never_worse_than_one_after_the_other(axis):
    optimal = 0
    for seed in range(60):
        w = draw((4, 3), kind="normal", seed=seed)
        groups = GroupPruning(keep=0.5, axis=axis)
        then, least = ((Codebook(size=2), grouped_quantized), (LowRank(rank=1), grouped_low_rank))[seed % 2]
        chain = Chain(groups, then)
        error = squared_error(w, chain.compress(w, mu=1.0))
        pruned = groups.compress(w, mu=1.0)
        kept = pruned.values[0].decompress()
        start = squared_error(w, pruned) + squared_error(kept, then.compress(kept, mu=1.0))
        assert error <= start * (1 + 1e-6)
        optimal += error <= least(w, chain, 1.0) * (1 + 1e-5)
    assert optimal >= 40


def test_a_sum_pays_for_its_penalties():
    w = draw((6, 5), kind="normal", seed=1)
    compression = Sum(L0Penalty(alpha=0.5), LowRank(rank=1))
    assert compression.outline((6, 5)) is None
    theta = compression.compress(w, mu=2.0)
    kept = theta.terms[0].support.numel()
    assert compression.cost(theta) == 0.5 * kept
    assert objective(compression, w, theta, mu=2.0) == pytest.approx(squared_error(w, theta) + 0.5 * kept)
    tighter = compression.compress(w, mu=0.5)
    assert tighter.terms[0].support.numel() < kept


def test_pruning_then_casting_counts_the_bits_of_the_narrow_type():
    w = draw((16, 16), kind="normal", seed=2)
    theta = Chain(L0Pruning(keep=0.25), Cast("float16")).compress(w, mu=1.0)
    assert theta.storage_bits() == 8 * 32 + 64 * 16


def test_a_sum_has_no_groups():
    with pytest.raises(ValueError, match="sum: expected terms that see a layer's weight alone, got GroupPruning"):
        Sum(GroupPruning(keep=0.5), Codebook(size=2))
