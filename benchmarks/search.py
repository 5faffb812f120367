"""Searches for the smallest model at a target, side by side, on synthetic surfaces; no job is trained.

A surface has 469 configurations: three families with 19, 14 and 5 levels, and their pairs. A level x is the family's
share of the size, and costs (x / c)^-p points of accuracy. A pair multiplies the shares; it adds the costs, and g times
their geometric mean. The range of x (2.5 to 6 times), c, p (2 to 5) and g (0 to 2) are drawn from the seed. The target
is a drop of one point. Noise has an sd of 0.15 points. A winner is false when its mean misses the target. "budget" is
our search on a family of one knob instead: 30 sizes that fall by 15 % each, as `sweep.study.families.budget` has them.
"coded" is our search where files are smaller than the sizes that are known before: 0.55 to 0.95 of them by family, with
trends of up to 20 % along each knob and 1 % of noise. It learns sizes from files; "nominal" on the same surfaces does
not. "tie" is our search where the front is flat at the target: means from 0.6 points under it to 0.6 above are moved to
within 0.04 points, half the standard error of three seeds. A hit then meets the target and is within 10 % of the bytes
of the smallest that is above it by the sd of a seed.

What a row's name ends in:
-jobs: jobs that were started; for TPE alone and NSGA-II those until the optimum has run, at most 100.
-hit: the share of runs that end at the optimum.
-noisy-jobs, -noisy-hit, -false-winners: the same under noise; a hit is then within 10 % of the optimum's bytes.
-2-rounds, -8-rounds, -64-rounds: rounds of so many jobs at once, without noise.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler

from rows import Row, options, speak
from sweep.search.expected import expect
from sweep.search.sampler import Parameters, SmallestSampler
from sweep.search.space import Space, make_space
from sweep.search.version_space import Known, next_open, view

SURFACES = 40
NOISE = 0.15  # points
DRAWS = 6  # of the noise on each surface, but for the strategies that Optuna drives and for "tie"
FLAT, TIE = 0.6, 0.04  # points
SHARES = {"prune": (19, 0.2), "quantize": (14, 0.1), "rank": (5, 0.3)}  # levels, least of the loosest's share
MOST = 100  # jobs of a strategy that does not know when to stop
STRATEGIES = ("smallest", "budget", "coded", "nominal", "tie", "bisection", "tpe", "tpe-alone", "nsga", "grid")
FIGURES = ("jobs", "hit", "noisy-jobs", "noisy-hit", "false-winners")
NAMES = [
    *(f"{strategy}-{figure}" for strategy in STRATEGIES for figure in FIGURES),
    *(f"smallest-{workers}-{figure}" for workers in (2, 8, 64) for figure in ("rounds", "jobs")),
]
TARGETS = {"smallest-jobs": 25.0, "smallest-hit": 1.0, "smallest-noisy-hit": 0.9, "smallest-false-winners": 0.05}
TARGETS |= {"budget-jobs": 10.0, "budget-hit": 1.0, "budget-false-winners": 0.05}
TARGETS |= {"coded-jobs": 28.0, "coded-hit": 1.0, "coded-noisy-hit": 0.9, "coded-false-winners": 0.05}
TARGETS |= {"tie-noisy-jobs": 300.0}
OURS = ("smallest", "budget", "coded", "nominal", "tie")
BUDGETS, FALL = 30, 0.85


@dataclass(frozen=True, eq=False)
class Surface:
    """Configurations, the size of each one's file, and the margin of its mean over the target, in points."""

    families: dict[str, dict[str, tuple[int, ...]]]
    keys: list[tuple[str, tuple[int, ...]]]
    space: Space
    files: np.ndarray
    margins: np.ndarray
    least: float = 0.0

    @property
    def optimum(self) -> int:
        """Bytes of the smallest that truly meets the target, by at least `least` points."""
        return int(self.files[self.margins >= self.least].min())

    def exact(self, number: int) -> float:
        """The margin of a configuration's mean."""
        return float(self.margins[number])

    def noisy(self, generator: np.random.Generator) -> "Result":
        """The margins of single seeds, as `generator` draws them."""
        return lambda number: self.exact(number) + NOISE * generator.normal()


