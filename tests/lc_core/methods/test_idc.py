"""Iterated direct compression, and the cycles that it reports."""

import pytest
import torch
from torch import nn

from lc_core import Codebook, Joint, L0Pruning, Schedule, Split, plan_tasks
from lc_core.methods.idc import IteratedDirectCompression
from lc_core.methods.method import Training
from tests.lc_core.methods.runs import states_of

IDC = IteratedDirectCompression()


def test_theta_is_the_projection_of_what_training_from_delta_gave() -> None:
    plan = {"*": Joint(L0Pruning(0.3))}
    for state in list(states_of(IDC, plan))[1:]:
        w = torch.cat([state.weights[name].reshape(-1) for name in ("0.weight", "2.weight")])
        kept = w.abs().argsort(descending=True, stable=True)[: round(0.3 * w.numel())].sort().values
        assert torch.equal(state.thetas[0].support, kept)
        assert torch.equal(state.thetas[0].values.values, w[kept])


def test_full_training_between_projections_leads_back_to_the_same_weights() -> None:
    """The loss is convex and each L step reaches its minimum, so that the next projection is the last one."""
    model = nn.Linear(4, 1, bias=False)
    inputs = torch.eye(4)
    targets = torch.tensor([[3.0], [2.0], [-1.0], [0.5]])
    with torch.no_grad():
        model.weight.copy_(targets.T)
    schedule = Schedule(epochs=2000, lr=0.5, batch_size=4, momentum=0.0, lr_decay="constant")
    training = Training(Split(inputs, targets), nn.functional.mse_loss, schedule, 0, lambda: nn.Linear(4, 1))
    first, *rest = IDC.states(model, plan_tasks(model, {"*": Codebook(2)}), training)
    assert first.facts == {}
    assert [state.facts["returned_to"] for state in rest] == list(range(len(rest)))
    assert all(state.facts["moved"] < 1e-6 for state in rest)


def test_a_cycle_names_the_last_step_of_the_same_structure() -> None:
    """One weight of two stays. Momentum is 0, and an L step of lr 2 on a parabola mirrors w about its minimum."""
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[2.0, 1.0]]))
    schedule = Schedule(epochs=20, lr=2.0, batch_size=2, momentum=0.0, lr_decay="constant")

    def parabola(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """||w - (1, 1.5)||^2 / 2, so that (w1, w2) goes to (2 - w1, 3 - w2) or back."""
        return ((outputs.reshape(-1) - targets) ** 2).sum() / 2

    training = Training(Split(torch.eye(2), torch.tensor([1.0, 1.5])), parabola, schedule, 0, lambda: model)
    states = list(IDC.states(model, plan_tasks(model, {"*": L0Pruning(0.5)}), training))
    supports = [state.thetas[0].support.tolist() for state in states]
    for number, state in enumerate(states[1:], start=1):
        earlier = [place for place in range(number) if supports[place] == supports[number]]
        assert state.facts["returned_to"] == (earlier[-1] if earlier else None)
    assert supports[:4] == [[0], [1], [0], [1]]


def test_the_gap_of_half_precision_weights_is_that_of_float32() -> None:
    """Squares of these weights are beyond float16."""
    model = nn.Linear(2, 1, bias=False).half()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[300.0, 400.0]]))
    schedule = Schedule(epochs=1, lr=1e-3, batch_size=2)
    data = Split(torch.eye(2).half(), torch.tensor([300.0, 500.0]).half())

    def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (outputs.reshape(-1) - targets).float().square().mean()

    training = Training(data, loss, schedule, 0, lambda: model)
    direct, state, *_ = IDC.states(model, plan_tasks(model, {"*": L0Pruning(0.5)}), training)
    w, before, delta = (
        tensor.double()
        for tensor in (state.weights["weight"], direct.thetas[0].decompress(), state.thetas[0].decompress())
    )
    assert state.gap == pytest.approx(float((w - delta).norm() / delta.norm()), rel=1e-6)
    assert state.facts["moved"] == pytest.approx(float((delta - before).norm() / delta.norm()), rel=1e-6)
    assert min(state.gap, state.facts["moved"]) > 0
