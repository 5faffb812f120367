"""The scales of the Pareto figure's axes: their range, linear or log, and where their ticks stand."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_STEPS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 2.0, 3.0, 5.0, 7.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
)


# The share of an axis above its bend; and the least ratio of the top of the range to the bend, for a bend at all.
_STRIP = 0.22
_BEND_FROM = 1.3
# Of the lower end of a logarithmic axis: values below that, as 0, are placed there.
LEAST = 1e-6
# Errors below this part of the largest come from rounding: no split has 1e12 examples.
_ZERO = 1e-12


@dataclass(frozen=True)
class Window:
    """The range of an axis.

    Attributes:
        low: its lower end.
        high: its upper end.
        log: whether it is logarithmic.
        bend: the value above which its scale is compressed.
        floor: no value is less, so no tick stands below it.
    """

    low: float
    high: float
    log: bool
    bend: float | None = None
    floor: float = 0.0

    def forward(self, values: Values) -> Values:
        """Where values stand on the axis, in units of its lower part (decades when log)."""
        placed = self._straight(values)
        if self.bend is None:
            return placed
        bend = self._straight(np.asarray(self.bend))
        return np.where(placed > bend, bend + self.slope() * (placed - bend), placed)

    def inverse(self, places: Values) -> Values:
        """The values at these places: undoes `forward`."""
        straight = np.asarray(places, dtype=np.float64)
        if self.bend is not None:
            bend = self._straight(np.asarray(self.bend))
            straight = np.where(straight > bend, bend + (straight - bend) / self.slope(), straight)
        return np.asarray(10.0**straight if self.log else straight)

    def _straight(self, values: Values) -> Values:
        shown = np.asarray(values, dtype=np.float64)
        return np.log10(np.maximum(shown, LEAST * self.low)) if self.log else shown

    def slope(self) -> float:
        """The length of a unit above the bend, in units below it."""
        assert self.bend is not None
        low, bend, high = (float(self._straight(np.asarray(v))) for v in (self.low, self.bend, self.high))
        return _STRIP / (1 - _STRIP) * (bend - low) / (high - bend)


def size_window(sizes_bytes: Sequence[float]) -> Window:
    """The range of the size axis, which is always logarithmic: all sizes (one or more, above 0), with a margin."""
    low, high = min(sizes_bytes), max(sizes_bytes)
    margin = max((high / low) ** 0.05, 1.15) if high / low > 1.2 else 2.0
    return Window(low / margin, high * margin, log=True)


def error_window(
    errors: Sequence[float], *, landmarks: Sequence[float], extras: Sequence[float], most: float = math.inf
) -> Window:
    """The range of the error axis, which shows everything.

    The scale is compressed above three times the largest landmark, or above 60 % of the candidates where that is more:
    models that lost all accuracy stay visible and leave most of the height to the others. It is logarithmic where the
    part below spans a factor of two or more and holds no 0. Neither is possible with errors below 0.

    Args:
        errors: of the candidates.
        landmarks: of the reference, the target and the pick.
        extras: what else is drawn: the ranges over seeds, direct compression.
        most: the largest error that there can be, 1 for a fraction.
    """
    errors, landmarks, extras = (_without_subnormal(values) for values in (errors, landmarks, extras))
    seen = [*landmarks, *errors, *extras]
    bottom, highest = min(seen), max(seen)
    if bottom < 0:
        margin = 0.06 * _spread(bottom, highest) or 0.1 * -bottom
        return Window(bottom - 3 * margin, highest + margin, log=False, floor=-math.inf)
    ranked = sorted(errors)
    majority = ranked[math.ceil(0.6 * len(ranked)) - 1] if ranked else 0.0
    bend = max(3 * max(landmarks), 1.1 * majority)
    top = min(bend, highest)
    zero = _ZERO * (highest if most == math.inf else most)
    if bottom > zero and top / bottom >= 2:
        margin = (top / bottom) ** 0.06
        low, high, log = bottom / margin**3.5, highest * margin, True
    else:
        margin = 0.06 * _spread(bottom, top) or max(0.1 * top, 0.0 if most == math.inf else 0.005 * most) or 1.0
        low, high, log = max(bottom - 3 * margin, -margin), highest + margin, False
    window = Window(low, high, log)
    if not max(low, zero) < bend <= high / _BEND_FROM:
        return window
    whole = high if most == math.inf else max(high, (1.05 if log else 1.0) * most)
    bent = Window(low, whole, log, bend)
    return bent if bent.slope() < 1 else window


def _without_subnormal(errors: Sequence[float]) -> list[float]:
    """Errors too small to divide are drawn at 0."""
    return [error if abs(error) >= sys.float_info.min else 0.0 for error in errors]


def _spread(low: float, high: float) -> float:
    """The distance between two errors, 0 where only rounding sets them apart: no tick stands between those."""
    return high - low if high - low > 1e-9 * max(abs(low), abs(high)) else 0.0


def round_values(window: Window, *, most: int) -> list[float]:
    """Where the labelled ticks of an axis stand: round values inside the window, about `most` at most."""
    if window.bend is not None:
        lower = round_values(Window(window.low, window.bend, window.log), most=most - 2)
        return [*lower, *_strip_values(window.bend, window.high)]
    if not window.log:
        return _linear_values(max(window.low, window.floor), window.high, most=most)
    best: list[float] = []
    for steps in _STEPS:
        values = _decade_values(window, steps)
        if len(values) > most:
            break
        best = values
    if len(best) >= 2:
        return best
    return [value for value in _linear_values(window.low, window.high, most=most) if value > 0]


def small_values(window: Window) -> list[float]:
    """Where the small ticks of a log axis stand: at 1 to 9 of every decade. A linear axis has none."""
    return _decade_values(window, tuple(map(float, range(1, 10)))) if window.log else []


def _strip_values(low: float, high: float) -> list[float]:
    """At most three, well above the bend: the last of 1, 2 and 5 in each decade, or powers of ten over many decades."""
    steps = (1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)
    return _decade_values(Window(1.25 * low, high, log=True), steps)[-3:]


def _decade_values(window: Window, steps: Sequence[float]) -> list[float]:
    decades = range(math.floor(math.log10(window.low)), math.ceil(math.log10(window.high)) + 1)
    values = (step * 10.0**decade for decade in decades for step in steps)
    return [value for value in values if window.low <= value <= window.high]


def _linear_values(low: float, high: float, *, most: int) -> list[float]:
    rough = (high - low) / most
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * factor for factor in (1, 2, 2.5, 5, 10, 20) if scale * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    values = (index * step for index in range(first, math.floor(high / step + 1e-9) + 1))
    return [min(max(value, low), high) for value in values]  # a rounding error inside
