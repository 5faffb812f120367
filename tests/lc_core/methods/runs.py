"""Runs of methods on a small network, for the tests of methods."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from lc_core import Schedule, Split, plan_tasks
from lc_core.methods.method import Method, Training
from tests.lc_core.models import mlp, randn, three_classes

SHORT = Schedule(epochs=5, lr=0.05, batch_size=16)
"""20 steps of one batch."""
FULL = Schedule(epochs=20, lr=0.1, batch_size=64)
"""40 steps of all examples, so that the loss falls at each."""
INPUTS = randn(64, 6)
TARGETS = three_classes(INPUTS)


def training(schedule: Schedule = SHORT, *, seed: int = 0) -> Training:
    """Cross-entropy on three classes of 64 points; the untrained model is another `mlp`."""
    return Training(Split(INPUTS, TARGETS), nn.functional.cross_entropy, schedule, seed, lambda: mlp(seed=1))


def states_of(method: Method, plan: Any, **named: Any) -> Iterator[Any]:
    """The states of `method` for `plan` on `mlp`."""
    model = mlp()
    resume = named.pop("resume", None)
    return method.states(model, plan_tasks(model, plan), training(**named), resume=resume)


def same(a: Any, b: Any) -> bool:
    """Whether two states, or parts of states, are equal bit for bit."""
    match a:
        case Tensor():
            return a.dtype == b.dtype and torch.equal(a, b)
        case dict():
            return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
        case tuple() | list():
            return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
        case _ if hasattr(a, "__dataclass_fields__"):
            return type(a) is type(b) and same(vars(a), vars(b))
    return bool(a == b)
