"""Edge cases of pruning: thresholds and radii by hand, ties, groups that do not divide a row, indices in few bits."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lc_core import Compression, L0Penalty, L0Pruning, L1Penalty, L1Pruning, NMPruning
from lc_core.compression import Use
from lc_core.compressions.pruning import SAMPLE, _largest_by_kthvalue, largest
from lc_core.file.forms import unpack
from lc_core.plan import Joint, plan_tasks
from tests.contract.weights import KINDS, PROPERTY, draw

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def kept(mask: str) -> list[bool]:
    return [letter == "x" for letter in mask.replace(" ", "")]


# The l1 ball


def test_a_projection_on_the_l1_ball_by_hand():
    """3 and 1 less a threshold of 1 sum to 2; -0.5 is below it."""
    w = torch.tensor([3.0, -0.5, -1.5, 1.0])
    assert L1Pruning(radius=2.5).compress(w, mu=1.0).decompress().tolist() == [2.0, 0.0, -0.5, 0.0]
    assert L1Pruning(radius=2.5).compress(w, mu=1.0).support.tolist() == [0, 2]


def test_weights_inside_or_on_the_ball_stay():
    w = torch.tensor([3.0, -0.5, 0.0, -1.5])
    for radius in (5.0, 5.1, 1e9):
        theta = L1Pruning(radius=radius).compress(w, mu=1.0)
        assert theta.decompress().tolist() == w.tolist()
        assert theta.support.tolist() == [0, 1, 3]


def test_equal_weights_share_the_radius():
    w = torch.tensor([[1.0, -1.0], [1.0, -1.0]])
    assert L1Pruning(radius=1.0).compress(w, mu=1.0).decompress().tolist() == [[0.25, -0.25], [0.25, -0.25]]


def test_no_radius_leaves_nothing_in_no_bits():
    for w in (torch.zeros(6, 5), draw((6, 5), kind="normal", seed=0)):
        theta = L1Pruning(radius=0.0).compress(w, mu=1.0)
        assert torch.equal(theta.decompress(), torch.zeros(6, 5))
        assert theta.storage_bits() == 0


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"huge", "tiny"}))
def test_the_l1_norm_never_exceeds_the_radius_and_what_is_projected_stays_bit_for_bit(dtype, kind):
    """Also in narrow types, where the rounding of a thousand weights would add up."""
    w = draw((40, 25), kind=kind, seed=1, dtype=torch.float64).to(dtype)
    norm = float(w.double().abs().sum())
    for part in (1e-6, 0.01, 0.3, 0.999, 1 - 1e-12, 1.0):
        compression = L1Pruning(radius=part * norm)
        once = compression.compress(w, mu=1.0).decompress()
        assert once.dtype == dtype
        assert float(once.double().abs().sum()) <= part * norm
        assert torch.equal(compression.compress(once, mu=1.0).decompress(), once)


@given(st.integers(0, 2**16), st.floats(1e-4, 0.999))
@PROPERTY
def test_the_projection_is_a_soft_threshold_that_uses_all_of_the_radius(seed, part):
    w = draw((300,), kind="heavy tails", seed=seed, dtype=torch.float64)
    radius = part * float(w.abs().sum())
    theta = L1Pruning(radius=radius).compress(w, mu=1.0).decompress()
    stays = theta != 0
    shrinkage = (w.abs() - theta.abs())[stays]
    assert float(theta.abs().sum()) == pytest.approx(radius, rel=1e-12)
    np.testing.assert_allclose(shrinkage, shrinkage.mean(), rtol=0, atol=1e-12 * float(w.abs().max()))
    assert bool((w.abs()[~stays] <= shrinkage.mean() * (1 + 1e-9)).all())
    assert torch.equal(theta.sign()[stays], w.sign()[stays])


def test_a_small_radius_under_large_weights_is_not_lost_in_rounding():
    """A threshold of 1e15 less 0.2 is not a float64; one measured from the largest weight is."""
    w = torch.tensor([1e15, 1e15 - 0.25, 1e15 - 8] * 5, dtype=torch.float64)
    theta = L1Pruning(radius=1.0).compress(w, mu=1.0).decompress()
    np.testing.assert_allclose(theta, [0.2, 0.0, 0.0] * 5, rtol=1e-12)


# Penalty forms


def test_a_hard_threshold_by_hand_where_ties_go():
    """sqrt(2 alpha / mu) = 1."""
    w = torch.tensor([1.0, -1.0, 1.0 + 2**-23, -2.0, 0.5, 0.0])
    theta = L0Penalty(alpha=0.5).compress(w, mu=1.0)
    assert theta.decompress().tolist() == [0.0, 0.0, 1.0 + 2**-23, -2.0, 0.0, 0.0]
    assert L0Penalty(alpha=0.5).cost(theta) == 1.0


def test_a_soft_threshold_by_hand_where_ties_go():
    """alpha / mu = 0.5; what is left at the threshold itself is zero, and not stored."""
    w = torch.tensor([0.5, -0.75, 2.0, -0.5, 0.25, 0.0])
    theta = L1Penalty(alpha=1.0).compress(w, mu=2.0)
    assert theta.decompress().tolist() == [0.0, -0.25, 1.5, 0.0, 0.0, 0.0]
    assert theta.support.tolist() == [1, 2]
    assert L1Penalty(alpha=1.0).cost(theta) == 1.75


def test_a_threshold_is_not_rounded_to_the_weights_type():
    """The float32 numbers next to 0.3 lie on either side of the threshold 0.3."""
    above = torch.tensor([0.3])
    below = torch.nextafter(above, torch.zeros(1))
    assert float(below) < 0.3 < float(above)
    penalty = L0Penalty(alpha=0.045)
    assert penalty.compress(torch.cat([below, above]), mu=1.0).support.tolist() == [1]
    assert L1Penalty(alpha=0.3).compress(torch.cat([below, above]), mu=1.0).support.tolist() == [1]


@pytest.mark.parametrize("penalty", [L0Penalty(alpha=0.3), L1Penalty(alpha=0.3)], ids=str)
def test_a_larger_mu_keeps_more(penalty):
    w = draw((30, 30), kind="normal", seed=2)
    counts = [penalty.compress(w, mu=mu).support.numel() for mu in (1e-6, 0.1, 1.0, 10.0, 1e12)]
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (0, 900)


@pytest.mark.parametrize("penalty", [L0Penalty(alpha=0.0), L1Penalty(alpha=0.0)], ids=str)
def test_no_price_keeps_all_that_is_not_zero(penalty):
    w = draw((6, 5), kind="mostly zero", seed=3)
    theta = penalty.compress(w, mu=1.0)
    assert torch.equal(theta.decompress(), w)
    assert theta.support.numel() == int((w != 0).sum())
    assert penalty.cost(theta) == 0


@pytest.mark.parametrize("penalty", [L0Penalty(alpha=0.1), L1Penalty(alpha=0.1)], ids=str)
@pytest.mark.parametrize("mu", [0.0, -1.0, math.nan])
def test_a_penalty_form_needs_mu(penalty, mu):
    with pytest.raises(ValueError, match=f"mu: expected above 0, which penalty forms need, got {mu}"):
        penalty.compress(torch.ones(3), mu=mu)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_weights_of_every_float_type_are_pruned_in_it(dtype):
    w = draw((4, 6), kind="normal", seed=4).to(dtype)
    for compression in (
        L0Pruning(keep=0.5),
        L1Pruning(radius=2.0),
        NMPruning(n=1, m=3),
        L0Penalty(alpha=0.3),
        L1Penalty(alpha=0.5),
    ):
        theta = compression.compress(w, mu=1.0)
        assert theta.dtype == theta.decompress().dtype == dtype
        assert 0 < theta.support.numel() < 24


# N:M


@pytest.mark.parametrize(
    "n, m, scores, expected",
    [
        (2, 4, [1, 3, 2, 4, 8, 5, 7, 6], ".x.x x.x."),
        (1, 3, [1, 3, 2, 4, 8, 5, 7, 6], ".x. .x. x."),  # 2 of 3: 2/3 of a weight is one
        (2, 4, [1, 1, 1, 1, 0, 0, 0, 0], "xx.. xx.."),
        (2, 5, [1, 2, 3, 4, 5, 6, 7, 8], "...xx .xx"),  # 6/5 of a weight are two
        (1, 4, [5, 4, 3, 2, 1], "x... x"),  # a quarter of a weight is one
        (4, 4, [0, 0, 0, 0, 0, 0, 0, 0], "xxxx xxxx"),
        (3, 100, [1, 2, 3], "..x"),  # 9/100
        (50, 100, [1, 3, 2], ".xx"),  # 3/2 of a weight are two
    ],
)
def test_the_largest_of_each_group_stay_of_equal_ones_the_first(n, m, scores, expected):
    w = torch.tensor([scores], dtype=torch.float32)
    pruning = NMPruning(n=n, m=m)
    theta = pruning.compress(-w, mu=1.0)
    mask = torch.zeros(w.numel(), dtype=torch.bool)
    mask[theta.support] = True
    assert mask.tolist() == kept(expected)
    assert pruning.count((1, w.numel())) == mask.sum()
    assert torch.equal(theta.decompress(), torch.where(mask.reshape(1, -1), -w, 0))


def test_of_many_ties_the_first_stay():
    w = torch.ones(3, 2000)
    stays = NMPruning(n=300, m=1000).compress(w, mu=1.0).decompress()
    assert torch.equal(stays.reshape(6, 1000), (torch.arange(1000) < 300).float().expand(6, 1000))


def test_groups_do_not_cross_rows():
    w = torch.tensor([[1.0, 2.0, 3.0], [9.0, 8.0, 7.0]])
    assert NMPruning(n=1, m=2).select(w).tolist() == [1, 2, 3, 5]


def test_the_groups_of_a_kernel_run_along_its_input_channels_at_each_position():
    w = draw((5, 6, 3, 2), kind="normal", seed=5)
    stays = NMPruning(n=1, m=4).compress(w, mu=1.0).decompress() != 0
    assert bool((stays[:, :4].sum(dim=1) == 1).all())
    assert bool((stays[:, 4:].sum(dim=1) == 1).all())
    assert bool((w.abs()[:, :4].amax(dim=1) == (w.abs() * stays)[:, :4].amax(dim=1)).all())


def test_a_kernel_is_pruned_as_its_positions_would_be_as_layers():
    w = draw((5, 6, 3), kind="heavy tails", seed=6)
    whole = NMPruning(n=2, m=4).compress(w, mu=1.0).decompress()
    for position in range(3):
        alone = NMPruning(n=2, m=4).compress(w[:, :, position], mu=1.0).decompress()
        assert torch.equal(whole[:, :, position], alone)


def test_scores_below_zero_are_taken_too():
    """A chain's gains may be: the best of a bad group stay all the same."""
    assert NMPruning(n=2, m=4).select(torch.tensor([[-4.0, -1.0, -3.0, -2.0, -1.0]])).tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    "n, m, shape, index_bytes",
    [
        (2, 4, (64, 64), 64 * 16 * 3 / 8),
        (1, 2, (64, 64), 64 * 32 / 8),
        (1, 4, (64, 64), 64 * 16 * 2 / 8),
        (4, 8, (64, 64), 64 * 8 * 7 / 8),
        (2, 4, (64, 64, 3, 3), 9 * 64 * 16 * 3 / 8),
        (2, 4, (64, 66), 64 * 16 * 3 / 8 + 64 * 1 / 8),
    ],
)
def test_a_pattern_costs_a_code_a_group(n, m, shape, index_bytes):
    theta = NMPruning(n=n, m=m).compress(draw(shape, kind="normal", seed=7), mu=1.0)
    packed = theta.pack()
    values = 4 * NMPruning(n=n, m=m).count(shape)
    assert theta.form()["pattern"] == [n, m]
    assert theta.storage_bits() == 8 * (index_bytes + values)
    assert sum(array.numel() for name, array in packed.items() if name in ("groups", "rest")) == index_bytes


