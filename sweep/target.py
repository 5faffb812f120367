"""The target, which the user asks for: what a model's metric must come to."""

import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from numbers import Real
from typing import Literal, Protocol, TypedDict, Unpack

from sweep.criteria import CONFIRM, ROUNDING, Criteria

PLAIN = 0.2
"""The largest drop of a fraction that may be written without a percent sign."""
BOUNDS = ("max_drop", "min_accuracy", "at_least", "at_most")


class Asked(TypedDict, total=False):
    """A target as keywords: the fields of `Target`, each None where it is not asked for. "1%" is 0.01."""

    max_drop: float | str | None
    min_accuracy: float | str | None
    relative: bool
    at_least: float | str | None
    at_most: float | str | None


def read_number(name: str, text: str) -> float:
    """The number that a text holds, which may end in a percent sign: "1%" is the double 0.01. TargetError of others."""
    percent = text.endswith("%")
    try:
        number = Decimal(text.removesuffix("%").strip())
    except InvalidOperation:
        raise TargetError(f"{name}: expected a number, or a percentage such as 1%, got {text!r}") from None
    return float(number / 100 if percent else number)


def write_number(value: float, *, percent: bool) -> str:
    """The text from which `read_number` reads exactly `value`."""
    return f"{(100 * Decimal(repr(value))).normalize():f}%" if percent else repr(value).removesuffix(".0")


