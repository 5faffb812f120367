"""How Optuna's plots see a search: knobs that are numbers as numbers, an error for each LC step, names for what is
minimised.

The samplers draw from categories instead: the levels of a study, and nothing between them.
"""

from collections.abc import Callable, Mapping, Sequence

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.job import Level

Steps = Callable[[str], Mapping[int, float]]
"""Job -> its validation error after each LC step at which it was measured."""
MEANINGS = {"error": "validation error", "bytes": "file bytes", "macs": "MACs"}
"""Objective -> the name that plots show."""
DECADE = 10.0
SHOWN_AS = "numbers"
"""Part of a study's name, since knobs were categories before: a search that goes on is shown in a new study."""


def shown_distributions(families: Mapping[str, Mapping[str, Sequence[Level]]]) -> dict[str, BaseDistribution]:
    """Name -> distribution, of the parameters that `sweep.search.sampler.as_params` gives a trial."""
    found: dict[str, BaseDistribution] = {"family": CategoricalDistribution(list(families))}
    for family, knobs in families.items():
        found |= {f"{family}.{knob}": shown_distribution(levels) for knob, levels in knobs.items()}
    return found


def shown_distribution(levels: Sequence[Level]) -> BaseDistribution:
    """From the least to the largest level where all are numbers, on a log scale over a decade or more; else these."""
    numbers = [level for level in levels if isinstance(level, int | float) and not isinstance(level, bool)]
    if len(numbers) < len(levels):
        return CategoricalDistribution(list(levels))
    low, high = min(numbers), max(numbers)
    log = low > 0 and high >= DECADE * low
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(float(low), float(high), log=log)


def steps_in(folder: SweepFolder) -> Steps:
    """The steps of jobs whose diagnostics lie in a sweep's folder; none of other jobs."""

    def steps(job: str) -> Mapping[int, float]:
        rows = (read_optional(folder.diagnostics(job)) or {}).get("steps", [])
        return {row["step"]: row["val_error"] for row in rows if row.get("val_error") is not None}

    return steps