def test_a_pattern_that_keeps_all_is_dense():
    w = draw((64, 64), kind="normal", seed=7)
    theta = NMPruning(n=4, m=4).compress(w, mu=1.0)
    assert theta.form()["form"] == "dense"
    assert theta.storage_bits() == 32 * w.numel()


def test_another_index_is_taken_where_it_is_smaller():
    """Two cases: each row ends with a group of three that keeps two; groups are too large for a code."""
    for pruning, shape in ((NMPruning(n=40, m=80), (8, 80)), (NMPruning(n=1, m=128), (8, 256))):
        theta = pruning.compress(draw(shape, kind="normal", seed=8), mu=1.0)
        assert theta.form()["form"] == "sparse"
        assert "pattern" not in theta.form()
        assert pruning.outline(shape).storage_bits() == theta.storage_bits()


def test_zeros_of_a_pattern_save_no_work():
    assert NMPruning(n=1, m=4).outline((8, 8)).macs(Use(outputs=(3,))) == 3 * 64


def damaged(**changes):
    theta = NMPruning(n=2, m=4).compress(draw((8, 10), kind="normal", seed=9), mu=1.0)
    form = json.loads(json.dumps(theta.form()))
    assert form["pattern"] == [2, 4]
    return form | changes, theta.pack()