class Bounded(Protocol):
    """What a target must know of a metric; a `sweep.store.metric.Metric` is one."""

    @property
    def label(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...
    @property
    def fraction(self) -> bool: ...
    @property
    def best(self) -> float: ...
    def told(self, value: float, *, gap: str = " ") -> str: ...
    def told_change(self, difference: float) -> str: ...


class TargetError(ValueError):
    """A target makes no sense, in itself or for the metric."""


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


class NoTargetError(ValueError):
    """A command needs a target, and neither the user nor the study gives one."""

    def __init__(self, command: str) -> None:
        super().__init__(
            f"{command}: expected a target, --max-drop, --at-least or --at-most; the study has none either"
        )


@dataclass(frozen=True)
class Target:
    """What a model's metric must come to. Exactly one of the first four is set.

    Attributes:
        max_drop: the most by which the metric may be worse than the reference's, in its units; of a fraction, 0.01 is
            one point.
        min_accuracy: as `at_least`, by its older name.
        relative: `max_drop` is a fraction of the reference's value.
        at_least: the least value, where higher is better.
        at_most: the largest value, where lower is better.
        written: the value as the user wrote it; None where it is no user's option.

    Raises:
        TargetError: none or several are set, a value is not finite, `max_drop` is negative, `min_accuracy` is outside
            [0, 1], or `relative` is set without a `max_drop` in [0, 1].
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    relative: bool = False
    at_least: float | None = None
    at_most: float | None = None
    written: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in BOUNDS if getattr(self, name) is not None}
        if not given and self.relative:
            raise TargetError("relative: expected max_drop beside it")
        if len(given) != 1:
            raise TargetError(f"target: expected one of {', '.join(BOUNDS)}, got {given or 'none'}")
        [(name, value)] = given.items()
        if not _is_number(value):
            raise TargetError(f"{name}: expected a number, such as 0.01 for 1%, got {value!r}")
        if not math.isfinite(value) or (name == "max_drop" and value < 0):
            raise TargetError(f"{name}: expected a number{' from 0 up' * (name == 'max_drop')}, got {value}")
        if self.relative and self.max_drop is None:
            raise TargetError(f"relative: expected max_drop, to which it applies, got {name}")
        if name == "min_accuracy" or self.relative:
            self._check_fraction(name, value)

    @property
    def bound(self) -> float | None:
        """The value that the metric must reach, in the user's units; None where the target is a drop."""
        return next((b for b in (self.at_least, self.min_accuracy, self.at_most) if b is not None), None)

    @staticmethod
    def of(**asked: Unpack[Asked]) -> "Target | None":
        """The target that was asked for; None where nothing was. TargetError as for a `Target`, or for no number."""
        given = {name: value for name, value in asked.items() if value is not None and value is not False}
        bounds = {name: str(value) for name, value in given.items() if name in BOUNDS}
        values = {name: read_number(name, text) for name, text in bounds.items()}
        written = next(iter(bounds.values()), None)
        return Target(**values, relative="relative" in given, written=written) if given else None

    def check(self, metric: Bounded) -> None:
        """TargetError where the target makes no sense for `metric`: its direction is another, or its units are.

        A drop of more than `PLAIN` of a fraction must be written with a percent sign: 1 may mean 1 % or all of it.
        """
        if self.written is not None:
            self._check_written(metric, self.written)
        at_least = self.at_least if self.at_least is not None else self.min_accuracy
        if at_least is not None and not metric.higher_is_better:
            raise TargetError(
                f"target: expected at_most or max_drop, since a lower {metric.label} is better, got at_least {at_least}"
            )
        if self.at_most is not None and metric.higher_is_better:
            raise TargetError(
                f"target: expected at_least or max_drop, since a higher {metric.label} is better, got at_most "
                f"{self.at_most}"
            )
        for name in BOUNDS:
            value = getattr(self, name)
            if value is not None and metric.fraction:
                self._check_fraction(name, value)
        if at_least is not None and metric.higher_is_better and at_least > metric.best:
            raise TargetError(f"at_least: expected at most {metric.best:g}, the best {metric.label}, got {at_least}")

    def _check_written(self, metric: Bounded, written: str) -> None:
        [(name, value)] = [(name, value) for name in BOUNDS if (value := getattr(self, name)) is not None]
        fraction, percent = metric.fraction or self.relative, written.endswith("%")
        if percent and not fraction:
            part = "; relative makes it a part of the reference's value" if name == "max_drop" else ""
            raise TargetError(f"{name}: expected a number in the units of {metric.label}, got {written}{part}")
        if fraction and not percent and name == "max_drop" and value > PLAIN:
            raise TargetError(
                f"max_drop: {written} may mean {written}% or {100 * value:g}%; write one of these with its percent sign"
            )

    @staticmethod
    def _check_fraction(name: str, value: float) -> None:
        if not 0 <= value <= 1:
            raise TargetError(
                f"{name}: expected a fraction in [0, 1] (0.01 is one point, as 1% is), got {value}; did you mean "
                f"{value:g}%?"
            )

    def threshold(self, reference_score: float) -> float:
        """The least score that meets the target; of a drop, less `ROUNDING`."""
        if self.bound is not None:
            return -self.bound if self.at_most is not None else self.bound
        return reference_score - self.allowed(reference_score) - ROUNDING * max(1.0, abs(reference_score))

    def allowed(self, reference_score: float) -> float:
        """The largest drop that meets the target, in the metric's units; 0 where the target is no drop."""
        return (self.max_drop or 0.0) * (abs(reference_score) if self.relative else 1.0)

    def criteria(self, reference_score: float, *, confirm: int = CONFIRM, confident: bool = False) -> "Criteria":
        """The criteria that follow from the target, with the noise not yet known."""
        bound: Literal["score", "drop"] = "score" if self.max_drop is None else "drop"
        return Criteria(
            threshold=self.threshold(reference_score),
            confirm=confirm,
            confident=bound if confident else None,
            allowed=self.allowed(reference_score),
        )

    def options(self, *, fraction: bool) -> list[str]:
        """The options of a command that ask for it, of a metric that is a fraction or is not."""
        found = []
        for name, value in self.as_dict().items():
            percent = name == "max_drop" and (fraction or self.relative) and value > PLAIN
            words = [] if name == "relative" else [write_number(value, percent=percent)]
            found += [f"--{name.replace('_', '-')}", *words]
        return found

    def told(self, metric: Bounded) -> str:
        """The target in words."""
        change = "a drop" if metric.higher_is_better else "a rise"
        if self.max_drop is not None and self.relative:
            return f"{change} of at most {self.max_drop:.2%} of the reference's {metric.label}"
        if self.max_drop is not None:
            return f"{change} of at most {metric.told_change(self.max_drop)}"
        assert self.bound is not None
        what = "an accuracy" if metric.label == "accuracy" else metric.label
        return f"{what} of at {'most' if self.at_most is not None else 'least'} {metric.told(self.bound, gap='')}"

    def as_dict(self) -> dict[str, float]:
        """The values that are set, by name."""
        pairs = {name: getattr(self, name) for name in ("max_drop", "min_accuracy", "relative", "at_least", "at_most")}
        return {name: value for name, value in pairs.items() if value is not None and value is not False}
