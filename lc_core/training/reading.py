"""Splits that are not in memory: datasets and loaders, read by torch's DataLoader, with a position that can be saved.

A resumed run reads the same batches in the same order as a run that never stopped. What a dataset draws at random, it
draws from torch's generator of the process, whose state belongs to a job's checkpoint.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from lc_core.training.data import TARGETS, Batches, ShuffledIndices, Source, spaced
from lc_core.training.nest import Nest, leaves, moved

Separate = Callable[[Nest], tuple[Nest, Nest]]
"""A batch -> its inputs, which the model takes, and its targets, which loss and metric take."""
Collate = Callable[[Any], Nest]


def separate(batch: Nest) -> tuple[Nest, Nest]:
    """Inputs and targets of a batch by the usual habits.

    (x, y) is x and y; (x1, x2, y) is (x1, x2) and y. A mapping is the inputs as a whole, so that a model may
    compute its own loss from its labels; the targets are what it has under one of `TARGETS`. Of another mapping, and of
    anything else, the targets are the batch itself.
    """
    match batch:
        case Mapping():
            return batch, next((batch[key] for key in TARGETS if key in batch), batch)
        case (inputs, targets):
            return inputs, targets
        case tuple() | list() if len(batch) > 2:
            return tuple(batch[:-1]), batch[-1]
    return batch, batch


@dataclass(frozen=True, eq=False)
class Indexed:
    """A map-style dataset. Each call of `take` and `parts` reads by `workers` processes of its own; 0 reads here.

    Attributes:
        dataset: example number -> example.
        separate: of each batch.
        collate: of the examples of a batch; None for torch's.
        workers: processes that read.
        device: of the batches.
    """

    dataset: "Dataset[Any]"
    separate: Separate = separate
    collate: Collate | None = None
    workers: int = 0
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # a map-style dataset has a length

    def batches(self, *, batch_size: int, seed: int) -> Batches:
        return _ShuffledReads(self, ShuffledIndices(len(self), batch_size=batch_size, seed=seed))

    def parts(self, size: int, *, most: int | None = None) -> Iterator[tuple[Nest, Nest]]:
        n = len(self) if most is None else min(most, len(self))
        return self.read([list(range(start, min(start + size, n))) for start in range(0, n, size)])

    def spread(self, size: int, *, most: int) -> Iterator[tuple[Nest, Nest]]:
        return self.read([part.tolist() for part in spaced(len(self), most=most).split(size)])

    def read(self, batches: Sequence[list[int]]) -> Iterator[tuple[Nest, Nest]]:
        """Inputs and targets of the batches of these examples."""
        loader = DataLoader(self.dataset, batch_sampler=batches, num_workers=self.workers, collate_fn=self.collate)
        for batch in loader:
            yield moved(self.separate(batch), self.device)

    def to(self, device: torch.device | str) -> "Indexed":
        return replace(self, device=device)


class _ShuffledReads:
    """Shuffled batches of an indexed dataset."""

    def __init__(self, source: Indexed, indices: ShuffledIndices) -> None:
        self._source, self._indices = source, indices
        self.state, self.restore = indices.state, indices.restore

    def take(self, count: int) -> Iterator[tuple[Nest, Nest]]:
        return self._source.read([self._indices.draw().tolist() for _ in range(count)])


@dataclass(frozen=True, eq=False)
class Streamed:
    """Batches in the order and size in which a loader gives them: an iterable dataset, or a sampler of the user's.

    Attributes:
        loader: gives an epoch's batches at each iteration.
        examples: in an epoch.
        separate: of each batch.
        device: of the batches.
        start: the state of a loader that has one, before anything is read. Every stream begins there.
        reading: the stream that reads such a loader at present; empty at first.
    """

    loader: Iterable[Nest]
    examples: int
    separate: Separate = separate
    device: torch.device | str = "cpu"
    start: Mapping[str, Any] | None = None
    reading: list["_Stream"] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.start is None:
            object.__setattr__(self, "start", _position(self.loader))

    def __len__(self) -> int:
        return self.examples

    def batches(self, *, batch_size: int, seed: int) -> Batches:
        return _Stream(self, seed=seed)

    def parts(self, size: int, *, most: int | None = None) -> Iterator[tuple[Nest, Nest]]:
        stream, seen = _Stream(self, seed=0), 0
        while (most is None or seen < most) and (batch := stream.next_of_epoch()) is not None:
            inputs, targets = moved(self.separate(batch), self.device)
            yield inputs, targets
            seen += next(leaves(inputs)).shape[0]
        stream.stop()

    def spread(self, size: int, *, most: int) -> Iterator[tuple[Nest, Nest]]:
        return self.parts(size, most=most)

    def to(self, device: torch.device | str) -> "Streamed":
        return replace(self, device=device)


class _Stream:
    """The batches of a loader, epoch after epoch, each epoch with random draws of its own.

    To go on from a position, the epoch is begun again and its batches up to there are read and dropped. A loader with
    `state_dict` and `load_state_dict` (torchdata's StatefulDataLoader) goes on at once. Such a loader has one position:
    where two streams read it in turn, as training and batch-norm statistics do, each takes its own position along.
    """

    def __init__(self, source: Streamed, *, seed: int) -> None:
        self._source, self._loader = source, source.loader
        self._draws = torch.Generator().manual_seed(seed).get_state()
        self._begun, self._read = self._draws, 0
        self._batches: Iterator[Nest] | None = None
        self._held = source.start  # the loader's state at this stream's position, while this stream does not read

    def take(self, count: int) -> Iterator[tuple[Nest, Nest]]:
        for _ in range(count):
            yield moved(self._source.separate(self._next()), self._source.device)

    def next_of_epoch(self) -> Nest | None:
        """The next batch of this epoch; None at its end, after which the next epoch begins."""
        if self._batches is None:
            self._batches = self._opened()
        with _drawing_from(self._draws) as after:
            batch = next(self._batches, None)
        self._draws = after[0]
        if batch is None:
            self._batches, self._read = None, 0
        else:
            self._read += 1
        return batch

    def _opened(self) -> Iterator[Nest]:
        """The batches of a new epoch, or those that the held position leaves of one."""
        if self._source.start is not None:
            for other in self._source.reading:
                other.hold()
            self._source.reading[:] = [self]
        if not self._read:
            self._begun = self._draws
        with _drawing_from(self._begun) as after:
            if self._held is not None:
                self._loader.load_state_dict(copy.deepcopy(self._held))  # type: ignore[attr-defined]
            batches = iter(_apart(self._loader) if self._source.start is None else self._loader)
        self._held = None
        if not self._read:
            self._draws = after[0]
        return batches

    def _next(self) -> Nest:
        for _ in range(2):
            if (batch := self.next_of_epoch()) is not None:
                return batch
        raise ValueError("the training data: expected batches in every epoch, got none")

    def hold(self) -> None:
        """Keeps the position, since another stream will read the loader."""
        if self._batches is not None:
            self._held, self._batches = self._loader.state_dict(), None  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Ends this stream."""
        self._batches = None

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"begun": self._begun, "read": self._read, "draws": self._draws}
        if self._source.start is not None:
            state["loader"] = self._loader.state_dict() if self._batches is not None else self._held  # type: ignore[attr-defined]
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        self._batches = None
        if "loader" in state:
            self._held = state["loader"]
        elif state["read"]:
            self._draws, self._read = state["begun"], 0
            for _ in range(state["read"]):
                self._next()
        self._begun, self._read, self._draws = state["begun"], state["read"], state["draws"]