@pytest.mark.parametrize(
    "changes",
    [
        {"pattern": [1, 4]},
        {"pattern": [2, 3]},
        {"pattern": [4, 2]},
        {"pattern": [0, 4]},
        {"pattern": [2]},
        {"pattern": ["2", "4"]},
        {"pattern": [2.0, 4.0]},
        {"pattern": None},
        {"pattern": [10**9, 2 * 10**9]},
        {"shape": [10, 8]},
        {"shape": [80]},
        {"shape": [0, 10]},
        {"shape": [8, 0]},
    ],
    ids=str,
)
def test_a_pattern_that_does_not_fit_is_a_value_error(changes):
    form, arrays = damaged(**changes)
    with pytest.raises(ValueError, match=r"expected|do not fit"):
        unpack(form, arrays)


def test_a_pattern_that_keeps_another_count_is_a_value_error():
    """One of four and three of four have codes of the same width."""
    theta = NMPruning(n=1, m=4).compress(draw((8, 8), kind="normal", seed=9), mu=1.0)
    with pytest.raises(ValueError, match=r"expected 48 weights of \(8, 8\) by the pattern, got 16"):
        unpack(theta.form() | {"pattern": [3, 4]}, theta.pack())


@pytest.mark.parametrize("name", ["groups", "rest"])
def test_a_damaged_pattern_is_a_value_error(name):
    form, arrays = damaged()
    for wrong in (arrays[name][:-1], torch.cat([arrays[name], arrays[name][:1]])):
        with pytest.raises(ValueError, match=r"expected .* bytes"):
            unpack(form, arrays | {name: wrong})
    with pytest.raises(ValueError, match=f"expected an array '{name}', got"):
        unpack(form, {key: array for key, array in arrays.items() if key != name})
    if name == "groups":
        with pytest.raises(ValueError, match="expected codes below 6, got 7: the index is damaged"):
            unpack(form, arrays | {name: torch.full_like(arrays[name], 255)})


