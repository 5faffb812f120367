"""Masks that Adam optimizes, then training of what they keep."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Dense
from lc_core.compressions.pruning import L0Pruning, Sparse
from lc_core.compressions.structured import GroupPruning
from lc_core.fields import check_numbers, expect
from lc_core.methods.fixed_structure import fixed
from lc_core.methods.method import Tasks, TrainedState, Training, require
from lc_core.methods.reparametrized import Phase, begun, copied, trained
from lc_core.schedule import Schedule
from lc_core.task import CompressionTask
from lc_core.training.distillation import Distillation

Pruning = L0Pruning | GroupPruning


class Scored:
    """Fixed weights w, of which those (or those groups) stay whose scores are the largest; the scores train.

    The score's gradient passes the choice straight through: dL/dDelta w - price |w|, the derivative of
    L(m w) + price ||(1 - m) w||_1 in the mask m.
    """

    def __init__(self, w: Tensor, pruning: Pruning, *, price: float) -> None:
        self._w, self._pruning, self._price = w, pruning, price
        self._scores = nn.Parameter(w.abs() / w.abs().mean().clamp(min=1e-12))

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"scores": self._scores}

    def delta(self) -> Tensor:
        scores: Tensor = _Less.apply(self._scores, self._price * self._w.abs())  # type: ignore[no-untyped-call]
        return self.theta().decompress() + self._w * (scores - scores.detach())

    def theta(self) -> Compressed:
        scores, shape = self._scores.detach(), tuple(self._w.shape)
        if isinstance(self._pruning, GroupPruning):
            return self._pruning.gather(self._w, self._pruning.select(self._pruning.split(scores), shape=shape))
        support = self._pruning.select(scores)
        return Sparse(shape, support, Dense(self._w.reshape(-1)[support]))

    def structure(self) -> None:
        return None


class _Less(torch.autograd.Function):
    """The scores themselves; in the backward pass, their gradient less a constant."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, less: Tensor) -> Tensor:
        ctx.save_for_backward(less)
        return scores.view_as(scores)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (less,) = ctx.saved_tensors
        return gradients[0] - less, None


@dataclass(frozen=True)
class AdamMasks:
    """First masks over weights or groups, by Adam: min over m in {0, 1}^n of L(m w) + price ||(1 - m) w||_1 subject to
    the family's number of weights or groups, w the reference's. Then the weights that stay, with the masks fixed.

    The price is on the l1 norm of what the masks remove. A mask is 1 where its score is among the largest, and the
    score gets the mask's gradient, as in the edge-popup algorithm of Ramanujan et al., "What's hidden in a randomly
    weighted neural network?", arXiv:1911.13299; Adam is that of Kingma and Ba, arXiv:1412.6980. With `distillation`,
    both parts learn from the reference's outputs too. Chosen here: scores begin at |w| / mean|w|; a group's is the sum
    over its weights; nothing else trains in the first part, and the second is `Retrain`. Quantization steps are not
    learned here: `QuantizationAware` learns those of weights, and `ActivationSteps` train with the biases.

    Attributes:
        price: lambda, in units of the loss.
        rate: the learning rate of the scores.
        ramp: the part of the steps that goes to the masks, in (0, 1).
    """

    price: float = 1e-4
    rate: float = 0.01
    ramp: float = 0.5
    distillation: Distillation | None = None

    def __post_init__(self) -> None:
        check_numbers(self)
        expect(0 <= self.price < math.inf, "price", self.price, "a number, 0 or more")
        expect(0 < self.rate < math.inf, "rate", self.rate, "a positive number")
        expect(0 < self.ramp < 1, "ramp", self.ramp, "a part of the steps, above 0 and below 1")

    def steps(self, schedule: Schedule) -> int:
        return schedule.steps

    def check(self, tasks: Tasks) -> None:
        require(tasks, (L0Pruning, GroupPruning))

    def states(
        self, model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None = None
    ) -> Iterator[TrainedState]:
        reference = copied(model)
        state = yield from begun(model, tasks, training, resume=resume)
        last = max(round(self.ramp * state.steps), 1)
        if state.step < last:
            masks = [_scored(task, task.governed.gather(reference), self.price) for task in tasks]
            schedule = replace(training.schedule, optimizer="adam", lr=self.rate, lr_decay="constant", momentum=0.9)
            phase = Phase(schedule, schedule.plan(len(training.data))[:last], others=False)
            for each in trained(model, tasks, masks, training, state=state, phase=phase):
                state = each
                yield state
        if state.step == last:
            state = replace(state, optimizer={}, held={}, structure=state.thetas)
        weights = fixed(tasks, state.structure, training.schedule)
        yield from trained(model, tasks, weights, training, state=state)


def _scored(task: CompressionTask, w: Tensor, price: float) -> Scored:
    assert isinstance(task.compression, L0Pruning | GroupPruning)
    return Scored(w, task.compression, price=price)
