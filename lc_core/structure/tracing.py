"""Traces a model as a forward calls it: with as many inputs as it gets, and all else fixed."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from lc_core.graph import TraceError, trace
from lc_core.training.data import Forward
from lc_core.training.nest import Nest, cloned, leaves

NESTS = (tuple, list, dict)
"""Arguments of these kinds stay inputs of a graph: beside arguments with defaults, torch.fx fails to fix them."""


@dataclass(frozen=True, eq=False)
class Traced:
    """The graph of a model, and what to run it on.

    Attributes:
        graph: its layers are those of the model.
        given: a value for each of its inputs.
    """

    graph: torch.fx.GraphModule
    given: tuple[Any, ...]


def traced(model: nn.Module, example: Nest, *, forward: Forward) -> Traced:
    """The graph of `model` as `forward` calls it with `example`. Numbers, words and None are fixed, as are defaults.

    TraceError where torch.fx cannot trace the model, or where `forward` does not call it.
    """
    parameters = inspect.signature(model.forward).parameters
    fixed: dict[str, Any] = {}
    given: list[Any] = []
    rest: tuple[Any, ...] = ()
    for name, value in _arguments(model, example, forward).items():
        kind = parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            rest = value  # the graph has them last
        elif kind is inspect.Parameter.VAR_KEYWORD:
            if value:
                raise TraceError(f"{type(model).__name__}: expected inputs that its forward names, got {[*value]}")
        else:
            given.append(value)
            if not isinstance(value, NESTS) and not any(isinstance(leaf, Tensor) for leaf in leaves(value)):
                fixed[name] = value
    return Traced(trace(model, fixed), (*given, *rest))


class _Called(BaseException):
    """Ends a forward where it calls the model: nothing that the user's code catches."""


@torch.no_grad()
def _arguments(model: nn.Module, example: Nest, forward: Forward) -> dict[str, Any]:
    """What `forward` gives to `model`: a value for each parameter of the model's own forward."""
    found: list[dict[str, Any]] = []

    def called(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        bound.apply_defaults()
        found.append(bound.arguments)
        raise _Called

    hook = model.register_forward_pre_hook(called, with_kwargs=True)
    try:
        forward(model, cloned(example))
    except _Called:
        return found[0]
    finally:
        hook.remove()
    raise TraceError(f"{type(model).__name__}: expected a forward that calls the model, got one that does not")
