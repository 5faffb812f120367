"""The Learning-Compression algorithm: min over w, Theta of L(w) subject to w = Delta(Theta).

The augmented Lagrangian L(w) - lambda^T (w - Delta(Theta)) + mu/2 ||w - Delta(Theta)||^2 is minimised over w (the L
step) and over Theta (the C step) in turn, while mu grows (Carreira-Perpinan, arXiv:1707.01209, figure 3).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.schedule import LStep, Schedule
from lc_core.task import CompressionTask
from lc_core.training.augmentation import Examples
from lc_core.training.loop import Batches, Loss, lay_out, probe_gradient, reestimate_batch_norm, train
from lc_core.training.optimizers import Penalty


@dataclass(frozen=True, eq=False)
class LCState:
    """Where the algorithm stands after an LC step; step 0 is direct compression, before any training.

    Attributes:
        step: LC steps done; of `steps`.
        mu: penalty parameter of this step (0 at step 0).
        mu_unit: what the schedule's mu is in units of at the next step: 1 with SGD, the gradient's rms with Adam.
        boost: by how much mu is above the schedule's, because the gap did not close.
        loss: mean training loss over the L step, without the penalty (None at step 0).
        gaps: ||w - Delta(Theta)|| / ||Delta(Theta)|| over all tasks, after each step so far; the last is this step's.
        epochs: passes over the training split so far.
        thetas: Theta, one a task.
        weights: w and the model's other parameters and buffers, by name.
        multipliers: lambda, one a task, in the task's shape.
        optimizer: parameter -> the optimizer's buffers; none for parameters that took no part in training.
        batches: the place in the stream of batches.
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
    batches: dict[str, Tensor]

    @property
    def gap(self) -> float:
        """The relative gap after this step."""
        return self.gaps[-1]


def run_lc(
    model: nn.Module,
    tasks: Sequence[CompressionTask],
    inputs: Examples,
    targets: Tensor,
    *,
    loss: Loss,
    schedule: Schedule,
    seed: int,
    resume: LCState | None = None,
) -> Iterator[LCState]:
    """Yields one state an LC step, the first being direct compression; trains `model` in place from the reference.

    The caller evaluates, reports, checkpoints or stops. Going on from a yielded state (`resume`) gives the same numbers
    as never having stopped, for models without random layers.

    Args:
        model: holds the reference's weights.
        tasks: what compresses which parameters.
        inputs: the training split, (n, ...); what shows it otherwise augments it.
        targets: (n, ...).
        loss: mean over a batch.
        schedule: the budget and what follows from it.
        seed: of the order of the batches.
        resume: a state that the same call yielded before.

    Raises:
        DivergedError: the training loss became NaN or infinite.
        ValueError: weights to compress hold a NaN or infinity, or the loss gives them no gradient.
    """
    lay_out(model)
    optimizer = schedule.recipe.build_optimizer(model)
    batches = Batches(inputs.shape[0], batch_size=schedule.batch_size, seed=seed)
    plan = schedule.plan(inputs.shape[0])
    governed = _governed(model, tasks)
    if resume is None:
        unit = 1.0
        if schedule.optimizer == "adam":
            unit = probe_gradient(
                model, governed, inputs, targets, loss=loss, optimizer=optimizer, batch_size=schedule.batch_size
            )
        state = _direct_compression(model, tasks, batches, plan, unit)
        yield state
    else:
        state = resume
        model.load_state_dict(state.weights)
        optimizer.restore(state.optimizer)
        batches.restore(state.batches)
    for step in plan[state.step :]:
        boost = schedule.boost(state.boost, step=step.number, gaps=state.gaps)
        mu = schedule.mu(step, boost=boost, unit=state.mu_unit, previous=state.mu)
        penalty = _penalty(governed, tasks, state, mu)
        mean_loss = train(
            model, inputs, targets, batches=batches, loss=loss, optimizer=optimizer, lrs=step.lrs, penalty=penalty
        )
        thetas, multipliers, gap = _c_step(model, tasks, state, mu)
        state = LCState(
            step=step.number,
            steps=len(plan),
            mu=mu,
            mu_unit=optimizer.mu_unit(governed),
            boost=boost,
            loss=mean_loss,
            gaps=(*state.gaps, gap),
            epochs=step.epochs,
            thetas=thetas,
            weights=_copy(model),
            multipliers=multipliers,
            optimizer=optimizer.state(),
            batches=batches.state(),
        )
        yield state


def compressed_weights(tasks: Sequence[CompressionTask], state: LCState) -> dict[str, Tensor]:
    """The parameters and buffers of the compressed model: Delta(Theta) where a task governs, as trained elsewhere."""
    weights = dict(state.weights)
    for task, theta in zip(tasks, state.thetas, strict=True):
        weights |= task.governed.scatter(theta.decompress())
    return weights


def deploy(
    model: nn.Module, tasks: Sequence[CompressionTask], state: LCState, *, inputs: Tensor, batch_size: int
) -> None:
    """Writes into `model` what ships: the compressed weights, batch-norm statistics re-estimated on `inputs`."""
    model.load_state_dict(compressed_weights(tasks, state))
    reestimate_batch_norm(model, inputs, batch_size=batch_size)


def _direct_compression(
    model: nn.Module, tasks: Sequence[CompressionTask], batches: Batches, plan: Sequence[LStep], unit: float
) -> LCState:
    """Theta = Pi(w) of the reference; penalty forms, which need a mu, at the first step's."""
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
        gaps=(_gap(gathered, [theta.decompress() for theta in thetas]),),
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
        pulls += task.governed.scatter(mu * theta.decompress() + multipliers).values()
    laid = [torch.empty_like(w, requires_grad=False).copy_(pull) for w, pull in zip(governed, pulls, strict=True)]
    return Penalty(governed, mu, laid)  # in memory as w and its gradient lie


@torch.no_grad()
def _c_step(
    model: nn.Module, tasks: Sequence[CompressionTask], state: LCState, mu: float
) -> tuple[tuple[Compressed, ...], tuple[Tensor, ...], float]:
    """Theta = Pi(w - lambda/mu), then lambda - mu (w - Delta(Theta)), and the relative gap."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    thetas, deltas, multipliers, gathered = [], [], [], []
    for task, previous, lambda_ in zip(tasks, state.thetas, state.multipliers, strict=True):
        w = task.governed.gather(parameters)
        theta = task.compress(w - lambda_ / mu, mu=mu, previous=previous)
        delta = theta.decompress()
        thetas.append(theta)
        deltas.append(delta)
        multipliers.append(lambda_ - mu * (w - delta))
        gathered.append(w)
    return tuple(thetas), tuple(multipliers), _gap(gathered, deltas)


def _gap(gathered: Sequence[Tensor], deltas: Sequence[Tensor]) -> float:
    """||w - Delta(Theta)|| / ||Delta(Theta)||; the numerator alone where Delta(Theta) is zero."""
    distance = math.sqrt(sum(float((w - d).square().sum()) for w, d in zip(gathered, deltas, strict=True)))
    norm = math.sqrt(sum(float(delta.square().sum()) for delta in deltas))
    return distance / norm if norm else distance


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
