"""Training of the compressed structure from scratch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import nn

from lc_core.compression import Compressed
from lc_core.methods.fixed_structure import fixed, values_of, with_values
from lc_core.methods.method import Tasks, TrainedState, Training
from lc_core.methods.reparametrized import begun, copied, trained
from lc_core.methods.retrain import Retrain
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation


@dataclass(frozen=True)
class FromScratch:
    """min over Theta of L(Delta(Theta)) with the structure of Pi(w), from a random initialization.

    Liu, Sun, Zhou, Huang and Darrell, "Rethinking the value of network pruning", arXiv:1810.05270, with equal
    epochs ("Scratch-E"). Support, assignments and ranks are those of the reference's direct compression. The real
    numbers are those of Pi(w_0), w_0 the weights of an untrained model: of pruned weights its k largest, in the order
    of the support; of a codebook its centres, in ascending order. All other parameters are those of the untrained model
    too. Chosen here: the schedule of LC, which is as long as the reference's training in most studies.
    """

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        Retrain().check(tasks)
        for task in tasks:
            if task.outline() is None:
                kind = type(task.compression).__name__
                raise ValueError(f"does not apply to {kind}, whose size is not known before training")

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        state = yield from begun(model, tasks, training, resume=resume)
        if state.step == 0:
            fresh = copied(training.build_model())
            pairs = zip(tasks, state.thetas, strict=True)
            drawn = tuple(
                _drawn(theta, task.compress(task.governed.gather(fresh), mu=1.0, previous=None))
                for task, theta in pairs
            )
            state = replace(state, weights=fresh, structure=drawn)
        weights = fixed(tasks, state.structure, training.schedule)
        yield from trained(model, tasks, weights, training, state=state)


def _drawn(theta: Compressed, random: Compressed) -> Compressed:
    """The structure of `theta` with the real numbers of `random`, which has the same sizes."""
    return with_values(theta, iter(values_of(random)))
