"""Gradual pruning: the schedule, and the masks."""

import pytest
import torch

from lc_core import Codebook, Joint, L0Pruning, plan_tasks
from lc_core.methods.gradual import Gradual, Masked
from tests.lc_core.methods.runs import states_of
from tests.lc_core.models import mlp

FINAL, STEPS = 0.1, 20


def test_the_sparsity_of_each_step_is_that_of_the_paper() -> None:
    """s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n Delta t))^3, equation 1 of arXiv:1710.01878."""
    method, s_i, s_f, n = Gradual(ramp=0.5), 0.0, 1 - FINAL, 10
    states = list(states_of(method, {"*": Joint(L0Pruning(FINAL))}))[1:]
    weights = 6 * 8 + 8 * 3
    for t, state in enumerate(states, start=1):
        s_t = s_f + (s_i - s_f) * (1 - min(t, n) / n) ** 3
        assert method.keep(FINAL, step=t, steps=STEPS) == pytest.approx(1 - s_t)
        assert state.thetas[0].support.numel() == round((1 - s_t) * weights)
    final = [state.thetas[0].support.tolist() for state in states[n - 1 :]]
    assert final == [final[0]] * (STEPS - n + 1)


def test_the_model_has_the_masked_weights() -> None:
    for state in list(states_of(Gradual(), {"*": Joint(L0Pruning(FINAL))}))[1:]:
        w = torch.cat([state.weights[name].reshape(-1) for name in ("0.weight", "2.weight")])
        assert torch.equal(state.thetas[0].decompress(), w)


def test_a_masked_weight_keeps_its_value_and_comes_back_when_others_fall_below_it() -> None:
    weights = Masked(torch.tensor([3.0, -2.0, 1.0]), torch.arange(3))
    weights.prune(L0Pruning(1 / 3))
    weights.delta().sum().backward()
    (w,) = weights.parameters.values()
    assert w.grad is not None
    assert w.grad.tolist() == [1.0, 0.0, 0.0]
    with torch.no_grad():
        w[0] = 0.5
    weights.prune(L0Pruning(1 / 3))
    assert weights.theta().decompress().tolist() == [0.0, -2.0, 0.0]


def test_it_prunes_and_nothing_else() -> None:
    with pytest.raises(ValueError, match=r"^applies to L0Pruning, got Codebook$"):
        Gradual().check(plan_tasks(mlp(), {"*": Codebook(2)}))
