"""A packed model in the structure that it was compressed to: fewer multiply-accumulates in torch, the same outputs.

Pruned groups are cut out, low rank runs as two layers, Tucker and CP as three or more, circulant blocks by FFT. Zeros
and codes have no structure that torch could use: they save bytes, not time.
"""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from lc_core.accounting import layer_macs, layer_uses, stored_by_name
from lc_core.artifact import Artifact, load
from lc_core.compression import Compressed, Dense, dense_macs
from lc_core.graph import parameter_name, trace
from lc_core.layers import Layer, as_layers
from lc_core.lowrank import Factored
from lc_core.structured import Grouped, Part
from lc_core.surgery import Stays, check_outputs, cut_channels


def load_structured(path: str | Path, model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of `model` with the weights in `path`, in their structure where that takes fewer multiply-accumulates.

    In evaluation mode its outputs are those of the dense model within `lc_core.surgery.TOLERANCE` of the largest, which
    is checked on `example` and on random numbers. A model that torch.fx cannot trace keeps its pruned groups.

    Args:
        path: a packed file.
        model: built by the caller; left as it is.
        example: inputs, (n, ...).

    Raises:
        ArtifactError: as `lc_core.load`.
        ValueError: the outputs differ.
    """
    whole = copy.deepcopy(model)
    artifact = load(path, whole)
    small, stays = _without_groups(whole, artifact, example)
    thetas = _whole_thetas(artifact)
    uses = layer_uses(small, example[:1])
    for name, layer in list(small.named_modules()):
        weight = parameter_name(name, "weight")
        if type(layer) not in (nn.Linear, nn.Conv1d, nn.Conv2d) or weight not in thetas or weight not in uses:
            continue
        theta, shape = thetas[weight], tuple(layer.weight.shape)
        if sum(layer_macs(theta, shape, use) - dense_macs(shape, use) for use in uses[weight]) < 0:
            small = _replaced(small, name, _structured(theta, layer, stays.get(name)))
    check_outputs(copy.deepcopy(whole).eval(), copy.deepcopy(small).eval(), example)
    return small


def _without_groups(whole: nn.Module, artifact: Artifact, example: Tensor) -> tuple[nn.Module, dict[str, Stays]]:
    """A copy of `whole` without its pruned groups, and what stays of its layers; all where none were pruned."""
    if not any(isinstance(theta, Grouped) for theta in artifact.thetas):
        return copy.deepcopy(whole), {}
    try:
        trace(whole)
    except ValueError:
        return copy.deepcopy(whole), {}
    return cut_channels(whole, example)


def _whole_thetas(artifact: Artifact) -> dict[str, Compressed]:
    """Parameter -> Theta of all of it; of what pruned groups leave, filled up with zeros where it has factors."""
    stored = stored_by_name(artifact.governed, artifact.thetas)
    for governed, theta in zip(artifact.governed, artifact.thetas, strict=True):
        if isinstance(theta, Grouped):
            for name, part in zip(governed.names, theta.parts, strict=True):
                stored[name] = _filled(stored[name], part, part.own(theta.kept))
    return stored


def _filled(theta: Compressed, part: Part, kept: Tensor) -> Compressed:
    match theta:
        case Factored(left=left, right=right, scheme="channel", rank=rank):
            outer, inner = left.decompress(), right.decompress().reshape(rank, *theta.shape[1:])
            if part.axis == 0:
                outer = outer.new_zeros(part.shape[0], rank).index_copy(0, kept, outer)
            else:
                inner = inner.new_zeros(rank, *part.shape[1:]).index_copy(1, kept, inner)
            return Factored(part.shape, Dense(outer), Dense(inner.flatten(1)), "channel")
    return theta


def _structured(theta: Compressed, layer: Layer, stays: Stays | None) -> nn.Module:
    """What `layer` becomes; itself where `theta` has no structure."""
    n, m = theta.shape[:2]
    if stays is None:
        stays = Stays(torch.ones(n, dtype=torch.bool), torch.ones(m, dtype=torch.bool))
    made = as_layers(theta, layer, rows=stays.rows, columns=stays.columns, bias=layer.bias)
    return layer if made is None else made.train(layer.training)


def _replaced(model: nn.Module, name: str, made: nn.Module) -> nn.Module:
    """`model` with `made` for its module `name`, written into it; `made` where that is all of it."""
    if not name:
        return made
    model.set_submodule(name, made)
    return model
