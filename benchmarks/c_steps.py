"""C steps against the usual libraries, on one thread.

Each row compares with:

- codebook-*-cold: scikit-learn's KMeans with ten starts, on the weights of a trained LeNet300 (784-300-100-10, tanh,
  all layers as one) and on a million heavy-tailed numbers; the worse ratio counts.
- codebook-*-warm: KMeans from the centres of the step before, one start.
- lowrank-*-warm: torch.linalg.svd.
- topk-10M: torch.argsort.
- sum-sparse-codebook: ten rounds of our own two C steps in turn.

The inputs of warm rows are consecutive C steps of LC runs on MNIST, recorded early, in the middle and late. Both sides
are called again until 20 ms have passed; the mean of the calls counts. A row also needs a result that is as good, in
float64. LCSWEEP_DATA names the folder of MNIST.
"""

import copy
import functools
import itertools
import operator
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from lc_core.algorithm import run_lc
from lc_core.compression import Compressed, Compression, objective
from lc_core.compressions.lowrank import LowRank
from lc_core.compressions.pruning import L0Pruning
from lc_core.compressions.quantization import Codebook, Quantized
from lc_core.compressions.sums import Sum, Summed
from lc_core.plan import Joint, Plan, plan_tasks
from lc_core.schedule import Schedule
from lc_core.training.data import Split
from lc_core.training.loop import Recipe, train_reference
from optimum import distortion, optimum
from rows import Row, options, speak
from studies.mnist import load_mnist
from sweep.job.context import settle_process

EXAMPLES, EPOCHS = 20_000, 10
"""Training images of a recording, and passes over them of the reference and of the LC run: 20 LC steps."""
STEPS = (2, 3, 4, 10, 11, 12, 18, 19, 20)
WITHIN = 1.001
"""Largest error allowed, as a multiple of the other's: processors round differently, and 1.00012 was seen."""
COLD, WARM, WARM_RANK, TOP_K, TOGETHER = 50.0, 10.0, 5.0, 10.0, 5.0
"""The speed-up that a row needs, with a margin: the ratio differs by up to a factor of two between processors."""
ALTERNATIONS = 10
LONG_ENOUGH = 0.02
COLD_ROUNDS, WARM_ROUNDS = {2: 7, 4: 5, 16: 3, 64: 1}, {16: 15, 64: 9, 256: 5}


@dataclass(frozen=True)
class Step:
    """The inputs of one C step."""

    w: Tensor
    mu: float
    previous: Compressed | None


@dataclass(frozen=True)
class Recording:
    """A compression that records the inputs of its C steps."""

    compression: Compression
    steps: list[Step] = field(default_factory=list)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Compressed:
        self.steps.append(Step(w.clone(), mu, previous))
        return self.compression.compress(w, mu=mu, previous=previous)

    def check(self, shape: tuple[int, ...]) -> None:
        self.compression.check(shape)

    def outline(self, shape: tuple[int, ...]) -> Compressed | None:
        return self.compression.outline(shape)


@functools.cache
def digits() -> tuple[Tensor, Tensor]:
    """Images (EXAMPLES, 784) in [0, 1] minus their mean, and classes."""
    images, classes, _, _ = load_mnist()
    inputs = images[:EXAMPLES].reshape(EXAMPLES, -1).float() / 255
    return inputs - inputs.mean(dim=0), classes[:EXAMPLES]


@functools.cache
def trained(*widths: int) -> nn.Sequential:
    """A tanh network of these widths, trained."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    recipe = Recipe(epochs=EPOCHS, lr=0.1, batch_size=256)
    train_reference(model, Split(*digits()), loss=nn.functional.cross_entropy, recipe=recipe)
    return model


def lenet300() -> nn.Sequential:
    """784-300-100-10, trained."""
    return trained(784, 300, 100, 10)


def lenet300_weights() -> Tensor:
    """Its 266,200 weights."""
    return torch.cat([layer.weight.detach().reshape(-1) for layer in lenet300() if isinstance(layer, nn.Linear)])


def heavy_tails(count: int) -> Tensor:
    """Numbers of Student's t distribution with three degrees of freedom."""
    return torch.from_numpy(np.random.default_rng(0).standard_t(3, size=count).astype(np.float32))


