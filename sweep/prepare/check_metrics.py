"""Checks what a study's metrics give for one batch of validation."""

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lc_core.training.nest import Nest, map_nest, told_of
from sweep.job.evidence import Evidence, MetricError, rows_of
from sweep.study import Study
from sweep.study.errors import StudyError, users_code
from sweep.study.measure import described

AGGREGATED = 1 << 12
"""Validation examples on which a metric of all examples at once is checked."""
ALONE = 3
"""Examples that are measured alone too."""


def wanted_examples(study: Study) -> int:
    """On how many validation examples the metrics are checked: more where one is of all examples at once."""
    alone = all(each.per_example for each in study.measures.values())
    return study.schedule.batch_size if alone else max(AGGREGATED, study.schedule.batch_size)


def check_metric(study: Study, name: str, outputs: Nest, targets: Nest, n: int) -> float:
    """The value of the metric of this name for the first `n` examples of validation.

    What it gives for an example must depend on that example alone, and an aggregate not on the examples' order.

    Raises:
        StudyError: something else came, or the metric's function failed.
    """
    measure, metric = study.measures[name], described(name, study.metrics[name])
    rows = _rows_of(study, name, (outputs, targets), n)
    value = _value(study, Evidence(metric, measure, n, rows))
    if measure.aggregate:
        turned = _value(study, Evidence(metric, measure, n, _turned((outputs, targets), n)))
        if not math.isclose(value, turned, rel_tol=1e-4, abs_tol=1e-6):
            raise StudyError(
                f"study {study.name}: metric {name!r}: expected the same for the same examples in another order, got "
                f"{value:g} and {turned:g}; does it keep what it was called with before?"
            )
    elif not all(
        _close(_rows_of(study, name, _rows((outputs, targets), n, part), len(rows[part])), rows[part])
        for part in _parts(n)
    ):
        raise StudyError(
            f"study {study.name}: metric {name!r}: expected the score of an example to depend on that example alone, "
            "got other scores for a part of the batch; one of all examples at once is Measure(..., aggregate=True)"
        )
    return value


def _rows_of(study: Study, name: str, batch: Nest, n: int) -> Nest:
    """What the metric is computed from, for the `n` examples of outputs and targets."""
    outputs, targets = batch
    with _calls(study, name, outputs, targets):
        return rows_of(name, study.measures[name], outputs, targets, n=n)


def _value(study: Study, found: Evidence) -> float:
    told = found.rows if found.measure.aggregate else (None, None)
    with _calls(study, found.metric.name, *told):
        return found.value


@contextlib.contextmanager
def _calls(study: Study, name: str, outputs: Nest, targets: Nest) -> Iterator[None]:
    what = f"metric {name!r} failed on outputs {told_of(outputs)} and targets {told_of(targets)}"
    with users_code(f"study {study.name}: {what}"):
        try:
            yield
        except MetricError as error:
            raise StudyError(f"study {study.name}: {error}") from error


def _close(some: Tensor, others: Tensor) -> bool:
    return some.shape == others.shape and torch.allclose(some, others, rtol=1e-4, atol=1e-6)


def _parts(n: int) -> list[slice]:
    """Both halves of `n` examples, and the first few alone."""
    half = (n + 1) // 2
    return [slice(half), *[slice(half, n)] * (half < n), *(slice(first, first + 1) for first in range(min(n, ALONE)))]


def _rows(nest: Nest, n: int, part: slice) -> Nest:
    """These rows of the tensors that have one for each of `n` examples; anything else as it is."""
    return map_nest(lambda leaf: leaf[part] if isinstance(leaf, Tensor) and leaf.shape[:1] == (n,) else leaf, nest)


def _turned(nest: Nest, n: int) -> Nest:
    """The rows in the reverse order."""
    return map_nest(lambda leaf: leaf.flip(0) if isinstance(leaf, Tensor) and leaf.shape[:1] == (n,) else leaf, nest)
