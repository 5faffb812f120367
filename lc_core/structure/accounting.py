"""Counts the multiply-accumulates of a model: each layer applies its weight at every output position.

Only linear and convolutional layers count. Other products (attention scores, recurrent cells) count neither in the
reference nor after compression.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Dense, Use, dense_macs, outline_tensor
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored, matrix_shape
from lc_core.compressions.structured import Grouped
from lc_core.compressions.tucker import Tucker
from lc_core.graph import LAYERS
from lc_core.parameters import first_names, parameter_name
from lc_core.task import CompressionTask, Governed

Uses = Mapping[str, Sequence[Use]]
"""Name of a layer's weight -> the sizes of each of its runs on one example."""


def layer_uses(model: nn.Module, example: Tensor) -> dict[str, list[Use]]:
    """The sizes with which each linear and convolutional layer of `model` runs on one example.

    Args:
        model: not changed.
        example: one input, (1, ...).
    """
    uses: dict[str, list[Use]] = {}
    first = first_names(model)

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        weight = parameter_name(name, "weight")

        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            spatial = slice(1, -1) if isinstance(module, nn.Linear) else slice(2, None)
            use = Use(tuple(inputs[0].shape[spatial]), tuple(output.shape[spatial]), getattr(module, "groups", 1))
            uses.setdefault(first.get(weight, weight), []).append(use)

        return layer.register_forward_hook(note)

    hooks = [watch(name, module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(example)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return uses


def count_macs(
    uses: Uses,
    weights: Mapping[str, Tensor],
    *,
    tasks: Sequence[CompressionTask] = (),
    thetas: Sequence[Compressed] = (),
) -> int:
    """Multiply-accumulates for one example. Factors count as they run; zeros and codes save nothing.

    Args:
        uses: from `layer_uses`.
        weights: the parameters of the model that runs, by name; only their shapes matter. Where groups are pruned, they
            come from `lc_core.structure.surgery.cut_weights`, and layers count in the sizes that surgery leaves.
        tasks: the compressions and their parameters.
        thetas: Theta of each task, or its outline.
    """
    stored = stored_by_name([task.governed for task in tasks], thetas)

    def macs(name: str, use: Use) -> int:
        shape = tuple(weights[name].shape)
        return layer_macs(stored[name], shape, use) if name in stored else dense_macs(shape, use)

    return sum(macs(name, use) for name, each in uses.items() for use in each)


def stored_by_name(governed: Sequence[Governed], thetas: Sequence[Compressed]) -> dict[str, Compressed]:
    """Parameter -> its Theta, or the Theta of its remaining groups. Parameters that share a Theta are left out."""
    stored: dict[str, Compressed] = {}
    for each, theta in zip(governed, thetas, strict=True):
        parts = theta.values if isinstance(theta, Grouped) else (theta,)
        if len(parts) == len(each.names):
            stored |= zip(each.names, parts, strict=True)
    return stored


def layer_macs(theta: Compressed, shape: tuple[int, ...], use: Use) -> int:
    """Multiply-accumulates of a layer whose weight has `shape` when it runs. `theta` may have another shape."""
    if theta.shape == shape:
        return theta.macs(use)
    dense = dense_macs(shape, use)
    if theta.form()["form"] == "dense":
        return dense
    resized = _resized(theta, shape)
    if resized is not None:
        return resized.macs(use)
    # A Theta that cannot be cut runs whole, or decompressed and cut. Stored without its zeros, it runs with them.
    larger = any(runs > stays for runs, stays in zip(shape, theta.shape, strict=True))
    return dense if larger else min(theta.macs(use), dense)


def _resized(theta: Compressed, shape: tuple[int, ...]) -> Compressed | None:
    """The outline of the factors of `theta`, for the outputs and inputs of `shape`; None where there are no factors."""
    match theta:
        case Factored(rank=rank, scheme=scheme):
            rows, columns = matrix_shape(shape, scheme=scheme)
            left, right = outline_tensor(rows, rank), outline_tensor(rank, columns)
            return Factored(shape, Dense(left), Dense(right), scheme)
        case Tucker(core=core, ranks=(s, t)):
            left, right = outline_tensor(shape[0], s), outline_tensor(shape[1], t)
            return Tucker(shape, Dense(outline_tensor(*core.shape)), Dense(left), Dense(right))
        case Kruskal(rank=rank):
            return Kruskal(shape, tuple(Dense(outline_tensor(size, rank)) for size in shape))
    return None
