"""Factorizations whose factors are quantized."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lc_core.compression import Compressed, objective
from lc_core.compressions.cast import Cast
from lc_core.compressions.lowrank import Factored, LowRank, as_matrix
from lc_core.compressions.quantization import Codebook
from lc_core.compressions.tucker import Tucker, Tucker2
from lc_core.compressions.uniform import UniformQuantization

Quantizer = Codebook | UniformQuantization | Cast


@dataclass(frozen=True)
class FactorThenQuantize:
    """min over Theta_1, Theta_2, ... of ||W - product of Delta(Theta_i)||^2, with each factor quantized by itself.

    For the other factors fixed, a factor is the least-squares solution, then quantized. That is no projection, so a
    step is taken only where the error falls.
    """

    first: LowRank | Tucker2
    then: Quantizer

    def check(self, shape: tuple[int, ...]) -> None:
        self.first.check(shape)
        for factor in _factors(self.first.outline(shape)).values():
            self.then.check(factor.shape)

    def outline(self, shape: tuple[int, ...]) -> Factored | Tucker:
        theta = self.first.outline(shape)
        return _with(theta, {name: self.then.outline(factor.shape) for name, factor in _factors(theta).items()})

    def start(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Factored | Tucker:
        exact = self.first.compress(w, mu=mu)
        factors = {name: self.then.compress(f.decompress(), mu=mu) for name, f in _factors(exact).items()}
        cold = _with(exact, factors)
        if not _alike(previous, cold):
            return cold
        assert isinstance(previous, Factored | Tucker)
        return min(previous, cold, key=lambda theta: objective(self.first, w, theta, mu=mu))

    def step(self, w: Tensor, *, mu: float, theta: Compressed) -> Factored | Tucker:
        assert isinstance(theta, Factored | Tucker)
        least = objective(self.first, w, theta, mu=mu)
        for name, factor in _factors(theta).items():
            quantized = self.then.compress(_least_squares(w, theta, name).to(w.dtype), mu=mu, previous=factor)
            moved = _with(theta, {name: quantized})
            error = objective(self.first, w, moved, mu=mu)
            if error < least:
                theta, least = moved, error
        return theta


def _factors(theta: Factored | Tucker) -> dict[str, Compressed]:
    if isinstance(theta, Tucker):
        return {"core": theta.core, "left": theta.left, "right": theta.right}
    return {"left": theta.left, "right": theta.right}


def _with(theta: Factored | Tucker, factors: Mapping[str, Compressed]) -> Factored | Tucker:
    """`theta` with some of its factors replaced."""
    parts = _factors(theta) | dict(factors)
    if isinstance(theta, Tucker):
        return replace(theta, core=parts["core"], left=parts["left"], right=parts["right"])
    return replace(theta, left=parts["left"], right=parts["right"])


def _alike(previous: Compressed | None, theta: Factored | Tucker) -> bool:
    """Whether `previous` came from the same pair, judged by the kinds and packed sizes of its factors."""
    if not isinstance(previous, Factored | Tucker) or type(previous) is not type(theta):
        return False
    pairs = zip(_factors(previous).values(), _factors(theta).values(), strict=True)
    return all(type(a) is type(b) and (a.form(), a.storage_bits()) == (b.form(), b.storage_bits()) for a, b in pairs)


def _least_squares(w: Tensor, theta: Factored | Tucker, name: str) -> Tensor:
    """The factor `name` of least squared error with the others fixed, float64, in its shape."""
    factors = {key: factor.decompress().double() for key, factor in _factors(theta).items()}
    if isinstance(theta, Factored):
        matrix = as_matrix(w, scheme=theta.scheme).double()
        found = matrix @ _inverse(factors["right"]) if name == "left" else _inverse(factors["left"]) @ matrix
    else:
        kernel = w.double().reshape(*w.shape[:2], -1)
        core, left, right = factors["core"].reshape(*theta.ranks, -1), factors["left"], factors["right"]
        match name:
            case "core":
                found = torch.einsum("sn,nmd,tm->std", _inverse(left), kernel, _inverse(right))
            case "left":
                others = torch.einsum("std,mt->smd", core, right)
                found = kernel.flatten(1) @ _inverse(others.flatten(1))
            case _:
                others = torch.einsum("std,ns->tnd", core, left)
                found = kernel.transpose(0, 1).flatten(1) @ _inverse(others.flatten(1))
    solution: Tensor = found.reshape(_factors(theta)[name].shape)
    return solution


def _inverse(matrix: Tensor) -> Tensor:
    inverse: Tensor = torch.linalg.pinv(matrix)
    return inverse