def _apart(loader: Iterable[Nest]) -> Iterable[Nest]:
    """The loader without persistent workers: all its iterations share them, and each would begin the others again."""
    if getattr(loader, "persistent_workers", False):
        loader = copy.copy(loader)
        loader._iterator = None  # type: ignore[attr-defined]
    return loader


@contextmanager
def _drawing_from(state: torch.Tensor) -> Iterator[list[torch.Tensor]]:
    """Torch's generator in `state`. The list then holds its state afterwards; the process's own comes back."""
    after: list[torch.Tensor] = []
    own = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield after
    finally:
        after.append(torch.get_rng_state())
        torch.set_rng_state(own)


def source_of(data: object, *, batch_size: int, separate: Separate = separate) -> Source:
    """The split that a dataset or loader of torch gives.

    A DataLoader that only shuffles is read as its dataset, in the order of the job's seed. An iterable dataset, and a
    DataLoader with a sampler of its own, are read as they come; an epoch is what one iteration gives, and its examples
    are counted by reading it once.

    Args:
        data: a Dataset, an IterableDataset or a DataLoader.
        batch_size: examples in a batch of an iterable dataset.
        separate: a batch -> its inputs and targets.

    Raises:
        TypeError: `data` is neither.
    """
    match data:
        case IterableDataset():
            return _streamed(DataLoader(data, batch_size=batch_size), separate)
        case DataLoader(batch_size=int()) if _once_each(data.sampler):
            return Indexed(data.dataset, separate, data.collate_fn, data.num_workers)
        case DataLoader():
            return _streamed(data, separate)
        case _ if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
            return Indexed(data, separate)  # type: ignore[arg-type]  # a Dataset by what it can do
    raise TypeError(f"expected tensors, a Dataset or a DataLoader, got {type(data).__name__}")


def _once_each(sampler: object) -> bool:
    """Whether a sampler gives every example once: in order, or shuffled as torch or torchdata do it."""
    if isinstance(sampler, SequentialSampler):
        return True
    kind, shuffled = type(sampler), isinstance(sampler, RandomSampler)
    if not shuffled and (kind.__name__, kind.__module__.partition(".")[0]) != ("RandomSampler", "torchdata"):
        return False
    return not sampler.replacement and sampler.num_samples == len(sampler.data_source)  # type: ignore[attr-defined]


def _streamed(loader: Iterable[Nest], separate: Separate) -> Streamed:
    start = _position(loader)  # before it is read
    examples = sum(next(leaves(separate(batch)[0])).shape[0] for batch in loader)
    return Streamed(loader, examples, separate, start=start)


def _position(loader: Iterable[Nest]) -> Mapping[str, Any] | None:
    """The state of a loader that has one."""
    return copy.deepcopy(loader.state_dict()) if hasattr(loader, "state_dict") else None
