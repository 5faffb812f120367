"""Nesterov's step: torch's, and of a pulled parameter in one pass over memory, where that gives the same bits."""

import functools

import torch
from torch import Tensor

from lc_core.numerics import kernels

VECTORS = (8, 16)
"""Numbers that one of torch's may hold: what is left over behind the last whole one, it rounds otherwise."""


def step(
    weights: list[Tensor],
    gradients: list[Tensor],
    velocities: list[Tensor],
    *,
    decay: float,
    momentum: float,
    lr: float,
) -> None:
    """In place, by torch's kernel. Without momentum there are no velocities."""
    torch._fused_sgd_(
        weights,
        gradients,
        velocities if momentum else [],
        weight_decay=decay,
        momentum=momentum,
        lr=lr,
        dampening=0.0,
        nesterov=momentum > 0,
        maximize=False,
        is_first_step=False,
    )


def fits(*tensors: Tensor) -> bool:
    """Whether `pulled_step` can be taken with them: float32 on a CPU, one thread."""
    if torch.get_num_threads() > 1 or not _vector() or tensors[0].numel() % _vector():
        return False
    return all(each.is_cpu and each.dtype == torch.float32 and each.is_contiguous() for each in tensors)


def pulled_step(
    weights: Tensor, gradient: Tensor, velocity: Tensor, pull: Tensor, *, decay: float, momentum: float, lr: float
) -> None:
    """In place, by the gradient of the loss, decay w - pull and so much momentum, which is not 0: as `step`.

    Four tensors of one shape, that `fits`; autograd does not see what happens to them.
    """
    addresses = [each.data_ptr() for each in (weights, gradient, velocity, pull)]
    kernels.pulled_sgd(*addresses, size=weights.numel(), decay=decay, momentum=momentum, lr=lr)


@functools.cache
def _vector() -> int:
    """Numbers of a vector of torch's on this processor, as far as the compiled loop gives its bits; 0 where it is not
    there, or gives others. Tried on random numbers."""
    return next((vector for vector in VECTORS if kernels.built() and _rounds_as_torch(127 * vector)), 0)


def _rounds_as_torch(size: int) -> bool:
    drawn = torch.randn(4, size, generator=torch.Generator().manual_seed(0))
    (w, g, v, pull), (w_there, g_there, v_there, _) = drawn.clone(), drawn.clone()
    pulled_step(w, g, v, pull, decay=0.013, momentum=0.9, lr=0.02)
    step([w_there], [g_there.sub_(pull)], [v_there], decay=0.013, momentum=0.9, lr=0.02)
    return torch.equal(w, w_there) and torch.equal(v, v_there)
