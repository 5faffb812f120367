"""Nesterov's step of a pulled parameter in one pass over memory, where that gives the bits of torch's two."""

import functools

import torch
from torch import Tensor

from lc_core import kernels

WHOLE = 16
"""Numbers of the widest vector: what is left over behind the last one, torch rounds otherwise."""


def fits(*tensors: Tensor) -> bool:
    """Whether `pulled_step` can be taken with them: float32 on a CPU, one thread."""
    if tensors[0].numel() % WHOLE or torch.get_num_threads() > 1 or not _rounds_as_torch():
        return False
    return all(each.device.type == "cpu" and each.dtype == torch.float32 and each.is_contiguous() for each in tensors)


def pulled_step(
    weights: Tensor, gradient: Tensor, velocity: Tensor, pull: Tensor, *, decay: float, momentum: float, lr: float
) -> None:
    """In place, by the gradient of the loss, decay w - pull and so much momentum, which is not 0: `torch._fused_sgd_`.

    Four tensors of one shape, that `fits`; autograd does not see what happens to them.
    """
    addresses = [each.data_ptr() for each in (weights, gradient, velocity, pull)]
    kernels.pulled_sgd(*addresses, size=weights.numel(), decay=decay, momentum=momentum, lr=lr)


@functools.cache
def _rounds_as_torch() -> bool:
    """Whether the compiled loop is there, and gives torch's bits on this processor: tried on random numbers."""
    if not kernels.built():
        return False
    drawn = torch.randn(4, 64 * WHOLE, generator=torch.Generator().manual_seed(0))
    (w, g, v, pull), (w_there, g_there, v_there, _) = drawn.clone(), drawn.clone()
    pulled_step(w, g, v, pull, decay=0.013, momentum=0.9, lr=0.02)
    torch._fused_sgd_(
        [w_there],
        [g_there.sub_(pull)],
        [v_there],
        weight_decay=0.013,
        momentum=0.9,
        lr=0.02,
        dampening=0.0,
        nesterov=True,
        maximize=False,
        is_first_step=False,
    )
    return torch.equal(w, w_there) and torch.equal(v, v_there)
