"""Multiply-accumulates of a model as it would run: the layers' weights, applied at every output position.

Linear and convolutional layers count; products that a model computes otherwise (attention scores, recurrent cells) do
not, neither in the reference nor after compression.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Use, dense_macs
from lc_core.task import LAYERS, CompressionTask

Uses = Mapping[str, Sequence[Use]]
"""Name of a layer's weight -> how one example uses it, each time that it does."""


def layer_uses(model: nn.Module, example: Tensor) -> dict[str, list[Use]]:
    """How one example uses the weight of each linear and convolutional layer of `model`.

    Args:
        model: left as it is.
        example: one input, (1, ...).
    """
    uses: dict[str, list[Use]] = {}

    def watch(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            spatial = (
                slice(0, -1)
                if isinstance(module, nn.Linear)
                else slice(-module.get_parameter("weight").dim() + 2, None)
            )
            use = Use(
                tuple(inputs[0].shape[1:][spatial]), tuple(output.shape[1:][spatial]), getattr(module, "groups", 1)
            )
            uses.setdefault(f"{name}.weight" if name else "weight", []).append(use)

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
    """Multiply-accumulates for one example. Factors count as they run; zeros and codes save none.

    Args:
        uses: of `layer_uses`.
        weights: the model's parameters, by name; only their shapes matter.
        tasks: what governs which parameters.
        thetas: one a task, or their outlines.
    """
    alone = {t.governed.names[0]: theta for t, theta in zip(tasks, thetas, strict=True) if len(t.governed.names) == 1}

    def macs(name: str, use: Use) -> int:
        return alone[name].macs(use) if name in alone else dense_macs(tuple(weights[name].shape), use)

    return sum(macs(name, use) for name, each in uses.items() for use in each)
