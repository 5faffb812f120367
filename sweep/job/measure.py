"""What a model scores on a split."""

import torch
from torch import Tensor, nn

from lc_core.training.data import Source
from lc_core.training.loop import DivergedError, predictions
from lc_core.training.nest import Nest, joined, leaves
from sweep.job.evidence import Evidence, rows_of
from sweep.store.record import Score
from sweep.study import Study
from sweep.study.measure import described


def measure(model: nn.Module, split: Source, *, study: Study, interval: bool = True) -> Score:
    """The study's metrics of `model` on `split`, n, and the 95 % interval of the first.

    Without `interval`, a metric that needs a bootstrap has its value alone, as both ends.

    Raises:
        DivergedError: an output is NaN or infinite.
        ValueError: a metric's function gave something else than it should.
    """
    return summary(evidence(model, split, study=study), interval=interval)


def summary(found: dict[str, Evidence], *, interval: bool = True) -> Score:
    """The same, from what was computed before."""
    values = {name: each.value for name, each in found.items()}
    first = next(iter(found.values()))
    value = values.pop(first.metric.name)
    low, high = first.interval() if interval or first.measure.per_example else (value, value)
    return Score(value=value, metrics=values, n=first.n, low=low, high=high, metric=first.metric)


def evidence(model: nn.Module, split: Source, *, study: Study) -> dict[str, Evidence]:
    """What each metric is computed from, by name, in the study's order. Errors as `measure`."""
    measures, n = study.measures, 0
    found: dict[str, list[Nest]] = {name: [] for name in measures}
    for outputs, targets in predictions(model, split, forward=study.forward):
        if not all(bool(torch.isfinite(leaf).all()) for leaf in leaves(outputs) if isinstance(leaf, Tensor)):
            raise DivergedError("the model's outputs hold NaN or infinity")
        count = len(next(leaves(targets)))
        n += count
        for name, each in measures.items():
            found[name].append(rows_of(name, each, outputs, targets, n=count))
    return {
        name: Evidence(described(name, study.metrics[name]), each, n, joined(found[name]))
        for name, each in measures.items()
    }
