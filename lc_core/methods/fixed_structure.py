"""Theta with its structure fixed: support, assignments and ranks stay, the real numbers are trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed
from lc_core.compressions.cast import in_dtype
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.fixed_codebooks import ScaledBinary, ScaledTernary
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.separable import Separated
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform
from lc_core.methods.method import parts
from lc_core.methods.reparametrized import Weights
from lc_core.schedule import Schedule
from lc_core.task import CompressionTask
from lc_core.training.nest import leaves, map_nest

SCALED = (ScaledBinary, ScaledTernary)


class FixedStructure:
    """The weights Delta(Theta), whose real numbers (kept weights, codebooks, scales, factors) are the parameters.

    Delta is differentiated by autograd. So the gradient of a value of a codebook is the sum over the weights that are
    assigned to it, as in Han, Mao and Dally (arXiv:1510.00149, equation 3).

    With `isometric`, each number is held times the norm of what a unit of it adds to the weights, where that is above
    1: sqrt(n) for one that n weights share, the norm of its codes for the scale of a grid, and for a factor the norm of
    what it is multiplied by at the start. A step of gradient descent is then that of w itself, projected on the weights
    that have this structure: the step of a codebook's value is the mean over its weights, not their sum, and the
    learning rate of w serves. The steps of several factors add up. For low rank they are those of ScaledGD (Tong, Ma
    and Chi, arXiv:2005.08898) with the norms of the start. A factor's scale in uniform steps counts alone. (The
    literature leaves the rate to the user. At the rate of w, the sum over thousands of weights diverges, and factors of
    a layer with large singular values can.)
    """

    def __init__(self, theta: Compressed, *, isometric: bool) -> None:
        theta = in_dtype(theta, torch.float32) if theta.dtype.itemsize < 4 else theta
        self._theta = theta
        lengths = list(_lengths(theta))
        self._lengths = lengths if isometric else [torch.ones_like(each) for each in lengths]
        held = zip(values_of(theta), self._lengths, strict=True)
        self._parameters = [nn.Parameter((value * length).contiguous()) for value, length in held]

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {str(number): parameter for number, parameter in enumerate(self._parameters)}

    def delta(self) -> Tensor:
        return self._with(self._parameters).decompress()

    def theta(self) -> Compressed:
        settled: Compressed = in_order(self._with([parameter.detach().clone() for parameter in self._parameters]))
        return settled

    def structure(self) -> Compressed:
        return self._theta  # at the start, of which the norms are; the parameters have the values

    def _with(self, held: list[Any]) -> Compressed:
        pairs = zip(held, self._lengths, strict=True)
        return with_values(self._theta, iter([values / length for values, length in pairs]))


class FixedSigns:
    """The weights a z, every z_i -1, 0 or +1 and fixed, with the scale a as the parameter.

    Its gradient is the sum over the weights of z_i times theirs; `isometric` as in `FixedStructure`.
    """

    def __init__(self, theta: Quantized, *, isometric: bool) -> None:
        self._theta = theta
        codebook = theta.codebook.float() if theta.dtype.itemsize < 4 else theta.codebook
        self._signs = torch.linspace(-1, 1, codebook.numel()).to(codebook)
        length = self._signs[theta.codes.long()].norm().clamp(min=1)
        self._length = length if isometric else torch.ones_like(length)
        self._scale = nn.Parameter(codebook[-1] * self._length)

    @property
    def parameters(self) -> Mapping[str, nn.Parameter]:
        return {"scale": self._scale}

    def delta(self) -> Tensor:
        return self._with(self._scale).decompress()

    def theta(self) -> Compressed:
        settled: Compressed = in_order(self.structure())
        return settled

    def structure(self) -> Compressed:
        return self._with(self._scale.detach())

    def _with(self, scale: Tensor) -> Quantized:
        return replace(self._theta, codebook=scale / self._length * self._signs)


def fixed(tasks: Sequence[CompressionTask], thetas: Sequence[Compressed], schedule: Schedule) -> list[Weights]:
    """Thetas of `tasks` whose structure stays; with the isometric steps where the schedule's optimizer is SGD."""
    isometric = schedule.optimizer == "sgd"
    return [_fixed(task, theta, isometric=isometric) for task, theta in zip(tasks, thetas, strict=True)]


