"""Channels of a model's tensors: which must be removed together, and which are constant for every input.

Each slice of a tensor along its channels (dimension 1, or the last dimension of a linear layer's output) has a slot.
All slices of a slot are removed together. Norms, activations and sums keep the slots of their inputs; a layer makes new
slots.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass(frozen=True, eq=False)
class Channels:
    """A tensor's slices along one dimension.

    Attributes:
        dim: the dimension.
        slots: (n,) int64, the slot of each slice.
        values: (n,), the value of a slice that is constant for every input of the model; NaN where it varies.
    """

    dim: int
    slots: Tensor
    values: Tensor


@dataclass(frozen=True, eq=False)
class Mixer:
    """A layer in which each output may depend on each input.

    Attributes:
        name: the name of the layer in the model.
        layer: the layer.
        inputs: the channels of its input.
        outputs: the channels of its output.
    """

    name: str
    layer: nn.Linear | Conv
    inputs: Channels
    outputs: Channels

    def replaceable(self) -> Tensor:
        """(inputs,) bool: whether the input is a constant that is zero, or that the bias can replace."""
        values = self.inputs.values
        return _foldable(self.layer, values) if self.layer.bias is not None else values == 0

    def reads(self, replaced: Tensor) -> Tensor:
        """(outputs, inputs) bool: whether an output depends on an input, but for those `replaced`."""
        return _touches(self.layer) & ~replaced


@dataclass(frozen=True, eq=False)
class Follower:
    """A depthwise convolution or a batch norm: each output depends on one input and has the same slot."""

    module: Conv | Norm
    inputs: Channels
    outputs: Channels


def layer_constants(layer: nn.Linear | Conv, values: Tensor) -> Tensor:
    """(outputs,) the constant outputs of a layer; NaN where an output varies.

    Args:
        layer: the layer.
        values: its constant inputs, (1, inputs) where each output reads all inputs, (outputs, 1) where it reads one.
    """
    known = _foldable(layer, values)
    totals = (kernels(layer.weight).sum(dim=2) * torch.where(known, values, 0.0)).sum(dim=1)
    if layer.bias is not None:
        totals = totals + layer.bias.detach()
    return totals.masked_fill((_touches(layer) & ~known).any(dim=1), torch.nan)


def norm_constants(norm: Norm, values: Tensor) -> Tensor:
    """(n,) the constant outputs of a batch norm in evaluation mode for constant inputs."""
    given = F.batch_norm(
        values[None], norm.running_mean, norm.running_var, norm.weight, norm.bias, training=False, eps=norm.eps
    )[0].detach()
    return torch.where(norm.weight == 0, norm.bias.detach(), given) if norm.affine else given


def kernels(weight: Tensor) -> Tensor:
    """(outputs, inputs of each, rest) a layer's weight."""
    return weight.detach()[..., None].flatten(2)


def _foldable(layer: nn.Linear | Conv, values: Tensor) -> Tensor:
    """Whether each constant input gives a constant output. With padding only a zero input does."""
    if isinstance(layer, nn.Linear) or layer.padding == "valid":
        return values.isfinite()
    return values == 0 if layer.padding == "same" or any(layer.padding) else values.isfinite()


def _touches(layer: nn.Linear | Conv) -> Tensor:
    """(outputs, inputs of each), whether any weight between them is not zero."""
    return (kernels(layer.weight) != 0).any(dim=2)