# What is refused


@pytest.mark.parametrize(
    "compression, shape, said",
    [
        (L1Pruning(radius=0.0), (6, 5), "radius: expected above 0, so that a weight stays, got 0.0"),
        (L0Penalty(alpha=0.0), (6, 5), "alpha: expected above 0, so that something is pruned, got 0.0"),
        (L1Penalty(alpha=0.0), (6, 5), "alpha: expected above 0, so that something is pruned, got 0.0"),
        (NMPruning(n=2, m=4), (30,), r"N:M: expected weights of a layer \(two dimensions or more\), got shape \(30,\)"),
    ],
    ids=str,
)
def test_check_refuses_what_no_user_means(compression: Compression, shape, said):
    with pytest.raises(ValueError, match=said):
        compression.check(shape)


@pytest.mark.parametrize(
    "compression",
    [L1Pruning(radius=1e-9), L0Penalty(alpha=1e-9), L1Penalty(alpha=1e9), NMPruning(n=1, m=1), NMPruning(n=1, m=99)],
    ids=str,
)
def test_check_lets_the_whole_range_pass(compression: Compression):
    compression.check((6, 5))
    assert compression.compress(draw((6, 5), kind="normal", seed=1), mu=1.0).shape == (6, 5)


def test_a_vector_has_no_pattern():
    said = r"N:M: expected weights of a layer .* got shape \(5,\)"
    for call in (
        lambda: NMPruning(n=2, m=4).compress(torch.ones(5), mu=1.0),
        lambda: NMPruning(n=2, m=4).outline((5,)),
        lambda: NMPruning(n=2, m=4).count((5,)),
    ):
        with pytest.raises(ValueError, match=said):
            call()


