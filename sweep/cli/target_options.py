"""The options of a target, which several commands take."""

import functools
import inspect
from collections.abc import Callable
from inspect import Parameter
from typing import Annotated, Any

import typer

from sweep.target import Target

PANEL = "Target"


def _bound(words: str) -> Any:
    return Annotated[str | None, typer.Option(metavar="F", rich_help_panel=PANEL, help=words)]


OPTIONS = {
    "max_drop": _bound(
        "Target: at most this much worse than the reference, in the metric's units (0.01 or 1%: one point)."
    ),
    "relative": Annotated[
        bool,
        typer.Option(
            "--relative", rich_help_panel=PANEL, help="--max-drop is a fraction of the reference's value instead."
        ),
    ],
    "at_least": _bound("Target: the metric at least this, such as an accuracy of 0.97."),
    "at_most": _bound("Target: the metric at most this, where lower is better."),
    "min_accuracy": _bound("The same as --at-least, for accuracy."),
}
"""Option -> its type and its help."""


def with_target(command: Callable[..., int]) -> Callable[..., int]:
    """The command with `OPTIONS` in place of its parameter `target`, which gets the Target, or None without one."""

    @functools.wraps(command)
    def asked(**given: Any) -> int:
        target = Target.of(**{name: given.pop(name) for name in OPTIONS})
        return command(**given, target=target)

    signature = inspect.signature(command)
    shown: list[Parameter] = []
    for name, parameter in signature.parameters.items():
        shown += _parameters() if name == "target" else [parameter]
    asked.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return asked


def _parameters() -> list[Parameter]:
    return [
        Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=False if name == "relative" else None, annotation=kind)
        for name, kind in OPTIONS.items()
    ]
