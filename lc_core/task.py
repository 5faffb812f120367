"""A compression with the parameters that it compresses, in the shape in which it takes them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lc_core.compression import Compressed, Compression, Dense, numel, outline_tensor
from lc_core.compressions.allotted import Allotted
from lc_core.compressions.budget import Budget
from lc_core.compressions.cast import in_dtype


@dataclass(frozen=True)
class Governed:
    """The parameters that one Theta replaces. One keeps its shape; several are joined to one vector, in order.

    Attributes:
        names: names of the parameters in the model.
        shapes: the shape of each.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(parameters: Mapping[str, Tensor], names: Sequence[str]) -> "Governed":
        """Those of `parameters` that have these names."""
        return Governed(tuple(names), tuple(tuple(parameters[name].shape) for name in names))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weights that the compression takes."""
        return self.shapes[0] if len(self.shapes) == 1 else (sum(map(numel, self.shapes)),)

    def gather(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The weights of these parameters, in `shape`; float16 and bfloat16 ones in float32."""
        if len(self.names) == 1:
            return _widened(weights[self.names[0]]).contiguous()
        return torch.cat([_widened(weights[name]).reshape(-1) for name in self.names])

    def scatter(self, gathered: Tensor) -> dict[str, Tensor]:
        """The inverse of `gather`: parameter name -> its part of `gathered`, in its own shape."""
        parts = gathered.reshape(-1).split([numel(shape) for shape in self.shapes])
        return {name: part.reshape(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}


@dataclass(frozen=True)
class CompressionTask:
    """A compression and the parameters that it compresses.

    Attributes:
        governed: the parameters.
        compression: how they are compressed.
        pattern: the pattern of the plan that took them; empty for a task of no plan.
        dtype: the type in which Theta's values are stored; None for that in which `compress` gets the weights.
    """

    governed: Governed
    compression: Compression
    pattern: str = ""
    dtype: torch.dtype | None = None

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None) -> Compressed:
        """The C step on gathered weights `w`. ValueError naming the parameters where `w` holds a NaN or infinity.

        It solves for `w` in the type that it has, then rounds the values of Theta to `dtype`.
        """
        if not math.isfinite(float(w.abs().amax())):  # one pass finds both
            raise ValueError(f"{', '.join(self.governed.names)}: expected finite weights, got NaN or infinity")
        if self.dtype is None:
            return self.compression.compress(w, mu=mu, previous=previous)
        warm = None if previous is None else in_dtype(previous, w.dtype)
        return in_dtype(self.compression.compress(w, mu=mu, previous=warm), self.dtype)

    def check(self) -> None:
        """Runs the compression's `check`; its ValueError then names the parameters."""
        try:
            self.compression.check(self.governed.shape)
        except ValueError as error:
            raise ValueError(f"{', '.join(self.governed.names)}: {error}") from error

    def outline(self) -> Compressed | None:
        """Theta without values; None where its size depends on the values of the weights.

        ValueError, naming the parameters, where the compression cannot take their shape.
        """
        try:
            outline = self.compression.outline(self.governed.shape)
        except ValueError as error:
            raise ValueError(f"{', '.join(self.governed.names)}: {error}") from error
        return outline if outline is None or self.dtype is None else in_dtype(outline, self.dtype)

    def outline_or_dense(self) -> Compressed:
        """Theta without values, or dense weights where the size of Theta depends on the values."""
        return self.outline() or Dense(outline_tensor(*self.governed.shape, dtype=self.dtype or torch.float32))

    @property
    def bounded(self) -> bool:
        """Whether an upper bound of Theta's bytes is known before training, lower than dense."""
        budget = isinstance(self.compression, Budget) and self.compression.bytes is not None
        return budget or self.outline() is not None


def _widened(weights: Tensor) -> Tensor:
    return weights.float() if weights.dtype in (torch.float16, torch.bfloat16) else weights


def by_layer(
    tasks: Sequence[CompressionTask], thetas: Sequence[Compressed]
) -> tuple[tuple[CompressionTask, ...], tuple[Compressed, ...]]:
    """The same tasks and Thetas, with a task for each layer in place of one under a budget.

    What chose groups, factors or codes is then a Theta of its layer like any other.
    """
    found: list[tuple[CompressionTask, Compressed]] = []
    for task, theta in zip(tasks, thetas, strict=True):
        if isinstance(theta, Allotted):
            pairs = zip(task.governed.names, task.governed.shapes, strict=True)
            layers = [replace(task, governed=Governed((name,), (shape,))) for name, shape in pairs]
            found += zip(layers, theta.thetas, strict=True)
        else:
            found.append((task, theta))
    return tuple(task for task, _ in found), tuple(theta for _, theta in found)
