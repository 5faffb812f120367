"""The layers that a Theta runs as: two for low rank, three or more for Tucker and CP, FFTs for circulant blocks."""

import torch
from torch import Tensor, nn

from lc_core.circulant import Circulated
from lc_core.combination import Summed
from lc_core.compression import Compressed
from lc_core.cp import Kruskal
from lc_core.lowrank import Factored
from lc_core.tensors import Tucker

Layer = nn.Linear | nn.Conv1d | nn.Conv2d


def as_layers(
    theta: Compressed, layer: Layer, *, rows: Tensor, columns: Tensor, bias: Tensor | None
) -> nn.Module | None:
    """What gives the outputs of `layer` in the structure of `theta`; None where that has none.

    Args:
        theta: whose Delta(Theta), cut to `rows` and `columns`, is the layer's weight; of one group.
        layer: its strides, padding and dilation; left as it is.
        rows: (n,) bool, which outputs of Delta(Theta) the layer has.
        columns: (m,) bool, which inputs.
        bias: of the layers that it becomes, together.
    """
    match theta:
        case Factored(scheme="channel", rank=rank, shape=shape):
            first = theta.right.decompress().reshape(rank, *shape[1:])[:, columns]
            whole = tuple(range(len(shape) - 2))
            return nn.Sequential(_like(layer, first, along=whole), _last(layer, theta.left.decompress()[rows], bias))
        case Factored(scheme="spatial", rank=rank, shape=(n, m, height, width)):
            across = theta.right.decompress().reshape(rank, m, 1, width)[:, columns]
            down = theta.left.decompress().reshape(n, height, rank, 1)[rows].transpose(1, 2)
            return nn.Sequential(_like(layer, across, along=(1,)), _like(layer, down, along=(0,), bias=bias))
        case Tucker(core=core, left=left, right=right):
            whole = tuple(range(len(theta.shape) - 2))
            first = _pointwise(right.decompress()[columns].T, layer)
            middle = _like(layer, core.decompress(), along=whole)
            return nn.Sequential(_like(layer, first), middle, _last(layer, left.decompress()[rows], bias))
        case Kruskal(factors=(outputs, inputs, *kernel), rank=rank):
            first = _pointwise(inputs.decompress()[columns].T, layer)
            along = [
                _like(layer, _along(factor.decompress().T, place, of=len(kernel)), along=(place,), groups=rank)
                for place, factor in enumerate(kernel)
            ]
            return nn.Sequential(_like(layer, first), *along, _last(layer, outputs.decompress()[rows], bias))
        case Circulated():
            return Spectral(theta, layer, rows=rows, columns=columns, bias=bias)
        case Summed(terms=terms):
            biases = [bias, *[None] * (len(terms) - 1)]
            each = [as_layers(t, layer, rows=rows, columns=columns, bias=b) for t, b in zip(terms, biases, strict=True)]
            known = [module for module in each if module is not None]
            return Added(known) if len(known) == len(each) else None
    return None


class Added(nn.Module):
    """Layers on the same input, whose outputs are added."""

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

    The frequencies 0 and, of even blocks, b / 2 are real; the others are layers on real and imaginary parts. An FFT
    over channels and padding in space do not meet, whatever the padding. Half precision is computed in float32.

    Attributes:
        block: b, how many channels are transformed together.
        blocks: how many blocks of outputs there are, and of inputs.
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
        self.register_buffer("rows", rows.nonzero().reshape(-1), persistent=False)
        self.register_buffer("columns", columns.nonzero().reshape(-1), persistent=False)
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


def _last(layer: Layer, weight: Tensor, bias: Tensor | None) -> nn.Module:
    return _like(layer, _pointwise(weight, layer), bias=bias)


def _pointwise(weight: Tensor, layer: Layer) -> Tensor:
    """(outputs, inputs) as a kernel of one position."""
    return weight.reshape(*weight.shape, *[1] * (layer.weight.ndim - 2))


def _along(vectors: Tensor, place: int, *, of: int) -> Tensor:
    """(r, d) as kernels of one channel each along dimension `place` of `of`."""
    sizes = [1] * of
    sizes[place] = vectors.shape[1]
    return vectors.reshape(len(vectors), 1, *sizes)


def _like(
    layer: Layer, weight: Tensor, *, along: tuple[int, ...] = (), groups: int = 1, bias: Tensor | None = None
) -> nn.Module:
    """A layer of `weight`, that goes over the dimensions `along` of its inputs as `layer` does."""
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
            device="meta",  # so that nothing is drawn
        )
    made.weight = nn.Parameter(weight.detach().contiguous())
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone())
    return made
