"""Training by mini-batches: the one loop that the reference and the L step share; evaluation; batch-norm statistics."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lc_core.fields import check_numbers, expect
from lc_core.training.activation_steps import eval_with_gradients
from lc_core.training.data import Batches, Forward, Source, Split, batches_per_epoch, call
from lc_core.training.nest import Nest, joined, leaves
from lc_core.training.optimizers import (
    NO_GRADIENT,
    OPTIMIZERS,
    Descent,
    Named,
    Optimizer,
    OptimizerName,
    Penalty,
    gradients_of,
)

Loss = Callable[[Any, Any], Tensor]
"""(outputs, targets) -> the mean loss over the batch, a scalar."""

Decay = Literal["linear", "cosine", "constant"]
DECAYS: tuple[Decay, ...] = get_args(Decay)
FINAL_LR = 0.02
NEAR, PROBED_BATCHES = 0.9, 10
EVALUATION_BATCH, IMAGES, LARGE = 1024, 64, 1024
"""Examples that are evaluated at a time; on a CPU, of examples with more than LARGE values, only IMAGES.

Activations then stay in the cache: ResNet20 takes half the time, and its outputs are the same, bit for bit.
"""


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
        check_numbers(self)
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

    def build_optimizer(self, model: Named) -> Optimizer:
        """An optimizer of the trainable parameters of `model`."""
        return Optimizer(
            model,
            name=self.optimizer,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
        )


def train(
    model: nn.Module,
    batches: Batches,
    *,
    loss: Loss,
    optimizer: Descent,
    lrs: Sequence[float],
    penalty: Penalty | None = None,
    forward: Forward = call,
) -> float:
    """Trains `model` in place on one batch for each of `lrs`. Returns the mean loss, without the penalty.

    Raises:
        DivergedError: the mean loss is NaN or infinite.
    """
    model.train()
    losses = []
    for lr, (inputs, targets) in zip(lrs, batches.take(len(lrs)), strict=True):
        value = loss(forward(model, inputs), targets)
        optimizer.zero_grad()
        value.backward()
        optimizer.step(lr=lr, penalty=penalty)
        losses.append(value.detach())
    mean = float(torch.stack(losses).double().mean()) if losses else 0.0
    if not math.isfinite(mean):
        raise DivergedError(f"the training loss became {mean} at learning rate {lrs[-1]:.3g}")
    return mean


def lay_out(model: nn.Module) -> None:
    """Stores the kernels of the 2-D convolutions of `model` channels-last; the values do not change.

    Inputs and gradients then have that layout too. On a CPU a step of a convolutional network takes about two thirds of
    the time.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train_reference(model: nn.Module, data: Source, *, loss: Loss, recipe: Recipe, forward: Forward = call) -> float:
    """Trains `model` in place by `recipe`. Returns the mean loss of the last epoch; DivergedError as `train`."""
    lay_out(model)
    iterations = recipe.iterations(len(data))
    lrs, optimizer = recipe.lrs(iterations), recipe.build_optimizer(model)
    batches = data.batches(batch_size=recipe.batch_size, seed=recipe.seed)
    last = math.nan
    per_epoch = batches_per_epoch(len(data), recipe.batch_size)
    for start in range(0, iterations, per_epoch):
        epoch = lrs[start : start + per_epoch]
        last = train(model, batches, loss=loss, optimizer=optimizer, lrs=epoch, forward=forward)
    return last


def probe_gradient(
    model: nn.Module,
    parameters: Sequence[Tensor],
    data: Source,
    *,
    loss: Loss,
    optimizer: Optimizer,
    batch_size: int,
    forward: Forward = call,
) -> float:
    """Root mean square of the loss's gradient by mini-batches, near the reference that `model` holds.

    It is taken at nine tenths of `parameters`: at the end of training the gradient says little, and with the outputs of
    the reference as targets it is zero. The model runs in evaluation mode, so that nothing is drawn or averaged. The
    parameters are restored.

    Raises:
        DivergedError: the gradient is NaN or infinite.
        ValueError: the gradient is zero, or there is none.
    """
    batches = data.batches(batch_size=batch_size, seed=0)
    kept = [parameter.detach().clone() for parameter in parameters]
    eval_with_gradients(model)
    with torch.no_grad():
        torch._foreach_mul_(list(parameters), NEAR)
    total = 0.0
    for inputs, targets in batches.take(PROBED_BATCHES):
        optimizer.zero_grad()
        loss(forward(model, inputs), targets).backward()
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
def predict(model: nn.Module, inputs: Nest, *, forward: Forward = call) -> Nest:
    """Outputs of `model` in evaluation mode for all of `inputs`, (n, ...)."""
    return joined([outputs for outputs, _ in predictions(model, Split(inputs, None), forward=forward)])


def predictions(model: nn.Module, data: Source, *, forward: Forward = call) -> Iterator[tuple[Nest, Nest]]:
    """Outputs of `model` in evaluation mode, and the targets: a part of the examples at a time, in order."""
    model.eval()
    for part in data.parts(EVALUATION_BATCH):
        for inputs, targets in _cut(*part):
            with torch.inference_mode():
                outputs = forward(model, inputs)
            yield outputs, targets


def _cut(inputs: Nest, targets: Nest) -> Iterator[tuple[Nest, Nest]]:
    """A part of a split in smaller ones, where the examples are large, each one tensor, and on a CPU."""
    tensors = isinstance(inputs, Tensor) and isinstance(targets, Tensor | None)
    if tensors and inputs.device.type == "cpu" and math.prod(inputs.shape[1:]) > LARGE:
        yield from Split(inputs, targets).parts(IMAGES)
    else:
        yield inputs, targets


def batch_norms(model: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The batch-norm layers of `model` that keep statistics."""
    return [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module, data: Source, *, batch_size: int, forward: Forward = call, most: int | None = None
) -> None:
    """Writes the statistics of inputs of `data` into the batch-norm layers of `model`. Other models do not change.

    The running averages of training belong to w; Delta(Theta) needs its own. They are estimated on all of `data`, or on
    `most` examples of it, evenly spaced (of a stream, the first).
    """
    layers = batch_norms(model)
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    laid = [(parameter, parameter.data) for parameter in model.parameters()]
    lay_out(model)
    model.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    first = None
    for inputs, _ in data.spread(max(batch_size, 2), most=len(data) if most is None else most):
        size = next(leaves(inputs)).shape[0]
        first = size if first is None else first
        if size > 1 or first == 1:  # not a last batch of one, which may have no variance
            forward(model, inputs)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    for parameter, own in laid:
        parameter.data = own  # in its own layout: outputs keep every bit
    model.eval()