@dataclass(frozen=True)
class Run:
    """The result of a strategy."""

    jobs: int
    winner: int | None
    rounds: int = 0


Result = Callable[[int], float]
"""A configuration's number -> the margin of one more seed."""


def make_surface(generator: np.random.Generator) -> Surface:
    """A random surface (see the module's docstring) whose optimum is inside the families' ranges."""
    ranges = np.exp(generator.uniform(np.log(2.5), np.log(6), 3))
    loosest = np.array([least for _, least in SHARES.values()]) * generator.uniform(1, 2, 3)
    steepness, knee = generator.uniform(2, 5, 3), loosest / ranges ** generator.uniform(0.2, 0.9, 3)
    mixing, overhead = generator.uniform(0, 2, 3), generator.uniform(1, 1.3, 6)
    counts = [count for count, _ in SHARES.values()]
    shares = [np.geomspace(top, top / span, n) for top, span, n in zip(loosest, ranges, counts, strict=True)]
    costs = [(x / c) ** -p for x, c, p in zip(shares, knee, steepness, strict=True)]
    names = list(SHARES)
    families: dict[str, dict[str, tuple[int, ...]]] = {}
    keys, places, sizes, margins = [], [], [], []
    groups = [*((one,) for one in range(3)), *itertools.combinations(range(3), 2)]
    for place, group in enumerate(groups):
        family = " ".join(names[one] for one in group)
        families[family] = {names[one]: tuple(range(counts[one])) for one in group}
        for levels in itertools.product(*families[family].values()):
            share = math.prod(shares[one][level] for one, level in zip(group, levels, strict=True))
            cost = [costs[one][level] for one, level in zip(group, levels, strict=True)]
            mixed = mixing[place - 3] * math.sqrt(math.prod(cost)) if len(cost) == 2 else 0.0
            keys.append((family, levels))
            places.append(place)
            sizes.append(int(1e6 * overhead[place] * share) + 2000 + place)
            margins.append(1.0 - sum(cost) - mixed)
    space = make_space(places, [key[1] for key in keys], sizes)
    return Surface(families, keys, space, space.sizes, np.array(margins))


def make_coded(generator: np.random.Generator) -> Surface:
    """A random surface whose files are smaller than the sizes that are known before."""
    surface = make_surface(generator)
    space = surface.space
    shares = generator.uniform(0.55, 0.95, len(surface.families))[space.families]
    trends = generator.uniform(-0.2, 0.2, (len(surface.families), space.levels.shape[1]))[space.families]
    places = space.levels / space.levels.max(axis=0)
    noise = 1 + 0.01 * generator.normal(size=len(space))
    coded = np.minimum(1.0, shares * (1 + (trends * places).sum(axis=1)) * noise)
    return replace(surface, files=np.rint(space.sizes * coded).astype(np.int64))


def make_tie(generator: np.random.Generator) -> Surface:
    """A random surface whose front is flat at the target."""
    surface = make_surface(generator)
    margins = surface.margins - np.clip(surface.margins, -FLAT, FLAT) * (1 - TIE / FLAT)
    return replace(surface, margins=margins, least=NOISE)


def make_ladder(generator: np.random.Generator) -> Surface:
    """A random surface of one family, of one knob, whose optimum is inside its range."""
    shares = FALL ** np.arange(BUDGETS)
    knee, steepness = FALL ** (BUDGETS * generator.uniform(0.2, 0.9)), generator.uniform(2, 5)
    keys: list[tuple[str, tuple[int, ...]]] = [("budget", (level,)) for level in range(BUDGETS)]
    sizes = [int(1e6 * share) + 2000 for share in shares]
    space = make_space([0] * BUDGETS, [levels for _, levels in keys], sizes)
    margins = 1.0 - (shares / knee) ** -steepness
    return Surface({"budget": {"bytes": tuple(range(BUDGETS))}}, keys, space, space.sizes, margins)


def surfaces(
    seed: int, make: Callable[[np.random.Generator], Surface] = make_surface
) -> list[tuple[Surface, np.random.Generator]]:
    """The surfaces of `seed` on which a configuration meets the target, each with the generator of its noise."""
    found = []
    for number in itertools.count():
        generator = np.random.default_rng([seed, number])
        surface = make(generator)
        if (surface.margins >= surface.least).any():
            found.append((surface, generator))
        if len(found) == SURFACES:
            return found
    raise AssertionError


