"""Operations whose gradients are not their derivatives."""

from torch import Tensor


def rounded(value: Tensor) -> Tensor:
    """The nearest whole numbers; the gradient goes straight through (Bengio, Leonard and Courville,
    arXiv:1308.3432)."""
    return value.detach().round() + (value - value.detach())


def scaled(value: Tensor, factor: Tensor | float) -> Tensor:
    """`value`, whose gradient is multiplied by `factor`."""
    return value.detach() + (value * factor - (value * factor).detach())


def at_least(value: Tensor, least: float) -> Tensor:
    """`value`, or `least` where that is larger. The gradient goes straight through: what fell below can rise again."""
    return value.detach().clamp(min=least) + (value - value.detach())
