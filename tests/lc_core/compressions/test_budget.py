"""A budget over several layers: as good as brute force over all choices, within N, and usable by all that follows."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lc_core import (
    SMALL,
    Budget,
    Cast,
    Chain,
    Codebook,
    Governed,
    GroupPruning,
    Joint,
    L0Pruning,
    L1Penalty,
    LowRank,
    UniformQuantization,
    encode,
    load,
    nominal_bytes,
    plan_tasks,
)
from lc_core.compression import Dense, Use, objective
from lc_core.compressions.budget import Layer
from lc_core.compressions.ladder import label, ladder_errors
from lc_core.file.artifact import decode
from lc_core.structure.accounting import count_macs, layer_uses, model_macs
from lc_core.structure.restructure import load_structured
from lc_core.structure.surgery import cut_weights
from lc_core.task import by_layer
from tests.contract.weights import PROPERTY, squared_error
from tests.lc_core.models import compressed, conv_net, mlp, randn

OF = (Codebook(1), Codebook(2), Codebook(4), L0Pruning(0.2), L0Pruning(0.5), LowRank(1), LowRank(2))
SHAPES = ((6, 5), (4, 3), (8, 2))


def over(shapes, **given):
    """A budget over layers of these shapes, called a, b and so on."""
    layers = tuple(Layer(name, shape) for name, shape in zip("abcdef", shapes, strict=False))
    return Budget(of=given.pop("of", OF), layers=layers, **given)


def joined(shapes, seed):
    return randn(sum(torch.Size(shape).numel() for shape in shapes), seed=seed)


def least_error(w, budget):
    """The least error over all choices within the budget."""
    options = []
    pieces = w.split([torch.Size(layer.shape).numel() for layer in budget.layers])
    for layer, flat in zip(budget.layers, pieces, strict=True):
        piece = flat.reshape(layer.shape)
        thetas = [Dense(piece), *[each.compress(piece, mu=1.0) for each in budget.of]]
        options.append([(squared_error(piece, theta), theta.storage_bits()) for theta in thetas])
    choices = product(*options)
    return min(
        sum(error for error, _ in choice) for choice in choices if sum(bits for _, bits in choice) <= 8 * budget.limit
    )


@given(seed=st.integers(0, 1000), limit=st.integers(20, 250))
@PROPERTY
def test_no_other_choice_within_the_budget_has_less_error(seed, limit):
    budget, w = over(SHAPES, bytes=limit), joined(SHAPES, seed)
    theta = budget.compress(w, mu=1.0)
    assert theta.storage_bits() <= 8 * limit
    assert theta.gap == pytest.approx(0.0, abs=1e-12)
    assert squared_error(w, theta) == pytest.approx(least_error(w, budget), rel=1e-6, abs=1e-9)


def test_the_errors_of_a_ladder_are_those_of_its_compressions():
    w = randn(12, 10, seed=3)
    exact = [
        *[L0Pruning(keep) for keep in (0.01, 0.3, 1.0)],
        *[Codebook(size) for size in (1, 2, 5, 64)],
        *[LowRank(rank) for rank in (1, 3, 99)],
        *[GroupPruning(keep, axis="input") for keep in (0.1, 0.5, 1.0)],
        UniformQuantization(3),
        Chain(L0Pruning(0.5), Codebook(60)),
    ]
    found = ladder_errors(w, exact, mu=1.0)
    expected = [objective(each, w, each.compress(w, mu=1.0), mu=1.0) for each in exact]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_errors_by_magnitude_are_those_of_the_same_compressions():
    w = randn(12, 10, seed=3)
    exact = [
        *[L0Pruning(keep) for keep in (0.01, 0.3, 1.0)],
        *[Codebook(size) for size in (1, 2, 5, 64)],
        *[GroupPruning(keep, axis="input") for keep in (0.1, 0.5, 1.0)],
        UniformQuantization(3),
    ]
    found = ladder_errors(w, exact, mu=1.0, by_magnitude=True)
    deltas = [each.compress(w, mu=1.0).decompress().double() for each in exact]
    expected = [float((w.double().abs() * (w - delta) ** 2).sum()) for delta in deltas]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    heavy = w**3
    [estimated] = ladder_errors(heavy, [LowRank(2)], mu=1.0, by_magnitude=True)
    delta = LowRank(2).compress(heavy, mu=1.0).decompress()
    assert 1 < estimated / float((heavy.abs() * (heavy - delta) ** 2).sum()) < 4


def test_by_magnitude_large_weights_are_spared():
    """Two codes for all weights, or for the largest twentieth: a tenth of the weights is twice as large as the rest."""
    w = randn(1, 640, seed=11)
    w[0, ::10] *= 2.3
    of = (Codebook(2), Chain(L0Pruning(0.05), Codebook(2)))
    chosen = [Budget(bytes=100, of=of, importance=each).compress(w, mu=1.0).chosen for each in ("even", "magnitude")]
    assert chosen == [("Codebook(size=2)",), ("L0Pruning(keep=0.05), Codebook(size=2)",)]


def test_the_error_of_a_kernel_s_groups_and_of_its_spatial_factors_is_exact():
    w = randn(4, 3, 2, 2, seed=4)
    exact = [GroupPruning(0.4, axis="input"), LowRank(2, scheme="spatial")]
    expected = [objective(each, w, each.compress(w, mu=1.0), mu=1.0) for each in exact]
    assert ladder_errors(w, exact, mu=1.0).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("keep, size", [(0.05, 2), (0.2, 4), (0.5, 16), (1.0, 64)])
def test_the_error_of_many_weights_is_a_close_upper_bound(keep, size):
    w = randn(5000, seed=5)
    chain = Chain(L0Pruning(keep), Codebook(size))
    [found] = ladder_errors(w, [chain], mu=1.0)
    error = objective(chain, w, chain.compress(w, mu=1.0), mu=1.0)
    assert error * (1 - 1e-3) <= found <= error * 1.02


def test_a_sensitive_layer_gets_more_of_the_budget():
    w, even = joined(SHAPES, 6), over(SHAPES, bytes=60)
    layers = (even.layers[0], Layer("b", (4, 3), sensitivity=1e4), even.layers[2])
    skewed = Budget(bytes=60, of=OF, layers=layers)
    errors = [float((w - budget.compress(w, mu=1.0).decompress())[30:42].square().sum()) for budget in (even, skewed)]
    assert errors[1] < errors[0]
    assert skewed.compress(w, mu=1.0).thetas[1].form()["form"] == "dense"


def test_relative_magnitudes_are_those_over_the_mean_of_the_layer():
    scales = torch.cat([torch.full((6 * 5,), 0.1), torch.full((4 * 3,), 1.0), torch.full((8 * 2,), 0.2)])
    w = joined(SHAPES, 6) * scales
    means = [float(part.abs().mean()) for part in w.split([30, 12, 16])]
    layers = tuple(
        Layer(name, shape, sensitivity=1 / mean) for name, shape, mean in zip("abc", SHAPES, means, strict=True)
    )
    by_hand = Budget(bytes=60, of=OF, layers=layers, importance="magnitude").compress(w, mu=1.0)
    relative, plain = (
        over(SHAPES, bytes=60, importance=importance).compress(w, mu=1.0) for importance in ("relative", "magnitude")
    )
    assert relative.chosen == by_hand.chosen != plain.chosen
    assert torch.equal(relative.decompress(), by_hand.decompress())
    assert over(SHAPES, bytes=60, importance="relative").compress(0 * w, mu=1.0).decompress().abs().max() == 0


def test_a_choice_made_once_stays_and_another_follows_the_weights():
    first, second = joined(SHAPES, 7), joined(SHAPES, 8)
    second[:30] *= 10
    for choose, moves in (("once", False), ("always", True)):
        budget = over(SHAPES, bytes=60, choose=choose)
        theta = budget.compress(first, mu=1.0)
        again = budget.compress(second, mu=1.0, previous=theta)
        assert (again.chosen != theta.chosen) is moves
        assert objective(budget, second, again, mu=1.0) <= objective(budget, second, theta, mu=1.0)


def test_a_choice_above_a_smaller_budget_is_not_kept():
    w = joined(SHAPES, 9)
    theta = over(SHAPES, bytes=200).compress(w, mu=1.0)
    assert over(SHAPES, bytes=40, choose="once").compress(w, mu=1.0, previous=theta).storage_bits() <= 320


def test_a_layer_leaves_out_what_it_cannot_take():
    budget = Budget(bytes=24, of=(LowRank(2), Codebook(64)), layers=(Layer("a", (6,)),))
    assert budget.compress(randn(6), mu=1.0).chosen == ("dense",)


def test_labels_are_short():
    chain = Chain(L0Pruning(0.1), Codebook(4))
    assert label(chain) == "L0Pruning(keep=0.1), Codebook(size=4)"
    assert label(LowRank(3)) == "LowRank(rank=3)"


@pytest.mark.parametrize(
    "given, message",
    [
        ({}, "expected bytes or macs, got bytes=None, macs=None"),
        ({"bytes": 9, "macs": 9}, "expected bytes or macs, got bytes=9, macs=9"),
        ({"bytes": 9, "of": ()}, "of: expected the compressions to choose from"),
        ({"bytes": 9, "choose": "twice"}, "choose: expected"),
        ({"bytes": 9, "importance": "small"}, "importance: expected"),
        ({"bytes": 9, "sensitivity": {"a": 0.0}}, "sensitivity: expected a number above 0 for a, got 0.0"),
        ({"bytes": 9, "of": (L1Penalty(1.0),)}, "of: expected compressions whose size the shape tells"),
        ({"bytes": 9, "of": (GroupPruning(0.5),)}, "of: expected groups of inputs"),
    ],
    ids=str,
)
def test_what_a_budget_cannot_be_is_one_clear_line(given, message):
    with pytest.raises(ValueError, match=message):
        Budget(**{"of": OF} | given)


def test_a_budget_that_is_too_small_names_the_least():
    with pytest.raises(ValueError, match="bytes: expected at least 12, which the smallest"):
        over(SHAPES, bytes=11).check((58,))


def test_a_layer_without_a_sensitivity_is_named():
    with pytest.raises(ValueError, match=r"sensitivity: expected a number for each weight, got none for 2\.weight"):
        plan_tasks(mlp(), {"*": Budget(bytes=200, of=OF, sensitivity={"0.weight": 1.0})})


def test_a_budget_of_multiply_accumulates_of_a_kernel_needs_its_uses():
    with pytest.raises(ValueError, match="uses: expected how a convolution is used"):
        plan_tasks(conv_net(), {"*": Budget(macs=200, of=OF)})


@pytest.mark.parametrize("limit", [60, 150, 288])
def test_a_budget_s_model_is_packed_and_loaded_within_its_bytes(tmp_path, limit):
    model = mlp(seed=1)
    plan = {"*": Budget(bytes=limit, of=OF)}
    tasks, thetas = compressed(model, plan)
    assert [task.governed.names for task in tasks] == [("0.weight", "2.weight")]
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    loaded = mlp(seed=2)
    artifact = load(path, loaded)
    expected = tasks[0].governed.scatter(thetas[0].decompress())
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in expected.items())
    assert [each.names for each in artifact.governed] == [("0.weight",), ("2.weight",)]
    dense = nominal_bytes((), model.state_dict(), info={}) - 288
    assert artifact.payload_bytes <= nominal_bytes(tasks, model.state_dict(), info={}) <= dense + limit + 650
    assert thetas[0].storage_bits() <= 8 * limit


def test_groups_that_a_budget_chose_save_multiply_accumulates(tmp_path):
    model, example = mlp(seed=3), torch.zeros(1, 6)
    groups = {"*": Budget(bytes=150, of=(GroupPruning(0.5, axis="input"),))}
    tasks, thetas = compressed(model, groups)
    assert "GroupPruning(keep=0.5, axis='input')" in thetas[0].chosen
    counted = model_macs(model, example)
    single = by_layer(tasks, thetas)
    weights = cut_weights(model, example, tasks=tasks, thetas=thetas)
    assert [tuple(weights[name].shape) for name in ("0.weight", "2.weight")] == [(4, 6), (3, 4)]
    assert count_macs(counted, weights, tasks=tasks, thetas=thetas) == 36
    assert [task.governed for task in single[0]] == [
        Governed((n,), (s,)) for n, s in (("0.weight", (8, 6)), ("2.weight", (3, 8)))
    ]
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    cut = load_structured(path, mlp(), example)
    assert torch.isfinite(cut(example)).all()


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_a_budget_of_multiply_accumulates_holds_as_the_layers_run(share):
    model, example = conv_net(), torch.zeros(1, 2, 6, 6)
    uses, counted = layer_uses(model, example), model_macs(model, example)
    layers = counted.total - counted.others
    of = (LowRank(1), LowRank(2), LowRank(3), Codebook(4))
    tasks, thetas = compressed(model, {"*": Budget(macs=int(share * layers), of=of, uses=uses)})
    macs = count_macs(counted, model.state_dict(), tasks=tasks, thetas=thetas)
    assert counted.others < macs <= counted.others + share * layers
    assert tasks[0].compression.spent(thetas[0]) == macs - counted.others
    assert not any("Codebook" in chosen for chosen in thetas[0].chosen)


def test_half_precision_models_stay_half():
    tasks, thetas = compressed(mlp().half(), {"*": Budget(bytes=100, of=OF)})
    assert thetas[0].dtype == torch.float16
    again = tasks[0].compress(tasks[0].governed.gather(dict(mlp().half().state_dict())), mu=1.0, previous=thetas[0])
    assert again.chosen == thetas[0].chosen
    assert all(theta.macs(Use()) > 0 for theta in thetas[0].thetas)


@pytest.mark.parametrize("dtype, least", [(torch.float64, 80), (torch.float16, 120)])
def test_a_budget_counts_the_bytes_of_the_weights_type(dtype, least):
    model, of = mlp().to(dtype), (L0Pruning(0.1), L0Pruning(0.4), L0Pruning(0.7))
    tasks, thetas = compressed(model, {"*": Budget(bytes=160, of=of)})
    assert thetas[0].dtype == dtype
    assert least < thetas[0].storage_bits() // 8 <= 160
    size = decode(encode(tasks, thetas, model.state_dict(), info={})).payload_bytes
    assert size <= nominal_bytes(tasks, model.state_dict(), info={})


@pytest.mark.parametrize("wrapped", [Joint, lambda budget: budget])
def test_small_parameters_share_a_budget(wrapped):
    model, budget = conv_net(), Budget(bytes=70, of=(Cast("float16"), UniformQuantization(4)))
    (task,), (theta,) = compressed(model, {SMALL: wrapped(budget)})
    assert theta.storage_bits() <= 8 * 70
    assert len(task.governed.names) == len(theta.chosen) == 6
    artifact = decode(encode([task], [theta], model.state_dict(), info={}))
    assert torch.equal(artifact.weights()["head.bias"], task.governed.scatter(theta.decompress())["head.bias"])
