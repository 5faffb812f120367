"""How sensitive the loss is to each layer's weights, from a few batches."""

import torch
from torch import nn

from lc_core.training.activation_steps import eval_with_gradients
from lc_core.training.data import Forward, Source, call
from lc_core.training.loop import Loss
from lc_core.training.modes import modes_kept

LEAST = 1e-6
"""The number of a parameter that the loss does not depend on."""


def fisher(
    model: nn.Module,
    data: Source,
    *,
    loss: Loss,
    batches: int = 16,
    batch_size: int = 64,
    seed: int = 0,
    forward: Forward = call,
) -> dict[str, float]:
    """Name of each parameter that trains -> the mean square of its loss gradient over batches, for `Budget`.

    It estimates the mean of the diagonal of the Fisher information, up to one factor for all layers: where w is a
    minimum, a change d of a layer's weights raises the loss by about 1/2 sum_i F_i d_i^2 (Theis et al., "Faster gaze
    prediction with dense networks and Fisher pruning", arXiv:1801.05787, section 3). The numbers have a mean of 1 over
    the parameters, and are at least LEAST. The model runs in evaluation mode and does not change.
    """
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    sums = dict.fromkeys(parameters, 0.0)
    with modes_kept(model):
        eval_with_gradients(model)
        for inputs, targets in data.batches(batch_size=batch_size, seed=seed).take(batches):
            value = loss(forward(model, inputs), targets)
            found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            for name, gradient in zip(parameters, found, strict=True):
                if gradient is not None:
                    sums[name] += float(gradient.double().square().mean())
    mean = sum(sums.values()) / len(sums)
    return {name: max(total / mean, LEAST) if mean else 1.0 for name, total in sums.items()}
