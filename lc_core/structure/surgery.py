"""Cuts out of a model the channels that its outputs do not need: pruned groups and what only they fed."""

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.compressions.structured import Grouped
from lc_core.graph import TraceError, parameter_name, trace
from lc_core.structure.channels import Channels, Follower, Mixer, kernels
from lc_core.structure.flow import Flow
from lc_core.task import CompressionTask

TOLERANCE = 1e-4


class StructureError(ValueError):
    """A model made smaller that does not run, or whose outputs are not those of the whole model."""


def cut(model: nn.Module, example: Tensor) -> nn.Module:
    """A copy of `model` without the channels that its outputs do not need in evaluation mode: the same outputs.

    A channel goes where every layer that reads it has only zero weights for it, or where it is zero whatever the input
    (zero weights, bias and batch-norm shift, behind any activation); another constant goes into the readers' biases,
    where they have them and do not pad. Channels that are added together go together. The model's inputs and outputs
    stay whole, a layer keeps one channel at least, and what is not understood stays as it is: layers that run twice or
    share weights, operations that mix channels, convolutions in groups (depthwise ones are understood).

    Args:
        model: with Delta(Theta) for weights; left as it is.
        example: inputs, (n, ...).

    Raises:
        TraceError: torch.fx cannot trace the model.
        StructureError: the copy does not run, or its outputs differ.
    """
    return cut_channels(model, example)[0]


def cut_channels(model: nn.Module, example: Tensor) -> tuple[nn.Module, dict[str, tuple[Tensor, ...]]]:
    """As `cut`; also which outputs and inputs stay of each weight that it understands, ascending, by its name."""
    whole, small = copy.deepcopy(model).eval(), copy.deepcopy(model).eval()
    flow = Flow(trace(small), example)
    needed = _operate(flow)
    check_outputs(whole, small, example)
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
    model: nn.Module, example: Tensor, *, tasks: Sequence[CompressionTask], thetas: Sequence[Compressed]
) -> dict[str, Tensor]:
    """The parameters of `model`, by name, in the shapes that `cut` leaves of them; their numbers mean nothing.

    Only whole groups that a Theta drops count as zero, and all other numbers as not known: `cut` may leave less, where
    it finds further zeros or constants, never more. From an outline it is known how many groups stay but not which:
    they count where that makes no difference to shapes, so that none is smaller than what training can end with.
    A model that torch.fx cannot trace stays whole.

    Args:
        model: left as it is.
        example: inputs, (n, ...).
        tasks: what governs which parameters.
        thetas: one a task, or their outlines.
    """
    grouped = [(task, theta) for task, theta in zip(tasks, thetas, strict=True) if isinstance(theta, Grouped)]
    if not grouped:
        return dict(model.state_dict())
    pattern = copy.deepcopy(model).eval()
    try:
        traced = trace(pattern)
    except TraceError:
        return dict(model.state_dict())
    weights = {name: tensor for name, tensor in pattern.state_dict().items() if tensor.is_floating_point()}
    for tensor in weights.values():
        tensor.fill_(torch.nan)  # a number that is not known
    whole = Flow(traced, example)
    for task, theta in grouped:
        if theta.kept.is_meta:
            if not _alike(whole, task.governed.names[0], axis=theta.parts[0].axis):
                continue
            theta = replace(theta, kept=torch.arange(theta.kept.numel()))
        for name, part in zip(task.governed.names, theta.parts, strict=True):
            kept = part.own(theta.kept).to(weights[name].device)
            weights[name].zero_().index_fill_(part.axis, kept, torch.nan)
    _operate(Flow(traced, example))
    return dict(pattern.state_dict())


def _alike(flow: Flow, weight: str, *, axis: int) -> bool:
    """Whether it makes no difference to shapes which groups of a layer go: its channels run from one layer to others
    without being added to any; where input groups go, all of them from one layer, and to this one alone."""
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
    """Cuts the layers of the model that was traced, in place; (slots,) which slots stay."""
    needed = _needed(flow)
    for mixer in flow.mixers:
        _cut_mixer(mixer, rows=needed[mixer.outputs.slots], columns=needed[mixer.inputs.slots])
    for follower in flow.followers:
        _cut_follower(follower, inputs=needed[follower.inputs.slots], outputs=needed[follower.outputs.slots])
    return needed


def _needed(flow: Flow) -> Tensor:
    """(slots,) which slots stay: the fewest such that all is there that the model's outputs depend on."""
    classes = flow.classes()
    needed = torch.zeros(len(classes), dtype=torch.bool)
    needed[classes[flow.pinned]] = True
    reads = [(mixer, mixer.reads().cpu()) for mixer in reversed(flow.mixers)]
    while True:
        before = needed.clone()
        for mixer, read in reads:
            rows = needed[classes[mixer.outputs.slots]]
            needed[classes[mixer.inputs.slots[read[rows].any(dim=0)]]] = True
        if torch.equal(needed, before):
            bare = [mixer for mixer, _ in reads if not needed[classes[mixer.outputs.slots]].any()]
            if not bare:
                return needed[classes]
            needed[classes[bare[0].outputs.slots[0]]] = True


@torch.no_grad()
def _cut_mixer(mixer: Mixer, *, rows: Tensor, columns: Tensor) -> None:
    """Cuts a layer to some outputs and inputs; the constants that it took from others go into its bias."""
    if rows.all() and columns.all():
        return
    layer = mixer.layer
    rows, columns = rows.to(layer.weight.device), columns.to(layer.weight.device)
    if layer.bias is not None:
        constants = mixer.inputs.values[~columns].nan_to_num(0.0)  # NaN where it varies, but then the weights are zero
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
    if isinstance(module, nn.Conv1d | nn.Conv2d):
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
def check_outputs(whole: nn.Module, small: nn.Module, example: Tensor) -> None:
    """StructureError where the two models, in evaluation mode, differ by more than TOLERANCE of the largest output, on
    `example` or on random inputs like it."""
    batches = [example]
    if example.is_floating_point():
        noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0), dtype=example.dtype)
        batches.append(noise.to(example.device))
    for inputs in batches:
        expected = whole(inputs.clone())
        try:
            got = small(inputs.clone())
        except Exception as error:  # the user's code, which may ask a layer for what it no longer has
            reason = " ".join(str(error).split())
            raise StructureError(
                f"surgery: expected a {type(whole).__name__} that runs, got one that does not: {reason}"
            ) from error
        difference, largest = float((got - expected).abs().max()), float(expected.abs().max())
        allowed = max(TOLERANCE, 8 * torch.finfo(expected.dtype).eps) * largest
        if not difference <= allowed:
            raise StructureError(
                f"surgery: expected outputs of {type(whole).__name__} within {allowed:.3g} of the whole model's, got "
                f"{difference:.3g} apart, where the largest is {largest:.3g}"
            )
