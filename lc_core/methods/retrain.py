"""Direct compression, then training of Theta with its structure fixed."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from lc_core.compressions.cast import Cast
from lc_core.compressions.fixed_codebooks import (
    Binary,
    FixedCodebook,
    PowersOfTwo,
    Ternary,
)
from lc_core.methods.fixed_structure import SCALED, fixed
from lc_core.methods.method import Tasks, TrainedState, Training, refuse
from lc_core.methods.reparametrized import begun, trained
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation

FIXED = (Binary, FixedCodebook, PowersOfTwo, Ternary)


@dataclass(frozen=True)
class Retrain:
    """min over Theta of L(Delta(Theta)) with the structure of Pi(w) fixed: support, assignments, ranks.

    Pruned weights are retrained as in Han, Pool, Tran and Dally, "Learning both weights and connections for efficient
    neural networks", arXiv:1506.02626; values of codebooks by the sum of the gradients of their weights, as
    in Han, Mao and Dally, "Deep compression", arXiv:1510.00149, equation 3. Factors and scales likewise. Chosen here:
    the learning rate of LC, with the steps of `FixedStructure` for SGD; parameters that are not compressed train too;
    one round, not several of pruning and retraining.

    Attributes:
        distillation: learns from the reference's outputs, in place of the study's loss.
    """

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        refuse(tasks, FIXED, "whose values are fixed")
        whole = [task for task in tasks if not isinstance(task.compression, SCALED)]
        refuse(whole, SCALED, "as a part of another compression")
        refuse(tasks, (Cast,), "whose rounded values have no gradient")

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        state = yield from begun(model, tasks, training, resume=resume)
        weights = fixed(tasks, state.structure or state.thetas, training.schedule)
        yield from trained(model, tasks, weights, training, state=state)