def smallest(surface: Surface, result: Result, *, workers: int = 1, confirm: int, learns: bool = False) -> Run:
    """Our search, in rounds of `workers` jobs at once. Where it `learns`, it goes by the files that it has seen."""
    results: dict[int, list[float]] = {}
    for rounds in itertools.count():
        running: dict[int, int] = {}
        space = expect(surface.space, {number: surface.files[number] for number in results} if learns else {})
        for _ in range(workers):
            found = view(space, Known(results, running), repeats=1, confirm=confirm)
            number = found.again if found.again is not None else next_open(space, found)
            if number is None:
                break
            running[number] = running.get(number, 0) + 1
        if not running:
            return Run(sum(map(len, results.values())), found.winner, rounds)
        for number, count in running.items():
            results.setdefault(number, []).extend(result(number) for _ in range(count))
    raise AssertionError


def bisection(surface: Surface, result: Result) -> Run:
    """Bisects each family of one knob, and walks a staircase in each pair. Only what is smaller than the best runs."""
    known: dict[int, bool] = {}
    numbers = {key: number for number, key in enumerate(surface.keys)}
    sizes = surface.space.sizes

    def meets(family: str, others: tuple[int, ...], level: int) -> bool | None:
        """Whether a configuration meets the target; None where it need not run."""
        number = numbers[family, (level, *others)]
        best = min((sizes[other] for other, good in known.items() if good), default=np.inf)
        if sizes[number] >= best and number not in known:
            return None
        return known.setdefault(number, result(number) >= 0)

    for family, knobs in surface.families.items():
        counts = [len(levels) for levels in knobs.values()]
        if len(counts) == 1:
            _bisect(partial(meets, family, ()), counts[0])
            continue
        tightest = counts[0]
        for level in range(counts[1]):
            tightest = 1 + _bisect(partial(meets, family, (level,)), tightest)
    good = [number for number, met in known.items() if met]
    return Run(len(known), min(good, key=lambda number: sizes[number]) if good else None)


def _bisect(meets: Callable[[int], bool | None], count: int) -> int:
    """The tightest level that meets the target, or -1. A level that need not run counts as meeting it."""
    low, high = -1, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) is False else (middle, high)
    return low


def grid(surface: Surface, result: Result) -> Run:
    """Runs each configuration once."""
    good = [number for number in range(len(surface.keys)) if result(number) >= 0]
    return Run(len(surface.keys), min(good, key=lambda number: surface.space.sizes[number]) if good else None)


def tpe_with_skips(surface: Surface, result: Result) -> Run:
    """Runs the configurations that TPE draws and that size or order do not rule out, as `--search tpe --confirm 0`."""
    sizes = {key: int(size) for key, size in zip(surface.keys, surface.space.sizes, strict=True)}
    sampler = SmallestSampler(
        surface.families,
        lambda family, knobs: sizes[family, tuple(knobs.values())],  # type: ignore[arg-type]
        confirm=0,
        proposer=TPESampler(seed=0),
    )
    study = optuna.create_study(sampler=sampler)
    while not sampler.finished(study):
        trial = study.ask()
        family, knobs = sampler.suggest(trial)
        number = surface.keys.index((family, tuple(knobs.values())))  # type: ignore[arg-type]
        trial.set_constraint("shortfall", -result(number))
        study.tell(trial, sizes[surface.keys[number]])
    return Run(len(study.trials), sampler.view(study).winner)


def alone(surface: Surface, result: Result, sampler: BaseSampler) -> Run:
    """Runs what an Optuna sampler draws until the optimum has run: the sampler itself has no stopping rule."""
    parameters = Parameters(surface.families)
    study = optuna.create_study(sampler=sampler)
    known: dict[int, float] = {}
    for _ in range(MOST + 40):
        trial = study.ask()
        family, knobs = parameters.suggest(trial)
        number = surface.keys.index((family, tuple(knobs.values())))  # type: ignore[arg-type]
        known.setdefault(number, result(number))
        trial.set_constraint("shortfall", -known[number])
        study.tell(trial, int(surface.space.sizes[number]))
        at_best = surface.margins[number] >= 0 and surface.files[number] == surface.optimum
        if at_best or len(known) == MOST:
            break
    good = [number for number, margin in known.items() if margin >= 0]
    return Run(len(known), min(good, key=lambda number: surface.space.sizes[number]) if good else None)


