"""LC, then training of Theta with its structure fixed."""

from dataclasses import replace

import pytest

from lc_core import Joint, L0Penalty, L0Pruning, Schedule, plan_tasks
from lc_core.algorithm import LCState, run_lc
from lc_core.methods.fixed_structure import fixed
from lc_core.methods.known import METHODS
from lc_core.methods.lc_retrain import LCThenRetrain
from lc_core.methods.method import TrainedState
from lc_core.methods.reparametrized import Phase, started, trained
from tests.lc_core.methods.runs import FULL, same, states_of, training
from tests.lc_core.models import mlp

PLAN = {"*": Joint(L0Pruning(0.2))}


def test_the_first_steps_are_lc_on_a_plan_of_their_own_and_the_last_train_what_it_kept() -> None:
    states = list(states_of(LCThenRetrain(share=0.2), PLAN, schedule=FULL))
    model, given = mlp(), training(FULL)
    plan = FULL.anew(FULL.plan(len(given.data))[:32])
    lc = list(run_lc(model, plan_tasks(model, PLAN), given.data, loss=given.loss, schedule=FULL, seed=0, plan=plan))
    assert all(isinstance(state, LCState) for state in states[:33])
    assert all(isinstance(state, TrainedState) for state in states[33:])
    assert same([state.thetas for state in states[:33]], [state.thetas for state in lc])
    model, rate = mlp(), FULL.anew(FULL.plan(len(given.data))[32:])
    tasks, start = plan_tasks(model, PLAN), started(replace(lc[-1], steps=40))
    weights, phase = fixed(tasks, start.thetas, FULL), Phase(FULL, rate)
    assert same(states[33:], list(trained(model, tasks, weights, given, state=start, phase=phase)))
    supports = [state.thetas[0].decompress() != 0 for state in states]
    assert all(same(support, supports[32]) for support in supports[33:])
    assert not same(supports[32], supports[0])
    assert states[-1].loss < states[33].loss
    assert {state.steps for state in states} == {40}


def test_direct_compression_of_a_penalty_form_is_that_of_lc_where_the_iterations_do_not_divide_evenly() -> None:
    plan, schedule = {"*": L0Penalty(1e-2)}, Schedule(epochs=7, lr=0.05, batch_size=16)
    first, lc = (next(states_of(METHODS[name], plan, schedule=schedule)) for name in ("lc_retrain", "lc"))
    assert same(first.thetas, lc.thetas)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_share_near_the_ends_leaves_a_step_to_each_part(share: float) -> None:
    states = list(states_of(LCThenRetrain(share=share), PLAN))
    assert [isinstance(state, LCState) for state in states].count(True) == (20 if share < 0.5 else 2)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        LCThenRetrain(share=share)
