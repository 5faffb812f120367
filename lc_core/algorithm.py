"""The Learning-Compression algorithm: min over w, Theta of L(w) subject to w = Delta(Theta).

The augmented Lagrangian L(w) - lambda^T (w - Delta(Theta)) + mu/2 ||w - Delta(Theta)||^2 is minimised over w (the L
step) and over Theta (the C step) in turn, while mu grows (Carreira-Perpinan, arXiv:1707.01209, figure 3).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.parameters import load_weights, tied_names
from lc_core.schedule import LStep, Schedule
from lc_core.task import CompressionTask
from lc_core.training.data import Batches, Forward, Source, call
from lc_core.training.loop import DivergedError, Loss, lay_out, probe_gradient, reestimate_batch_norm, train
from lc_core.training.optimizers import Penalty


class State(Protocol):
    """What a method of compression has after a step; `LCState` is that of LC.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        mu: penalty parameter of this step; 0 without a penalty.
        loss: mean training loss over the step, without a penalty (None at step 0).
        gap: ||w - Delta(Theta)|| / ||Delta(Theta)|| over all tasks.
        epochs: passes over the training split so far.
        thetas: Theta of each task.
        weights: the model's parameters and buffers, by name; of those under a task, Theta counts.
    """

    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def mu(self) -> float: ...
    @property
    def loss(self) -> float | None: ...
    @property
    def gap(self) -> float: ...
    @property
    def epochs(self) -> float: ...
    @property
    def thetas(self) -> tuple[Compressed, ...]: ...
    @property
    def weights(self) -> dict[str, Tensor]: ...


@dataclass(frozen=True, eq=False)
class LCState:
    """The state of the algorithm after an LC step. Step 0 is direct compression, before any training.

    Attributes:
        step: LC steps done.
        steps: LC steps of the whole run.
        mu: penalty parameter of this step (0 at step 0).
        mu_unit: unit of the schedule's mu at the next step: 1 with SGD, the rms of the gradient with Adam.
        boost: mu over the schedule's mu; above 1 where the gap did not close.
        loss: mean training loss over the L step, without the penalty (None at step 0).
        gaps: ||w - Delta(Theta)|| / ||Delta(Theta)|| over all tasks, after each step so far.
        epochs: passes over the training split so far.
        thetas: Theta of each task.
        weights: w and the model's other parameters and buffers, by name; tied ones under the first of their names.
        multipliers: lambda of each task, in the task's shape.
        optimizer: parameter -> the optimizer's buffers; none for parameters that were not trained.
        batches: the position in the stream of batches.
    """

    step: int
    steps: int
    mu: float
    mu_unit: float
    boost: float
    loss: float | None
    gaps: tuple[float, ...]
    epochs: float
    thetas: tuple[Compressed, ...]
    weights: dict[str, Tensor]
    multipliers: tuple[Tensor, ...]
    optimizer: dict[str, dict[str, Tensor]]
    batches: dict[str, Any]

    @property
    def gap(self) -> float:
        """The relative gap after the last step."""
        return self.gaps[-1]


def run_lc(
    model: nn.Module,
    tasks: Sequence[CompressionTask],
    data: Source,
    *,
    loss: Loss,
    schedule: Schedule,
    seed: int,
    resume: LCState | None = None,
    forward: Forward = call,
    plan: Sequence[LStep] | None = None,
) -> Iterator[LCState]:
    """Yields the state after direct compression, then after each LC step. Trains `model` in place from the reference.

    The caller evaluates, reports, saves checkpoints or stops. For models without random layers, going on from a yielded
    state (`resume`) gives the same numbers as a run that never stopped.

    Args:
        model: has the weights of the reference.
        tasks: the compressions and their parameters.
        data: the training split, `Split(inputs, targets)`; its inputs may be `Examples` that augment them.
        loss: mean loss over a batch.
        schedule: the budget.
        seed: for the order of the batches.
        resume: a state that the same call yielded before.
        forward: how the model runs on the inputs of a batch.
        plan: the LC steps; None for those of the schedule.

    Raises:
        DivergedError: the training loss became NaN or infinite, or the weights too large to be squared.
        ValueError: the weights hold a NaN or infinity, or the loss gives them no gradient.
    """
    lay_out(model)
    optimizer = schedule.recipe.build_optimizer(model)
    batches = data.batches(batch_size=schedule.batch_size, seed=seed)
    plan = schedule.plan(len(data)) if plan is None else plan
    governed, state = _governed(model, tasks), resume
    if state is None:
        probe = functools.partial(probe_gradient, loss=loss, optimizer=optimizer, batch_size=schedule.batch_size)
        unit = probe(model, governed, data, forward=forward) if schedule.optimizer == "adam" else 1.0
        state = _direct_compression(model, tasks, batches, plan, unit)
        yield state
    else:
        load_weights(model, state.weights)
        optimizer.restore(state.optimizer)
        batches.restore(state.batches)
    l_step = functools.partial(train, model, batches, loss=loss, optimizer=optimizer, forward=forward)
    for step in plan[state.step :]:
        boost = schedule.boost(state.boost, step=step.number, steps=len(plan), gaps=state.gaps)
        mu = schedule.mu(step, boost=boost, unit=state.mu_unit, previous=state.mu)
        mean_loss = l_step(lrs=step.lrs, penalty=_penalty(governed, tasks, state, mu))
        state = replace(
            _c_step(model, tasks, state, mu),
            step=step.number,
            mu_unit=optimizer.mu_unit(governed),
            boost=boost,
            loss=mean_loss,
            epochs=step.epochs,
            optimizer=optimizer.state(),
            batches=batches.state(),
        )
        if not math.isfinite(state.gap):
            raise DivergedError(f"the weights grew too large to be squared at learning rate {step.lrs[0]:.3g}")
        yield state


def compressed_weights(tasks: Sequence[CompressionTask], state: State) -> dict[str, Tensor]:
    """Parameters and buffers of the compressed model: Delta(Theta) for the parameters of tasks, w for the others.

    Tied ones are under the first of their names, which is all that `lc_core.parameters.load_weights` needs.
    """
    weights = dict(state.weights)
    for task, theta in zip(tasks, state.thetas, strict=True):
        weights |= task.governed.scatter(theta.decompress())
    return weights


def deploy(
    model: nn.Module,
    tasks: Sequence[CompressionTask],
    state: State,
    *,
    data: Source,
    batch_size: int,
    forward: Forward = call,
    statistics: int | None = None,
) -> None:
    """Writes the deployed weights into `model`: the compressed ones, and the batch-norm statistics of `data`.

    `statistics` is the number of examples that these are estimated on, evenly spaced; None for all.
    """
    load_weights(model, compressed_weights(tasks, state))
    reestimate_batch_norm(model, data, batch_size=batch_size, forward=forward, most=statistics)


def _direct_compression(
    model: nn.Module, tasks: Sequence[CompressionTask], batches: Batches, plan: Sequence[LStep], unit: float
) -> LCState:
    """Theta = Pi(w) of the reference. Penalty forms need a mu: they take that of the first step."""
    weights = _copy(model)
    gathered = [task.governed.gather(weights) for task in tasks]
    thetas = tuple(
        task.compress(w, mu=plan[0].mu * unit, previous=None) for task, w in zip(tasks, gathered, strict=True)
    )
    return LCState(
        step=0,
        steps=len(plan),
        mu=0.0,
        mu_unit=unit,
        boost=1.0,
        loss=None,
        gaps=(distance(gathered, [delta_like(theta, w) for theta, w in zip(thetas, gathered, strict=True)]),),
        epochs=0.0,
        thetas=thetas,
        weights=weights,
        multipliers=tuple(torch.zeros_like(w) for w in gathered),
        optimizer={},
        batches=batches.state(),
    )


def _governed(model: nn.Module, tasks: Sequence[CompressionTask]) -> list[nn.Parameter]:
    parameters = dict(model.named_parameters())
    return [parameters[name] for task in tasks for name in task.governed.names]


def _penalty(governed: Sequence[nn.Parameter], tasks: Sequence[CompressionTask], state: LCState, mu: float) -> Penalty:
    pulls: list[Tensor] = []
    for task, theta, multipliers in zip(tasks, state.thetas, state.multipliers, strict=True):
        pulls += task.governed.scatter(mu * delta_like(theta, multipliers) + multipliers).values()
    laid = [torch.empty_like(w, requires_grad=False).copy_(pull) for w, pull in zip(governed, pulls, strict=True)]
    return Penalty(governed, mu, laid)  # with the memory layout of w


@torch.no_grad()
def _c_step(model: nn.Module, tasks: Sequence[CompressionTask], state: LCState, mu: float) -> LCState:
    """`state` with Theta = Pi(w - lambda/mu), then lambda - mu (w - Delta(Theta)), for w as `model` has it."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    thetas, deltas, multipliers, gathered = [], [], [], []
    for task, previous, lambda_ in zip(tasks, state.thetas, state.multipliers, strict=True):
        w = task.governed.gather(parameters)
        theta = task.compress(w - lambda_ / mu, mu=mu, previous=previous)
        delta = delta_like(theta, w)
        thetas.append(theta)
        deltas.append(delta)
        multipliers.append(lambda_ - mu * (w - delta))
        gathered.append(w)
    gaps = (*state.gaps, distance(gathered, deltas))
    weights = _copy(model)
    return replace(state, mu=mu, gaps=gaps, thetas=tuple(thetas), multipliers=tuple(multipliers), weights=weights)


def delta_like(theta: Compressed, like: Tensor) -> Tensor:
    """Delta(Theta) in the type of `like`: half-precision weights have multipliers and gaps in float32."""
    return theta.decompress().to(like.dtype)


def distance(gathered: Sequence[Tensor], deltas: Sequence[Tensor]) -> float:
    """||w - Delta(Theta)|| / ||Delta(Theta)||, or ||w - Delta(Theta)|| where Delta(Theta) is zero."""
    distance = math.sqrt(sum(float((w - d).square().sum()) for w, d in zip(gathered, deltas, strict=True)))
    norm = math.sqrt(sum(float(delta.square().sum()) for delta in deltas))
    return distance / norm if norm else distance


def _copy(model: nn.Module) -> dict[str, Tensor]:
    tied = tied_names(model)
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items() if name not in tied}
