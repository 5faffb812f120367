"""What a method of compression is: from the reference and the tasks to states, with the budget of a schedule."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from lc_core.algorithm import State
from lc_core.compression import Compressed
from lc_core.schedule import Schedule
from lc_core.task import CompressionTask
from lc_core.training.data import Forward, Source, call
from lc_core.training.distillation import Distillation
from lc_core.training.loop import Loss

Tasks = Sequence[CompressionTask]


@dataclass(frozen=True, eq=False)
class Training:
    """What a method trains on, and how. It is the same for all methods, but for the targets of `Method.distillation`.

    Attributes:
        data: the training split.
        loss: mean loss over a batch.
        schedule: the budget, and the optimizer's settings.
        seed: for the order of the batches.
        build_model: returns an untrained model.
        forward: how the model runs on the inputs of a batch.
    """

    data: Source
    loss: Loss
    schedule: Schedule
    seed: int
    build_model: Callable[[], nn.Module]
    forward: Forward = call


class Method(Protocol):
    """A method of compression; a frozen dataclass of its settings."""

    @property
    def distillation(self) -> Distillation | None:
        """How it learns from the reference's outputs; None to learn as the study says."""
        ...

    def steps(self, schedule: Schedule) -> int:
        """The number of its last step; 0 where it does not train."""
        ...

    def check(self, tasks: Tasks) -> None:
        """Raises ValueError, one line, where it does not apply to the compressions of `tasks`."""
        ...

    def states(self, model: nn.Module, tasks: Tasks, training: Training, *, resume: Any = None) -> Iterator[State]:
        """Yields the state after direct compression, then after each step. Trains `model` in place from the reference.

        Going on from a yielded state (`resume`), with a model that holds the reference again, gives the same numbers as
        a run that never stopped.

        Raises:
            DivergedError: the training loss became NaN or infinite.
            ValueError: the weights hold a NaN or infinity, or the loss gives them no gradient.
        """
        ...


@dataclass(frozen=True, eq=False)
class TrainedState:
    """The state of a method without multipliers after a step. Step 0 is direct compression, before any training.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        loss: mean training loss over the step (None at step 0).
        gap: ||w - Delta(Theta)|| / ||Delta(Theta)|| over all tasks; 0 where Theta itself is trained.
        epochs: passes over the training split so far.
        thetas: Theta of each task.
        weights: the model's parameters and buffers, by name.
        optimizer: parameter -> the optimizer's buffers.
        batches: the position in the stream of batches.
        held: what is trained in place of the compressed weights, and what else the method goes on from, by name.
        structure: a Theta of each task whose structure training keeps; `held` has the values.
        facts: what else is to be told of the step.
        mu: 0: there is no penalty.
    """

    step: int
    steps: int
    loss: float | None
    gap: float
    epochs: float
    thetas: tuple[Compressed, ...]
    weights: dict[str, Tensor]
    optimizer: dict[str, dict[str, Tensor]]
    batches: dict[str, Any]
    held: dict[str, Tensor] = field(default_factory=dict)
    structure: tuple[Compressed, ...] = ()
    facts: dict[str, float | int | None] = field(default_factory=dict)
    mu: float = 0.0


def parts(compression: object) -> Iterator[object]:
    """A compression and the compressions inside it."""
    if isinstance(compression, tuple):
        for each in compression:
            yield from parts(each)
    elif is_dataclass(compression):
        yield compression
        for each in fields(compression):
            yield from parts(getattr(compression, each.name))


def refuse(tasks: Tasks, kinds: tuple[type, ...], why: str) -> None:
    """ValueError, "does not apply to kind, why", where a compression of `tasks` is one of `kinds`."""
    for task in tasks:
        for part in parts(task.compression):
            if isinstance(part, kinds):
                raise ValueError(f"does not apply to {type(part).__name__}, {why}")


def require(tasks: Tasks, kinds: tuple[type, ...]) -> None:
    """ValueError, "applies to kinds, got kind", unless the compression of every task is one of `kinds`."""
    for task in tasks:
        if not isinstance(task.compression, kinds):
            names = ", ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"applies to {names}, got {type(task.compression).__name__}")
