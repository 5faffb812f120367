"""Whether the fields of a study hold what they should: a line for the first that does not."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lc_core.plan import Joint
from lc_core.schedule import Schedule
from lc_core.training.loop import Recipe
from sweep.study import metrics
from sweep.study.checkpoint import Checkpoint
from sweep.study.measure import Measure

FUNCTIONS = ("build_model", "load_data", "loss", "separate", "forward")


def check_kinds(study: Any) -> None:
    """ValueError where a field of `study` is of another kind than `Study` says."""
    for name in FUNCTIONS:
        value = getattr(study, name)
        if not callable(value) or (name == "build_model" and isinstance(value, nn.Module)):
            raise ValueError(f"{name}: expected a function, got {kind(value)}")
    if not isinstance(study.reference, Recipe | Checkpoint):
        raise ValueError(f"reference: expected a Recipe or a Checkpoint, got {kind(study.reference)}")
    if not isinstance(study.schedule, Schedule):
        raise ValueError(f"schedule: expected a Schedule, got {kind(study.schedule)}")
    if not isinstance(study.metrics, Mapping):
        raise ValueError(f"metrics: expected a mapping, name -> metric, got {kind(study.metrics)}")
    for name, metric in study.metrics.items():
        if not isinstance(metric, Measure) and not callable(metric):
            raise ValueError(f"metrics: expected a function or a Measure for {name!r}, got {kind(metric)}")
        if getattr(metric, "__module__", None) == metrics.__name__:
            made = f"{metric.__name__}({'k' if metric is metrics.top_k else ''})"
            raise ValueError(f"metrics: expected a metric for {name!r}, got the function that makes one: {made}")


def check_families(families: Any, of: type) -> None:
    """ValueError where `families` are no sequence of the class `of`."""
    if not isinstance(families, Sequence):
        raise ValueError(f"families: expected a tuple of Family objects, got {kind(families)}")
    if wrong := [kind(each) for each in families if not isinstance(each, of)]:
        raise ValueError(f"families: expected a Family, got {wrong[0]}")


def check_knobs(family: str, knobs: Mapping[str, Any]) -> None:
    """ValueError where the levels of a knob stand in no tuple or list."""
    for knob, levels in knobs.items():
        if not isinstance(levels, Sequence) or isinstance(levels, str):
            raise ValueError(f"family {family}: expected a tuple of levels for {knob}, got {kind(levels)}")


def check_plan(plan: Any) -> None:
    """ValueError where what a family's `plan` returned is no plan."""
    if not isinstance(plan, Mapping):
        raise ValueError(f"plan: expected a mapping, pattern -> compression, got {kind(plan)}")
    for pattern, value in plan.items():
        compression = value.compression if isinstance(value, Joint) else value
        if isinstance(compression, type) or not hasattr(compression, "outline"):
            raise ValueError(f"plan: expected a compression for the pattern {pattern!r}, got {kind(compression)}")


def kind(value: object) -> str:
    """What a value is, in words: "None", "the class Linear", "a tuple"."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
