"""The layers that a Theta runs as: two for low rank and depthwise filters, three or more for Tucker and CP, FFTs for
circulant blocks.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from lc_core.compression import numel
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.separable import Separated
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.structure.weights import Product, Weight, factor_weights

Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


@dataclass(frozen=True, eq=False)
class Layers:
    """The module that replaces a layer.

    Attributes:
        module: gives the outputs of the layer.
        weights: name in `module` -> how that parameter is stored, for the stored ones.
    """

    module: nn.Module
    weights: dict[str, Weight]


def as_layers(weight: Weight, layer: Layer, *, bias: Tensor | None, spectral: bool) -> Layers | None:
    """The layers that replace `layer`, by the structure of its `weight`; None where it has no structure.

    Args:
        weight: its Theta has the shape of a layer's weight, of one group; slices of it may have been removed.
        layer: gives strides, padding and dilation; not changed.
        bias: the bias of the replacement.
        spectral: whether circulant blocks count as structure.
    """
    match weight.theta:
        case Factored() | Tucker() | Kruskal() | Separated() as product:
            return _in_factors(product, weight, layer, bias=bias)
        case Circulated() as theta if spectral:
            rows, columns = (weight.picked.get(axis, torch.arange(theta.shape[axis])) for axis in (0, 1))
            if bool((rows < 0).any() or (columns < 0).any()):
                return None
            return Layers(Spectral(theta, layer, rows=rows, columns=columns, bias=bias), {})
        case Summed(terms=terms):
            modules: list[nn.Module] = []
            weights: dict[str, Weight] = {}
            for number, term in enumerate(terms):
                part = as_layers(replace(weight, theta=term), layer, bias=None if number else bias, spectral=spectral)
                if part is None:
                    return None
                modules.append(part.module)
                weights |= {f"terms.{number}.{name}": each for name, each in part.weights.items()}
            return Layers(Added(modules), weights)
    return None


def _in_factors(product: Product, weight: Weight, layer: Layer, *, bias: Tensor | None) -> Layers | None:
    """The layers of the factors, one after the other; None where a factor is empty."""
    weights = factor_weights(product, weight.picked)
    if not all(numel(each.shape) for each in weights):
        return None
    made, channels = [], layer.weight.shape[1]
    for number, (each, along) in enumerate(zip(weights, _striding(product), strict=True)):
        last = bias if number == len(weights) - 1 else None
        made.append(_like(layer, each.tensor(), along=along, groups=channels // each.shape[1], bias=last))
        channels = each.shape[0]
    return Layers(nn.Sequential(*made), {f"{number}.weight": each for number, each in enumerate(weights)})


def _striding(product: Product) -> list[tuple[int, ...]]:
    """For each layer of a product, the dimensions of a kernel along which it strides and pads."""
    kernel = tuple(range(len(product.shape) - 2))
    match product:
        case Factored(scheme="spatial"):
            return [(1,), (0,)]
        case Factored() | Separated():
            return [kernel, ()]
        case Tucker():
            return [(), kernel, ()]
        case Kruskal():
            return [(), *[(place,) for place in kernel], ()]


class Added(nn.Module):
    """Adds the outputs of layers on the same input."""

    def __init__(self, terms: list[nn.Module]) -> None:
        super().__init__()
        self.terms = nn.ModuleList(terms)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.terms
        total: Tensor = first(x)
        for term in others:
            total = total + term(x)
        return total


class Spectral(nn.Module):
    """A layer of circulant blocks: an FFT of each block of input channels, at each frequency a layer on as many
    channels as there are blocks, and an FFT back.

    The frequencies 0 and, for even blocks, b / 2 are real; the others are layers on real and imaginary parts. The FFT
    runs over channels and padding over space, so that any padding works. Half precision is computed in float32.

    Attributes:
        block: b, the number of channels that are transformed together.
        blocks: the number of blocks of outputs, and of inputs.
        rows: the outputs of the blocks that the layer has.
        columns: the inputs of the blocks that the layer has.
    """

    real: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, theta: Circulated, layer: Layer, *, rows: Tensor, columns: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        vectors = theta.vectors.decompress()
        exact = vectors if vectors.dtype == torch.float64 else vectors.float()
        spectra = torch.fft.rfft(exact).movedim(-1, 0)  # (frequencies, block rows, block columns, d, ...)
        self.block, self.blocks = theta.block, tuple(vectors.shape[:2])
        last = self.block // 2
        real = [0, last] if self.block % 2 == 0 else [0]
        self.between = slice(1, last + 1 - (len(real) - 1))
        self.ends = _at_each(layer, spectra[real].real)
        between = spectra[self.between]
        outwards = torch.cat([between.real, -between.imag], dim=2)
        parts = torch.cat([outwards, torch.cat([between.imag, between.real], dim=2)], dim=1)
        self.inner = _at_each(layer, parts) if len(parts) else None
        self.register_buffer("real", torch.tensor(real, device=exact.device), persistent=False)
        self.register_buffer("rows", rows.to(exact.device), persistent=False)
        self.register_buffer("columns", columns.to(exact.device), persistent=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        self.linear = isinstance(layer, nn.Linear)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.shape[-1]) if self.linear else x
        given = flat if flat.dtype == torch.float64 else flat.float()
        whole = given.new_zeros(len(given), self.blocks[1] * self.block, *given.shape[2:])
        blocks = whole.index_copy(1, self.columns, given).unflatten(1, (self.blocks[1], self.block))
        products = self._multiply(torch.fft.rfft(blocks, dim=2).transpose(1, 2))  # (n, frequencies, blocks, ...)
        sums = torch.fft.irfft(products.transpose(1, 2), n=self.block, dim=2).flatten(1, 2)
        outputs = sums.index_select(1, self.rows).to(x.dtype)
        if self.bias is not None:
            outputs = outputs + self.bias.reshape(-1, *[1] * (outputs.ndim - 2))
        result: Tensor = outputs.reshape(*x.shape[:-1], -1) if self.linear else outputs
        return result

    def _multiply(self, spectra: Tensor) -> Tensor:
        """(n, frequencies, input blocks, ...) -> (n, frequencies, output blocks, ...)"""
        ends = self.ends(spectra.index_select(1, self.real).real)
        parts = list(torch.complex(ends, torch.zeros_like(ends)).split(1, dim=1))
        if self.inner is not None:
            inner = spectra[:, self.between]
            halves = self.inner(torch.cat([inner.real, inner.imag], dim=2)).chunk(2, dim=2)
            parts.insert(1, torch.complex(halves[0].contiguous(), halves[1].contiguous()))
        return torch.cat(parts, dim=1)


class AtEachFrequency(nn.Module):
    """(n, frequencies, inputs, ...) -> (n, frequencies, outputs, ...): a layer at each frequency."""

    def __init__(self, layer: nn.Module, frequencies: int) -> None:
        super().__init__()
        self.layer = layer
        self.frequencies = frequencies

    def forward(self, x: Tensor) -> Tensor:
        given: Tensor = self.layer(x.flatten(1, 2))
        outputs: Tensor = given.unflatten(1, (self.frequencies, -1))
        return outputs


class Products(nn.Module):
    """(n, frequencies, inputs) -> (n, frequencies, outputs): a matrix at each frequency."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.transpose(1, 2).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x.transpose(0, 1), self.weight).transpose(0, 1)


