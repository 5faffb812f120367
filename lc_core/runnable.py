"""A packed model as it runs: factors as layers of their own, pruned groups cut out."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lc_core.accounting import layer_uses
from lc_core.artifact import Artifact, ArtifactError
from lc_core.compression import Dense, numel
from lc_core.cp import Kruskal
from lc_core.factor_layers import Weight, factor_weights, layers_of, runs_in_factors
from lc_core.graph import LAYERS, parameter_name
from lc_core.lowrank import Factored
from lc_core.structured import Grouped
from lc_core.surgery import cut, kept_slices
from lc_core.tensors import Tucker


@dataclass(frozen=True, eq=False)
class Runnable:
    """A model that runs, and what its parameters and buffers are made of.

    Attributes:
        model: in evaluation mode, with its numbers.
        weights: name -> how the packed file stores it; the floating-point ones, all of them.
    """

    model: nn.Module
    weights: dict[str, Weight]


def runnable(artifact: Artifact, model: nn.Module, example: Tensor) -> Runnable:
    """The packed model `artifact` as it runs in evaluation mode.

    A layer becomes the layers of its factors where that is fewer multiply-accumulates; where groups are pruned, they
    are cut out with all that only they fed (`lc_core.surgery`), if torch.fx can trace the model.

    Args:
        artifact: what the file holds.
        model: the one it was made from, built by the caller; left as it is.
        example: inputs, (n, ...).

    Raises:
        ArtifactError: the model has other parameters than the file.
    """
    whole = copy.deepcopy(model).eval()
    try:
        whole.load_state_dict(artifact.weights())
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"the packed model does not fit {type(model).__name__}: {reason}") from error
    stored = _stored(artifact)
    _run_in_factors(whole, stored, example)
    small = whole
    if any(isinstance(theta, Grouped) for theta in artifact.thetas):
        small = _cut(whole, stored, example)
    weights = {}
    for name, tensor in small.state_dict().items():
        if tensor.is_floating_point():
            weights[name] = stored.get(name) or Weight.of(Dense(tensor))
    return Runnable(small, weights)


def _stored(artifact: Artifact) -> dict[str, Weight]:
    """Parameter under a Theta -> how it is made of it."""
    stored: dict[str, Weight] = {}
    for governed, theta in zip(artifact.governed, artifact.thetas, strict=True):
        if isinstance(theta, Grouped):
            for name, part, values in zip(governed.names, theta.parts, theta.values, strict=True):
                stored[name] = Weight.of(values, part, theta.kept)
            continue
        first = 0
        for name, shape in zip(governed.names, governed.shapes, strict=True):
            stored[name] = Weight(theta, shape, shape, first=first)
            first += numel(shape)
    return stored


def _run_in_factors(model: nn.Module, stored: dict[str, Weight], example: Tensor) -> None:
    """Puts the layers of their factors in the place of layers; `stored` then has theirs."""
    uses = layer_uses(model, example[:1])
    for layer_name, layer in list(model.named_modules()):
        name = parameter_name(layer_name, "weight")
        if type(layer) not in LAYERS or not layer_name or name not in stored:
            continue
        product = stored[name].theta
        if not isinstance(product, Factored | Tucker | Kruskal) or not runs_in_factors(product, uses.get(name, [])):
            continue
        weights = factor_weights(product)
        for axis, picked in stored.pop(name).picked.items():  # output groups went from the last, input groups the first
            place = len(weights) - 1 if axis == 0 else 0
            weights[place] = weights[place].repicked(axis, picked)
        model.set_submodule(layer_name, layers_of(layer, weights))
        stored |= {f"{layer_name}.{number}.weight": weight for number, weight in enumerate(weights)}


def _cut(whole: nn.Module, stored: dict[str, Weight], example: Tensor) -> nn.Module:
    """The model without its pruned groups; `stored` then has what is left of each."""
    try:
        kept = kept_slices(whole, example)
    except ValueError:  # torch.fx cannot trace it: it stays whole
        return whole
    small = cut(whole, example)
    for name, slices in kept.items():
        tensor = small.get_parameter(name) if name in dict(small.named_parameters()) else None
        if tensor is None or name not in stored:
            continue
        if tensor.dim() == 1:  # constants of what went may be in it now
            del stored[name]
            continue
        for axis, each in enumerate(slices):
            stored[name] = stored[name].pick(axis, each)
        assert torch.equal(stored[name].tensor(), tensor.detach()), name
    return small
