"""Quantization-aware training: the gradients are those of the papers, and Theta is what was trained."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from lc_core import Binary, Codebook, L0Pruning, ScaledTernary, UniformQuantization, plan_tasks
from lc_core.methods.known import METHODS
from lc_core.methods.qat import LearnedCodebook, LearnedStep
from tests.lc_core.methods.runs import SHORT, same, states_of
from tests.lc_core.models import mlp, randn

QAT = METHODS["qat"]


def grid(scale: float, *, bits: int, symmetric: bool, w: Tensor) -> LearnedStep:
    start = UniformQuantization(bits, symmetric=symmetric).compress(w, mu=1.0)
    return LearnedStep(w, replace(start, scale=torch.tensor([scale], dtype=w.dtype)))


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_gradients_are_those_of_lsq(symmetric: bool) -> None:
    """Esser et al., equations 3 and 5, with the gradient in s scaled by 1 / sqrt(N Q_P)."""
    w = torch.linspace(-2.0, 1.7, 23).double()
    weights = grid(0.3, bits=3, symmetric=symmetric, w=w)
    theta = weights.theta()
    zero = 3 if symmetric else int(theta.zero)
    q_n, q_p = zero, (6 if symmetric else 7) - zero
    slope = randn(23).double()
    weights.delta().backward(slope)
    s, ds, dw = 0.3, 0.0, []
    for v, g in zip(w.tolist(), slope.tolist(), strict=True):
        inside = -q_n < v / s < q_p
        dw.append(g if inside else 0.0)
        ds += g * (round(v / s) - v / s if inside else -q_n if v / s <= -q_n else q_p)
    found = {name: parameter.grad for name, parameter in weights.parameters.items()}
    torch.testing.assert_close(found["w"], torch.tensor(dw).double())
    assert float(found["scale"]) == pytest.approx(ds / (23 * max(q_n, q_p)) ** 0.5)


@pytest.mark.parametrize("mean", [False, True])
def test_the_gradient_of_a_codebook_is_the_sum_or_the_mean_over_its_weights(mean: bool) -> None:
    values = (0.8, -0.9, 0.1)  # in any order
    w, slope = randn(12), randn(12, seed=1)
    weights = LearnedCodebook(w, torch.tensor(values), mean=mean)
    weights.delta().backward(slope)
    found = {name: parameter.grad for name, parameter in weights.parameters.items()}
    assert torch.equal(found["w"], slope)
    nearest = [min(values, key=lambda value: abs(v - value)) for v in w.tolist()]
    for value, gradient in zip(values, found["codebook"].tolist(), strict=True):
        own = [g for near, g in zip(nearest, slope.tolist(), strict=True) if near == value]
        assert gradient == pytest.approx(sum(own) / (len(own) if mean else 1), abs=1e-6)


@pytest.mark.parametrize(
    "compression",
    [
        Codebook(3),
        UniformQuantization(2),
        UniformQuantization(3, symmetric=True, granularity="channel"),
        Binary(),
        ScaledTernary(),
    ],
)
def test_theta_is_what_the_model_computed_with(compression: Any) -> None:
    plan = {"0": compression}
    *_, state = states_of(QAT, plan)
    assert torch.equal(state.thetas[0].decompress(), state.weights["0.weight"])
    assert not torch.equal(state.held["0:w"], state.weights["0.weight"])


def test_pruning_is_not_quantization() -> None:
    with pytest.raises(ValueError, match=r"^applies to UniformQuantization, Codebook, .*, got L0Pruning$"):
        QAT.check(plan_tasks(mlp(), {"*": L0Pruning(0.5)}))


def test_a_run_whose_step_became_negative_goes_on_from_a_state_bit_for_bit() -> None:
    """Theta then counts from the other end, since its scale is positive."""
    plan, schedule = {"*": UniformQuantization(3, granularity="channel")}, replace(SHORT, lr=1.0)
    states = list(states_of(QAT, plan, schedule=schedule))
    assert float(states[5].held["0:scale"].min()) < 0
    assert same(states[6:], list(states_of(QAT, plan, schedule=schedule, resume=states[5])))
