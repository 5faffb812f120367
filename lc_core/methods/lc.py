"""LC, and direct compression, which is its first state."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn

from lc_core.algorithm import LCState, run_lc
from lc_core.methods.method import Tasks, Training
from lc_core.schedule import LStep, Schedule
from lc_core.training.distillation import Distillation


@dataclass(frozen=True)
class LC:
    """min over w, Theta of L(w) subject to w = Delta(Theta), by `lc_core.algorithm.run_lc`."""

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        return None

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: LCState | None = None
    ) -> Iterator[LCState]:
        return lc_states(model, tasks, training, resume=resume)


@dataclass(frozen=True)
class DirectCompression:
    """Theta = Pi(w) of the reference's weights w; no training."""

    distillation: Distillation | None = None

    def steps(self, schedule: Schedule) -> int:
        return 0

    def check(self, tasks: Tasks) -> None:
        return None

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: LCState | None = None
    ) -> Iterator[LCState]:
        return itertools.islice(LC().states(model, tasks, training, resume=resume), 1 if resume is None else 0)


def lc_states(
    model: nn.Module,
    tasks: Tasks,
    training: Training,
    *,
    resume: LCState | None = None,
    plan: Sequence[LStep] | None = None,
) -> Iterator[LCState]:
    """The states of `run_lc` with `training`; its LC steps are those of `plan`, or of the schedule."""
    return run_lc(
        model,
        tasks,
        training.data,
        loss=training.loss,
        schedule=training.schedule,
        seed=training.seed,
        resume=resume,
        forward=training.forward,
        plan=plan,
    )


def direct_compression(model: nn.Module, tasks: Tasks, training: Training) -> LCState:
    """The state of direct compression, with which every method begins."""
    return next(LC().states(model, tasks, training))
