"""What was measured, in the units of the study's metric. Figures, page and tables all use these, so that they agree.

The accuracy is shown as its error in percent, 1 - accuracy, where a figure or a table has one number. Every other
metric is shown as its value in its own unit, although figures lay it out by its error (sweep.store.metric).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reports.facts.numbers import DASH, NO_BREAK, count, figures, percent, percent_range, plain, points
from sweep.criteria import fresh
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Score


@dataclass(frozen=True)
class Units:
    """How a report writes the values, errors and differences of a metric."""

    metric: Metric

    @property
    def by_error(self) -> bool:
        """Whether its errors are shown, and not its values."""
        return self.metric == ACCURACY

    @property
    def noun(self) -> str:
        """What is shown: "error", "MSE"."""
        return "error" if self.by_error else self.metric.label

    @property
    def rises(self) -> bool:
        """Whether what is shown is larger where the error is."""
        return self.by_error or not self.metric.higher_is_better

    @property
    def bare(self) -> "Units":
        """The same without the unit, where a title has it. Percent keep their sign."""
        return self if self.metric.fraction else Units(replace(self.metric, unit=""))

    @property
    def head(self) -> str:
        """What is shown, over a column of bare numbers: "Error", "MSE (mm2)"."""
        return capital(self.noun) + self._suffix

    @property
    def _suffix(self) -> str:
        return f" ({self.metric.unit})" if self.metric.unit and not self.metric.fraction else ""

    @property
    def nouns(self) -> str:
        """The plural of that: "errors", "values"."""
        return "errors" if self.by_error else "values"

    @property
    def step(self) -> str:
        """The unit of its differences: "points" of a fraction."""
        return "points" if self.metric.fraction else self.metric.unit or "units"

    @property
    def better(self) -> str:
        """What is better: "lower error", "higher F1"."""
        return f"{'lower' if self.rises else 'higher'} {self.noun}"

    def value(self, value: float) -> str:
        """A value that was measured: "96.68 %", "12.30 mm2", "0.8710"."""
        return percent(value) if self.metric.fraction else self._with_unit(figures(value))

    def value_range(self, low: float, high: float) -> str:
        """Two values as one range."""
        return percent_range(low, high) if self.metric.fraction else f"{figures(low)}{DASH}{self.value(high)}"

    def limit(self, value: float) -> str:
        """A value that was given or is round: "96.50 %", "12.3 mm2"."""
        return percent(value) if self.metric.fraction else self._with_unit(plain(value))

    def change(self, difference: float) -> str:
        """A difference of two values: "0.42 points", "1.300 mm2"."""
        return points(difference) if self.metric.fraction else self._with_unit(figures(difference))

    def shown(self, error: float) -> float:
        """The number that stands for an error: itself, or the value that has it."""
        return error if self.by_error else self.metric.value_of_error(error)

    def error(self, error: float) -> str:
        """An error: "2.51 %", "12.30 mm2"."""
        return self.value(self.shown(error))

    def error_range(self, least: float, most: float) -> str:
        """Two errors as one range, the smaller number first."""
        low, high = sorted((self.shown(least), self.shown(most)))
        return self.value_range(low, high)

    def errors(self, errors: Sequence[float]) -> str:
        """The mean over the fresh seeds of errors by seed, with the range of all: 2.51 % (2.23-2.79 %)."""
        counted = fresh(tuple(errors))
        mean = self.error(sum(counted) / len(counted))
        return mean if len(errors) == 1 else f"{mean} ({self.error_range(min(errors), max(errors))})"

    def interval(self, score: Score) -> str:
        """The 95 % interval of what is shown."""
        return self.error_range(self.metric.error(score.low), self.metric.error(score.high))

    def at_most(self, error: float) -> str:
        """A limit of errors: an error of at most 3.51 %, an F1 of at least 0.871, with the sign for it."""
        sign = "\u2264" if self.rises else "\u2265"
        return f"{sign} {self.limit(self.shown(error))}"

    @property
    def title(self) -> str:
        """What is shown, with its unit: "validation error (%)", "validation MSE (mm2)"."""
        return f"validation {self.noun}" + (f" ({self.metric.unit})" if self.metric.unit else "")

    def drawn(self, errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Errors as the numbers that are shown, in percent where that is the unit."""
        shown = errors if self.rises else self.metric.best - errors
        return 100 * shown if self.metric.fraction else shown

    def tick(self, error: float) -> str:
        """An error at an axis, whose title has the unit."""
        shown = self.shown(error)
        return f"{100 * shown:.4g}" if self.metric.fraction else plain(shown)

    def definition(self, n: int) -> str:
        """What is shown, in a sentence."""
        on = f"on the validation split (n = {count(n)})"
        if self.by_error:
            return f"Error is 1 \u2212 accuracy {on}."
        return f"{capital(self.noun)} is measured {on}; {'lower' if self.rises else 'higher'} is better."

    def _with_unit(self, number: str) -> str:
        return f"{number}{NO_BREAK}{self.metric.unit}" if self.metric.unit else number


def capital(words: str) -> str:
    """The words as a sentence or a title begins."""
    return words[:1].upper() + words[1:]
