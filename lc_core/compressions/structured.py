"""Structured pruning: it removes whole output neurons, filters, input neurons or channels."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Dense,
    Form,
    FormError,
    OrDense,
    Use,
    dense_macs,
    numel,
    outline_tensor,
    prefixed,
)
from lc_core.compressions.pruning import largest
from lc_core.fields import check_numbers
from lc_core.numerics.support import pack_support, support_bits, unpack_support

AXES = {"output": 0, "input": 1}


@dataclass(frozen=True)
class Part:
    """One parameter of a Theta of groups. Each of its slices along `axis` belongs to a group.

    Attributes:
        shape: the shape of the parameter.
        axis: the axis of the slices.
        first: the group of its first slice; the groups of the next slices follow.
    """

    shape: tuple[int, ...]
    axis: int
    first: int

    @property
    def groups(self) -> int:
        """The number of its slices, each in another group."""
        return self.shape[self.axis]

    def own(self, kept: Tensor) -> Tensor:
        """The slices that stay, as ascending indices, given the groups `kept` (k,)."""
        return kept[(kept >= self.first) & (kept < self.first + self.groups)] - self.first

    def take(self, values: Tensor, kept: Tensor) -> Tensor:
        """The slices of `values` that stay: the parameter's shape, except along `axis`."""
        return values.index_select(self.axis, self.own(kept)).contiguous()


