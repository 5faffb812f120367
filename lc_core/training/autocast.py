"""Training in bfloat16 where torch's autocast allows it; weights, gradients and the optimizer stay in float32."""

import torch
from torch import Tensor, nn

from lc_core.training.data import Forward
from lc_core.training.nest import Nest, leaves, map_nest


def in_bfloat16(forward: Forward) -> Forward:
    """`forward` under `torch.autocast` to bfloat16, on the device of the inputs; outputs in float32, for the loss."""

    def run(model: nn.Module, inputs: Nest) -> Nest:
        device = next(leaf.device for leaf in leaves(inputs) if isinstance(leaf, Tensor))
        with torch.autocast(device.type, dtype=torch.bfloat16):
            outputs = forward(model, inputs)
        return map_nest(lambda leaf: leaf.float() if _is_bfloat16(leaf) else leaf, outputs)

    return run


def _is_bfloat16(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype == torch.bfloat16
