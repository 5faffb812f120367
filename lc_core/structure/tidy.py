"""Makes a packed file smaller without a change of the model's function: it drops what cannot act, and sorts units.

A unit is an output of a layer that other layers read: a hidden neuron, a channel. Its weights may change, and its place
in its layer; shapes never do, so the file loads into the same model.
"""

import copy
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Dense
from lc_core.compressions.cast import Rounded
from lc_core.compressions.pairs import Encoding
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.structured import Grouped, count_groups, split
from lc_core.compressions.uniform import Uniform
from lc_core.file.artifact import Artifact, decode, encode_again, fill
from lc_core.parameters import parameter_name
from lc_core.structure.channels import Channels, Mixer, kernels
from lc_core.structure.flow import Flow
from lc_core.structure.surgery import check_outputs, needed_slots
from lc_core.structure.tracing import traced
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest, map_nest, moved

FOLLOWED = 2
"""The examples with which a model's channels are followed."""


def tidied(data: bytes, model: nn.Module, example: Nest, *, forward: Forward = call) -> bytes:
    """A packed file of the same function as the packed file `data`; `data` itself where no other is smaller.

    In evaluation mode its outputs are those of `data` within `surgery.TOLERANCE` of the largest, which is checked on
    `example` and on random numbers. Layers whose channels cannot be followed stay as they are.

    Args:
        data: the bytes of a packed file.
        model: built by the caller; not changed. A copy of it runs on the CPU.
        example: inputs, (n, ...): a tensor, or a tuple or mapping of several.
        forward: how the model runs on them.

    Raises:
        ArtifactError: `data` does not fit the model.
        TraceError: torch.fx cannot trace the model.
        StructureError: the outputs differ.
    """
    smallest, model, example = data, copy.deepcopy(model).cpu(), moved(example, "cpu")
    few = map_nest(lambda leaf: leaf[:FOLLOWED], example)
    for step in (without_idle, with_units_sorted):
        smallest = min(smallest, step(decode(smallest), model, few, forward=forward), key=len)
    check_outputs(_filled(decode(data), model), _filled(decode(smallest), model), example, forward=forward)
    return smallest


def without_idle(artifact: Artifact, model: nn.Module, example: Nest, *, forward: Forward = call) -> bytes:
    """The file of `artifact` with the weights at zero that cannot act.

    These are the weights and biases of units that nothing reads, and weights that read zeros: the outputs stay the same
    to the last bit. Other constants, as of units without inputs, go into the next layer's bias where that is stored
    uncompressed; the outputs then differ by rounding. A layer stays as it is where its form has no zero, as a codebook
    of a whole layer, or ties weights together, as factors do.
    """
    whole, weights = _filled(artifact, model), artifact.weights()
    flow = Flow(traced(whole, example, forward=forward))
    layers = [
        (each, _stored(artifact, each.name, "weight"), _stored(artifact, each.name, "bias")) for each in flow.mixers
    ]
    can_be_zero = _tensors(artifact, _has_zero)
    full = {name for name, tensor in artifact.uncompressed.items() if tensor.dtype in (torch.float32, torch.float64)}

    def read(mixer: Mixer, weight: str, bias: str) -> Tensor:
        constants = mixer.replaceable() if bias in full else mixer.inputs.values == 0
        return mixer.reads(constants if weight in can_be_zero else torch.zeros_like(constants))

    reads = [read(*layer) for layer in layers]
    needed = needed_slots(flow, reads)
    for (mixer, weight, bias), acting in zip(layers, reads, strict=True):
        rows, before = needed[mixer.outputs.slots], weights[weight]
        if weight in can_be_zero:
            weights[weight] = _where(acting & rows[:, None], before)
        if bias in full:
            lost = kernels(before - weights[weight]).sum(dim=2)
            weights[bias] = weights[bias] + lost @ mixer.inputs.values.nan_to_num(0.0)
        if bias in can_be_zero:
            weights[bias] = _where(rows, weights[bias])
    names = _names(whole)
    for follower in flow.followers:
        for kind, _ in follower.module.named_parameters():
            name = _stored(artifact, names[follower.module], kind)
            if name in can_be_zero:
                weights[name] = _where(needed[follower.outputs.slots], weights[name])
    return _written(artifact, weights)


def with_units_sorted(artifact: Artifact, model: nn.Module, example: Nest, *, forward: Forward = call) -> bytes:
    """The file of `artifact` with the units of each layer in another order, which the coder writes in fewer bytes.

    First come the units with most inputs, by the number of bits of that count, which the coder knows of a column; units
    with as many are in the order of their biases. All that makes, follows or reads a unit moves with it. The outputs
    differ by the order of sums. Units stay where a layer that makes or reads them has a form in which the place of a
    weight counts: factors, n:m patterns, scales for channels.
    """
    whole, weights = _filled(artifact, model), artifact.weights()
    flow = Flow(traced(whole, example, forward=forward))
    free = _tensors(artifact, _is_free)
    axes = list(_axes(flow, artifact, _names(whole)))
    fixed = [slot for name, _, channels in axes if name not in free for slot in channels.slots.tolist()]
    moved = _moved(flow, fixed)
    for name, axis, channels in axes:
        order = torch.empty_like(channels.slots)
        order[moved[channels.slots].argsort(stable=True)] = channels.slots.argsort(stable=True)
        weights[name] = weights[name].index_select(axis, order)
    return _written(artifact, weights)


