"""Masks by Adam: the gradient of the objective, and the two parts of a run."""

import pytest
import torch

from lc_core import Codebook, GroupPruning, Joint, L0Pruning, plan_tasks
from lc_core.methods.adam_masks import AdamMasks, Scored
from tests.lc_core.methods.runs import same, states_of
from tests.lc_core.models import mlp, randn

METHOD = AdamMasks(price=0.1)
PLAN = {"*": Joint(L0Pruning(0.3))}


def test_the_gradient_is_that_of_the_loss_and_the_price_of_what_is_removed() -> None:
    """In the mask m: sum_i g_i m_i w_i + price ||(1 - m) w||_1, by autograd."""
    w, slope = randn(10), randn(10, seed=1)
    scored = Scored(w, L0Pruning(0.4), price=0.3)
    delta = scored.delta()
    m = (delta != 0).float().requires_grad_()
    ((slope * m * w).sum() + 0.3 * ((1 - m) * w.abs()).sum()).backward()
    delta.backward(slope)
    (scores,) = scored.parameters.values()
    torch.testing.assert_close(scores.grad, m.grad)
    assert delta.detach().nonzero().reshape(-1).tolist() == w.abs().argsort()[6:].sort().values.tolist()


def test_masks_train_first_and_the_weights_that_stay_afterwards() -> None:
    states = list(states_of(METHOD, PLAN))
    reference = torch.cat([mlp().state_dict()[name].reshape(-1) for name in ("0.weight", "2.weight")])
    for state in states[1:11]:  # only the masks change
        theta = state.thetas[0]
        assert torch.equal(theta.values.values, reference[theta.support])
        assert torch.equal(state.weights["0.bias"], mlp().state_dict()["0.bias"])
    supports = [state.thetas[0].support.tolist() for state in states]
    assert supports[10] != supports[0]
    assert supports[10:] == [supports[10]] * 11
    assert not torch.equal(states[-1].weights["0.bias"], states[10].weights["0.bias"])


@pytest.mark.parametrize("step", [5, 10])
def test_it_goes_on_in_the_first_part_and_between_the_parts(step: int) -> None:
    states = list(states_of(METHOD, PLAN))
    assert same(states[step + 1 :], list(states_of(METHOD, PLAN, resume=states[step])))


def test_groups_stay_by_the_sum_of_their_scores() -> None:
    *_, state = states_of(METHOD, {"0": GroupPruning(0.5)})
    assert state.thetas[0].kept.numel() == 4


def test_codebooks_have_no_mask() -> None:
    with pytest.raises(ValueError, match=r"^applies to L0Pruning, GroupPruning, got Codebook$"):
        METHOD.check(plan_tasks(mlp(), {"*": Codebook(2)}))
