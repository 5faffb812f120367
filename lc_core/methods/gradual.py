"""Gradual magnitude pruning."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Dense
from lc_core.compressions.pruning import L0Pruning, Sparse
from lc_core.fields import check_numbers, expect
from lc_core.methods.method import Tasks, TrainedState, Training, require
from lc_core.methods.reparametrized import Phase, begun, trained
from lc_core.schedule import LStep, Schedule
from lc_core.training.distillation import Distillation


class Masked:
    """Weights w under a mask. The parameter is w; where the mask is 0, w gets no gradient and keeps its value."""

    def __init__(self, w: Tensor, support: Tensor) -> None:
        self._w = nn.Parameter(w.clone())
        self._mask = torch.empty_like(w)
        self._keep(support)

    def prune(self, pruning: L0Pruning) -> None:
        """Sets the mask to the weights of largest magnitude, of those that are masked now too."""
        self._keep(pruning.select(self._w.detach().abs()))

    def _keep(self, support: Tensor) -> None:
        self._mask = torch.zeros_like(self._mask.reshape(-1)).index_fill(0, support, 1.0).reshape(self._mask.shape)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"w": self._w}

    def delta(self) -> Tensor:
        return self._w * self._mask

    def theta(self) -> Compressed:
        support = self._mask.reshape(-1).nonzero().reshape(-1)
        return Sparse(tuple(self._w.shape), support, Dense(self._w.detach().reshape(-1)[support]))

    def structure(self) -> None:
        return None


@dataclass(frozen=True)
class Gradual:
    """Magnitude pruning that reaches its sparsity step by step, with training between.

    Zhu and Gupta, "To prune, or not to prune", arXiv:1710.01878: after t of n pruning steps the sparsity is s_t =
    s_f + (s_i - s_f) (1 - t / n)^3. Chosen here: s_i = 0 at the reference; the masks are renewed at the beginning
    of each step of LC's schedule, over the layers that share a support in the family; they are final after the part
    `ramp` of the steps, and the remaining steps train the weights that are left. As in the paper's code, masked weights
    keep their value, and may return at the next renewal if others fell below them.

    Attributes:
        ramp: the part of the steps after which the sparsity is final, in (0, 1].
    """

    ramp: float = 0.5
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        expect(0 < self.ramp <= 1, "ramp", self.ramp, "a part of the steps, above 0, at most 1")

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def keep(self, final: float, *, step: int, steps: int) -> float:
        """The fraction of weights that stay during `step`, counted from 1, where `final` stay at the end."""
        return final + (1 - final) * (1 - min(step / self._last(steps), 1.0)) ** 3

    def _last(self, steps: int) -> int:
        """The last step that begins with new masks."""
        return max(round(self.ramp * steps), 1)

    def check(self, tasks: Tasks) -> None:
        require(tasks, (L0Pruning,))

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        state = yield from begun(model, tasks, training, resume=resume)
        supports = [theta.support for theta in state.thetas if isinstance(theta, Sparse)]
        pairs = zip(tasks, supports, strict=True)
        masked = [Masked(task.governed.gather(state.weights), support) for task, support in pairs]

        def begin(step: LStep) -> None:
            if step.number > self._last(state.steps):
                return
            for task, each in zip(tasks, masked, strict=True):
                assert isinstance(task.compression, L0Pruning)
                kept = self.keep(task.compression.keep, step=step.number, steps=state.steps)
                each.prune(replace(task.compression, keep=kept))

        phase = Phase(training.schedule, training.schedule.plan(len(training.data)), begin=begin)
        yield from trained(model, tasks, masked, training, state=state, phase=phase)