def _at_each(layer: Layer, weight: Tensor) -> nn.Module:
    """A layer at each frequency, of weight (frequencies, outputs, inputs, d, ...)."""
    if isinstance(layer, nn.Linear):
        return Products(weight)
    frequencies = len(weight)
    along = tuple(range(weight.ndim - 3))
    return AtEachFrequency(_like(layer, weight.flatten(0, 1), along=along, groups=frequencies), frequencies)


def _like(
    layer: Layer, weight: Tensor, *, along: tuple[int, ...] = (), groups: int = 1, bias: Tensor | None = None
) -> nn.Module:
    """A layer of `weight` with the strides, padding and dilation of `layer` along the dimensions `along`."""
    made: Layer
    if isinstance(layer, nn.Linear):
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    else:
        places = range(weight.ndim - 2)
        made = type(layer)(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),  # type: ignore[arg-type]
            stride=tuple(layer.stride[i] if i in along else 1 for i in places),  # type: ignore[arg-type]
            padding=layer.padding
            if isinstance(layer.padding, str)
            else tuple(layer.padding[i] if i in along else 0 for i in places),  # type: ignore[arg-type]
            dilation=tuple(layer.dilation[i] if i in along else 1 for i in places),  # type: ignore[arg-type]
            groups=groups,
            bias=bias is not None,
            padding_mode=layer.padding_mode,
            device="meta",  # no random initial weights
        )
    made.weight = nn.Parameter(weight.detach().contiguous())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made
