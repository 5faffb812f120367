"""Retraining: the structure stays, and gradients are those of the weights that share a number."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from lc_core import (
    CP,
    Budget,
    Cast,
    Chain,
    Circulant,
    Codebook,
    Compressed,
    GroupPruning,
    Joint,
    L0Pruning,
    LowRank,
    Quantized,
    ScaledBinary,
    ScaledTernary,
    Separable,
    Sum,
    Ternary,
    Tucker2,
    Uniform,
    UniformQuantization,
    plan_tasks,
)
from lc_core.methods.fixed_structure import FixedSigns, FixedStructure, in_order, values_of
from lc_core.methods.known import METHODS
from tests.lc_core.methods.runs import FULL, states_of
from tests.lc_core.models import mlp, randn

RETRAIN = METHODS["retrain"]


def ends(plan: Any) -> tuple[Compressed, Compressed]:
    """The first Theta after direct compression, and after retraining."""
    states = list(states_of(RETRAIN, plan))
    return states[0].thetas[0], states[-1].thetas[0]


def test_the_support_stays_and_its_values_are_trained() -> None:
    before, after = ends({"*": Joint(L0Pruning(0.2))})
    assert torch.equal(before.support, after.support)
    changed = before.values.values != after.values.values
    assert int(changed.sum()) > 0  # a weight of a unit that nothing follows stays


def test_weights_that_share_a_value_share_it_afterwards() -> None:
    before, after = ends({"*": Codebook(3)})
    assert after.codebook.tolist() == sorted(after.codebook.tolist())
    pairs = {(int(a), float(b)) for a, b in zip(before.codes, after.decompress().reshape(-1), strict=True)}
    assert len(pairs) == 3
    assert not torch.equal(before.codebook, after.codebook)


def test_the_rank_stays() -> None:
    before, after = ends({"0": LowRank(2)})
    assert int(torch.linalg.matrix_rank(after.decompress())) == before.rank == 2


@pytest.mark.parametrize("isometric", [False, True])
def test_a_step_of_a_codebook_is_the_brute_force_one(isometric: bool) -> None:
    """The gradient of a value is the sum over its weights; the isometric step is their mean."""
    codes = torch.tensor([0, 1, 1, 2, 1, 0], dtype=torch.int32)
    gradient = randn(6)
    weights = FixedStructure(Quantized((6,), codes, torch.tensor([-1.0, 0.5, 2.0])), isometric=isometric)
    weights.delta().backward(gradient)
    (held,) = weights.parameters.values()
    with torch.no_grad():
        held -= 0.1 * held.grad
    slopes = [[float(g) for g, code in zip(gradient, codes, strict=True) if code == j] for j in range(3)]
    steps = torch.tensor([sum(each) / (len(each) if isometric else 1) for each in slopes])
    torch.testing.assert_close(weights.theta().codebook, torch.tensor([-1.0, 0.5, 2.0]) - 0.1 * steps)


KINDS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "pruning": (L0Pruning(0.4), (6, 8)),
    "codebook": (Codebook(3), (6, 8)),
    "uniform": (UniformQuantization(3), (6, 8)),
    "by channel": (UniformQuantization(3, symmetric=True, granularity="channel"), (6, 8)),
    "low rank": (LowRank(2), (6, 8)),
    "spatial": (LowRank(2, scheme="spatial"), (4, 3, 3, 3)),
    "tucker": (Tucker2((2, 2)), (4, 3, 3, 3)),
    "cp": (CP(3), (4, 3, 3, 3)),
    "separable": (Separable(2), (4, 3, 3, 3)),
    "circulant": (Circulant(2), (6, 8)),
    "sum": (Sum(L0Pruning(0.1), Codebook(2)), (6, 8)),
    "chain": (Chain(L0Pruning(0.5), Codebook(2)), (6, 8)),
    "quantized factors": (Chain(LowRank(2), Codebook(4)), (6, 8)),
}


@pytest.mark.parametrize("isometric", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_of_every_kind_is_that_of_finite_differences(kind: str, isometric: bool) -> None:
    compression, shape = KINDS[kind]
    theta = compression.compress(randn(*shape).double(), mu=1.0)
    weights = FixedStructure(theta, isometric=isometric)
    torch.testing.assert_close(weights.delta(), theta.decompress())
    slope, step = randn(*shape, seed=1).double(), 1e-6

    def value() -> float:
        return float((weights.delta().detach() * slope).sum())

    weights.delta().backward(slope)
    for held in weights.parameters.values():
        flat, found = held.detach().reshape(-1), held.grad
        assert found is not None
        for place in range(0, flat.numel(), max(flat.numel() // 4, 1)):
            kept = float(flat[place])
            flat[place] = kept + step
            above = value()
            flat[place] = kept - step
            below = value()
            flat[place] = kept
            assert (above - below) / (2 * step) == pytest.approx(float(found.reshape(-1)[place]), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("kind", ["codebook", "uniform", "by channel", "chain"])
def test_one_isometric_step_is_the_projected_step_of_the_weights(kind: str) -> None:
    """Delta moves by -lr P g, P the orthogonal projection on the weights of this structure."""
    compression, shape = KINDS[kind]
    weights = FixedStructure(compression.compress(randn(*shape).double(), mu=1.0), isometric=True)
    gradient, before = randn(*shape, seed=1).double(), weights.delta().detach()
    columns = []
    for held in weights.parameters.values():
        for place in range(held.numel()):
            with torch.no_grad():
                held.reshape(-1)[place] += 1.0
            columns.append((weights.delta().detach() - before).reshape(-1))
            with torch.no_grad():
                held.reshape(-1)[place] -= 1.0
    basis = torch.stack(columns, dim=1)
    weights.delta().backward(gradient)
    with torch.no_grad():
        for held in weights.parameters.values():
            held -= 0.1 * held.grad
    projected = basis @ torch.linalg.lstsq(basis, gradient.reshape(-1, 1)).solution
    torch.testing.assert_close(weights.delta().detach(), before - 0.1 * projected.reshape(shape))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "quantized factors"])
def test_a_unit_of_each_isometric_number_adds_a_unit_to_the_weights(kind: str) -> None:
    compression, shape = KINDS[kind]
    large = 100 * randn(*shape).double()  # no norm is below 1
    weights = FixedStructure(compression.compress(large, mu=1.0), isometric=True)
    before = weights.delta().detach()
    for held in weights.parameters.values():
        for place in range(held.numel()):
            with torch.no_grad():
                held.reshape(-1)[place] += 1.0
            assert float((weights.delta().detach() - before).norm()) == pytest.approx(1.0)
            with torch.no_grad():
                held.reshape(-1)[place] -= 1.0


def test_a_factor_that_is_almost_zero_takes_no_long_step() -> None:
    """Weights of rank 1 at rank 3: two columns of each factor are rounding."""
    w = torch.outer(randn(6), randn(8))
    weights = FixedStructure(LowRank(3).compress(w, mu=1.0), isometric=True)
    before = weights.delta().detach()
    gradient = randn(6, 8, seed=1)
    weights.delta().backward(gradient)
    with torch.no_grad():
        for held in weights.parameters.values():
            held -= 0.1 * held.grad
    assert float((weights.delta().detach() - before).norm()) <= 0.1 * 2 * float(gradient.norm())


def _grid(scale: Tensor, zero: Tensor | None, bits: int) -> Uniform:
    return Uniform((2, 3), torch.tensor([0, 1, 2, 2, 0, 1], dtype=torch.uint8), scale, zero, bits)


@pytest.mark.parametrize(
    "theta",
    [
        Quantized((4,), torch.tensor([0, 1, 2, 0], dtype=torch.int32), torch.tensor([3.0, -1.0, 0.5])),
        _grid(torch.tensor([-0.5]), None, 2),
        _grid(torch.tensor([0.25, -0.5]), torch.tensor([1, 3], dtype=torch.uint8), 2),
    ],
)
def test_values_out_of_order_are_put_in_order_without_a_change_of_the_weights(theta: Compressed) -> None:
    settled = in_order(theta)
    assert torch.equal(settled.decompress(), theta.decompress())
    (values,) = values_of(settled)
    assert values.tolist() == sorted(values.tolist()) if isinstance(settled, Quantized) else bool((values >= 0).all())


@pytest.mark.parametrize("isometric", [False, True])
@pytest.mark.parametrize("compression", [ScaledBinary(), ScaledTernary()])
def test_a_step_of_a_scale_is_the_brute_force_one(compression: Any, isometric: bool) -> None:
    """dL/da is the sum of z_i g_i; the isometric step is that over ||z||^2. A scale may pass zero."""
    theta, gradient = compression.compress(randn(6, 8).double(), mu=1.0), 30 * randn(6, 8, seed=1).double()
    scale, weights = float(theta.codebook[-1]), FixedSigns(theta, isometric=isometric)
    signs = (theta.decompress() / scale).round()
    weights.delta().backward(gradient)
    (held,) = weights.parameters.values()
    with torch.no_grad():
        held -= 0.1 * held.grad
    slope = float((signs * gradient).sum()) / (float(signs.square().sum()) if isometric else 1)
    after = weights.theta()
    torch.testing.assert_close(after.decompress(), (scale - 0.1 * slope) * signs)
    assert after.codebook.tolist() == sorted(after.codebook.tolist())
    assert torch.equal(FixedSigns(weights.structure(), isometric=isometric).delta(), after.decompress())


@pytest.mark.parametrize("compression", [ScaledBinary(), ScaledTernary()])
def test_signs_stay_and_their_scale_is_trained(compression: Any) -> None:
    before, after = ends({"*": Joint(compression)})
    assert torch.equal(before.codes, after.codes)
    assert float(after.codebook[-1]) == -float(after.codebook[0]) != float(before.codebook[-1])
    assert before.storage_bits() == after.storage_bits()


@pytest.mark.parametrize("compression", [Sum(ScaledBinary(), L0Pruning(0.1)), Ternary(), Cast("float16")])
def test_what_has_no_number_to_train_is_refused(compression: Any) -> None:
    kind = "ScaledBinary" if isinstance(compression, Sum) else type(compression).__name__
    with pytest.raises(ValueError, match=f"^does not apply to {kind}, "):
        RETRAIN.check(plan_tasks(mlp(), {"*": compression}))


@pytest.mark.parametrize(
    "plan",
    [{"*": Joint(GroupPruning(0.5))}, {"*": Budget(bytes=120, of=(Codebook(2), Codebook(4)))}],
)
def test_groups_and_budgets_keep_their_bytes(plan: Any) -> None:
    before, after = ends(plan)
    assert before.storage_bits() == after.storage_bits()
    assert not torch.equal(before.decompress(), after.decompress())
    assert torch.equal(before.decompress() == 0, after.decompress() == 0)


def test_adam_trains_too() -> None:
    schedule = dataclasses.replace(FULL, optimizer="adam", lr=0.01)
    first, *_, last = [state.loss for state in states_of(RETRAIN, {"*": Codebook(2)}, schedule=schedule)][1:]
    assert last < first
