"""What a metric is computed from on a split: its value, the value's interval, and a drop between two models."""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lc_core.training.nest import Nest, leaves, map_nest, told_of
from sweep.intervals import mean_interval, paired_drop, percentile_interval, wilson
from sweep.store.metric import Metric
from sweep.store.record import Drop
from sweep.study.measure import Measure

RESAMPLES = 1000
"""How often the bootstrap draws n of n examples, with the same draws for every model of a split."""
DRAWN_AT_ONCE = 1 << 22


class MetricError(ValueError):
    """A metric's function gave something else than it should; one line that names the metric."""


@dataclass(frozen=True, eq=False)
class Points:
    """What an interval is computed from.

    Attributes:
        value: of the metric.
        points: the value of each example (n,) or, of a metric of all examples at once, of each resample.
        resampled: which of the two.
    """

    value: float
    points: Tensor
    resampled: bool


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a metric is computed from on a split.

    Attributes:
        metric: what it is.
        measure: how it is measured.
        n: examples.
        rows: what `measure.function` gave for each example, float64 (n, ...); of an aggregate, outputs and targets.
    """

    metric: Metric
    measure: Measure
    n: int
    rows: Nest

    @functools.cached_property
    def value(self) -> float:
        """In the user's units. MetricError where it is not finite, or a fraction outside [0, 1]."""
        if self.measure.aggregate:
            found = _number(self.metric.name, self.measure.function(*self.rows))
        elif self.measure.of_means is not None:
            found = float(self.measure.of_means(self.rows.mean(dim=0)[None])[0])
        elif self.measure.of_weights is not None:
            found = float(self.measure.of_weights(self.rows, self.rows.new_ones(1, self.n))[0])
        else:
            found = float(self.rows.mean())
        if not math.isfinite(found) or (self.metric.fraction and not 0 <= found <= 1):
            expected = "a fraction in [0, 1]" if self.metric.fraction else "a finite number"
            raise MetricError(f"metric {self.metric.name!r}: expected {expected} for {self.n} examples, got {found:g}")
        return found

    @functools.cached_property
    def points(self) -> Points:
        """What the interval is computed from."""
        if self.measure.per_example:
            return Points(self.value, self.rows, resampled=False)
        return Points(self.value, self._resampled(), resampled=True)

    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the value: of fractions Wilson's, of other means the normal one, else a bootstrap's."""
        if self.measure.per_example and self.metric.fraction:
            return wilson(self.value, n=self.n)
        if self.measure.per_example:
            return mean_interval(self.rows.tolist())
        return percentile_interval(self.points.points.tolist())

    def _resampled(self) -> Tensor:
        """The metric of each resample, float64 (RESAMPLES,), or NaN. The draws depend on n alone."""
        generator = torch.Generator().manual_seed(0)
        found: list[Tensor] = []
        most = max(1, DRAWN_AT_ONCE // self.n)
        for count in [most] * (RESAMPLES // most) + [RESAMPLES % most] * (RESAMPLES % most > 0):
            drawn = torch.randint(self.n, (count, self.n), generator=generator)
            found.append(self._of_draws(drawn))
        return torch.cat(found)

    def _of_draws(self, drawn: Tensor) -> Tensor:
        if self.measure.aggregate:
            device = next(each.device for each in leaves(self.rows) if isinstance(each, Tensor))
            values = [self._of_rows(row.to(device)) for row in drawn]
            return torch.tensor(values, dtype=torch.float64)
        weights = torch.zeros(drawn.shape, dtype=torch.float64).scatter_add_(
            1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
        )
        weights = weights.to(self.rows.device)
        if self.measure.of_weights is not None:
            return self.measure.of_weights(self.rows, weights).cpu()
        assert self.measure.of_means is not None
        means = weights @ self.rows.flatten(1) / self.n
        return self.measure.of_means(means.reshape(-1, *self.rows.shape[1:])).cpu()

    def _of_rows(self, row: Tensor) -> float:
        return _number(self.metric.name, self.measure.function(*map_nest(lambda leaf: leaf[row], self.rows)))


def drop(metric: Metric, reference: Points, found: Points) -> Drop:
    """How far a score is below the reference's on the same examples, in the metric's units, and its 95 % interval."""
    change = metric.score(1.0) * (reference.points - found.points)
    if reference.resampled:
        low, high = percentile_interval(change.tolist())
        return Drop(drop=metric.score(reference.value) - metric.score(found.value), low=low, high=high)
    if metric.fraction:
        lost, won = float(change.clamp(min=0).sum()), float((-change).clamp(min=0).sum())
        low, high = paired_drop(lost, won, n=len(change))
        return Drop(drop=(lost - won) / len(change), low=low, high=high)
    low, high = mean_interval(change.tolist())
    return Drop(drop=float(change.mean()), low=low, high=high)


def rows_of(name: str, measure: Measure, outputs: Any, targets: Any, *, n: int) -> Nest:
    """What the metric of this name is computed from, for the `n` examples of a part of a split.

    Raises:
        MetricError: the metric's function gave something else than it should.
    """
    if measure.aggregate:
        return outputs, targets
    found = measure.function(outputs, targets)
    if measure.per_example:
        return checked(name, found, n, fraction=measure.unit == "%")
    if not isinstance(found, Tensor) or found.shape[:1] != (n,) or not bool(found.isfinite().all()):
        raise MetricError(
            f"metric {name!r}: expected finite numbers for each of {n} examples, a tensor of shape ({n}, ...), got "
            f"{told_of(found)}"
        )
    return found.double()


def checked(name: str, found: Any, n: int, *, fraction: bool) -> Tensor:
    """What the metric of this name gave for `n` examples, as float64 (n,). MetricError unless finite, or in [0, 1]."""
    if not isinstance(found, Tensor) or tuple(found.shape) != (n,):
        raise MetricError(
            f"metric {name!r}: expected a score for each of {n} examples, a tensor of shape ({n},), got "
            f"{told_of(found)}"
        )
    exact = found.double()
    if fraction and not bool(((exact >= 0) & (exact <= 1)).all()):  # NaN too
        low, high = float(exact.min()), float(exact.max())
        raise MetricError(f"metric {name!r}: expected scores in [0, 1], got {low:g} to {high:g}")
    if not bool(exact.isfinite().all()):
        raise MetricError(f"metric {name!r}: expected finite numbers, got NaN or infinity")
    return exact


def _number(name: str, found: Any) -> float:
    """One number, that an aggregate gave."""
    if (isinstance(found, Tensor) and found.numel() == 1) or isinstance(found, float | int):
        return float(found)
    raise MetricError(f"metric {name!r}: expected one number for all examples, got {told_of(found)}")