def _fixed(task: CompressionTask, theta: Compressed, *, isometric: bool) -> Weights:
    if isinstance(task.compression, SCALED) and isinstance(theta, Quantized):
        return FixedSigns(theta, isometric=isometric)
    return FixedStructure(theta, isometric=isometric)


def values_of(theta: Compressed) -> list[Tensor]:
    """The real numbers of `theta`: all of its tensors that are no indices or codes."""
    return [leaf for leaf in leaves(theta) if _is_real(leaf)]


def with_values(theta: Compressed, values: Iterator[Tensor]) -> Compressed:
    """`theta` with other real numbers, in the order of `values_of`."""
    changed: Compressed = map_nest(lambda leaf: next(values) if _is_real(leaf) else leaf, theta)
    return changed


def _is_real(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def in_order(theta: Any) -> Any:
    """The same Delta(Theta), with codebooks in ascending order and scales that are not negative, as C steps give it."""
    match theta:
        case Quantized():
            codebook, order = theta.codebook.sort(stable=True)
            codes = order.argsort().to(theta.codes.dtype).index_select(0, theta.codes)
            return replace(theta, codebook=codebook, codes=codes)
        case Uniform() if bool((theta.scale < 0).any()):
            return _mirrored(theta)
        case tuple():
            return tuple(in_order(each) for each in theta)
        case _ if is_dataclass(theta) and not isinstance(theta, type):
            return replace(theta, **{each.name: in_order(getattr(theta, each.name)) for each in fields(theta)})
    return theta


def _mirrored(theta: Uniform) -> Uniform:
    """Codes and zero points counted from the other end, where a scale is negative."""
    last = (1 << theta.bits) - (2 if theta.zero is None else 1)
    negative = theta.scale < 0
    rows = theta.codes.reshape(negative.numel(), -1)
    codes = torch.where(negative[:, None], last - rows, rows).reshape(-1)
    zero = None if theta.zero is None else torch.where(negative, last - theta.zero, theta.zero)
    return replace(theta, codes=codes, scale=theta.scale.abs(), zero=zero)


def _lengths(part: Any) -> Iterator[Tensor]:
    """For each tensor of `values_of`: the norm of what a unit of each number adds to the weights, at least 1.

    Without that least, a factor that is almost 0 would take steps without bound.
    """
    match part:
        case Factored() | Separated() | Kruskal() | Tucker() | Circulated() if Uniform not in map(type, parts(part)):
            yield from _lengths_of_factors(part)  # squares of a grid's scale are not those of its weights
        case Quantized():
            counts = part.codes.long().bincount(minlength=part.codebook.numel())
            yield counts.clamp(min=1).sqrt().to(part.codebook)
        case Uniform():
            rows = part.codes.reshape(part.scale.numel(), -1).to(part.scale)
            zero = torch.full_like(part.scale, (1 << part.bits - 1) - 1) if part.zero is None else part.zero
            yield (rows - zero.to(part.scale)[:, None]).norm(dim=1).clamp(min=1)
        case Tensor() if part.is_floating_point():
            yield torch.ones_like(part)
        case tuple():
            for each in part:
                yield from _lengths(each)
        case _ if is_dataclass(part) and not isinstance(part, type):
            for field in fields(part):
                yield from _lengths(getattr(part, field.name))


def _lengths_of_factors(theta: Compressed) -> list[Tensor]:
    """`_lengths` where a weight is a sum of products, with a number of each factor in each product.

    The square of such a norm is a sum of products of the other factors' squares: the gradient of sum(Delta) in a
    factor's squares, at the squares of all. It is exact for products of two dense factors and for CP, and for Tucker
    where the factors' columns are orthonormal, as C steps leave them.
    """
    squares = [values.detach().square().requires_grad_() for values in values_of(theta)]
    with torch.enable_grad():
        total = with_values(theta, iter(squares)).decompress().sum()
    found = torch.autograd.grad(total, squares)
    return [each.clamp(min=1).sqrt() for each in found]
