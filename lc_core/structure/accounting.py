"""Counts the multiply-accumulates of a model for one example.

torch's flop counter counts all that runs: layers, attention scores, recurrent steps, products in the user's code. Our
own count takes the place of its count for the linear and convolutional layers, which can run in factors or with fewer
channels: such a layer applies its weight at every output position.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Dense, Use, dense_macs, outline_tensor
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored, matrix_shape
from lc_core.compressions.separable import Separated, separated_outline
from lc_core.compressions.structured import Grouped
from lc_core.compressions.tucker import Tucker
from lc_core.graph import LAYERS
from lc_core.parameters import first_names, parameter_name
from lc_core.structure.channels import Conv
from lc_core.structure.products import counting
from lc_core.task import CompressionTask, Governed, by_layer
from lc_core.training.modes import modes_kept

Uses = Mapping[str, Sequence[Use]]
"""Name of a layer's weight -> the sizes of each of its runs on one example."""
Example = Tensor | Callable[[nn.Module], object]
"""One input, (1, ...), or a function that runs the model on one example."""


@dataclass(frozen=True)
class ModelMacs:
    """What a model multiplies and accumulates on one example.

    Attributes:
        uses: the runs of each linear and convolutional layer, as `layer_uses` gives them.
        others: multiply-accumulates of all else.
        modules: name of a module -> multiply-accumulates of its runs, with its children's, uncompressed.
        total: all of these, uncompressed.
        uncounted: operators that ran and that nothing counts, such as "torchvision::deform_conv2d" or "aten::_fft_r2c".
    """

    uses: Uses
    others: int
    modules: Mapping[str, int]
    uncounted: tuple[str, ...]
    total: int


def layer_uses(model: nn.Module, example: Example) -> dict[str, list[Use]]:
    """The sizes with which each linear and convolutional layer of `model` runs on one example. The model does not
    change."""
    with _watched(model) as uses, torch.inference_mode():
        _run(model, example)
    return uses


def model_macs(model: nn.Module, example: Example) -> ModelMacs:
    """What `model` multiplies and accumulates on one example, in evaluation mode. The model does not change."""
    with _watched(model) as uses, counting() as products:
        _run(model, example)
    weights = dict(model.named_parameters())
    layers = sum(dense_macs(tuple(weights[name].shape), use) for name, each in uses.items() for use in each)
    others = max(products.total - layers, 0)  # a layer of the user's own may compute less than its kind does
    modules = products.within(type(model).__name__)
    return ModelMacs(uses, others, modules, tuple(sorted(products.uncounted)), layers + others)


def _run(model: nn.Module, example: Example) -> None:
    with modes_kept(model):
        model.eval()
        if isinstance(example, Tensor):
            model(example)
        else:
            example(model)


@contextlib.contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, list[Use]]]:
    """The uses of the layers of `model`, filled while it runs."""
    uses: dict[str, list[Use]] = {}
    first = first_names(model)

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        weight = parameter_name(name, "weight")

        def note(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor) -> None:
            given = args[0] if args else next(iter(kwargs.values()))
            if weight in first:  # a weight that others give is not compressed
                uses.setdefault(first[weight], []).extend(_uses(module, tuple(given.shape), output.shape))

        return layer.register_forward_hook(note, with_kwargs=True)

    hooks = [watch(name, module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    try:
        yield uses
    finally:
        for hook in hooks:
            hook.remove()


def _uses(module: nn.Module, given: tuple[int, ...], output: Sequence[int]) -> list[Use]:
    """The runs of a layer: one for each slice along the first dimension, where a model folds others into that."""
    if isinstance(module, Conv) and len(given) < module.weight.ndim:  # one example without a batch
        given, output = (1, *given), (1, *output)
    spatial = slice(1, -1) if isinstance(module, nn.Linear) else slice(2, None)
    use = Use(tuple(given[spatial]), tuple(output[spatial]), getattr(module, "groups", 1))
    return [use] * (given[0] if len(given) > 1 else 1)


def count_macs(
    counted: ModelMacs,
    weights: Mapping[str, Tensor],
    *,
    tasks: Sequence[CompressionTask] = (),
    thetas: Sequence[Compressed] = (),
) -> int:
    """Multiply-accumulates for one example. Factors count as they run; zeros and codes save nothing.

    Args:
        counted: from `model_macs`.
        weights: the parameters of the model that runs, by name; only their shapes matter. Where groups are pruned, they
            come from `lc_core.structure.surgery.cut_weights`, and layers count in the sizes that surgery leaves.
        tasks: the compressions and their parameters.
        thetas: Theta of each task, or its outline.
    """
    tasks, thetas = by_layer(tasks, thetas)
    stored = stored_by_name([task.governed for task in tasks], thetas)

    def macs(name: str, use: Use) -> int:
        shape = tuple(weights[name].shape)
        return layer_macs(stored[name], shape, use) if name in stored else dense_macs(shape, use)

    return counted.others + sum(macs(name, use) for name, each in counted.uses.items() for use in each)


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
        case Separated(multiplier=multiplier):
            return separated_outline(shape, multiplier=multiplier)
    return None
