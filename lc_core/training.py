"""Training by mini-batches: the one loop that the reference and the L step share; evaluation; batch-norm statistics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor], Tensor]
"""(outputs, targets) -> the mean loss over the batch, a scalar."""

FINAL_LR = 0.02
EVALUATION_BATCH = 1024


class DivergedError(ValueError):
    """The training loss became NaN or infinite."""


@dataclass(frozen=True)
class Recipe:
    """How the reference is trained: Nesterov SGD, the learning rate falling linearly to 2 % of `lr`.

    Attributes:
        epochs: passes over the training split.
        lr: learning rate at the start.
        batch_size: examples a batch; the last batch of an epoch may hold fewer.
        momentum: of Nesterov's method, in [0, 1).
        weight_decay: coefficient of ||w||^2 / 2, over all parameters.
        seed: of the initial weights and the order of the batches.
    """

    epochs: float
    lr: float
    batch_size: int
    momentum: float = 0.9
    weight_decay: float = 0.0
    seed: int = 0

    def iterations(self, examples: int) -> int:
        """Batches in the whole run."""
        return round(self.epochs * batches_per_epoch(examples, self.batch_size))


@dataclass(frozen=True, eq=False)
class Penalty:
    """The L step's quadratic pull, mu/2 ||w - Delta||^2 - lambda^T (w - Delta), as a gradient.

    Attributes:
        parameters: w, the governed parameters.
        mu: the penalty parameter.
        pulls: mu Delta + lambda, one tensor a parameter.
    """

    parameters: Sequence[Tensor]
    mu: float
    pulls: Sequence[Tensor]

    def add_gradient(self) -> None:
        """Adds mu (w - Delta) - lambda to the parameters' gradients, in place; autograd never sees it."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if len(gradients) < len(self.parameters):
            raise ValueError(
                "the loss gives no gradient to weights that are to be compressed: are they frozen or unused?"
            )
        torch._foreach_add_(gradients, list(self.parameters), alpha=self.mu)
        torch._foreach_add_(gradients, list(self.pulls), alpha=-1)


class Batches:
    """An endless stream of shuffled batches of indices, whose place can be kept and restored."""

    def __init__(self, examples: int, *, batch_size: int, seed: int) -> None:
        self._examples, self._batch_size = examples, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._order, self._place = torch.empty(0, dtype=torch.int64), 0

    def draw(self) -> Tensor:
        """Indices (at most batch_size,) of the next batch; an epoch visits every example once."""
        if self._place >= self._order.numel():
            self._order, self._place = torch.randperm(self._examples, generator=self._generator), 0
        end = self._place + self._batch_size
        if self._order.numel() - end == 1:  # a last example joins the batch before it: batch norm needs two
            end += 1
        batch = self._order[self._place : end]
        self._place = end
        return batch

    def state(self) -> dict[str, Tensor]:
        """The place in the stream."""
        place = torch.tensor(self._place)
        return {"order": self._order, "place": place, "generator": self._generator.get_state()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on from `state`."""
        self._order, self._place = state["order"], int(state["place"])
        self._generator.set_state(state["generator"])


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Batches that visit every example once; a single example left over joins the last batch."""
    return max(math.ceil((examples - 1) / batch_size), 1)


def linear_lr(lr: float, *, iteration: int, iterations: int) -> float:
    """The learning rate at `iteration` of `iterations`: from `lr` straight down to 2 % of it."""
    return lr * (1 - (1 - FINAL_LR) * min(iteration / max(iterations - 1, 1), 1.0))


def train(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    batches: Batches,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    lrs: Sequence[float],
    penalty: Penalty | None = None,
) -> float:
    """The mean loss over one batch for each of `lrs`, training `model` in place; without the penalty's part.

    Raises:
        DivergedError: that mean is NaN or infinite.
    """
    model.train()
    total = torch.zeros((), dtype=torch.float64)
    for lr in lrs:
        batch = batches.draw()
        value = loss(model(inputs[batch]), targets[batch])
        optimizer.zero_grad()
        value.backward()
        if penalty:
            penalty.add_gradient()
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
        total += value.detach().cpu()
    mean = float(total) / max(len(lrs), 1)
    if not math.isfinite(mean):
        raise DivergedError(f"the training loss became {mean} at learning rate {lrs[-1]:.3g}")
    return mean


def train_reference(model: nn.Module, inputs: Tensor, targets: Tensor, *, loss: Loss, recipe: Recipe) -> float:
    """The last epoch's mean loss, training `model` in place by `recipe`. DivergedError as `train`."""
    iterations = recipe.iterations(inputs.shape[0])
    lrs = [linear_lr(recipe.lr, iteration=i, iterations=iterations) for i in range(iterations)]
    optimizer = nesterov_sgd(model, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    batches = Batches(inputs.shape[0], batch_size=recipe.batch_size, seed=recipe.seed)
    last = math.nan
    per_epoch = batches_per_epoch(inputs.shape[0], recipe.batch_size)
    for start in range(0, iterations, per_epoch):
        epoch = lrs[start : start + per_epoch]
        last = train(model, inputs, targets, batches=batches, loss=loss, optimizer=optimizer, lrs=epoch)
    return last


def nesterov_sgd(model: nn.Module, *, momentum: float, weight_decay: float = 0.0) -> torch.optim.SGD:
    """SGD with Nesterov momentum over the parameters of `model` that train, fused; `train` sets its learning rate."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.SGD(
        parameters, lr=0.0, momentum=momentum, nesterov=momentum > 0, weight_decay=weight_decay, fused=True
    )


@torch.inference_mode()
def predict(model: nn.Module, inputs: Tensor) -> Tensor:
    """Outputs of `model` in evaluation mode, for all of `inputs`."""
    model.eval()
    return torch.cat([model(part) for part in inputs.split(EVALUATION_BATCH)])


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, inputs: Tensor, *, batch_size: int) -> None:
    """Writes into the batch-norm layers of `model` the statistics of `inputs`; leaves other models as they are.

    Running averages kept during training belong to w; Delta(Theta) needs its own.
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
