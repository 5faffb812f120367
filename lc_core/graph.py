"""The order of the layers of a model, traced by torch.fx."""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch.fx
from torch import nn

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""The layers that can lose channels, and that can run as several layers of factors."""
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class TraceError(ValueError):
    """A model that torch.fx cannot trace."""


def trace(model: nn.Module, fixed: Mapping[str, Any] | None = None) -> torch.fx.GraphModule:
    """The model's graph, for `fixed` values of some of its arguments.

    TraceError with the tracer's reason where it depends on the numbers that run through it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of fixed values that the graph does not check
            return torch.fx.symbolic_trace(model, concrete_args=dict(fixed) if fixed else None)
    except Exception as error:  # a tracer runs the user's code, which may raise anything
        reason = " ".join(str(error).split())
        raise TraceError(f"{type(model).__name__}: expected a model that torch.fx can trace, got: {reason}") from error


def following_norms(model: nn.Module) -> dict[str, str]:
    """Layer -> the batch norm that is the only user of its output. Layers and norms that run twice are left out."""
    graph = trace(model).graph
    modules = dict(model.named_modules())
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    once = {node.target: node for node in calls if times[node.target] == 1}
    found: dict[str, str] = {}
    for name, node in once.items():
        users = list(node.users)
        if isinstance(modules[name], LAYERS) and len(users) == 1 and users[0].target in once:
            norm = users[0]
            if norm.op == "call_module" and isinstance(modules[norm.target], NORMS):
                found[name] = norm.target
    return found
