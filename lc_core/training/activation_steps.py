"""Quantized activations whose step is learned."""

import torch
from torch import Tensor, nn

from lc_core.fields import check_number
from lc_core.training.straight_through import at_least, rounded, scaled

LEAST_STEP = 1e-12
BITS = range(2, 17)


class ActivationSteps(nn.Module):
    """A layer that puts each activation x on a uniform grid, s round(clip((x - b) / s, first, last)) + b.

    The step s is a parameter, and with `asymmetric` the offset b is too: every method that trains
    biases trains them, files store them, and a model's score is that of its quantized activations. Symmetric, b = 0 and
    steps go from -(2^(bits-1) - 1) to 2^(bits-1) - 1, or from 0 to 2^bits - 1 where the range starts at 0, as behind a
    rectifier. Asymmetric, they go from 0 to 2^bits - 1.

    Esser et al., "Learned step size quantization", arXiv:1902.08153, equations 1 to 3 for s and the gradient's scale
    1 / sqrt(N Q_P), N the activations of an example; Bhalgat et al., "LSQ+", arXiv:2004.09576, equations 1 to 4 for b.
    Chosen here: s and b start from a given range, and not from the first batch; a step that falls to 0 or
    below still has a gradient, by which it can rise again.

    A plan's `SMALL` takes s and b as it takes biases. One uniform grid of few bits for all of these makes a small step
    zero; a pattern of its own keeps a step out of that: `"2.step": Cast("float16")`.

    Args:
        bits: of an activation, from 2 to 16.
        low: the least activation of the range to start from, 0 or less.
        high: the largest, 0 or more, and above `low`.
        asymmetric: whether b is learned.

    Raises:
        ValueError: `bits`, `low` or `high` is none of these.
    """

    def __init__(self, bits: int, *, low: float, high: float, asymmetric: bool = False) -> None:
        super().__init__()
        for name, value, kind in (("bits", bits, int), ("low", low, float), ("high", high, float)):
            check_number(name, value, kind)
        if bits not in BITS:
            raise ValueError(f"bits: expected {BITS[0]} to {BITS[-1]}, got {bits}")
        if not -float("inf") < low <= 0 <= high < float("inf") or low == high:
            raise ValueError(f"low, high: expected a range with 0 in it, got {low} to {high}")
        last = (1 << bits) - 1 if asymmetric or low == 0 else (1 << bits - 1) - 1
        self.bits, self.first, self.last = bits, 0 if asymmetric or low == 0 else -last, last
        step = (high - low) / last if asymmetric else max(high, -low) / last
        self.step = nn.Parameter(torch.tensor(step))
        self.offset = nn.Parameter(torch.tensor(float(low))) if asymmetric else None

    def forward(self, x: Tensor) -> Tensor:
        """(n, ...) floats -> the same shape and dtype, on the grid. Trains in the step's dtype, under autocast too."""
        if not self.training:
            return self._on_grid(x)
        factor = (x.shape[1:].numel() * self.last) ** -0.5
        step = scaled(at_least(self.step, LEAST_STEP), factor)
        offset = None if self.offset is None else scaled(self.offset, factor)
        wide = x.to(step.dtype)  # the step's gradient is a small difference of large sums
        steps = rounded(((wide if offset is None else wide - offset) / step).clamp(self.first, self.last))
        return (steps * step if offset is None else steps * step + offset).to(x.dtype)

    def _on_grid(self, x: Tensor) -> Tensor:
        """The same numbers by operations that graphs of other tools have."""
        step = self.step.clamp(min=LEAST_STEP)
        if self.offset is None:
            return torch.round((x / step).clamp(self.first, self.last)) * step
        return torch.round(((x - self.offset) / step).clamp(self.first, self.last)) * step + self.offset

    def extra_repr(self) -> str:
        return f"bits={self.bits}, {'symmetric' if self.offset is None else 'asymmetric'}"


def eval_with_gradients(model: nn.Module) -> None:
    """Sets `model` to evaluation mode, but its `ActivationSteps`: these have gradients in training mode alone, and the
    same outputs."""
    model.eval()
    for module in model.modules():
        if isinstance(module, ActivationSteps):
            module.train()
