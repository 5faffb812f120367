"""Sorted values."""

import numpy as np
import torch
from torch import Tensor


def ascending(values: Tensor) -> Tensor:
    """`values` sorted along their last dimension, on their device.

    On the CPU by NumPy, whose sort is ten times as fast as torch's; types that it is slow in or lacks go through
    float32, which holds their values.
    """
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    wide = values.detach() if values.dtype in (torch.float32, torch.float64) else values.detach().float()
    return torch.from_numpy(np.sort(wide.numpy(), axis=-1)).to(values.dtype)