def _moved(flow: Flow, fixed: list[int]) -> Tensor:
    """(slots,) int64, the slot whose channel comes to each slot. Units that the same layers make change places."""
    classes = flow.classes()
    stays = torch.zeros(len(classes), dtype=torch.bool)
    stays[classes[[*flow.pinned, *fixed]]] = True
    inputs, bias = torch.zeros(len(classes), dtype=torch.int64), torch.zeros(len(classes), dtype=torch.float64)
    units: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for number, mixer in enumerate(flow.mixers):
        slots = mixer.outputs.slots
        inputs[slots] = mixer.layer.weight.detach().flatten(1).count_nonzero(dim=1)
        if mixer.layer.bias is not None:
            bias[slots] = mixer.layer.bias.detach().double()
        for slot in slots.tolist():
            units[int(classes[slot])].append((number, slot))
    alike: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
    for each, made in units.items():
        if not stays[each]:
            alike[tuple(number for number, _ in made)].append([slot for _, slot in made])
    moved = torch.arange(len(classes))
    for group in alike.values():
        slots = torch.tensor(group)
        bits = [-count.bit_length() for count in inputs[slots].sum(dim=1).tolist()]
        order = np.lexsort((bias[slots].sum(dim=1).numpy(), bits))
        moved[slots] = slots[torch.from_numpy(order)]
    return moved


def _axes(flow: Flow, artifact: Artifact, names: Mapping[nn.Module, str]) -> Iterator[tuple[str, int, Channels]]:
    """Each stored tensor whose slices along an axis belong to channels: its name, the axis, the channels."""
    for mixer in flow.mixers:
        yield _stored(artifact, mixer.name, "weight"), 0, mixer.outputs
        yield _stored(artifact, mixer.name, "weight"), 1, mixer.inputs
        if mixer.layer.bias is not None:
            yield _stored(artifact, mixer.name, "bias"), 0, mixer.outputs
    for follower in flow.followers:
        for kind, tensor in follower.module.state_dict().items():
            if tensor.dim():
                yield _stored(artifact, names[follower.module], kind), 0, follower.outputs


def _names(model: nn.Module) -> dict[nn.Module, str]:
    return {module: name for name, module in model.named_modules()}


def _stored(artifact: Artifact, module: str, kind: str) -> str:
    """The name under which the file has a tensor of a module."""
    name = parameter_name(module, kind)
    return artifact.tied.get(name, name)


def _where(stays: Tensor, values: Tensor) -> Tensor:
    """`values` where `stays`, of their first dimensions, and else zero."""
    return values.where(stays.reshape(*stays.shape, *[1] * (values.dim() - stays.dim())), 0)


def _is_free(theta: Compressed) -> bool:
    """Whether Theta stores its weights as well in any other order."""
    match theta:
        case Dense() | Rounded() | Quantized():
            return True
        case Uniform():
            return theta.scale.numel() == 1
        case Sparse():
            return theta.pattern is None and _is_free(theta.values)
        case Grouped():
            return all(_is_free(values) for values in theta.values)
    return False


def _has_zero(theta: Compressed) -> bool:
    """Whether Theta can store a zero in place of any weight."""
    match theta:
        case Quantized():
            return bool((theta.codebook == 0).any())
        case Grouped():
            return all(_has_zero(values) for values in theta.values)
    return _is_free(theta)


def _tensors(artifact: Artifact, wanted: Callable[[Compressed], bool]) -> set[str]:
    """The names of stored tensors whose Theta is `wanted`, and of those that are stored uncompressed."""
    pairs = zip(artifact.governed, artifact.thetas, strict=True)
    return set(artifact.uncompressed) | {n for governed, theta in pairs if wanted(theta) for n in governed.names}


def _written(artifact: Artifact, weights: Mapping[str, Tensor]) -> bytes:
    """The file of `artifact` with other `weights`, which its Thetas can store exactly.

    A Theta that is not free still has its own weights, and stays: in its form even a zero has a place.
    """
    pairs = zip(artifact.governed, artifact.thetas, strict=True)
    thetas = [
        _storing(theta, governed.gather(weights).to(theta.dtype)) if _is_free(theta) else theta
        for governed, theta in pairs
    ]
    return encode_again(artifact, thetas, {name: weights[name] for name in artifact.uncompressed})


def _storing(theta: Compressed, w: Tensor) -> Compressed:
    """Theta of the weights `w` in the form of `theta`, which is free."""
    made = theta
    if isinstance(theta, Sparse) and isinstance(theta.values, Encoding):
        support = w.reshape(-1).nonzero().reshape(-1)
        made = Sparse(tuple(w.shape), support, theta.values.encode(w.reshape(-1)[support]))
    elif isinstance(theta, Grouped):
        made = _storing_groups(theta, split(w, theta.parts))
    elif isinstance(theta, Encoding):
        made = theta.encode(w)
    assert torch.equal(made.decompress(), w)
    return made


def _storing_groups(theta: Grouped, pieces: Sequence[Tensor]) -> Grouped:
    """Theta of the parts `pieces` with the groups that are not zero; with one where all are."""
    groups = torch.zeros(count_groups(theta.parts), dtype=torch.bool)
    for part, piece in zip(theta.parts, pieces, strict=True):
        groups[part.first : part.first + part.groups] |= piece.movedim(part.axis, 0).reshape(part.groups, -1).any(dim=1)
    kept = groups.nonzero().reshape(-1) if groups.any() else theta.kept[:1]
    each = zip(theta.parts, theta.values, pieces, strict=True)
    return Grouped(
        theta.shape, theta.parts, kept, tuple(_storing(values, part.take(piece, kept)) for part, values, piece in each)
    )


def _filled(artifact: Artifact, model: nn.Module) -> nn.Module:
    fill(filled := copy.deepcopy(model), artifact)
    return filled.eval()
