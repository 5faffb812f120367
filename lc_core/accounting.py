"""Multiply-accumulates of a model as it would run: the layers' weights, applied at every output position.

Linear and convolutional layers count; products that a model computes otherwise (attention scores, recurrent cells) do
not, neither in the reference nor after compression.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.task import LAYERS, CompressionTask


def layer_positions(model: nn.Module, example: Tensor) -> dict[str, int]:
    """For the weight of each linear and convolutional layer: at how many output positions one example applies it.

    Args:
        model: left as it is.
        example: one input, (1, ...).
    """
    positions: dict[str, int] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def count(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
            weight = f"{name}.weight" if name else "weight"
            channels = module.get_parameter("weight").shape[0]
            positions[weight] = positions.get(weight, 0) + output.numel() // channels

        return layer.register_forward_hook(count)

    hooks = [watch(name, module) for name, module in model.named_modules() if isinstance(module, LAYERS)]
    training = model.training
    try:
        with torch.inference_mode():
            model.eval()(example)
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return positions


def count_macs(
    positions: Mapping[str, int],
    weights: Mapping[str, Tensor],
    *,
    tasks: Sequence[CompressionTask] = (),
    thetas: Sequence[Compressed] = (),
) -> int:
    """Multiply-accumulates for one example. Factors count as they run; zeros and codes save none.

    Args:
        positions: of `layer_positions`.
        weights: the model's parameters, by name; only their shapes matter.
        tasks: what governs which parameters.
        thetas: one a task, or their outlines.
    """
    per_position = {name: weights[name].numel() for name in positions}
    for task, theta in zip(tasks, thetas, strict=True):
        if len(task.governed.names) == 1:
            per_position[task.governed.names[0]] = theta.macs_per_position()
    return sum(count * per_position[name] for name, count in positions.items())
