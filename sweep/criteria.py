"""What a model must reach: the target, and what a candidate has to show for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sweep.intervals import UNKNOWN, Noise

ROUNDING = 1e-12  # 97 of 100 less 0.01 is 0.96, in numbers that are not binary: no miss, less than any example's worth


class NoTargetError(ValueError):
    """A command that needs a target was given none, and the study has none either."""

    def __init__(self, command: str) -> None:
        super().__init__(f"{command}: expected a target, --max-drop or --min-accuracy; the study has none either")


@dataclass(frozen=True)
class Target:
    """What a model must reach: at most `max_drop` below the reference's accuracy, or `min_accuracy`; one of them.

    Attributes:
        max_drop: a fraction: 0.01 is one point.
        min_accuracy: a fraction.
        relative: `max_drop` is a part of the reference's accuracy, and not absolute.
    """

    max_drop: float | None = None
    min_accuracy: float | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        given = {k: v for k, v in (("max_drop", self.max_drop), ("min_accuracy", self.min_accuracy)) if v is not None}
        if len(given) != 1:
            raise ValueError(f"target: expected one of max_drop and min_accuracy, got {given or 'neither'}")
        for name, value in given.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: expected a fraction in [0, 1] (0.01 is one point), got {value}")
        if self.relative and self.max_drop is None:
            raise ValueError("relative: expected max_drop, which it is about, got min_accuracy")

    def threshold(self, reference_accuracy: float) -> float:
        """The least accuracy that meets it, less what a difference of accuracies may be rounded by."""
        if self.min_accuracy is not None:
            return self.min_accuracy
        return reference_accuracy - self.allowed(reference_accuracy) - ROUNDING

    def allowed(self, reference_accuracy: float) -> float:
        """The most that the drop may be; 0 where the target is an accuracy."""
        return (self.max_drop or 0.0) * (reference_accuracy if self.relative else 1.0)

    def as_dict(self) -> dict[str, float]:
        """Those of its values that are set, by name."""
        pairs = {"max_drop": self.max_drop, "min_accuracy": self.min_accuracy, "relative": self.relative or None}
        return {name: value for name, value in pairs.items() if value is not None}


def own_target(manifest: Mapping[str, Any]) -> Target | None:
    """The target of a sweep's study, as its manifest has it."""
    return Target(**manifest["target"]) if manifest["target"] else None


@dataclass(frozen=True)
class Terms:
    """What a candidate has to show.

    Attributes:
        threshold: the least accuracy that meets the target.
        repeats: seeds, at least, each of which must meet it where there is no confirmation.
        confirm: seeds after the first, at least, whose mean must clear it by the bound of `noise.least_mean`; or 0.
        noise: of one result.
        confident: that the 95 % bound meets the target too: of the accuracy, or of the drop from the reference.
        allowed: the most that the drop may be.
    """

    threshold: float
    repeats: int = 1
    confirm: int = 0
    noise: Noise = UNKNOWN
    confident: Literal["accuracy", "drop"] | None = None
    allowed: float = 0.0
