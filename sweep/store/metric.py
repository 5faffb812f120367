"""What a metric is: its name, its direction and its unit; and its values in words.

A *value* is in the user's units. A *score* is a number where higher is better: the value, negated where lower is
better. An *error* is a number where lower is better: how far the value is below the best, or the value itself where
lower is better. Searches and targets compute with scores, fronts and their axes with errors.
"""

from dataclasses import dataclass
from typing import Annotated

from sweep.store.fields import Says

LABELS = {"auroc": "AUROC", "f1": "F1", "mean_iou": "mean IoU", "mse": "MSE", "r2": "R2"}
"""How words name the metrics whose names are abbreviations."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, without the function that measures it. The default is the accuracy."""

    name: Annotated[str, Says("As the study names it")] = "accuracy"
    higher_is_better: Annotated[bool, Says("Its direction")] = True
    unit: Annotated[str, Says("Of its values; `%` for a fraction, which is shown in percent")] = "%"
    best: Annotated[float, Says("The best value that there can be, from which the error counts")] = 1.0

    @property
    def fraction(self) -> bool:
        """Whether its values are in [0, 1] and shown in percent."""
        return self.unit == "%"

    @property
    def label(self) -> str:
        """Its name in words: "accuracy", "MSE"."""
        return LABELS.get(self.name, self.name.replace("_", " "))

    def score(self, value: float) -> float:
        """The score of a value: higher is better."""
        return value if self.higher_is_better else -value

    def value(self, score: float) -> float:
        """The inverse of `score`."""
        return self.score(score)

    def error(self, value: float) -> float:
        """The error of a value: lower is better."""
        return self.best - value if self.higher_is_better else value

    def value_of_error(self, error: float) -> float:
        """The inverse of `error`."""
        return self.error(error)

    def told(self, value: float, *, gap: str = " ") -> str:
        """A value in words: "96.68 %", "12.3 mm2", "12,346 mm2". `gap` stands before the percent sign."""
        return f"{value:.2%}".replace("%", f"{gap}%") if self.fraction else self._in_words(value, figures=4)

    def told_exactly(self, value: float) -> str:
        """A value with six digits, a fraction as such: "0.966812", "12.3456 mm2"."""
        return f"{value:.6f}" if self.fraction else self._in_words(value, figures=6)

    def exact(self, value: float) -> str:
        """A value as a packed file states it: the same number when it is read back, and the same length for all."""
        return f"{value:.17f}" if self.fraction else f"{value:>24.16e}"

    def told_error(self, error: float, *, gap: str = " ") -> str:
        """An error in words: of a fraction the error itself, else the value."""
        return self.told(error if self.fraction else self.value_of_error(error), gap=gap)

    def told_change(self, difference: float) -> str:
        """A difference of two values in words: "0.42 points" (of percent, which could mean a part), "1.3 mm2"."""
        return f"{100 * difference:.2f} points" if self.fraction else self._in_words(difference, figures=4)

    def _in_words(self, value: float, *, figures: int) -> str:
        """A number with its unit; from 10,000 on whole, with thousands apart, and only beyond 1e9 with an exponent."""
        whole = 10.0**figures - 0.5 <= abs(value) < 1e9
        return f"{value:,.0f} {self.unit}".strip() if whole else f"{value:.{figures}g} {self.unit}".strip()

    @property
    def name_of_error(self) -> str:
        """What an axis of errors is called: "validation error (%)", "validation MSE (mm2)", "validation R2"."""
        what = self.label
        if self.fraction and self.higher_is_better:
            what = "error" if self.name == "accuracy" else f"1 \u2212 {what}"
        return f"validation {what}" + (f" ({self.unit})" if self.unit else "")


ACCURACY = Metric()
"""The share of examples that are right: the metric of a study that names none."""
