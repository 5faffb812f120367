"""LC, then training of Theta with its structure fixed."""

from lc_core import Joint, L0Pruning, plan_tasks
from lc_core.algorithm import LCState, run_lc
from lc_core.methods.lc_retrain import LCThenRetrain
from lc_core.methods.method import TrainedState
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
    supports = [state.thetas[0].decompress() != 0 for state in states]
    assert all(same(support, supports[32]) for support in supports[33:])
    assert not same(supports[32], supports[0])
    assert states[-1].loss < states[33].loss
    assert {state.steps for state in states} == {40}
