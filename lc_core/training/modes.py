"""Training or evaluation mode of each layer of a model."""

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def modes_kept(model: nn.Module) -> Iterator[None]:
    """Gives each module of `model` its own mode back at the end: a user may hold some layers in evaluation mode."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
