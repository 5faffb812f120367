"""Runs a packed model in its compressed structure: fewer multiply-accumulates, the same outputs.

Pruned groups are removed. Low rank and depthwise-separable kernels run as two layers, Tucker and CP as three or more,
and circulant blocks of large layers by FFT. Zeros and codes save bytes but no time in torch.
"""

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lc_core.compression import Dense, dense_macs
from lc_core.compressions.structured import Grouped
from lc_core.file.artifact import Artifact, fill, load
from lc_core.graph import LAYERS, TraceError
from lc_core.parameters import first_names, parameter_name, tied_names
from lc_core.structure.accounting import layer_macs, layer_uses
from lc_core.structure.layers import as_layers
from lc_core.structure.surgery import StructureError, check_outputs, cut_channels
from lc_core.structure.weights import Weight, stored_weights
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest, map_nest

SPECTRAL_FROM = 1 << 19
"""Layers with at least this many weights run their circulant blocks by FFT. On a CPU smaller layers take up to twelve
times as long as the dense layer, larger ones down to a twentieth (docs/latency.md)."""


@dataclass(frozen=True, eq=False)
class Restructured:
    """A model in its compressed structure, and how its tensors are stored.

    Attributes:
        model: the model that runs.
        weights: name -> how the packed file stores it, for all floating-point parameters and buffers. Tied ones are
            under the first of their names.
    """

    model: nn.Module
    weights: dict[str, Weight]


def load_structured(
    path: str | Path,
    model: nn.Module,
    example: Nest,
    *,
    spectral_from: int | None = SPECTRAL_FROM,
    forward: Forward = call,
) -> nn.Module:
    """A copy of `model` with the weights in `path`, in their structure where that takes fewer multiply-accumulates.

    In evaluation mode its outputs are those of the dense model within `surgery.TOLERANCE` of the largest, which
    is checked on `example` and on random numbers. A model that torch.fx cannot trace keeps its pruned groups.

    Args:
        path: a packed file.
        model: built by the caller; not changed.
        example: inputs, (n, ...): a tensor, or a tuple or mapping of several.
        spectral_from: layers with at least this many weights run their circulant blocks by FFT, smaller ones dense;
            None for never.
        forward: how the model runs on the inputs.

    Raises:
        ArtifactError: as `lc_core.load`.
        StructureError: the outputs differ.
    """
    artifact = load(path, whole := copy.deepcopy(model))
    return _restructured(artifact, whole, example, spectral_from=spectral_from, forward=forward).model


def restructured(
    artifact: Artifact,
    model: nn.Module,
    example: Nest,
    *,
    spectral_from: int | None = SPECTRAL_FROM,
    forward: Forward = call,
) -> Restructured:
    """As `load_structured`, for a file that was read; also says how each tensor is stored."""
    fill(whole := copy.deepcopy(model), artifact)
    return _restructured(artifact, whole, example, spectral_from=spectral_from, forward=forward)


def _restructured(
    artifact: Artifact, whole: nn.Module, example: Nest, *, spectral_from: int | None, forward: Forward
) -> Restructured:
    stored = stored_weights(artifact)
    small = _without_groups(whole, artifact, example, stored, forward)
    one = map_nest(lambda leaf: leaf[:1], example)
    uses, first = layer_uses(small, lambda model: forward(model, one)), first_names(small)
    for name, layer in list(small.named_modules(remove_duplicate=False)):
        weight = parameter_name(name, "weight")
        if type(layer) not in LAYERS or weight not in stored or first[weight] not in uses:
            continue
        theta, shape = stored[weight].theta, tuple(layer.weight.shape)
        if len(theta.shape) != len(shape):
            continue  # part of a Theta of several parameters
        if sum(layer_macs(theta, shape, use) - dense_macs(shape, use) for use in uses[first[weight]]) >= 0:
            continue
        spectral = spectral_from is not None and layer.weight.numel() >= spectral_from
        made = as_layers(stored[weight], layer, bias=layer.bias, spectral=spectral)
        if made is not None:
            small = _replaced(small, name, made.module.train(layer.training))
            del stored[weight]
            stored |= {parameter_name(name, inner): each for inner, each in made.weights.items()}
    check_outputs(copy.deepcopy(whole).eval(), copy.deepcopy(small).eval(), example, forward=forward)
    tied = tied_names(small)
    floats = {name: w for name, w in small.state_dict().items() if w.is_floating_point() and name not in tied}
    return Restructured(small, {name: stored.get(name) or Weight.of(Dense(floats[name])) for name in floats})


def _without_groups(
    whole: nn.Module, artifact: Artifact, example: Nest, stored: dict[str, Weight], forward: Forward
) -> nn.Module:
    """A copy of `whole` without its pruned groups. Cuts the entries of `stored` likewise."""
    if not any(isinstance(theta, Grouped) for theta in artifact.thetas):
        return copy.deepcopy(whole)
    try:
        small, stays = cut_channels(whole, example, forward=forward)
    except (TraceError, StructureError):
        return copy.deepcopy(whole)
    for name, tensor in small.state_dict().items():
        if name not in stored:
            continue
        if tensor.dim() == 1:  # it may contain constants of removed channels
            del stored[name]
            continue
        for axis, kept in enumerate(stays.get(name, ())):
            stored[name] = stored[name].pick(axis, kept.cpu())
        assert torch.equal(stored[name].tensor(), tensor.cpu()), name
    return small


def _replaced(model: nn.Module, name: str, made: nn.Module) -> nn.Module:
    """`model` with its module `name` replaced by `made`, in place; `made` itself where `name` is empty."""
    if not name:
        return made
    model.set_submodule(name, made)
    parent = model.get_submodule(name.rpartition(".")[0])
    if isinstance(parent, nn.TransformerEncoderLayer):
        parent.activation_relu_or_gelu = 0  # its fused path would read the weight of the layer that is gone
    return model
