"""Which parameters of a model a plan compresses, and why the others stay as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from lc_core.parameters import DTYPES, tied_names, weights_of
from lc_core.plan import is_glob, too_small
from lc_core.task import CompressionTask

Why = Literal["frozen", "norm", "bias", "type", "too small", "no pattern"]
"""Why a parameter is under no compression: it does not train; it scales or shifts a norm; it is a bias; its type is not
one that can be compressed; it has fewer weights than the codebook has values; or no pattern of the plan matches it."""
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class CoveredParameter:
    """A parameter of a model, and what governs it.

    Attributes:
        name: the first of its names.
        also: its other names, where it is tied.
        shape: its shape.
        dtype: of its values, as "float32".
        count: the number of its values.
        share: `count` as a fraction of all parameters of the model.
        task: the number of the task that governs it; None where none does.
        pattern: the pattern of that task; None where none governs it.
        why: why no task governs it; None where one does.
    """

    name: str
    also: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    count: int
    share: float
    task: int | None
    pattern: str | None
    why: Why | None


@dataclass(frozen=True)
class Coverage:
    """All parameters of a model, in its own order, each with what governs it. A tied one is there once."""

    parameters: tuple[CoveredParameter, ...]

    @property
    def count(self) -> int:
        """The number of values of all parameters."""
        return sum(each.count for each in self.parameters)

    @property
    def governed(self) -> int:
        """The number of values of the governed parameters."""
        return sum(each.count for each in self.parameters if each.task is not None)

    @property
    def share(self) -> float:
        """`governed` as a fraction of `count`; 0 for a model without parameters."""
        return self.governed / self.count if self.count else 0.0

    def left(self) -> tuple[CoveredParameter, ...]:
        """The parameters that no task governs, the largest first."""
        return tuple(sorted((each for each in self.parameters if each.task is None), key=lambda each: -each.count))


def coverage(model: nn.Module, tasks: Sequence[CompressionTask]) -> Coverage:
    """What governs each parameter of `model`.

    Args:
        model: the model of the tasks; not changed.
        tasks: of `plan_tasks`; () for the reference.
    """
    governing = {name: number for number, task in enumerate(tasks) for name in task.governed.names}
    others: dict[str, list[str]] = {}
    for name, first in tied_names(model).items():
        others.setdefault(first, []).append(name)
    parameters = dict(model.named_parameters())
    total = sum(parameter.numel() for parameter in parameters.values())
    covered: list[CoveredParameter] = []
    for name, parameter in parameters.items():
        number = governing.get(name)
        names = (name, *others.get(name, ()))
        covered.append(
            CoveredParameter(
                name=name,
                also=names[1:],
                shape=tuple(parameter.shape),
                dtype=str(parameter.dtype).removeprefix("torch."),
                count=parameter.numel(),
                share=parameter.numel() / total if total else 0.0,
                task=number,
                pattern=None if number is None else tasks[number].pattern,
                why=_why(model, parameter, names, tasks) if number is None else None,
            )
        )
    return Coverage(tuple(covered))


def _why(model: nn.Module, parameter: nn.Parameter, names: Sequence[str], tasks: Sequence[CompressionTask]) -> Why:
    places = [name.rpartition(".") for name in names]
    if not parameter.requires_grad:
        return "frozen"
    if all(_is_norm(model.get_submodule(layer), parameter) for layer, _, _ in places):
        return "norm"
    if all("bias" in kind for _, _, kind in places):
        return "bias"
    if parameter.dtype not in DTYPES:
        return "type"
    weight = weights_of(model).get(names[0])
    small = [task for task in tasks if is_glob(task.pattern) and too_small(parameter.shape, task.compression)]
    return "too small" if weight and any(weight.matches(task.pattern) for task in small) else "no pattern"


def _is_norm(module: nn.Module, parameter: nn.Parameter) -> bool:
    """Whether `module` is a norm of torch's, or one of another library by its name: `LlamaRMSNorm`."""
    return isinstance(module, NORMS) or ("norm" in type(module).__name__.lower() and parameter.dim() <= 1)
