"""How the tensors of a model are built from the Thetas of a packed file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from lc_core.compression import Compressed, numel
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.separable import Separated
from lc_core.compressions.structured import Grouped, Part
from lc_core.compressions.tucker import Tucker
from lc_core.file.artifact import Artifact

Product = Factored | Tucker | Kruskal | Separated


@dataclass(frozen=True, eq=False)
class Weight:
    """How a tensor of a model is built from a Theta.

    The entries of Delta(Theta) from `first` on are reshaped to `seen`, permuted to `order`, reduced to the slices
    `picked`, and reshaped to `shape`.

    Attributes:
        theta: the stored Theta.
        seen: the first shape of the entries.
        shape: the shape of the tensor.
        first: the first entry of the flat Delta(Theta).
        order: the permutation of the dimensions of `seen`; empty for none.
        picked: axis, after the permutation -> the slices to take, -1 for zeros. Other axes keep all slices.
    """

    theta: Compressed
    seen: tuple[int, ...]
    shape: tuple[int, ...]
    first: int = 0
    order: tuple[int, ...] = ()
    picked: Mapping[int, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(theta: Compressed, part: Part | None = None, kept: Tensor | None = None) -> "Weight":
        """Delta(Theta); with `part` and `kept`, Delta(Theta) in the slices of the groups `kept` and zeros elsewhere."""
        whole = Weight(theta, theta.shape, theta.shape)
        return whole if part is None or kept is None else whole.placed(part.axis, part.own(kept), size=part.groups)

    def tensor(self) -> Tensor:
        """The values of the tensor."""
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
        """The slices along `axis` at the positions `kept` of `size`, with zeros elsewhere."""
        places = torch.full((size,), -1)
        places[kept] = torch.arange(kept.numel())
        return self.repicked(axis, places)

    def repicked(self, axis: int, picked: Tensor) -> "Weight":
        """The same with the slices `picked` along `axis`."""
        shape = (*self.shape[:axis], picked.numel(), *self.shape[axis + 1 :])
        stored = (self.seen[self.order[axis]] if self.order else self.seen[axis]) if self.seen else 0
        others = {other: each for other, each in self.picked.items() if other != axis}
        if not torch.equal(picked, torch.arange(stored)):
            others[axis] = picked
        return replace(self, shape=shape, picked=others)


def stored_weights(artifact: Artifact) -> dict[str, Weight]:
    """Parameter under a Theta -> how it is built. Every name of a tied one is there."""
    stored: dict[str, Weight] = {}
    for governed, theta in zip(artifact.governed, artifact.thetas, strict=True):
        if isinstance(theta, Grouped):
            for name, part, values in zip(governed.names, theta.parts, theta.values, strict=True):
                stored[name] = Weight.of(values, part, theta.kept)
            continue
        first = 0
        for name, shape in zip(governed.names, governed.shapes, strict=True):
            stored[name] = Weight(theta, shape, shape, first=first)
            first += numel(shape)
    return stored | {name: stored[first_name] for name, first_name in artifact.tied.items() if first_name in stored}


def factor_weights(product: Product, picked: Mapping[int, Tensor] | None = None) -> list[Weight]:
    """The weights of the layers that replace, one after the other, a layer whose weight is `product`.

    `picked` slices of that weight, as in `Weight`, apply to the outputs of the last layer and the inputs of the first;
    inputs of a depthwise layer are its outputs too, and so the next one's inputs.
    """
    weights = _factors(product)
    for axis, each in (picked or {}).items():
        if isinstance(product, Separated) and axis == 1:
            r = product.multiplier
            filters = torch.where(each[:, None] < 0, -1, each[:, None] * r + torch.arange(r)).reshape(-1)
            weights = [weights[0].repicked(0, filters), weights[1].repicked(1, filters)]
            continue
        place = len(weights) - 1 if axis == 0 else 0
        weights[place] = weights[place].repicked(axis, each)
    return weights


def _factors(product: Product) -> list[Weight]:
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
        case Separated(pointwise=pointwise):
            return [Weight.of(product.depthwise), Weight(pointwise, pointwise.shape, (*pointwise.shape, *ones))]
        case Kruskal(rank=r):
            outputs, inputs, *along = product.factors
            weights = [Weight(inputs, inputs.shape, (r, inputs.shape[0], *ones), order=(1, 0))]
            for place, factor in enumerate(along):
                shape = (r, 1, *ones[:place], factor.shape[0], *ones[place + 1 :])
                weights.append(Weight(factor, factor.shape, shape, order=(1, 0)))
            return [*weights, Weight(outputs, outputs.shape, (*outputs.shape, *ones))]
