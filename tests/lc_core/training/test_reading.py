import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from lc_core import Codebook, Schedule, plan_tasks, run_lc
from lc_core.training.data import Source, Split
from lc_core.training.reading import Indexed, Streamed, separate, source_of

N = 30
INPUTS = torch.randn(N, 6, generator=torch.Generator().manual_seed(0))
TARGETS = torch.arange(N)


class Noisy(Dataset[tuple[Tensor, Tensor]]):
    """Examples with noise, drawn from torch's generator at each reading."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return INPUTS[index] + torch.randn(6), TARGETS[index]


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.randperm(N).tolist():
            yield INPUTS[index], TARGETS[index]


def plain() -> "TensorDataset":
    return TensorDataset(INPUTS, TARGETS)


def weighted() -> "DataLoader[Any]":
    return DataLoader(plain(), batch_size=8, sampler=WeightedRandomSampler([1.0] * N, N))


SOURCES: dict[str, Any] = {
    "dataset": plain,
    "dataset that draws": Noisy,
    "loader": lambda: DataLoader(plain(), batch_size=8, shuffle=True),
    "loader with workers": lambda: DataLoader(plain(), batch_size=8, num_workers=2),
    "iterable": Endless,
    "sampler": weighted,
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Source:
    return source_of(SOURCES[request.param](), batch_size=8)


def test_what_is_a_dataset_is_read_by_index_and_what_is_not_as_a_stream() -> None:
    kinds = {name: type(source_of(make(), batch_size=8)) for name, make in SOURCES.items()}
    streams = {"iterable", "sampler"}
    assert kinds == {name: Streamed if name in streams else Indexed for name in SOURCES}
    with pytest.raises(TypeError, match="expected tensors, a Dataset or a DataLoader, got int"):
        source_of(3, batch_size=8)


@pytest.mark.parametrize("kind", ["dataset", "loader", "loader with workers", "iterable"])
def test_an_epoch_holds_every_example_once(kind: str) -> None:
    source = source_of(SOURCES[kind](), batch_size=8)
    assert len(source) == N
    read = list(source.batches(batch_size=8, seed=1).take(4))
    assert sorted(torch.cat([targets for _, targets in read]).tolist()) == list(range(N))
    assert all(torch.equal(inputs, INPUTS[targets]) for inputs, targets in read)


def test_a_dataset_is_read_in_the_order_of_the_same_examples_in_memory() -> None:
    indexed = source_of(plain(), batch_size=8).batches(batch_size=8, seed=5).take(9)
    split = Split(INPUTS, TARGETS).batches(batch_size=8, seed=5).take(9)
    for (_, read), (_, held) in zip(indexed, split, strict=True):
        assert torch.equal(read, held)


@pytest.mark.parametrize("done", [0, 1, 3, 6])
def test_batches_go_on_from_a_position_as_if_they_had_never_stopped(source: Source, done: int) -> None:
    torch.manual_seed(7)
    batches = source.batches(batch_size=8, seed=2)
    list(batches.take(done))
    state, drawn = batches.state(), torch.get_rng_state()
    expected = list(batches.take(7))
    again = source.batches(batch_size=8, seed=2)
    again.restore(state)
    torch.set_rng_state(drawn)  # of the process: a job's checkpoint holds it
    for (inputs, targets), (other, others) in zip(expected, again.take(7), strict=True):
        assert torch.equal(inputs, other)
        assert torch.equal(targets, others)


def test_a_stream_differs_from_seed_to_seed_and_leaves_the_processs_draws_alone() -> None:
    source = source_of(Endless(), batch_size=8)
    before = torch.get_rng_state()
    first, same, other = (
        torch.cat([targets for _, targets in source.batches(batch_size=8, seed=seed).take(4)]) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_parts_stop_at_the_most(source: Source) -> None:
    sizes = [len(targets) for _, targets in source.parts(8)]
    assert sum(sizes) == N
    assert sum(len(targets) for _, targets in source.parts(4, most=4)) in (4, 8)  # a stream has its own batches


@pytest.mark.parametrize("kind", ["dataset", "loader", "loader with workers", "memory"])
def test_some_examples_of_a_split_are_evenly_spaced(kind: str) -> None:
    source = Split(INPUTS, TARGETS) if kind == "memory" else source_of(SOURCES[kind](), batch_size=8)
    parts = list(source.spread(4, most=9))
    assert [len(targets) for _, targets in parts] == [4, 4, 1]
    assert torch.cat([targets for _, targets in parts]).tolist() == [number * N // 9 for number in range(9)]
    assert all(torch.equal(inputs, INPUTS[targets]) for inputs, targets in parts)
    assert torch.cat([targets for _, targets in source.spread(7, most=N + 1)]).tolist() == list(range(N))


def test_some_examples_of_a_stream_are_the_first() -> None:
    first = list(source_of(weighted(), batch_size=8).spread(8, most=9))
    whole = list(source_of(weighted(), batch_size=8).parts(8))
    assert len(first) == 2
    assert all(torch.equal(one, other) for (_, one), (_, other) in zip(first, whole[:2], strict=True))


def test_parts_of_a_stream_that_draws_come_in_the_same_order_each_time() -> None:
    """Scores of two models are compared example by example."""
    source, before = source_of(Endless(), batch_size=8), torch.get_rng_state()
    first, again = (torch.cat([targets for _, targets in source.parts(8)]) for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_lc_resumes_on_a_stream_in_every_bit() -> None:
    def states(resume: Any = None) -> Any:
        torch.manual_seed(0)
        model = nn.Linear(6, 3)
        return run_lc(
            model,
            plan_tasks(model, {"*": Codebook(size=2)}),
            source_of(weighted(), batch_size=8),
            loss=lambda outputs, targets: nn.functional.cross_entropy(outputs, targets % 3),
            schedule=Schedule(epochs=7, lr=0.05, batch_size=8),
            seed=0,
            resume=resume,
        )

    whole = list(states())
    for state in (whole[0], whole[9]):
        *_, last = states(resume=state)
        assert all(torch.equal(last.weights[name], tensor) for name, tensor in whole[-1].weights.items())


class Stateful:
    """As torchdata's StatefulDataLoader over the dataset of its tutorial: one position, and the order of each epoch.

    The next iteration goes on at the position, or begins an epoch in an order drawn by a generator of its own.
    """

    def __init__(self) -> None:
        self.generator, self.position, self.read = torch.Generator().manual_seed(0), 0, 0
        self.drawn_by = self.generator.get_state()

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.position:
            self.generator.set_state(self.drawn_by)
        self.drawn_by = self.generator.get_state()
        order = torch.randperm(N, generator=self.generator)
        while self.position < 4:
            part = order[8 * self.position : 8 * self.position + 8]
            self.position, self.read = self.position + 1, self.read + 1
            yield INPUTS[part], TARGETS[part]
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        drawn_by = self.drawn_by if self.position else self.generator.get_state()
        return {"position": self.position, "drawn_by": drawn_by}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.drawn_by = state["position"], state["drawn_by"]
        self.generator.set_state(self.drawn_by)


def test_a_loader_with_a_state_of_its_own_goes_on_without_reading_again() -> None:
    source = Streamed(Stateful(), N)
    batches = source.batches(batch_size=8, seed=0)
    list(batches.take(6))
    state = batches.state()
    expected = [targets.tolist() for _, targets in batches.take(5)]
    fresh = Stateful()
    again = Streamed(fresh, N).batches(batch_size=8, seed=0)
    again.restore(state)
    assert [targets.tolist() for _, targets in again.take(5)] == expected
    assert fresh.read == 5


def persistent() -> "DataLoader[Any]":
    sampler = WeightedRandomSampler([1.0] * N, N)
    return DataLoader(plain(), batch_size=8, sampler=sampler, num_workers=1, persistent_workers=True)


def source_with(loader: Any) -> Source:
    return Streamed(loader, N) if isinstance(loader, Stateful) else source_of(loader, batch_size=8)


PLACES = [(make, done) for make in (Stateful, weighted) for done in (0, 2, 4, 6)]


@pytest.mark.parametrize(("make", "done"), [*PLACES, (persistent, 6)])
def test_other_reading_in_the_middle_changes_nothing_that_follows(make: Any, done: int) -> None:
    """As batch-norm statistics read the training split between two LC steps."""
    source = source_with(make())
    alone = [targets.tolist() for _, targets in source.batches(batch_size=8, seed=3).take(11)]
    batches = source.batches(batch_size=8, seed=3)
    read = [targets.tolist() for _, targets in batches.take(done)]
    first = [targets.tolist() for _, targets in source.parts(8, most=9)]
    state = batches.state()
    again = [targets.tolist() for _, targets in source.parts(8, most=9)]
    assert first == again
    assert len(first) == 2
    read += [targets.tolist() for _, targets in batches.take(11 - done)]
    assert read == alone
    resumed = source_with(make()).batches(batch_size=8, seed=3)
    resumed.restore(state)
    assert [targets.tolist() for _, targets in resumed.take(11 - done)] == alone[done:]


def test_only_a_sampler_that_gives_every_example_once_is_replaced() -> None:
    def kind(sampler: Any) -> type:
        return type(source_of(DataLoader(plain(), batch_size=8, sampler=sampler), batch_size=8))

    theirs = type("RandomSampler", (list,), {"__module__": "torchdata.stateful_dataloader.sampler"})(range(N))
    theirs.replacement, theirs.num_samples, theirs.data_source = False, N, range(N)
    assert kind(RandomSampler(range(N))) is kind(theirs) is Indexed
    theirs.replacement = True
    assert kind(theirs) is Streamed
    assert kind(RandomSampler(range(N), replacement=True)) is Streamed
    assert kind(RandomSampler(range(N), num_samples=7)) is Streamed


def test_an_empty_stream_is_said_to_be_empty() -> None:
    with pytest.raises(ValueError, match="expected batches in every epoch, got none"):
        next(Streamed([], 1).batches(batch_size=8, seed=0).take(1))


X, Y, Z = INPUTS, TARGETS, TARGETS + 1
BATCHES = [
    ((X, Y), (X, Y)),
    ([X, Y], (X, Y)),
    ((X, Z, Y), ((X, Z), Y)),
    ({"x": X, "labels": Y}, ({"x": X, "labels": Y}, Y)),
    ({"x": X, "target": Y}, ({"x": X, "target": Y}, Y)),
    ({"x": X}, ({"x": X}, {"x": X})),
    (X, (X, X)),
]


@pytest.mark.parametrize(("batch", "expected"), BATCHES)
def test_a_batch_is_separated_by_the_usual_habits(batch: Any, expected: Any) -> None:
    flat = [list(itertools.chain.from_iterable(_plain(part))) for part in separate(batch)]
    assert flat == [list(itertools.chain.from_iterable(_plain(part))) for part in expected]


def _plain(nest: Any) -> list[list[Any]]:
    from lc_core.training.nest import leaves

    return [[type(nest).__name__], *[[id(leaf)] for leaf in leaves(nest)]]
