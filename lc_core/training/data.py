"""Data to train on and to measure: a split in memory, or a dataset or stream that is read batch by batch."""

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lc_core.training.nest import Nest, joined, leaves, map_nest, moved

Forward = Callable[[nn.Module, Nest], Nest]
"""(model, a batch's inputs) -> its outputs."""

FETCHED = 1 << 20
"""The number of input values to fetch at a time; at least one batch."""


class Batches(Protocol):
    """An endless stream of shuffled training batches. Its position can be saved and restored."""

    def take(self, count: int) -> Iterator[tuple[Nest, Nest]]:
        """Inputs and targets of each of the next `count` batches."""
        ...

    def state(self) -> dict[str, Any]:
        """The position in the stream: tensors and plain data."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from `state`."""
        ...


class Source(Protocol):
    """The examples of a split: a `Split` in memory, or one that is read batch by batch (`lc_core.training.reading`)."""

    def __len__(self) -> int: ...

    def batches(self, *, batch_size: int, seed: int) -> Batches:
        """The examples in shuffled batches, over and over; an epoch visits every example once."""
        ...

    def parts(self, size: int, *, most: int | None = None) -> Iterator[tuple[Nest, Nest]]:
        """Inputs and targets in order, at most `size` examples at a time; the first `most` examples, or all."""
        ...

    def spread(self, size: int, *, most: int) -> Iterator[tuple[Nest, Nest]]:
        """As `parts`, of at most `most` examples over the whole split, evenly spaced; of a stream, the first."""
        ...

    def to(self, device: torch.device | str) -> "Source":
        """The same, with batches on `device`."""
        ...


@dataclass(frozen=True, eq=False)
class Split:
    """Examples in memory.

    Attributes:
        inputs: (n, ...), or a nest of tensors (n, ...); in training also an augmentation of them.
        targets: (n, ...), or a nest of tensors (n, ...).
    """

    inputs: Nest
    targets: Nest

    def __len__(self) -> int:
        return int(next(leaves(self.inputs)).shape[0])

    def batches(self, *, batch_size: int, seed: int) -> "ShuffledSplit":
        return ShuffledSplit(self, ShuffledIndices(len(self), batch_size=batch_size, seed=seed))

    def parts(self, size: int, *, most: int | None = None) -> Iterator[tuple[Nest, Nest]]:
        n = len(self) if most is None else min(most, len(self))
        for start in range(0, max(n, 1), size):
            part = slice(start, min(start + size, n))
            yield map_nest(lambda leaf, part=part: leaf[part], (self.inputs, self.targets))

    def spread(self, size: int, *, most: int) -> Iterator[tuple[Nest, Nest]]:
        for part in spaced(len(self), most=most).split(size):
            yield map_nest(lambda leaf, part=part: leaf[part], (self.inputs, self.targets))

    def to(self, device: torch.device | str) -> "Split":
        return Split(moved(self.inputs, device), moved(self.targets, device))


def spaced(n: int, *, most: int) -> Tensor:
    """Indices int64 of all of `n` examples, or of `most` of them, evenly spaced: i n / most, rounded down."""
    return torch.arange(min(n, most)) * n // max(min(n, most), 1)


class ShuffledIndices:
    """An endless stream of shuffled batches of indices."""

    def __init__(self, examples: int, *, batch_size: int, seed: int) -> None:
        self._examples, self._batch_size = examples, batch_size
        self._generator = torch.Generator().manual_seed(seed)
        self._order, self._place = torch.empty(0, dtype=torch.int64), 0

    def draw(self) -> Tensor:
        """Indices (at most batch_size,) of the next batch; an epoch visits every example once."""
        if self._place >= self._order.numel():
            self._order, self._place = torch.randperm(self._examples, generator=self._generator), 0
        end = self._place + self._batch_size
        if self._order.numel() - end == 1:  # a single last example joins the batch before it: batch norm needs two
            end += 1
        batch = self._order[self._place : end]
        self._place = end
        return batch

    def state(self) -> dict[str, Any]:
        """The position in the stream."""
        place = torch.tensor(self._place)
        return {"order": self._order, "place": place, "generator": self._generator.get_state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from `state`."""
        self._order, self._place = state["order"], int(state["place"])
        self._generator.set_state(state["generator"])


def batches_per_epoch(examples: int, batch_size: int) -> int:
    """Batches that visit every example once. A single example that is left over joins the last batch."""
    return max(math.ceil((examples - 1) / batch_size), 1)


class ShuffledSplit:
    """Shuffled batches of a split in memory. Several small batches are fetched together, which is faster."""

    def __init__(self, split: Split, indices: ShuffledIndices) -> None:
        self._split, self._indices = split, indices
        self.state, self.restore = indices.state, indices.restore

    def take(self, count: int) -> Iterator[tuple[Nest, Nest]]:
        drawn = [self._indices.draw() for _ in range(count)]
        numbers = sum(math.prod(leaf.shape[1:]) for leaf in leaves(self._split.inputs))
        largest = max((batch.numel() for batch in drawn), default=0) * numbers
        together = max(FETCHED // max(largest, 1), 1)
        device = next(leaves(self._split.targets)).device
        for start in range(0, count, together):
            group = drawn[start : start + together]
            index, sizes = torch.cat(group).to(device), [batch.numel() for batch in group]
            fetched = [
                leaf.index_select(0, index).split(sizes) for leaf in leaves((self._split.inputs, self._split.targets))
            ]
            for parts in zip(*fetched, strict=True):
                each = iter(parts)
                yield map_nest(lambda _, each=each: next(each), (self._split.inputs, self._split.targets))


TARGETS = ("labels", "label", "targets", "target")
"""Keys of a mapping under which it may hold its targets, the first that it has."""


def call(model: nn.Module, inputs: Nest) -> Nest:
    """The outputs of `model`: model(x) of a tensor, model(*inputs) of a tuple, model(**inputs) of a mapping.

    A model whose `forward` does not take the targets of a mapping runs without them.
    """
    match inputs:
        case Mapping():
            return model(
                **{key: inputs[key] for key in inputs if key not in TARGETS or _takes(type(model).forward, key)}
            )
        case tuple() | list():
            return model(*inputs)
    return model(inputs)


def without_targets(model: nn.Module, inputs: Nest) -> Nest:
    """The inputs by which `call` runs a model in use: without a mapping's targets, unless its forward needs them."""
    if not isinstance(inputs, Mapping):
        return inputs
    needs = {
        name for name, each in inspect.signature(type(model).forward).parameters.items() if each.default is each.empty
    }
    return {key: inputs[key] for key in inputs if key not in TARGETS or key in needs}


@functools.cache
def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function takes an argument of this name."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def first_inputs(data: Source, n: int) -> Nest:
    """The inputs of the first `n` examples, or of as many as there are."""
    parts = [inputs for inputs, _ in data.parts(n, most=n)]
    return map_nest(lambda leaf: leaf[:n], joined(parts))
