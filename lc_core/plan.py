"""Plans: which compression the weights of which layers get."""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from lc_core.compression import Compression, numel
from lc_core.compressions.budget import Budget
from lc_core.compressions.chain import Chain
from lc_core.compressions.quantization import Codebook
from lc_core.compressions.structured import AXES, GroupPruning, Part
from lc_core.graph import LAYERS, following_norms
from lc_core.parameters import DTYPES, ModelWeight, frozen, named_weight, parameter_name, weights_of
from lc_core.task import CompressionTask, Governed


@dataclass(frozen=True)
class Joint:
    """One Theta for all layers of a pattern, taken as one vector. The layers then share a support or a codebook."""

    compression: Compression


Plan = Mapping[str, Compression | Joint]
"""Layer pattern (a glob: `fc1`, `features.*`, `*`, or a parameter's full name) -> the compression of the weights of the
layers that match. `*` takes all weights that `lc_core.parameters.weights_of` lists: no norms and no biases."""


SMALL = "<small>"
"""The pattern of a plan that takes all small parameters that train and that no other pattern takes: biases, norms,
tables. `Joint` compresses them as one vector."""

Norms = Callable[[], Mapping[str, str]]
"""Gives layer -> the batch norm that follows it. Called only where groups include that norm."""


def plan_tasks(model: nn.Module, plan: Plan) -> tuple[CompressionTask, ...]:
    """The tasks of `plan` on the weights of `model`.

    A weight belongs to the first pattern that matches it. Weights that no pattern matches stay uncompressed. A pattern
    names layers (`lc_core.parameters.ModelWeight.labels`). One that is the full name of a parameter takes it, whatever
    it is: a bias, a table of positions. A glob leaves out frozen parameters. It also leaves out weights of which there
    are fewer than the codebook has values, unless it matches only such. A tied weight has one task.

    Raises:
        ValueError: a pattern matches no remaining weight, or names a frozen one; a compression cannot take the shape of
            a weight; a layer has a weight that other parameters give.
    """
    weights = weights_of(model)
    left = dict(weights)
    tasks: list[CompressionTask] = []
    norms = functools.cache(lambda: following_norms(model))
    for pattern, compression in plan.items():
        if pattern == SMALL:
            continue
        matched = [weight for weight in left.values() if weight.matches(pattern)]
        if not matched and (named := named_weight(model, pattern)) and not _taken(named.name, tasks):
            matched = [weights.get(named.name, named)]
        taken = _trainable(matched, pattern)
        if not taken:
            layers = [weight.labels[0] for weight in weights.values()]
            raise ValueError(f"plan: the pattern {pattern!r} matches no remaining layer; the layers are {layers}")
        if is_glob(pattern):
            taken = [weight for weight in taken if not too_small(weight.parameter.shape, compression)] or taken
        for weight in taken:
            left.pop(weight.name, None)
        if isinstance(compression, Joint):
            tasks.append(_task(model, taken, compression.compression, pattern, norms))
        elif isinstance(compression, Budget):
            tasks.append(_task(model, taken, compression, pattern, norms))
        else:
            tasks += [_task(model, [weight], compression, pattern, norms) for weight in taken]
    if SMALL in plan:
        tasks += _small_tasks(
            model, plan[SMALL], others={*weights, *(n for task in tasks for n in task.governed.names)}
        )
    times = Counter(name for task in tasks for name in task.governed.names)
    if twice := [name for name, count in times.items() if count > 1]:
        raise ValueError(f"plan: expected one compression for each parameter, got two for {', '.join(twice)}")
    fixed = set(frozen(model))
    for task in tasks:
        if still := [name for name in task.governed.names if name in fixed]:  # a bias or a norm of a group
            raise _takes_frozen(task.pattern, still)
        task.outline()
    return tuple(tasks)


def _small_tasks(
    model: nn.Module, compression: Compression | Joint, *, others: Collection[str]
) -> list[CompressionTask]:
    """The tasks of the pattern SMALL: of the parameters that train, but for `others`. ValueError where none is left."""
    parameters = dict(model.named_parameters())
    names = [
        name
        for name, each in parameters.items()
        if name not in others and each.requires_grad and each.numel() and each.dtype in DTYPES
    ]
    if not names:
        raise ValueError(f"plan: the pattern {SMALL!r} matches no remaining parameter: no bias, norm or table is left")
    if isinstance(compression, Joint):
        groups, compression = [names], compression.compression
    else:
        groups = [[name] for name in names]
    if isinstance(compression, Budget):
        return [_budgeted(parameters, names, compression, SMALL)]
    tasks = []
    for group in groups:
        tasks.append(CompressionTask(Governed.of(parameters, group), compression, SMALL, _stored(parameters, group)))
    return tasks


