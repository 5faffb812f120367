"""Distances between what layers of a model give and what the same layers of the reference give."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.training.data import Forward
from lc_core.training.nest import Nest


def hint(ours: Tensor, theirs: Tensor) -> Tensor:
    """1/2 ||u - v||^2 of outputs u, v (n, ...), the mean over a batch.

    Romero et al., "FitNets: hints for thin deep nets", arXiv:1412.6550: hints. Both layers are of one size, so
    that no regressor is needed.
    """
    return (_wide(ours) - _wide(theirs)).square().flatten(1).sum(dim=1).mean() / 2


def attention(ours: Tensor, theirs: Tensor) -> Tensor:
    """1/2 ||Q / ||Q|| - R / ||R|| ||^2, Q and R the sums over channels of the squares of outputs (n, channels, height,
    width); the mean over a batch.

    Zagoruyko and Komodakis, "Paying more attention to attention", arXiv:1612.03928: activations, with the sum of
    squares as the map. Chosen here, as in the authors' code: the square of the norm, which has a gradient at the
    reference too.
    """
    return (_map(ours) - _map(theirs)).square().sum(dim=1).mean() / 2


def with_layers(
    model: nn.Module, inputs: Nest, *, forward: Forward, layers: Sequence[str]
) -> tuple[Nest, dict[str, Tensor]]:
    """The outputs of `model`, and those of its `layers` by name, of their last call.

    ValueError where one of them gives something else than one tensor, or is never called.
    """
    found: dict[str, Tensor] = {}
    modules = dict(model.named_modules())
    hooks = [modules[name].register_forward_hook(functools.partial(_keep, found, name)) for name in layers]
    try:
        outputs = forward(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if missing := set(layers) - found.keys():
        raise ValueError(f"distillation: expected layers that the model calls, got {min(missing)}")
    return outputs, found


def _keep(found: dict[str, Tensor], name: str, _module: nn.Module, _inputs: Any, outputs: Any) -> None:
    if not isinstance(outputs, Tensor):
        raise ValueError(f"distillation: expected layers that give one tensor, got {type(outputs).__name__} of {name}")
    found[name] = outputs


def _map(outputs: Tensor) -> Tensor:
    if outputs.ndim != 4:
        shape = tuple(outputs.shape)
        raise ValueError(f"attention: expected layers' outputs of shape (n, channels, height, width), got {shape}")
    return nn.functional.normalize(_wide(outputs).square().sum(dim=1).flatten(1), dim=1)


def _wide(outputs: Tensor) -> Tensor:
    return outputs.to(torch.float32) if outputs.dtype.itemsize < 4 else outputs