def recorded(
    model: nn.Module, pattern: str, compression: Compression, wrap: Callable[[Compression], Any] = lambda each: each
) -> list[Step]:
    """The inputs of STEPS of an LC run from `model`, of one task."""
    recording, model = Recording(compression), copy.deepcopy(model)
    plan: Plan = {pattern: wrap(recording)}
    schedule = Schedule(epochs=EPOCHS, lr=0.1, batch_size=256)
    loss = nn.functional.cross_entropy
    for _ in run_lc(model, plan_tasks(model, plan), Split(*digits()), loss=loss, schedule=schedule, seed=0):
        pass
    return [recording.steps[number] for number in STEPS]  # the first is direct compression, step 0


@dataclass(frozen=True)
class Race:
    """Both sides on one input, and a function (our result, theirs) -> our error over theirs or the optimum."""

    ours: Callable[[], Any]
    against: Callable[[], Any]
    excess: Callable[[Any, Any], float]


def raced(
    name: str, races: Sequence[Race], *, target: float, rounds: int, worst: bool = False, within: float = WITHIN
) -> Row:
    """The row of several inputs: the median over the rounds of each input; then the median, or the worst, of inputs."""
    times, excesses = [], []
    for race in races:
        runs = [(*timed(race.ours), *timed(race.against)) for _ in range(rounds)]
        times.append([(own, theirs) for own, _, theirs, _ in runs])
        excesses.append(race.excess(runs[-1][1], runs[-1][3]))
    ratios = [statistics.median(theirs / own for own, theirs in each) for each in times]
    ratio = min(ratios) if worst else statistics.median(ratios)
    own, theirs = (1000 * statistics.median(column) for column in zip(*itertools.chain(*times), strict=True))
    said = f"each {' '.join(f'{each:.3g}' for each in ratios)}; error {max(excesses):.6f} of the other's at most"
    holds = ratio >= target and max(excesses) <= within
    return Row(name, own, theirs, ratio, target, holds, "ms", ratios, said)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of a call of `run`, the mean of the calls that begin within LONG_ENOUGH, and its result."""
    start, calls = time.perf_counter(), 0
    while True:
        result = run()
        calls += 1
        taken = time.perf_counter() - start
        if taken >= LONG_ENOUGH:
            return taken / calls, result


def codebook_cold(name: str, size: int) -> Row:
    """A codebook of both kinds of weights, against the best of ten starts."""
    weights = (lenet300_weights(), heavy_tails(1_000_000))
    races = [_against_kmeans(w, size) for w in weights]
    return raced(name, races, target=COLD, rounds=COLD_ROUNDS[size], worst=True)


def _against_kmeans(w: Tensor, size: int) -> Race:
    exact = w.double().numpy()
    return Race(
        lambda: Codebook(size=size).compress(w, mu=1.0).codebook.numpy(),
        lambda: KMeans(size, n_init=10, random_state=0).fit(w.numpy().reshape(-1, 1)).cluster_centers_,
        lambda ours, theirs: distortion(exact, ours) / distortion(exact, theirs),
    )


def codebook_warm(name: str, size: int) -> Row:
    """All layers as one, from the codebook of the step before; against the optimum."""
    steps = recorded(lenet300(), "*", Codebook(size=size), wrap=Joint)
    return raced(name, [_against_warm_kmeans(step, size) for step in steps], target=WARM, rounds=WARM_ROUNDS[size])


def _against_warm_kmeans(step: Step, size: int) -> Race:
    assert isinstance(step.previous, Quantized)
    centres, exact = step.previous.codebook.numpy().reshape(-1, 1), step.w.double().numpy()
    return Race(
        lambda: Codebook(size=size).compress(step.w, mu=step.mu, previous=step.previous).codebook.numpy(),
        lambda: KMeans(size, n_init=1, init=centres).fit(step.w.numpy().reshape(-1, 1)),
        lambda ours, _: distortion(exact, ours) / optimum(exact, size=size),
    )


def low_rank_warm(name: str, model: nn.Sequential, layer: str, rank: int) -> Row:
    """One layer, from the factors of the step before; against the full decomposition."""
    steps = recorded(model, layer, LowRank(rank=rank))
    return raced(name, [_against_svd(step, rank) for step in steps], target=WARM_RANK, rounds=7)


def _against_svd(step: Step, rank: int) -> Race:
    def excess(ours: Compressed, _: object) -> float:
        tail = torch.linalg.svdvals(step.w.double())[rank:].square().sum()
        return float((step.w.double() - ours.decompress().double()).square().sum() / tail)

    return Race(
        lambda: LowRank(rank=rank).compress(step.w, mu=step.mu, previous=step.previous),
        lambda: torch.linalg.svd(step.w, full_matrices=False),
        excess,
    )


def top_k(name: str) -> Row:
    """The support of 5 % of the weights. The sums of magnitudes must be equal."""
    w = heavy_tails(10_000_000)
    pruning = L0Pruning(keep=0.05)
    race = Race(
        lambda: pruning.select(w.abs()),
        lambda: torch.argsort(w.abs(), descending=True)[: pruning.count(tuple(w.shape))],
        lambda ours, theirs: float(w[theirs].abs().double().sum() / w[ours].abs().double().sum()),
    )
    return raced(name, [race], target=TOP_K, rounds=5)


def sparse_codebook(name: str) -> Row:
    """One codebook of two values and 1 % of corrections, against both C steps in turn, ten times over."""
    pruning, codebook = L0Pruning(keep=0.01), Codebook(size=2)
    together = Sum(pruning, codebook)

    def alternated(w: Tensor) -> Summed:
        corrections: Compressed = pruning.compress(w, mu=1.0)
        for _ in range(ALTERNATIONS):
            coded = codebook.compress(w - corrections.decompress(), mu=1.0)
            corrections = pruning.compress(w - coded.decompress(), mu=1.0)
        return Summed((corrections, coded))

    def race(w: Tensor) -> Race:
        return Race(
            lambda: together.compress(w, mu=1.0),
            lambda: alternated(w),
            lambda *found: operator.truediv(*(objective(together, w, theta, mu=1.0) for theta in found)),
        )

    weights = (lenet300_weights(), heavy_tails(1_000_000))
    return raced(name, [race(w) for w in weights], target=TOGETHER, rounds=15, worst=True, within=1 + 1e-6)


ROWS: dict[str, Callable[[str], Row]] = {
    **{f"codebook-{size}-cold": functools.partial(codebook_cold, size=size) for size in COLD_ROUNDS},
    **{f"codebook-{size}-warm": functools.partial(codebook_warm, size=size) for size in WARM_ROUNDS},
    "topk-10M": top_k,
    "lowrank-300x784-warm": lambda name: low_rank_warm(name, lenet300(), "0", 80),
    "lowrank-1024-warm": lambda name: low_rank_warm(name, trained(784, 1024, 1024, 10), "2", 32),
    "sum-sparse-codebook": sparse_codebook,
}


def rows(only: Sequence[str]) -> Iterator[Row]:
    """Measures the rows of these names."""
    for name, measure in ROWS.items():
        if name in only:
            yield measure(name)


if __name__ == "__main__":
    given = options(__doc__, names=tuple(ROWS)).parse_args()
    settle_process()
    with threadpool_limits(1):
        speak(rows(given.only), as_json=given.json)