def _budgeted(
    parameters: Mapping[str, nn.Parameter], names: Sequence[str], budget: Budget, pattern: str
) -> CompressionTask:
    """The task of one budget over these parameters."""
    governed, dtype = Governed.of(parameters, names), _stored(parameters, names)
    budget = budget.governing(governed.names, governed.shapes, dtype=dtype or torch.float32)
    return CompressionTask(governed, budget, pattern, dtype)


def _stored(parameters: Mapping[str, nn.Parameter], names: Sequence[str]) -> torch.dtype | None:
    """The type in which the weights of `names` are stored together; None for float32."""
    dtype = functools.reduce(torch.promote_types, [parameters[name].dtype for name in names])
    return None if dtype == torch.float32 else dtype


def is_glob(pattern: str) -> bool:
    """Whether a pattern of a plan stands for more than one name."""
    return any(character in pattern for character in "*?[")


def too_small(shape: tuple[int, ...], compression: Compression | Joint) -> bool:
    """Whether a layer has fewer weights than its codebook would have values. Dense weights are then smaller."""
    return isinstance(compression, Codebook) and numel(shape) < compression.size


def _taken(name: str, tasks: Sequence[CompressionTask]) -> bool:
    return any(name in task.governed.names for task in tasks)


def _trainable(matched: Sequence[ModelWeight], pattern: str) -> list[ModelWeight]:
    """Those of `matched` that train. ValueError where the pattern names a frozen one, or matches only such."""
    trainable = [weight for weight in matched if weight.parameter.requires_grad]
    still = [weight.name for weight in matched if not weight.parameter.requires_grad]
    if still and (not trainable or not is_glob(pattern)):
        raise _takes_frozen(pattern, still)
    return trainable


def _takes_frozen(pattern: str, names: Sequence[str]) -> ValueError:
    return ValueError(
        f"plan: the pattern {pattern!r} takes {', '.join(names)}, expected parameters that train, got frozen ones "
        "(requires_grad is False); unfreeze them, or leave them out of the plan"
    )


def _task(
    model: nn.Module, weights: Sequence[ModelWeight], compression: Compression, pattern: str, norms: Norms
) -> CompressionTask:
    parameters = dict(model.named_parameters())
    match compression:
        case GroupPruning():
            governed, parts = _groups(model, weights, compression.axis, norms)
            compression = replace(compression, parts=parts)
        case Chain(first=GroupPruning() as pruning):
            governed, parts = _groups(model, weights, pruning.axis, norms)
            compression = replace(compression, first=replace(pruning, parts=parts))
        case Budget():
            return _budgeted(parameters, [weight.name for weight in weights], compression, pattern)
        case _:
            governed = Governed.of(parameters, [weight.name for weight in weights])
    return CompressionTask(governed, compression, pattern, _stored(parameters, governed.names))


def _groups(
    model: nn.Module, weights: Sequence[ModelWeight], axis: str, norms: Norms
) -> tuple[Governed, tuple[Part, ...]]:
    """The parameters whose slices make up the groups of `weights`, and the part that each has."""
    layers = [_layer_of_groups(model, weight) for weight in weights]
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
    return Governed.of(parameters, names), tuple(parts)


def _layer_of_groups(model: nn.Module, weight: ModelWeight) -> str:
    """The one layer that holds `weight`. ValueError where there are several, or one that cannot lose channels."""
    kinds = ", ".join(type(model.get_submodule(layer)).__name__ for layer in weight.layers)
    if len(weight.layers) > 1 or not isinstance(model.get_submodule(weight.layers[0]), LAYERS):
        raise ValueError(
            f"{weight.name}: structured pruning takes the weight of one Linear, Conv1d, Conv2d or Conv3d layer, got "
            f"that of {kinds}; give it another compression"
        )
    return weight.layers[0]