@dataclass(frozen=True, eq=False)
class Grouped(OrDense):
    """The groups that stay, zero elsewhere.

    Attributes:
        shape: the shape of Delta(Theta): that of the only part, or of one vector of all parts in order.
        parts: the parameters.
        kept: (k,) int64, the ascending numbers of the groups that stay.
        values: for each part, Theta of the slices that stay.
    """

    shape: tuple[int, ...]
    parts: tuple[Part, ...]
    kept: Tensor
    values: tuple[Compressed, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.values[0].dtype

    def decompress(self) -> Tensor:
        if self.kept.is_meta:
            return outline_tensor(*self.shape, dtype=self.dtype)
        full = []
        for part, theta in zip(self.parts, self.values, strict=True):
            values = theta.decompress()
            zeros = torch.zeros(part.shape, dtype=values.dtype, device=values.device)
            full.append(zeros.index_copy(part.axis, part.own(self.kept), values))
        return full[0] if len(full) == 1 else torch.cat([tensor.reshape(-1) for tensor in full])

    def macs(self, use: Use) -> int:
        """Multiply-accumulates of this layer, cut to the groups that stay. The savings in its neighbours do not
        count."""
        dense = dense_macs(self.shape, use)
        return dense if use.groups > 1 else min(sum(values.macs(use) for values in self.values), dense)

    def own_arrays(self) -> dict[str, Tensor]:
        arrays = pack_support(self.kept, universe=count_groups(self.parts))
        for number, values in enumerate(self.values):
            arrays |= prefixed(str(number), values.pack())
        return arrays

    def own_form(self) -> Form:
        parts = [
            {"shape": list(part.shape), "axis": part.axis, "first": part.first, "values": values.form()}
            for part, values in zip(self.parts, self.values, strict=True)
        ]
        return {"form": "groups", "shape": list(self.shape), "count": self.kept.numel(), "parts": parts}

    @staticmethod
    def unpack(form: Form, arrays: Mapping[str, Tensor], values: Sequence[Compressed]) -> "Grouped":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape = tuple(form["shape"])
        parts = tuple(Part(tuple(part["shape"]), part["axis"], part["first"]) for part in form["parts"])
        groups = 0
        for part in parts:
            if not part.axis < len(part.shape) or not part.first <= groups:
                raise FormError(f"expected parts one after the other, got axis {part.axis!r}, first {part.first!r}")
            groups = max(groups, part.first + part.groups)
        if shape not in ((sum(numel(part.shape) for part in parts),), parts[0].shape if len(parts) == 1 else None):
            raise FormError(f"expected parts of a tensor of shape {shape}, got {[part.shape for part in parts]}")
        kept = unpack_support(arrays, count=form["count"], universe=groups)
        for part, theta in zip(parts, values, strict=True):
            sizes = list(part.shape)
            sizes[part.axis] = part.own(kept).numel()
            if theta.shape != tuple(sizes):
                raise FormError(f"expected values of shape {tuple(sizes)} in the groups that stay, got {theta.shape}")
        return Grouped(shape, parts, kept, tuple(values))

    def own_bits(self) -> int:
        index = support_bits(self.kept.numel(), count_groups(self.parts))
        return index + sum(values.storage_bits() for values in self.values)


@dataclass(frozen=True)
class GroupPruning:
    """min over theta of ||w - theta||^2 subject to at most k groups of theta not being zero, k = round(keep * groups).

    Exact: dropping a group costs its squared norm, so that the k groups of largest l2 norm stay; of equal ones, the
    first. O(n). A group is an output neuron or filter (`axis="output"`: a row of the weight, with its bias and its
    batch-norm scale and shift, so that its output is zero), or an input neuron or channel (`axis="input"`: a column of
    the weight). One Theta over several layers (`Joint`) shares k among them. Wen et al., "Learning structured sparsity
    in deep neural networks", NIPS 2016, section 3, for the groups; the constraint form is that of `L0Pruning`.

    Attributes:
        keep: the fraction of groups that stay, in [0, 1].
        axis: the kind of group.
        parts: the parameters, in order, as a plan gives them; empty for the weight of one layer.
    """

    keep: float
    axis: Literal["output", "input"] = "output"
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        check_numbers(self)
        if not 0 <= self.keep <= 1:
            raise ValueError(f"keep: expected a fraction of groups in [0, 1], got {self.keep}")
        if self.axis not in AXES:
            raise ValueError(f"axis: expected 'output' or 'input', got {self.axis!r}")

    def parts_of(self, shape: tuple[int, ...]) -> tuple[Part, ...]:
        """The parameters of weights of `shape`. ValueError where `shape` is not that of a layer."""
        if not self.parts and len(shape) < 2:
            raise ValueError(f"groups: expected weights of a layer (two dimensions or more), got shape {shape}")
        return self.parts or (Part(shape, AXES[self.axis], 0),)

    def count(self, shape: tuple[int, ...]) -> int:
        """The number of groups that stay."""
        return round(self.keep * count_groups(self.parts_of(shape)))

    def check(self, shape: tuple[int, ...]) -> None:
        if self.count(shape) < 1:
            groups = count_groups(self.parts_of(shape))
            raise ValueError(f"keep: expected above 0, so that a group of {groups} stays, got {self.keep}")

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Grouped:
        kept = self.select([piece.double() ** 2 for piece in self.split(w.detach())], shape=tuple(w.shape))
        return self.gather(w, kept)

    def outline(self, shape: tuple[int, ...]) -> Grouped | None:
        return self.outline_with(shape, weight=lambda sizes: Dense(outline_tensor(*sizes)))

    def outline_with(
        self, shape: tuple[int, ...], *, weight: Callable[[tuple[int, ...]], Compressed | None]
    ) -> Grouped | None:
        """The outline whose weight is stored as `weight` gives it for the shape that stays.

        None where `weight` gives None. Also None for several layers, since the values of the weights decide how many
        groups each layer keeps.
        """
        parts, count = self.parts_of(shape), self.count(shape)
        if any(part.first for part in parts):
            return None
        first, *others = [(*part.shape[: part.axis], count, *part.shape[part.axis + 1 :]) for part in parts]
        stored = weight(first)
        if stored is None:
            return None
        kept = outline_tensor(count, dtype=torch.int64)
        return Grouped(shape, parts, kept, (stored, *[Dense(outline_tensor(*sizes)) for sizes in others]))

    def split(self, w: Tensor) -> list[Tensor]:
        """`w` as its parts."""
        return split(w, self.parts_of(tuple(w.shape)))

    def select(self, scores: Sequence[Tensor], *, shape: tuple[int, ...]) -> Tensor:
        """The groups with the largest sum of `scores`, as ascending numbers (k,). `scores` has a tensor for each
        part."""
        parts = self.parts_of(shape)
        totals = torch.zeros(count_groups(parts), dtype=torch.float64, device=scores[0].device)
        for part, score in zip(parts, scores, strict=True):
            sums = score.double().movedim(part.axis, 0).reshape(part.groups, -1).sum(dim=1)
            totals[part.first : part.first + part.groups] += sums
        return largest(totals, count=self.count(shape))

    def gather(self, w: Tensor, kept: Tensor) -> Grouped:
        """Theta of `w` with the groups `kept`, uncompressed."""
        parts = self.parts_of(tuple(w.shape))
        values = tuple(Dense(part.take(piece, kept)) for part, piece in zip(parts, self.split(w.detach()), strict=True))
        return Grouped(tuple(w.shape), parts, kept, values)


def split(w: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """`w` as its parts."""
    pieces = w.reshape(-1).split([numel(part.shape) for part in parts])
    return [piece.reshape(part.shape) for piece, part in zip(pieces, parts, strict=True)]


def count_groups(parts: Sequence[Part]) -> int:
    """How many groups the parts have together; parts may share groups."""
    return max((part.first + part.groups for part in parts), default=0)
