"""A layer whose weight is a product of factors, as the smaller layers that it runs as."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.compression import Compressed, Use, dense_macs, numel
from lc_core.cp import Kruskal
from lc_core.lowrank import Factored
from lc_core.structured import Part
from lc_core.tensors import Tucker

Layer = nn.Linear | nn.Conv1d | nn.Conv2d
Product = Factored | Tucker | Kruskal


@dataclass(frozen=True, eq=False)
class Weight:
    """A tensor of a model, as it is made of what a Theta stores.

    Delta(Theta) from its entry `first` on is seen in the shape `seen`, the dimensions are put in `order`, slices are
    picked, and what that gives is seen in `shape`.

    Attributes:
        theta: what is stored.
        seen: dimensions of what is taken of Delta(Theta), flat.
        shape: of the tensor.
        first: the first entry of Delta(Theta), flat, that is taken.
        order: of the dimensions of `seen`; as they are where it is empty.
        picked: axis, in `order` -> the slices that are taken, -1 for one of zeros; all of the other axes.
    """

    theta: Compressed
    seen: tuple[int, ...]
    shape: tuple[int, ...]
    first: int = 0
    order: tuple[int, ...] = ()
    picked: Mapping[int, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(theta: Compressed, part: Part | None = None, kept: Tensor | None = None) -> "Weight":
        """Delta(Theta); with the zeros of `part` around it, where it is of the groups `kept`."""
        whole = Weight(theta, theta.shape, theta.shape)
        return whole if part is None or kept is None else whole.placed(part.axis, part.own(kept), size=part.groups)

    def tensor(self) -> Tensor:
        """The numbers."""
        flat = self.theta.decompress().reshape(-1)
        values = flat[self.first : self.first + numel(self.seen)].reshape(self.seen)
        values = values.permute(self.order or tuple(range(values.dim())))
        for axis, picked in self.picked.items():
            sizes = list(values.shape)
            sizes[axis] = 1
            with_zeros = torch.cat([values, values.new_zeros(sizes)], dim=axis)
            values = with_zeros.index_select(axis, picked % with_zeros.shape[axis])
        return values.reshape(self.shape).contiguous()

    def pick(self, axis: int, kept: Tensor) -> "Weight":
        """Only the slices `kept`, ascending, of the tensor along `axis`."""
        if kept.numel() == self.shape[axis]:
            return self
        return self.repicked(axis, self.picked[axis][kept] if axis in self.picked else kept)

    def placed(self, axis: int, kept: Tensor, *, size: int) -> "Weight":
        """The slices along `axis` as those numbered `kept` of `size`, the others zero."""
        places = torch.full((size,), -1)
        places[kept] = torch.arange(kept.numel())
        return self.repicked(axis, places)

    def repicked(self, axis: int, picked: Tensor) -> "Weight":
        """With `picked`, as the attribute of that name has them, along `axis`."""
        shape = (*self.shape[:axis], picked.numel(), *self.shape[axis + 1 :])
        stored = (self.seen[self.order[axis]] if self.order else self.seen[axis]) if self.seen else 0
        others = {other: each for other, each in self.picked.items() if other != axis}
        if not torch.equal(picked, torch.arange(stored)):
            others[axis] = picked
        return replace(self, shape=shape, picked=others)


def runs_in_factors(product: Product, uses: Sequence[Use]) -> bool:
    """Whether a layer of this weight takes fewer multiply-accumulates as layers of its factors."""
    if not uses or not all(numel(weight.shape) for weight in factor_weights(product)):
        return False
    return sum(map(product.macs, uses)) < sum(dense_macs(product.shape, use) for use in uses)


def factor_weights(product: Product) -> list[Weight]:
    """The weights of the layers that run one after the other in the place of one whose weight is `product`."""
    ones = [1] * (len(product.shape) - 2)
    match product:
        case Factored(scheme="spatial", rank=r):  # row (i, a) of the left factor is output i, row a of the kernel
            n, m, height, width = product.shape
            return [
                Weight(product.right, (r, m, 1, width), (r, m, 1, width)),
                Weight(product.left, (n, height, r), (n, r, height, 1), order=(0, 2, 1)),
            ]
        case Factored(rank=r):
            n, *kernel = product.shape
            return [Weight(product.right, (r, *kernel), (r, *kernel)), Weight(product.left, (n, r), (n, r, *ones))]
        case Tucker(ranks=(s, t)):
            n, m = product.shape[:2]
            return [
                Weight(product.right, (m, t), (t, m, *ones), order=(1, 0)),
                Weight.of(product.core),
                Weight(product.left, (n, s), (n, s, *ones)),
            ]
        case Kruskal(rank=r):
            outputs, inputs, *along = product.factors
            weights = [Weight(inputs, inputs.shape, (r, inputs.shape[0], *ones), order=(1, 0))]
            for place, factor in enumerate(along):
                shape = (r, 1, *ones[:place], factor.shape[0], *ones[place + 1 :])
                weights.append(Weight(factor, factor.shape, shape, order=(1, 0)))
            return [*weights, Weight(outputs, outputs.shape, (*outputs.shape, *ones))]


def layers_of(layer: Layer, weights: Sequence[Weight]) -> nn.Sequential:
    """Layers of `weights`, one after the other, in the place of `layer`; the last has its bias.

    Of each dimension of a kernel, the layer with the longest one (the first of them) strides and pads as `layer` does.
    """
    sizes = [[weight.shape[dim] for weight in weights] for dim in range(2, layer.weight.dim())]
    doing = [each.index(max(each)) for each in sizes]
    made: list[Layer] = []
    channels = layer.weight.shape[1]
    for number, weight in enumerate(weights):
        made.append(_layer(layer, weight.tensor(), channels=channels, does=[place == number for place in doing]))
        channels = weight.shape[0]
    made[-1].bias = layer.bias
    return nn.Sequential(*made)


def _layer(layer: Layer, weight: Tensor, *, channels: int, does: Sequence[bool]) -> Layer:
    """A layer of this weight on so many channels, without a bias, that does what `layer` does along some dimensions."""
    outputs, inputs, *kernel = weight.shape
    made: Layer
    if isinstance(layer, nn.Linear):
        made = nn.Linear(inputs, outputs, bias=False, device="meta")
    else:

        def along(values: tuple[int, ...], *, otherwise: int) -> tuple[int, ...]:
            return tuple(value if mine else otherwise for value, mine in zip(values, does, strict=True))

        kind: Any = type(layer)
        made = kind(
            channels,
            outputs,
            tuple(kernel),
            stride=along(layer.stride, otherwise=1),
            padding=layer.padding if isinstance(layer.padding, str) else along(layer.padding, otherwise=0),
            dilation=along(layer.dilation, otherwise=1),
            groups=channels // inputs,
            bias=False,
            padding_mode=layer.padding_mode,
            device="meta",
        )
    made.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    made.train(layer.training)
    return made