MAKE = {"budget": make_ladder, "coded": make_coded, "nominal": make_coded, "tie": make_tie}
PLAY: dict[str, Callable[[Surface, Result], Run]] = {
    "bisection": bisection,
    "tpe": tpe_with_skips,
    "tpe-alone": lambda surface, result: alone(surface, result, TPESampler(seed=0)),
    "nsga": lambda surface, result: alone(surface, result, NSGAIISampler(seed=0, population_size=20)),
    "grid": grid,
}


def figures(strategy: str, seed: int) -> dict[str, list[float]]:
    """Figure -> its value on each surface, and for each draw of the noise."""
    found: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    ours = partial(smallest, learns=strategy == "coded")
    for surface, generator in surfaces(seed, MAKE.get(strategy, make_surface)):
        exact, noisy = surface.exact, surface.noisy(generator)
        plain = ours(surface, exact, confirm=0) if strategy in OURS else PLAY[strategy](surface, exact)
        found["jobs"].append(plain.jobs)
        found["hit"].append(hit(surface, plain.winner, within=1.0))
        for _ in range(1 if "tpe" in strategy or strategy in ("nsga", "tie") else DRAWS):
            tried = ours(surface, noisy, confirm=3) if strategy in OURS else PLAY[strategy](surface, noisy)
            found["noisy-jobs"].append(tried.jobs)
            found["noisy-hit"].append(hit(surface, tried.winner, within=1.1))
            found["false-winners"].append(float(tried.winner is not None and surface.margins[tried.winner] < 0))
    return found


def hit(surface: Surface, winner: int | None, *, within: float) -> float:
    """1 where the winner meets the target and is no larger than `within` times the optimum, else 0."""
    good = winner is not None and surface.margins[winner] >= 0
    return float(good and surface.files[winner] <= within * surface.optimum)


def rows(names: Sequence[str], seed: int) -> Iterator[Row]:
    """`ours` is the mean over surfaces, `against` the grid's jobs. Only `smallest` and `budget` have targets."""
    for strategy in STRATEGIES:
        wanted = [figure for figure in FIGURES if f"{strategy}-{figure}" in names]
        values = figures(strategy, seed) if wanted else {}
        for figure in wanted:
            yield row(f"{strategy}-{figure}", values[figure])
    for workers in (2, 8, 64):
        if {f"smallest-{workers}-rounds", f"smallest-{workers}-jobs"} & set(names):
            runs = [smallest(s, s.exact, workers=workers, confirm=0) for s, _ in surfaces(seed)]
            for figure, ours in (("rounds", [r.rounds for r in runs]), ("jobs", [r.jobs for r in runs])):
                if f"smallest-{workers}-{figure}" in names:
                    yield row(f"smallest-{workers}-{figure}", [float(value) for value in ours])


def row(name: str, runs: list[float]) -> Row:
    """A row against the grid, which runs everything. Without a target, the mean itself is the target."""
    ours = statistics.mean(runs)
    counted = name.endswith(("jobs", "rounds"))
    target = TARGETS.get(name, ours)
    under = ours < target if name.endswith("winners") else ours <= target
    holds = name not in TARGETS or (ours >= target if name.endswith("hit") else under)
    unit = "jobs" if name.endswith("jobs") else "rounds" if counted else "share"
    whole = float(BUDGETS) if name.startswith("budget") else 469.0
    against = whole if counted else 1.0
    note = f"most {max(runs):.0f}" if counted else ""
    return Row(name, ours, against, against / ours if counted else ours, target, holds, unit, runs, note)


def main() -> None:
    """Prints the rows."""
    parser = options(__doc__.splitlines()[0] if __doc__ else "", names=NAMES)
    parser.add_argument("--seed", type=int, default=0, help="of the surfaces")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    speak(rows(given.only, given.seed), as_json=given.json)


if __name__ == "__main__":
    main()
