"""LC, then training of Theta with its structure fixed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from lc_core.algorithm import LCState, State
from lc_core.fields import check_numbers, expect
from lc_core.methods.fixed_structure import fixed
from lc_core.methods.lc import lc_states
from lc_core.methods.method import Tasks, TrainedState, Training
from lc_core.methods.reparametrized import Phase, started, trained
from lc_core.methods.retrain import Retrain
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation
from lc_core.training.loop import lay_out


@dataclass(frozen=True)
class LCThenRetrain:
    """LC finds the structure of Theta (support, assignments, ranks), then L(Delta(Theta)) is minimised over its values.

    LC ends where w = Delta(Theta). A short budget stops it before: the other parameters then fit w, not Delta(Theta).
    The last steps mend that. Learning rate and mu run over LC's steps as over a whole plan, and the learning rate
    starts anew after them (`Schedule.anew`). Training is that of `Retrain`.

    Attributes:
        share: the part of the steps that train Theta, in (0, 1).
        distillation: learns from the reference's outputs, in place of the study's loss.
    """

    share: float = 0.2
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        expect(0 < self.share < 1, "share", self.share, "a part of the steps, above 0 and below 1")

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        Retrain().check(tasks)

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: LCState | TrainedState | None = None
    ) -> Iterator[State]:
        schedule, state = training.schedule, resume
        plan = schedule.plan(len(training.data))
        last = min(max(round((1 - self.share) * len(plan)), 1), len(plan) - 1)
        if isinstance(state, TrainedState):
            lay_out(model)
        else:
            for each in lc_states(model, tasks, training, resume=state, plan=schedule.anew(plan[:last])):
                state = replace(each, steps=len(plan))
                yield state
            assert isinstance(state, LCState), "LC yields direct compression at least"
            state = started(state)
        weights = fixed(tasks, state.structure or state.thetas, schedule)
        phase = Phase(schedule, schedule.anew(plan[last:]))
        yield from trained(model, tasks, weights, training, state=state, phase=phase)