@pytest.mark.parametrize("value", [-1e-9, math.nan, math.inf, -math.inf])
def test_a_price_or_radius_outside_its_range_is_refused(value):
    with pytest.raises(ValueError, match=f"radius: expected a finite number of at least 0, got {value}"):
        L1Pruning(radius=value)
    for penalty in (L0Penalty, L1Penalty):
        with pytest.raises(ValueError, match=f"alpha: expected a finite number of at least 0, got {value}"):
            penalty(alpha=value)


@pytest.mark.parametrize(
    "n, m, said",
    [
        (0, 4, "n: expected from 1 to m = 4 weights of a group, got 0"),
        (5, 4, "n: expected from 1 to m = 4 weights of a group, got 5"),
        (1, 0, "m: expected groups of at least 1 weight, got 0"),
    ],
)
def test_a_pattern_outside_its_range_is_refused(n, m, said):
    with pytest.raises(ValueError, match=said):
        NMPruning(n=n, m=m)


# Several layers together


def test_the_radius_is_shared_by_the_layers_under_one_theta():
    """1.5 and 1 less a threshold of 0.5 sum to 1.5: the first layer loses all, the second less."""
    model = nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 2))
    weights = {"0.weight": torch.tensor([[0.25, -0.5]]), "1.weight": torch.tensor([[1.5], [-1.0]])}
    (task,) = plan_tasks(model, {"*": Joint(L1Pruning(radius=1.5))})
    theta = task.compress(task.governed.gather(weights), mu=1.0, previous=None)
    layers = task.governed.scatter(theta.decompress())
    assert layers["0.weight"].tolist() == [[0.0, 0.0]]
    assert layers["1.weight"].tolist() == [[1.0], [-0.5]]
    assert task.outline() is None


def test_a_pattern_of_several_layers_together_is_refused_by_name():
    model = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"0\.weight, 1\.weight: N:M: expected weights of a layer"):
        plan_tasks(model, {"*": Joint(NMPruning(n=2, m=4))})
    assert len(plan_tasks(model, {"*": NMPruning(n=2, m=4)})) == 2


# Selection


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=40), st.data())
@PROPERTY
def test_both_ways_to_find_the_largest_agree(scores, data):
    """NumPy's on the CPU and torch's elsewhere both give the first of the sorted order, also with ties."""
    count = data.draw(st.integers(0, len(scores)))
    expected = sorted(sorted(range(len(scores)), key=lambda i: -scores[i])[:count])
    for dtype in (torch.float32, torch.bfloat16):
        tensor = torch.tensor(scores, dtype=dtype)
        assert largest(tensor, count=count).tolist() == expected
        if count:
            assert _largest_by_kthvalue(tensor, count).tolist() == expected


@pytest.mark.parametrize("arranged", ["anyhow", "ties", "ascending", "descending", "unlike the sample"])
@pytest.mark.parametrize("count", [1, 10, 3_000, 37_500, 37_501, 299_999])
def test_the_largest_of_many_are_found_whatever_a_sample_says(arranged, count):
    scores = torch.rand(300_000, generator=torch.Generator().manual_seed(10), dtype=torch.float64).float()
    match arranged:
        case "ties":
            scores = (scores * 40).floor()
        case "ascending" | "descending":
            scores = scores.sort(descending=arranged == "descending").values
        case "unlike the sample":
            scores[:: 300_000 // SAMPLE] += 1
    expected = scores.sort(descending=True, stable=True).indices[:count].sort().values
    assert torch.equal(largest(scores, count=count), expected)


@pytest.mark.parametrize("arranged", ["anyhow", "ties", "ascending", "descending"])
def test_the_largest_of_many_are_found_by_the_kth_value(arranged):
    """The method for other devices, on few scores: on a CPU torch takes seconds for 300,000 descending ones."""
    scores = torch.rand(20_000, generator=torch.Generator().manual_seed(10))
    match arranged:
        case "ties":
            scores = (scores * 40).floor()
        case "ascending" | "descending":
            scores = scores.sort(descending=arranged == "descending").values
    order = scores.sort(descending=True, stable=True).indices
    for count in (1, 10, 2_500, 19_999, 20_000):
        assert torch.equal(_largest_by_kthvalue(scores, count), order[:count].sort().values)
