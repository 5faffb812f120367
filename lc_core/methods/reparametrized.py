"""Trains a model whose compressed weights are functions of other parameters, with the one loop and the one optimizer.

Delta is written into the model before each batch. After the backward pass the gradient of the loss in Delta, which the
model's parameters hold, is sent on to what Delta is made of.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from lc_core.algorithm import LCState
from lc_core.compression import Compressed
from lc_core.compressions.cast import in_dtype
from lc_core.methods.lc import direct_compression
from lc_core.methods.method import Tasks, TrainedState, Training
from lc_core.parameters import load_weights, tied_names
from lc_core.schedule import LStep, Schedule
from lc_core.task import CompressionTask
from lc_core.training.loop import DivergedError, lay_out, train
from lc_core.training.optimizers import Penalty, gradients_of


class Weights(Protocol):
    """The weights of one task as a function of parameters that are trained.

    Attributes:
        parameters: by name.
    """

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]: ...

    def delta(self) -> Tensor:
        """The weights, in the task's shape, with a graph back to `parameters`."""
        ...

    def theta(self) -> Compressed:
        """Theta of the same weights, detached."""
        ...

    def structure(self) -> Compressed | None:
        """A Theta with the structure to go on from; None where `parameters` and the last Theta are enough."""
        ...


def _nothing(step: LStep) -> None:
    """A step that begins without a change."""


@dataclass(frozen=True)
class Phase:
    """Steps that are trained in one way.

    Attributes:
        schedule: gives the optimizer.
        plan: the steps.
        others: whether the parameters that are not compressed train too.
        begin: called before each step; it may change the weights.
    """

    schedule: Schedule
    plan: Sequence[LStep]
    others: bool = True
    begin: Callable[[LStep], None] = _nothing


class Reparametrized:
    """An optimizer of what the compressed weights of a model are made of, and of its other parameters."""

    def __init__(self, model: nn.Module, tasks: Tasks, weights: Sequence[Weights], phase: Phase) -> None:
        named = dict(model.named_parameters())
        self._pairs = [(task.governed, each) for task, each in zip(tasks, weights, strict=True)]
        self._governed = {name: named[name] for task in tasks for name in task.governed.names}
        others = {name: each for name, each in named.items() if name not in self._governed}
        self._others = others if phase.others else {}
        self._weights = weights
        recipe = phase.schedule.recipe
        self._weight_decay = recipe.weight_decay
        self._optimizer = replace(recipe, weight_decay=0.0).build_optimizer(self)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for number, each in enumerate(self._weights):
            for name, parameter in each.parameters.items():
                yield f"{number}:{name}", parameter
        yield from self._others.items()

    def held(self) -> dict[str, Tensor]:
        """A copy of what the compressed weights are made of, by name."""
        named = self.named_parameters()
        return {name: parameter.detach().clone() for name, parameter in named if name not in self._others}

    def zero_grad(self) -> None:
        self._optimizer.zero_grad()
        for parameter in self._governed.values():
            parameter.grad = None

    def step(self, *, lr: float, penalty: Penalty | None = None) -> None:
        """One step of all parameters; then the model has the new weights."""
        assert penalty is None, "only LC has a penalty"
        gradients_of(list(self._governed.values()))  # an error where there is none
        if self._weight_decay:
            self._decay()
        gradients = {name: parameter.grad for name, parameter in self._governed.items() if parameter.grad is not None}
        for governed, each in self._pairs:
            delta = each.delta()
            delta.backward(governed.gather(gradients).to(delta.dtype))
        self._optimizer.step(lr=lr)
        self.write()

    @torch.no_grad()
    def _decay(self) -> None:
        """Adds the gradient of weight_decay ||w||^2 / 2, for w as the model has it, and not what w is made of."""
        trained: list[Tensor] = [each for each in (self._governed | self._others).values() if each.grad is not None]
        torch._foreach_add_(gradients_of(trained), trained, alpha=self._weight_decay)

    @torch.no_grad()
    def write(self) -> None:
        """Writes the weights into the model."""
        for governed, each in self._pairs:
            for name, values in governed.scatter(each.delta()).items():
                self._governed[name].copy_(values)

    @torch.no_grad()
    def restore(self, state: TrainedState) -> None:
        """Continues from `state`."""
        for name, parameter in self.named_parameters():
            if name in state.held:
                parameter.copy_(state.held[name])
        self._optimizer.restore(state.optimizer)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """The optimizer's buffers."""
        return self._optimizer.state()


def begun(
    model: nn.Module, tasks: Tasks, training: Training, *, resume: TrainedState | None
) -> Generator[TrainedState, None, TrainedState]:
    """The state to train from: direct compression, which it yields, or `resume`."""
    if resume is not None:
        lay_out(model)
        return resume
    state = started(direct_compression(model, tasks, training))
    yield state
    return state


def started(state: LCState) -> TrainedState:
    """A state of LC as that of a method without multipliers."""
    return TrainedState(
        step=state.step,
        steps=state.steps,
        loss=state.loss,
        gap=state.gap,
        epochs=state.epochs,
        thetas=state.thetas,
        weights=state.weights,
        optimizer={},
        batches=state.batches,
    )


def trained(
    model: nn.Module,
    tasks: Tasks,
    weights: Sequence[Weights],
    training: Training,
    *,
    state: TrainedState,
    phase: Phase | None = None,
) -> Iterator[TrainedState]:
    """Yields the state after each step from `state` on. Without a `phase`, all parameters train by the schedule."""
    phase = phase or Phase(training.schedule, training.schedule.plan(len(training.data)))
    load_weights(model, state.weights)
    optimizer = Reparametrized(model, tasks, weights, phase)
    batches = training.data.batches(batch_size=training.schedule.batch_size, seed=training.seed)
    if state.step:
        optimizer.restore(state)
        batches.restore(state.batches)
    for step in phase.plan:
        if step.number <= state.step:
            continue
        phase.begin(step)
        optimizer.write()
        loss = train(model, batches, loss=training.loss, optimizer=optimizer, lrs=step.lrs, forward=training.forward)
        held = optimizer.held()
        if any(not bool(values.isfinite().all()) for values in held.values()):
            raise DivergedError(f"the compressed weights became NaN or infinite at learning rate {step.lrs[-1]:.3g}")
        structures = [each.structure() for each in weights]
        state = replace(
            state,
            step=step.number,
            loss=loss,
            gap=0.0,
            epochs=step.epochs,
            thetas=tuple(_stored(task, each.theta()) for task, each in zip(tasks, weights, strict=True)),
            weights=copied(model),
            optimizer=optimizer.state(),
            batches=batches.state(),
            held=held,
            structure=tuple(each for each in structures if each is not None),
        )
        yield state


def _stored(task: CompressionTask, theta: Compressed) -> Compressed:
    return theta if task.dtype is None else in_dtype(theta, task.dtype)


def copied(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters and buffers of `model`, by the first of their names."""
    tied = tied_names(model)
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name not in tied}
