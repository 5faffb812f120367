"""Error at equal bytes: a budget whose layers choose for themselves, against one level for all, at equal epochs.

Every family runs all of its levels with each seed, from one reference for each seed. Sizes are the mean files of the
budget's own six levels. At each, a family is represented by the level of least mean validation error whose mean file is
no larger; its mean test error counts. "ours" is the budget's, "against" the best of the uniform families'. Files count
as they are packed, coded.

"coarse" may also take codebooks of 2 and 4. "once" chooses at the first step only. "magnitude" does not divide by the
layer's mean magnitude. "even" does not weigh errors by magnitude. "fisher" weighs each layer by the Fisher information
(`lc_core.fisher`) and chooses once, as automatic mixed precision does: scores, the best choice, then training with it.
Small parameters are stored as in the study's own families. Results go to --out, a line of JSON each; what
is there is not run again.
"""

import functools
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lc_core import (
    Allotted,
    Chain,
    Codebook,
    Compression,
    Joint,
    L0Pruning,
    Recipe,
    Split,
    deploy,
    encode,
    fisher,
    plan_tasks,
    run_lc,
    train_reference,
)
from lc_core.training.loop import predict
from rows import Row, options, speak
from studies import cifar10_resnet20, digits_mlp, mnist_lenet5, mnist_lenet300
from studies.cifar10 import load_splits
from sweep.job.context import settle_process
from sweep.study import Checkpoint, Configuration, Family, Level, Study, accuracy
from sweep.study.families import HALF, LADDER, LADDER_KEEP
from sweep.study.families import budget as standard_budget

COARSE: tuple[Compression, ...] = (
    *(Codebook(size) for size in (2, 4)),
    *(Chain(L0Pruning(keep), Codebook(size)) for keep in LADDER_KEEP for size in (2, 4)),
)


@dataclass(frozen=True)
class Bench:
    """A study with the epochs of each job, the levels of its families that run, and what small parameters become."""

    study: Study
    epochs: float
    levels: Mapping[str, Mapping[str, tuple[Level, ...]]]
    budgets: tuple[int, ...]
    small: Joint | None = None


BENCHES = {
    "digits": Bench(
        digits_mlp.study,
        60,
        {
            "prune": {"keep": (0.15, 0.1, 0.08, 0.06, 0.05, 0.04)},
            "quantize": {"size": (8, 4, 2)},
            "low rank": {"rank": (16, 12, 8, 6)},
            "prune, quantize": {"keep": (0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05), "size": (8, 4, 2)},
        },
        (5000, 3500, 2500, 1800, 1300, 900),
    ),
    "lenet300": Bench(
        replace(mnist_lenet300.quick, families=mnist_lenet300.study.families),
        10,
        {
            "prune": {"keep": (0.07, 0.04, 0.02)},
            "quantize": {"size": (4, 2)},
            "low rank": {"rank": (20, 10, 6)},
            "prune, quantize": {"keep": (0.1, 0.07, 0.05, 0.03, 0.02, 0.015), "size": (8, 4, 2)},
        },
        (26000, 18000, 13000, 9000, 6500, 4500),
    ),
    "lenet5": Bench(
        replace(mnist_lenet5.quick, families=mnist_lenet5.study.families),
        10,
        {
            "quantize": {"size": (4, 2)},
            "prune channels, quantize": {"keep": (0.5, 0.3, 0.2), "size": (8, 4)},
            "prune, quantize": {"keep": (0.1, 0.07, 0.05, 0.03, 0.02, 0.015, 0.01), "size": (8, 4)},
            "prune, quantize by layer": {"keep": (0.05, 0.03, 0.02, 0.015, 0.01, 0.007), "size": (8, 4)},
        },
        (40000, 28000, 20000, 14000, 10000, 7000),
        mnist_lenet5.BIASES,
    ),
    "resnet20": Bench(
        replace(cifar10_resnet20.hour, load_data=functools.partial(load_splits, train=2000, others=1000)),
        2,
        {
            "quantize": {"size": (16, 8, 4)},
            "prune, quantize": {"keep": (0.5, 0.3, 0.2, 0.15, 0.1), "size": (16, 8)},
        },
        (160000, 120000, 90000, 66000, 50000, 37000),
        HALF,
    ),
}


@dataclass(frozen=True)
class Result:
    """What a job gave: sizes in bytes, errors as fractions, and what the layers chose under a budget."""

    bench: str
    family: str
    configuration: Configuration
    seed: int
    bytes: int
    val_error: float
    test_error: float
    direct_error: float
    seconds: float
    chosen: tuple[str, ...] = ()
    last_change: int = 0


def families(bench: Bench, model: nn.Module, sensitivity: Mapping[str, float]) -> list[Family]:
    """The uniform families, then the budget's ways to choose."""
    budget = functools.partial(standard_budget, small=bench.small)
    ways = {
        "budget": budget(model),
        "coarse": budget(model, of=(*COARSE, *LADDER)),
        "once": budget(model, choose="once"),
        "magnitude": budget(model, importance="magnitude"),
        "magnitude, once": budget(model, importance="magnitude", choose="once"),
        "even": budget(model, importance="even"),
        "fisher": budget(model, importance="even", choose="once", sensitivity=sensitivity),
    }
    uniform = [Family(name, levels, bench.study.family(name).plan) for name, levels in bench.levels.items()]
    return uniform + [replace(way, name=name, knobs={"bytes": bench.budgets}, grid={}) for name, way in ways.items()]


