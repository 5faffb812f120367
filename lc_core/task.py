"""Assigns compressions to the parameters of a model, each in the shape in which the compression takes them."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Compression, Dense, numel, outline_tensor
from lc_core.compressions.chain import Chain
from lc_core.compressions.structured import AXES, GroupPruning, Part
from lc_core.graph import LAYERS, following_norms, parameter_name


@dataclass(frozen=True)
class Joint:
    """One Theta for all layers of a pattern, taken as one vector. The layers then share a support or a codebook."""

    compression: Compression


Plan = Mapping[str, Compression | Joint]
"""Layer pattern (a glob: `fc1`, `features.*`, `*`) -> the compression of the weights of the layers that match."""


Norms = Callable[[], Mapping[str, str]]
"""Gives layer -> the batch norm that follows it. Called only where groups include that norm."""


@dataclass(frozen=True)
class Governed:
    """The parameters that one Theta replaces. One keeps its shape; several are joined to one vector, in order.

    Attributes:
        names: names of the parameters in the model.
        shapes: the shape of each.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that the compression takes."""
        return self.shapes[0] if len(self.shapes) == 1 else (sum(map(numel, self.shapes)),)

    def gather(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The weights of these parameters, in `shape`."""
        if len(self.names) == 1:
            return weights[self.names[0]].contiguous()
        return torch.cat([weights[name].reshape(-1) for name in self.names])

    def scatter(self, gathered: Tensor) -> dict[str, Tensor]:
        """The inverse of `gather`: parameter name -> its part of `gathered`, in its own shape."""
        parts = gathered.reshape(-1).split([numel(shape) for shape in self.shapes])
        return {name: part.reshape(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}


@dataclass(frozen=True)
class CompressionTask:
    """A compression and the parameters that it compresses."""

    governed: Governed
    compression: Compression

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Compressed:
        """The C step on gathered weights `w`. ValueError naming the parameters where `w` holds a NaN or infinity."""
        if not math.isfinite(float(w.abs().amax())):  # one pass finds both
            raise ValueError(f"{', '.join(self.governed.names)}: expected finite weights, got NaN or infinity")
        return self.compression.compress(w, mu=mu, previous=previous)

    def check(self) -> None:
        """Runs the compression's `check`; its ValueError then names the parameters."""
        try:
            self.compression.check(self.governed.shape)
        except ValueError as error:
            raise ValueError(f"{', '.join(self.governed.names)}: {error}") from error

    def outline(self) -> Compressed | None:
        """Theta without values; None where its size depends on the values of the weights.

        ValueError, naming the parameters, where the compression cannot take their shape.
        """
        try:
            return self.compression.outline(self.governed.shape)
        except ValueError as error:
            raise ValueError(f"{', '.join(self.governed.names)}: {error}") from error

    def outline_or_dense(self) -> Compressed:
        """Theta without values, or dense weights where the size of Theta depends on the values."""
        return self.outline() or Dense(outline_tensor(*self.governed.shape))


def plan_tasks(model: nn.Module, plan: Plan) -> tuple[CompressionTask, ...]:
    """The tasks of `plan` on the weights of the linear and convolutional layers of `model`.

    A layer belongs to the first pattern that matches it. Layers that no pattern matches stay uncompressed.

    Raises:
        ValueError: a pattern matches no remaining layer; a compression cannot take the shape of a layer; parameters are
            tied.
    """
    modules = model.named_modules()
    left = {name: module.get_parameter("weight") for name, module in modules if isinstance(module, LAYERS)}
    layers = list(left)
    _refuse_tied(model)
    for name, weight in left.items():
        if not weight.numel():
            raise ValueError(f"{name}.weight: expected weights, got none: shape {tuple(weight.shape)}")
    tasks: list[CompressionTask] = []
    norms = functools.cache(lambda: following_norms(model))
    for pattern, compression in plan.items():
        named = {name: left.pop(name) for name in list(left) if fnmatchcase(name, pattern)}
        if not named:
            raise ValueError(f"plan: the pattern {pattern!r} matches no remaining layer; the layers are {layers}")
        if isinstance(compression, Joint):
            tasks.append(_task(model, list(named), compression.compression, norms))
        else:
            tasks += [_task(model, [name], compression, norms) for name in named]
    for task in tasks:
        task.outline()
    return tuple(tasks)


def _refuse_tied(model: nn.Module) -> None:
    first: dict[int, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            raise ValueError(
                f"{name}: expected a parameter of its own, got one tied to {first[id(parameter)]}; "
                "tied parameters cannot be compressed or packed"
            )


def _task(model: nn.Module, layers: Sequence[str], compression: Compression, norms: Norms) -> CompressionTask:
    match compression:
        case GroupPruning():
            governed, parts = _groups(model, layers, compression.axis, norms)
            return CompressionTask(governed, replace(compression, parts=parts))
        case Chain(first=GroupPruning() as pruning):
            governed, parts = _groups(model, layers, pruning.axis, norms)
            return CompressionTask(governed, replace(compression, first=replace(pruning, parts=parts)))
    weights = [parameter_name(layer, "weight") for layer in layers]
    return CompressionTask(_governed(dict(model.named_parameters()), weights), compression)


def _groups(model: nn.Module, layers: Sequence[str], axis: str, norms: Norms) -> tuple[Governed, tuple[Part, ...]]:
    """The parameters whose slices make up the groups of `layers`, and the part that each has."""
    following = norms() if axis == "output" else {}
    parameters = dict(model.named_parameters())
    names: list[str] = []
    parts: list[Part] = []
    first = 0
    for layer in layers:
        if axis == "input" and getattr(model.get_submodule(layer), "groups", 1) > 1:
            raise ValueError(f"{layer}: expected a convolution of one group to prune input channels of, got more")
        taken = [(layer, "weight")]
        if axis == "output":
            taken += [(layer, "bias"), *[(following[layer], kind) for kind in ("weight", "bias") if layer in following]]
        owned = [name for name in (parameter_name(*each) for each in taken) if name in parameters]
        names += owned
        parts += [Part(tuple(parameters[name].shape), AXES[axis], first) for name in owned]
        first += parts[-1].groups
    return _governed(parameters, names), tuple(parts)


def _governed(parameters: Mapping[str, Tensor], names: Sequence[str]) -> Governed:
    return Governed(tuple(names), tuple(tuple(parameters[name].shape) for name in names))
