"""Training by mini-batches: the one loop that the reference and the L step share; evaluation; batch-norm statistics."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from lc_core.training.augmentation import Examples
from lc_core.training.optimizers import NO_GRADIENT, OPTIMIZERS, Optimizer, OptimizerName, Penalty, gradients_of

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> the mean loss over the batch, a scalar."""

Decay = Literal["linear", "cosine", "constant"]
DECAYS: tuple[Decay, ...] = get_args(Decay)
FINAL_LR = 0.02
NEAR, PROBED_BATCHES = 0.9, 10
EVALUATION_BATCH = 1024
FETCHED = 1 << 20
"""The number of input values to fetch at a time; at least one batch."""


class DivergedError(ValueError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Recipe:
    """How the reference is trained: Nesterov SGD or Adam, with a learning rate that falls from `lr`.

    Attributes:
        epochs: passes over the training split.
        lr: learning rate at the start.
        batch_size: examples a batch; the last batch of an epoch may hold fewer.
        momentum: the momentum of Nesterov's method, or Adam's beta_1; in [0, 1).
        weight_decay: coefficient of ||w||^2 / 2 over all parameters.
        seed: for the initial weights and the order of the batches.
        optimizer: "sgd" or "adam".
        clip_norm: largest norm of the loss's gradient over all parameters; None for no clipping.
        lr_decay: "linear" or "cosine", both down to 2 % of `lr`, or "constant".
    """

    epochs: float
    lr: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 0.0
    seed: int = 0
    optimizer: OptimizerName = "sgd"
    clip_norm: float | None = None
    lr_decay: Decay = "linear"

    def __post_init__(self) -> None:
        clip = self.clip_norm
        expect(0 <= self.epochs < math.inf, "epochs", self.epochs, "a number, 0 or more")
        expect(0 < self.lr < math.inf, "lr", self.lr, "a positive number")
        expect(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        expect(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        expect(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "a number, 0 or more")
        expect(self.optimizer in OPTIMIZERS, "optimizer", self.optimizer, f"one of {', '.join(OPTIMIZERS)}")
        expect(clip is None or 0 < clip < math.inf, "clip_norm", clip, "a positive number, or None")
        expect(self.lr_decay in DECAYS, "lr_decay", self.lr_decay, f"one of {', '.join(DECAYS)}")

    def iterations(self, examples: int) -> int:
        """Batches in the whole run."""
        return round(self.epochs * batches_per_epoch(examples, self.batch_size))

    def lrs(self, iterations: int) -> list[float]:
        """The learning rate of each of `iterations`."""
        return [self._lr(iteration / max(iterations - 1, 1)) for iteration in range(iterations)]

    def _lr(self, passed: float) -> float:
        match self.lr_decay:
            case "linear":
                return self.lr * (1 - (1 - FINAL_LR) * passed)
            case "cosine":
                return self.lr * (1 - (1 - FINAL_LR) * (1 - math.cos(math.pi * passed)) / 2)
            case "constant":
                return self.lr

    def build_optimizer(self, model: nn.Module) -> Optimizer:
        """An optimizer of the trainable parameters of `model`."""
        return Optimizer(
            model,
            name=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )


def expect(holds: bool, name: str, value: object, what: str) -> None:  # noqa: FBT001 - a statement, not a switch
    """Raises ValueError, "name: expected what, got value", where the condition does not hold."""
    if not holds:
        raise ValueError(f"{name}: expected {what}, got {value!r}")


class Batches:
    """An endless stream of shuffled batches of indices. Its position can be saved and restored."""

    def __init__(self, examples: int, *, batch_size: int, seed: int) -> None:
        self._examples, self._batch_size = examples, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._order, self._place = torch.empty(0, dtype=torch.int64), 0

    def draw(self) -> Tensor:
        """Indices (at most batch_size,) of the next batch; an epoch visits every example once."""
        if self._place >= self._order.numel():
            self._order, self._place = torch.randperm(self._examples, generator=self._generator), 0
        end = self._place + self._batch_size
        if self._order.numel() - end == 1:  # a single last example joins the batch before it: batch norm needs two
            end += 1
        batch = self._order[self._place : end]
        self._place = end
        return batch

    def state(self) -> dict[str, Tensor]:
        """The position in the stream."""
        place = torch.tensor(self._place)
        return {"order": self._order, "place": place, "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continues from `state`."""
        self._order, self._place = state["order"], int(state["place"])
        self._generator.set_state(state["generator"])


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Batches that visit every example once. A single example that is left over joins the last batch."""
    return max(math.ceil((examples - 1) / batch_size), 1)


def train(
    model: nn.Module,
    inputs: Examples,
    targets: Tensor,
    *,
    batches: Batches,
    loss: Loss,
    optimizer: Optimizer,
    lrs: Sequence[float],
    penalty: Penalty | None = None,
) -> float:
    """Trains `model` in place on one batch for each of `lrs`. Returns the mean loss, without the penalty.

    Raises:
        DivergedError: the mean loss is NaN or infinite.
    """
    model.train()
    losses = []
    for lr, (shown, classes) in zip(lrs, _fetched(inputs, targets, batches, len(lrs)), strict=True):
        value = loss(model(shown), classes)
        optimizer.zero_grad()
        value.backward()
        optimizer.step(lr=lr, penalty=penalty)
        losses.append(value.detach())
    mean = float(torch.stack(losses).double().mean()) if losses else 0.0
    if not math.isfinite(mean):
        raise DivergedError(f"the training loss became {mean} at learning rate {lrs[-1]:.3g}")
    return mean


def _fetched(inputs: Examples, targets: Tensor, batches: Batches, count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of the next `count` batches. Several small batches are fetched together, which is faster."""
    drawn = [batches.draw() for _ in range(count)]
    numbers = max((batch.numel() for batch in drawn), default=0) * math.prod(inputs.shape[1:])
    together = max(FETCHED // max(numbers, 1), 1)
    for start in range(0, count, together):
        group = drawn[start : start + together]
        index, sizes = torch.cat(group).to(targets.device), [batch.numel() for batch in group]
        yield from zip(
            inputs.index_select(0, index).split(sizes), targets.index_select(0, index).split(sizes), strict=True
        )


def lay_out(model: nn.Module) -> None:
    """Stores the kernels of the 2-D convolutions of `model` channels-last; the values do not change.

    Inputs and gradients then have that layout too. On a CPU a step of a convolutional network takes about two thirds of
    the time.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_reference(model: nn.Module, inputs: Tensor, targets: Tensor, *, loss: Loss, recipe: Recipe) -> float:
    """Trains `model` in place by `recipe`. Returns the mean loss of the last epoch; DivergedError as `train`."""
    lay_out(model)
    iterations = recipe.iterations(inputs.shape[0])
    lrs, optimizer = recipe.lrs(iterations), recipe.build_optimizer(model)
    batches = Batches(inputs.shape[0], batch_size=recipe.batch_size, seed=recipe.seed)
    last = math.nan
    per_epoch = batches_per_epoch(inputs.shape[0], recipe.batch_size)
    for start in range(0, iterations, per_epoch):
        epoch = lrs[start : start + per_epoch]
        last = train(model, inputs, targets, batches=batches, loss=loss, optimizer=optimizer, lrs=epoch)
    return last


def probe_gradient(
    model: nn.Module,
    parameters: Sequence[Tensor],
    inputs: Examples,
    targets: Tensor,
    *,
    loss: Loss,
    optimizer: Optimizer,
    batch_size: int,
) -> float:
    """Root mean square of the loss's gradient by mini-batches, near the reference that `model` holds.

    It is taken at nine tenths of `parameters`: at the end of training the gradient says little, and with the outputs of
    the reference as targets it is zero. The model runs in evaluation mode, so that nothing is drawn or averaged. The
    parameters are restored.

    Raises:
        DivergedError: the gradient is NaN or infinite.
        ValueError: the gradient is zero, or there is none.
    """
    batches = Batches(inputs.shape[0], batch_size=batch_size, seed=0)
    kept = [parameter.detach().clone() for parameter in parameters]
    model.eval()
    with torch.no_grad():
        torch._foreach_mul_(list(parameters), NEAR)
    total = 0.0
    for _ in range(PROBED_BATCHES):
        batch = batches.draw().to(targets.device)
        optimizer.zero_grad()
        loss(model(inputs.index_select(0, batch)), targets.index_select(0, batch)).backward()
        optimizer.clip()
        total += sum(float(gradient.square().sum()) for gradient in gradients_of(parameters))
    optimizer.zero_grad()
    with torch.no_grad():
        torch._foreach_copy_(list(parameters), kept)
    if not math.isfinite(total):
        raise DivergedError(f"the loss's gradient near the reference is {total}")
    if total == 0:
        raise ValueError(NO_GRADIENT)
    return math.sqrt(total / PROBED_BATCHES / sum(parameter.numel() for parameter in parameters))


@torch.inference_mode()
def predict(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of `model` in evaluation mode for all of `inputs`, (n, ...)."""
    model.eval()
    return torch.cat([model(part) for part in inputs.split(EVALUATION_BATCH)])


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, inputs: Tensor, *, batch_size: int) -> None:
    """Writes the statistics of `inputs` into the batch-norm layers of `model`. Other models do not change.

    The running averages of training belong to w; Delta(Theta) needs its own.
    """
    layers = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    for part in inputs.split(batch_size):
        if part.shape[0] > 1:
            model(part)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.eval()
