"""Whether the fields of a study hold what they should: a line for the first that does not."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from lc_core.plan import Joint
from lc_core.schedule import Schedule
from lc_core.training.distillation import Distillation
from lc_core.training.loop import Recipe
from sweep.study import metrics
from sweep.study.checkpoint import Checkpoint
from sweep.study.measure import Measure
from sweep.target import Target

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
    if not isinstance(study.name, str):
        raise ValueError(f"name: expected a text, got {kind(study.name)}")
    if not (study.augment is None or callable(study.augment)):
        raise ValueError(f"augment: expected a function or None, got {kind(study.augment)}")
    for name, expected in (("target", Target), ("distillation", Distillation)):
        value = getattr(study, name)
        if not isinstance(value, expected | None):
            raise ValueError(f"{name}: expected a {expected.__name__} or None, got {kind(value)}")
    if not isinstance(study.tidy, bool):
        raise ValueError(f"tidy: expected True or False, got {kind(study.tidy)}")
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


def check_knobs(family: Any, knobs: Any) -> None:
    """ValueError where the name of a family is no text, or its knobs are no mapping to tuples or lists of levels."""
    if not isinstance(family, str):
        raise ValueError(f"family: expected a text as its name, got {kind(family)}")
    if not isinstance(knobs, Mapping):
        raise ValueError(f"family {family}: expected a mapping, knob -> levels, got {kind(knobs)}")
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
