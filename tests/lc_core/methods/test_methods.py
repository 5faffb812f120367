"""What every method keeps: it begins with direct compression, ends with the plan's sizes, and goes on bit for bit."""

from dataclasses import replace
from typing import Any, get_args

import pytest
from torch import nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, UniformQuantization, plan_tasks
from lc_core.methods.known import METHODS
from sweep.store.job import METHODS as WORDS
from sweep.store.job import Method
from tests.lc_core.methods.runs import FULL, SHORT, same, states_of, training
from tests.lc_core.models import mlp

PLANS: dict[str, Any] = {
    "prune": {"*": Joint(L0Pruning(0.3))},
    "codebook": {"*": Codebook(3)},
    "uniform": {"*": UniformQuantization(2)},
    "low rank": {"0": LowRank(2)},
    "both": {"*": Joint(Chain(L0Pruning(0.5), Codebook(2)))},
}


def applies(method: str, plan: Any) -> bool:
    try:
        METHODS[method].check(plan_tasks(mlp(), plan))
    except ValueError:
        return False
    return True


DISTINCT = [name for name in METHODS if name not in ("distill", "label_free", "lc_distill", "lc_label_free", "ptq")]
"""Those that differ in more than what they learn from; without `ptq`, which is one state of its own."""
CASES = [(method, name) for method in DISTINCT for name, plan in PLANS.items() if applies(method, plan)]


def test_the_names_are_those_that_records_may_hold() -> None:
    assert list(METHODS) == list(get_args(Method)) == list(WORDS)


@pytest.mark.parametrize(("method", "plan"), CASES)
def test_a_run_begins_with_dc_has_the_bytes_of_the_plan_and_goes_on_from_a_state_bit_for_bit(
    method: str, plan: str
) -> None:
    states = list(states_of(METHODS[method], PLANS[plan]))
    (direct,) = states_of(METHODS["dc"], PLANS[plan])
    assert same(states[0].thetas, direct.thetas)
    assert [state.step for state in states] == list(range(METHODS[method].steps(SHORT) + 1))
    outlines = [task.outline() for task in plan_tasks(mlp(), PLANS[plan])]
    assert [theta.storage_bits() for theta in states[-1].thetas] == [each.storage_bits() for each in outlines]
    for step in (0, 12, 16, 17)[: len(states)]:
        assert same(states[step + 1 :], list(states_of(METHODS[method], PLANS[plan], resume=states[step])))


@pytest.mark.parametrize("method", [name for name in DISTINCT if name != "dc"])
def test_training_lowers_the_loss_and_the_order_of_batches_is_that_of_lc(method: str) -> None:
    plan = PLANS["prune"] if (method, "prune") in CASES else PLANS["uniform"]
    states = list(states_of(METHODS[method], plan, schedule=FULL))
    assert states[-1].loss < states[1].loss
    lc = list(states_of(METHODS["lc"], plan, schedule=FULL))
    assert [state.epochs for state in states] == [state.epochs for state in lc]
    assert same(states[-1].batches, lc[-1].batches)


@pytest.mark.parametrize(("method", "plan"), [(method, plan) for method, plan in CASES if method != "dc"])
def test_weight_decay_is_part_of_the_loss_of_the_weights_that_the_model_has(method: str, plan: str) -> None:
    """Not of what they are made of, such as factors, which have another norm."""
    decay, losses = 0.1, []
    for inside in (False, True):
        model = mlp()

        def loss(outputs: Any, targets: Any, model: nn.Module = model, inside: bool = inside) -> Any:
            norm = sum(parameter.square().sum() for parameter in model.parameters())
            return nn.functional.cross_entropy(outputs, targets) + inside * decay / 2 * norm

        given = replace(training(replace(SHORT, weight_decay=0.0 if inside else decay)), loss=loss)
        states = list(METHODS[method].states(model, plan_tasks(model, PLANS[plan]), given, resume=None))
        losses.append([each.double() for each in states[-1].weights.values()])
    plain = list(states_of(METHODS[method], PLANS[plan]))[-1].weights.values()
    for one, other, without in zip(*losses, plain, strict=True):
        assert one.allclose(other, rtol=1e-4, atol=1e-5)
        assert not one.allclose(without.double(), rtol=1e-2, atol=1e-2)
