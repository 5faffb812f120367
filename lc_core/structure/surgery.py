"""Removes the channels that a model's outputs do not need: pruned groups, and channels that only they used."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.compressions.structured import Grouped
from lc_core.graph import TraceError
from lc_core.parameters import parameter_name
from lc_core.structure.channels import Channels, Conv, Follower, Mixer, kernels
from lc_core.structure.flow import Flow
from lc_core.structure.tracing import traced
from lc_core.task import CompressionTask, by_layer
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest, cloned, leaves, map_nest

TOLERANCE = 1e-4


class StructureError(ValueError):
    """A model made smaller that does not run, or whose outputs are not those of the whole model."""


def cut(model: nn.Module, example: Nest, *, forward: Forward = call) -> nn.Module:
    """A copy of `model` without the channels that its outputs do not need in evaluation mode: the same outputs.

    Removes channels that every reading layer multiplies by zero, and channels that are always zero (zero weights, bias
    and batch-norm shift, behind any activation). Other constant channels go into the biases of the layers that read
    them, where these have biases and do not pad. Channels that are added together are removed together. The model's
    inputs and outputs do not change, and a layer keeps at least one channel. Unknown parts stay: layers that run twice
    or share weights, operations that mix channels, convolutions in groups other than depthwise.

    Args:
        model: its weights are Delta(Theta); not changed.
        example: inputs, (n, ...).
        forward: how the model runs on them.

    Raises:
        TraceError: torch.fx cannot trace the model.
        StructureError: the copy does not run, or its outputs differ.
    """
    return cut_channels(model, example, forward=forward)[0]


def cut_channels(
    model: nn.Module, example: Nest, *, forward: Forward = call
) -> tuple[nn.Module, dict[str, tuple[Tensor, ...]]]:
    """As `cut`; also name of a weight -> the outputs and inputs that stay, ascending, for all known layers."""
    whole, small = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    flow = Flow(traced(small, example, forward=forward))
    needed = _operate(flow)
    check_outputs(whole, small, example, forward=forward)
    for given, made in zip(model.modules(), small.modules(), strict=True):
        made.training = given.training
    names = {id(module): name for name, module in small.named_modules()}
    layers: list[tuple[str, tuple[Channels, ...]]] = []
    layers += [(mixer.name, (mixer.outputs, mixer.inputs)) for mixer in flow.mixers]
    layers += [(names[id(follower.module)], (follower.outputs,)) for follower in flow.followers]
    return small, {
        parameter_name(name, "weight"): tuple(needed[each.slots].nonzero().reshape(-1) for each in channels)
        for name, channels in layers
    }


def cut_weights(
    model: nn.Module,
    example: Nest,
    *,
    tasks: Sequence[CompressionTask],
    thetas: Sequence[Compressed],
    forward: Forward = call,
) -> dict[str, Tensor]:
    """The parameters of `model`, by name, in the shapes that `cut` gives them; their values mean nothing.

    Only groups that a Theta drops count as zero; all other values count as unknown. `cut` may leave less, where it
    finds further zeros or constants, but never more. An outline tells how many groups stay but not which: its groups
    are cut only where the choice does not change any shape, so that no shape is smaller than training can make it. A
    model that torch.fx cannot trace stays whole.

    Args:
        model: not changed.
        example: inputs, (n, ...).
        tasks: the compressions and their parameters.
        thetas: Theta of each task, or its outline.
        forward: how the model runs on the inputs.
    """
    pairs = zip(*by_layer(tasks, thetas), strict=True)
    grouped = [(task, theta) for task, theta in pairs if isinstance(theta, Grouped)]
    if not grouped:
        return dict(model.state_dict())
    pattern = copy.deepcopy(model).eval()
    try:
        graph = traced(pattern, example, forward=forward)
    except TraceError:
        return dict(model.state_dict())
    weights = {name: tensor for name, tensor in pattern.state_dict().items() if tensor.is_floating_point()}
    for tensor in weights.values():
        tensor.fill_(torch.nan)  # an unknown value
    whole = Flow(graph)
    for task, theta in grouped:
        if theta.kept.is_meta:
            if not _alike(whole, task.governed.names[0], axis=theta.parts[0].axis):
                continue
            theta = replace(theta, kept=torch.arange(theta.kept.numel()))
        for name, part in zip(task.governed.names, theta.parts, strict=True):
            kept = part.own(theta.kept).to(weights[name].device)
            weights[name].zero_().index_fill_(part.axis, kept, torch.nan)
    _operate(Flow(graph))
    return dict(pattern.state_dict())


def _alike(flow: Flow, weight: str, *, axis: int) -> bool:
    """Whether the choice of a layer's groups does not change any shape: its channels run from one layer to others and
    are added to no others. Input groups must also all come from one layer and go to this one alone."""
    classes = flow.classes()
    sizes = classes.bincount()
    for mixer in flow.mixers:
        if f"{mixer.name}.weight" == weight:
            slots = (mixer.outputs, mixer.inputs)[axis].slots
            makers = [other for other in flow.mixers if torch.equal(other.outputs.slots, slots)]
            readers = [other for other in flow.mixers if bool(torch.isin(other.inputs.slots, slots).any())]
            return bool((sizes[classes[slots]] == 1).all()) and (axis == 0 or len(makers) == len(readers) == 1)
    return False


def _operate(flow: Flow) -> Tensor:
    """Cuts the layers of the traced model in place. Returns (slots,) bool, the slots that stay."""
    needed = needed_slots(flow, [mixer.reads(mixer.replaceable()) for mixer in flow.mixers])
    for mixer in flow.mixers:
        _cut_mixer(mixer, rows=needed[mixer.outputs.slots], columns=needed[mixer.inputs.slots])
    for follower in flow.followers:
        _cut_follower(follower, inputs=needed[follower.inputs.slots], outputs=needed[follower.outputs.slots])
    return needed


def needed_slots(flow: Flow, reads: Sequence[Tensor]) -> Tensor:
    """(slots,) bool, the slots that stay: the fewest that hold all that the model's outputs depend on.

    Args:
        flow: of the model.
        reads: for each mixer, (outputs, inputs) bool, which outputs read which inputs.
    """
    classes = flow.classes()
    needed = torch.zeros(len(classes), dtype=torch.bool)
    needed[classes[flow.pinned]] = True
    pairs = [(mixer, read.cpu()) for mixer, read in zip(flow.mixers, reads, strict=True)][::-1]
    while True:
        before = needed.clone()
        for mixer, read in pairs:
            rows = needed[classes[mixer.outputs.slots]]
            needed[classes[mixer.inputs.slots[read[rows].any(dim=0)]]] = True
        if torch.equal(needed, before):
            bare = [mixer for mixer, _ in pairs if not needed[classes[mixer.outputs.slots]].any()]
            if not bare:
                return needed[classes]
            needed[classes[bare[0].outputs.slots[0]]] = True


@torch.no_grad()
def _cut_mixer(mixer: Mixer, *, rows: Tensor, columns: Tensor) -> None:
    """Cuts a layer to some outputs and inputs. Constants of the removed inputs go into its bias."""
    if rows.all() and columns.all():
        return
    layer = mixer.layer
    rows, columns = rows.to(layer.weight.device), columns.to(layer.weight.device)
    if layer.bias is not None:
        constants = mixer.inputs.values[~columns].nan_to_num(0.0)  # the weights of an input that varies are zero
        folded = kernels(layer.weight[:, ~columns]).sum(dim=2) @ constants
        layer.bias = _parameter((layer.bias + folded)[rows], like=layer.bias)
    layer.weight = _parameter(layer.weight[rows][:, columns], like=layer.weight)
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    else:
        layer.out_channels, layer.in_channels = layer.weight.shape[:2]


@torch.no_grad()
def _cut_follower(follower: Follower, *, inputs: Tensor, outputs: Tensor) -> None:
    """Cuts a depthwise convolution or a batch norm to the channels that stay."""
    if outputs.all():
        return
    module = follower.module
    for name, parameter in list(module.named_parameters()):
        setattr(module, name, _parameter(parameter[outputs.to(parameter.device)], like=parameter))
    if isinstance(module, Conv):
        module.in_channels = module.groups = int(inputs.sum())
        module.out_channels = int(outputs.sum())
    else:
        module.num_features = int(outputs.sum())
        for name in ("running_mean", "running_var"):
            buffer = module.get_buffer(name)
            setattr(module, name, buffer[outputs.to(buffer.device)])


def _parameter(values: Tensor, *, like: Tensor) -> nn.Parameter:
    return nn.Parameter(values.contiguous(), requires_grad=like.requires_grad)


@torch.no_grad()
def check_outputs(whole: nn.Module, small: nn.Module, example: Nest, *, forward: Forward = call) -> None:
    """StructureError where the two models, in evaluation mode, differ by more than TOLERANCE of the largest output, on
    `example` or, where the whole model gives finite outputs for them, on random inputs like it. Of several outputs each
    is compared."""
    batches = [(example, forward(whole, cloned(example)))]
    if _floats(example):
        generator = torch.Generator().manual_seed(0)
        noise = map_nest(lambda leaf: _noise(leaf, generator), example)
        with contextlib.suppress(Exception):  # the user's code may check the range of its inputs
            given = forward(whole, cloned(noise))
            batches += [(noise, given)] if all(output.isfinite().all() for output in _floats(given)) else []
    for inputs, expected in batches:
        try:
            got = forward(small, cloned(inputs))
        except Exception as error:  # the user's code may read a removed attribute of a layer
            reason = " ".join(str(error).split())
            raise StructureError(
                f"surgery: expected a {type(whole).__name__} that runs, got one that does not: {reason}"
            ) from error
        for ours, theirs in zip(_floats(got), _floats(expected), strict=True):
            difference, largest = float((ours - theirs).abs().max()), float(theirs.abs().max())
            allowed = max(TOLERANCE, 8 * torch.finfo(theirs.dtype).eps) * largest
            if not difference <= allowed:
                raise StructureError(
                    f"surgery: expected outputs of {type(whole).__name__} within {allowed:.3g} of the whole model's, "
                    f"got {difference:.3g} apart, where the largest is {largest:.3g}"
                )


def _noise(leaf: Any, generator: torch.Generator) -> Any:
    """Random numbers of the shape and type of a tensor of real numbers; other values as they are."""
    if not isinstance(leaf, Tensor) or not leaf.is_floating_point():
        return leaf
    return torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype).to(leaf.device)


def _floats(outputs: Nest) -> list[Tensor]:
    return [leaf for leaf in leaves(outputs) if isinstance(leaf, Tensor) and leaf.is_floating_point()]