@functools.cache
def reference(name: str, seed: int, out: Path) -> dict[str, Tensor]:
    """The reference's weights of a seed."""
    path, study = out / f"{name}-{seed}.pt", BENCHES[name].study
    recipe = study.reference
    if not path.exists() and isinstance(recipe, Recipe):
        torch.manual_seed(seed)
        model = study.build_model()
        train_reference(model, trained_on(name), loss=study.loss, recipe=replace(recipe, seed=seed))
        torch.save(model.state_dict(), path)
    if isinstance(recipe, Checkpoint):
        model = study.build_model()
        recipe.load_into(model)
        return model.state_dict()
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)
    return weights


@functools.cache
def data_of(name: str) -> dict[str, Split]:
    """The splits of a bench's study."""
    return dict(BENCHES[name].study.load_data().items())


def trained_on(name: str) -> Split:
    """What the reference and the jobs of a bench train on."""
    train, augment = data_of(name)["train"], BENCHES[name].study.augment
    return replace(train, inputs=augment(train.inputs)) if augment else train


def run_one(name: str, family: Family, configuration: Configuration, seed: int, weights: dict[str, Tensor]) -> Result:
    """One LC job."""
    started, bench, data = time.process_time(), BENCHES[name], data_of(name)
    study, schedule = bench.study, replace(bench.study.schedule, epochs=bench.epochs)
    model, deployed = study.build_model(), study.build_model()
    model.load_state_dict(weights)
    tasks = plan_tasks(model, family.plan(configuration))
    train = data["train"]

    def error(split: Split) -> float:
        return 1 - float(accuracy(predict(deployed, split.inputs), split.targets).double().mean())

    direct, choices = 0.0, []
    for state in run_lc(model, tasks, trained_on(name), loss=study.loss, schedule=schedule, seed=seed):
        choices += [theta.chosen for theta in state.thetas if isinstance(theta, Allotted)]
        if state.step in (0, state.steps):
            deploy(deployed, tasks, state, data=train, batch_size=schedule.batch_size)
            direct = direct if state.step else error(data["val"])
    changes = [step for step in range(1, len(choices)) if choices[step] != choices[step - 1]]
    return Result(
        name,
        family.name,
        configuration,
        seed,
        len(encode(tasks, state.thetas, deployed.state_dict(), info={})),
        error(data["val"]),
        error(data["test"]),
        direct,
        time.process_time() - started,
        choices[-1] if choices else (),
        max(changes, default=0),
    )


def results_of(name: str, out: Path) -> list[Result]:
    """The results of a bench that are there."""
    path = out / f"{name}.jsonl"
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def by_level(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """(family, its level as JSON) -> the results of its seeds."""
    levels: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        levels[result.family, json.dumps(result.configuration)].append(result)
    return levels


def run_all(name: str, seeds: int, out: Path, only: Sequence[str]) -> list[Result]:
    """All jobs of a bench; each result is written when it is there."""
    done = results_of(name, out)
    known = {(result.family, json.dumps(result.configuration), result.seed) for result in done}
    bench = BENCHES[name]
    for seed in range(seeds):
        weights, model = reference(name, seed, out), bench.study.build_model()
        model.load_state_dict(weights)
        for family in families(bench, model, fisher(model, data_of(name)["train"], loss=bench.study.loss)):
            for configuration in family.configurations():
                if (not only or family.name in only) and (family.name, json.dumps(configuration), seed) not in known:
                    done.append(run_one(name, family, configuration, seed, weights))
                    with (out / f"{name}.jsonl").open("a") as file:
                        file.write(json.dumps(asdict(done[-1])) + "\n")
    return done


def best_at(results: Sequence[Result], size: float) -> dict[str, tuple[float, list[float], str]]:
    """Family -> test error at its level of least validation error within `size`: mean, each seed; and that level."""
    found: dict[str, tuple[float, list[float], str]] = {}
    least: dict[str, float] = {}
    for (family, level), seeds in by_level(results).items():
        error = statistics.mean(result.val_error for result in seeds)
        if statistics.mean(result.bytes for result in seeds) <= size and error < least.get(family, 1.0):
            tests = [100 * result.test_error for result in sorted(seeds, key=lambda result: result.seed)]
            least[family], found[family] = error, (statistics.mean(tests), tests, level)
    return found


def sizes_of(results: Sequence[Result]) -> list[float]:
    """The mean file of each of the budget's levels, largest first."""
    levels = by_level([result for result in results if result.family == "budget"]).values()
    return sorted((statistics.mean(result.bytes for result in seeds) for seeds in levels), reverse=True)


def rows(names: Sequence[str], seeds: int, out: Path, only: Sequence[str]) -> Iterator[Row]:
    """A row for each bench and size."""
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        results = run_all(name, seeds, out, only)
        for size in sizes_of(results):
            found = best_at(results, size)
            ours, tests, level = found["budget"]
            uniform = {family: found[family] for family in BENCHES[name].levels if family in found}
            against = min((error for error, _, _ in uniform.values()), default=100.0)
            others = "; ".join(f"{family} {error:.2f} {where}" for family, (error, _, where) in found.items())
            ratio = against / ours if ours else 1.0
            where = f"{level} | {others}"
            yield Row(f"{name}-{size:.0f}", ours, against, ratio, 1.0, ours <= against, "%", tests, where)


if __name__ == "__main__":
    parser = options(__doc__ or "", names=tuple(BENCHES))
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many seeds, from 0 up (3)")
    parser.add_argument("--out", type=Path, default=Path("runs/budget"), metavar="DIR", help="results, kept")
    parser.add_argument("--families", nargs="+", metavar="NAME", default=(), help="by default all")
    given: Any = parser.parse_args()
    settle_process()
    speak(rows(given.only, given.seeds, given.out, given.families), as_json=given.json)
