"""What a study holds: a model, its data, how it is trained, and the compressions to try."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from lc_core.parameters import DTYPES
from lc_core.plan import Plan, plan_tasks
from lc_core.schedule import Schedule
from lc_core.structure.folding import fold
from lc_core.task import CompressionTask
from lc_core.training.augmentation import Examples
from lc_core.training.autocast import in_bfloat16
from lc_core.training.data import Forward, Source, Split, call
from lc_core.training.distillation import Distillation
from lc_core.training.loop import Loss, Recipe
from lc_core.training.reading import Separate, separate
from sweep.store.job import Configuration, Level
from sweep.store.metric import Metric as Description
from sweep.store.printable import has_control
from sweep.study.checkpoint import Checkpoint
from sweep.study.errors import StudyError, users_code
from sweep.study.kinds import check_families, check_kinds, check_knobs, check_plan, kind
from sweep.study.measure import Measure, Metric, accuracy, described, measure_of
from sweep.study.seeds import seed_all
from sweep.target import Target

RESERVED = frozenset(
    (
        *("value", "metrics", "n", "low", "high", "metric"),
        *("id", "artifact_sha256", "finished", "scores", "resampled", "asked"),
        *("drop", "drop_low", "drop_high", "looks"),
    )
)
"""Names that a score, a look at the test split or a pick has for something else than a metric."""


@dataclass(frozen=True, eq=False)
class Data:
    """Training, validation and test splits.

    Each is a `Split` of tensors or NumPy arrays in memory, the pair (inputs, targets) of them, a Dataset, an
    IterableDataset or a DataLoader of torch. Searches, fronts and picks use validation. Test is measured for the
    reference and for what is picked.

    Attributes:
        val: None to cut it off the training split, a tenth of it, at random with a fixed seed.
    """

    train: Any
    val: Any
    test: Any

    def items(self) -> Iterator[tuple[str, Any]]:
        """The name of each split, and the split."""
        return iter((("train", self.train), ("val", self.val), ("test", self.test)))


def check_names(what: str, names: Iterable[object]) -> None:
    """ValueError where one of `names`, or of a tuple of names, has a control character: records cannot hold it."""
    for name in names:
        if isinstance(name, tuple):
            check_names(what, name)
        if isinstance(name, str) and has_control(name):
            raise ValueError(f"{what}: expected names and levels without control characters, got {name!r}")


@dataclass(frozen=True)
class Family:
    """Compressions that differ in the levels of a few knobs.

    Attributes:
        name: the family's name.
        knobs: knob -> its levels from loosest to tightest. A search ranges over all their combinations.
        plan: a configuration -> what compresses which layers.
        grid: knob -> the levels of the grid, some of those in `knobs`; a knob that is not named has all of them.
    """

    name: str
    knobs: Mapping[str, tuple[Level, ...]]
    plan: Callable[[Configuration], Plan]
    grid: Mapping[str, tuple[Level, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for knobs in (self.knobs, self.grid):
            check_knobs(self.name, knobs)
        check_names("families", [self.name, *self.knobs, *self.knobs.values()])

    def configurations(self) -> Iterator[Configuration]:
        """Every combination of levels, loosest first."""
        return _combinations(self.knobs)

    def grid_configurations(self) -> Iterator[Configuration]:
        """Every combination of the grid's levels, loosest first."""
        return _combinations({knob: self.grid.get(knob, levels) for knob, levels in self.knobs.items()})


@dataclass(frozen=True)
class Study:
    """A network to compress, and the compressions to try.

    Attributes:
        name: the name of the results' folder.
        build_model: returns the network, with the weights that a `Recipe` starts from; called with the random seeds
            set. A weight that others give, as with weight_norm, is one of its own after the reference is trained.
        load_data: returns the three splits.
        loss: (outputs, targets) -> the batch's mean loss.
        reference: how the reference is trained (`Recipe`), or the trained weights to take as they are (`Checkpoint`).
        families: the compressions to try; none for the standard ones of the model
            (`sweep.study.families.standard`).
        schedule: of each LC job.
        metrics: name -> metric (`sweep.study.measure`). Targets, fronts and picks use the first.
        target: what a model must meet, unless the command names a target.
        augment: the training inputs -> the augmented examples that the reference and LC jobs train on: `Examples`, or
            a tensor that stays the same in every epoch. None for no augmentation.
        augment_reference: False to train the reference without `augment`. Part of what LC gains is then the
            augmentation's, and every table says so.
        separate: a batch -> its inputs and its targets. By default (x, y) is x and y, and a mapping is the inputs, with
            its "labels", "label", "targets" or "target" as targets.
        forward: (model, inputs) -> outputs. By default model(x) of a tensor, model(*inputs) of several, and
            model(**inputs) of a mapping.
        autocast: "bfloat16" to train, the reference too, under torch's autocast, which is faster on GPUs that have it.
            Weights stay in float32, and models are measured in float32.
        distillation: makes LC jobs learn from the reference's outputs, in place of the labels or beside them; None for
            labels alone.
        tidy: True to write each job's file as `lcsweep export --tidy` does: smaller, and of the same function, with
            other weights in it. For models that torch.fx can trace.
    """

    name: str
    build_model: Callable[[], nn.Module]
    load_data: Callable[[], Data]
    loss: Loss
    reference: Recipe | Checkpoint
    families: tuple[Family, ...] = field(default=(), kw_only=True)
    schedule: Schedule
    metrics: Mapping[str, Metric] = field(default_factory=lambda: {"accuracy": accuracy})
    target: Target | None = None
    augment: Callable[[Tensor], Examples] | None = None
    augment_reference: bool = True
    distillation: Distillation | None = None
    separate: Separate = separate
    forward: Forward = call
    autocast: Literal["bfloat16"] | None = None
    tidy: bool = False

    def __post_init__(self) -> None:
        check_kinds(self)
        check_families(self.families, Family)
        names = [family.name for family in self.families]
        if len(set(names)) < len(names):
            raise ValueError(f"families: expected a name of its own for each, got {names}")
        check_names("metrics", [*self.metrics])
        if not self.metrics:
            raise ValueError("metrics: expected one at least, got none")
        if taken := RESERVED.intersection(self.metrics):
            raise ValueError(f"metrics: expected another name than {min(taken)!r}, which records use otherwise")
        if self.target is not None:
            self.target.check(self.metric)
        if self.autocast not in (None, "bfloat16"):
            raise ValueError(f"autocast: expected 'bfloat16' or None, got {self.autocast!r}")
        if not re.fullmatch(r"\w[\w.-]*", self.name):
            raise ValueError(f"name: expected letters, digits, '_', and then also '.' and '-', got {self.name!r}")

    @property
    def training_forward(self) -> Forward:
        """`forward` as training runs it."""
        return in_bfloat16(self.forward) if self.autocast else self.forward

    @property
    def metric(self) -> Description:
        """What decides: the first of the metrics, without its function."""
        return described(*next(iter(self.metrics.items())))

    @property
    def measures(self) -> dict[str, Measure]:
        """How each metric is measured, by name."""
        return {name: measure_of(metric) for name, metric in self.metrics.items()}

    def family(self, name: str) -> Family:
        """The family called `name`."""
        return next(family for family in self.families if family.name == name)

    def starting_model(self) -> nn.Module:
        """The network as `build_model` gives it, with the seeds set: what a `Recipe` trains or a `Checkpoint` fills.

        StudyError where it gives something else.
        """
        seed_all(self.reference.seed)
        with users_code(f"study {self.name}: build_model failed"):
            model = self.build_model()
        if not isinstance(model, nn.Module):
            raise StudyError(f"study {self.name}: build_model: expected a torch.nn.Module, got {kind(model)}")
        parameters: Mapping[str, Any] = dict(model.named_parameters())
        if empty := [name for name, each in parameters.items() if is_lazy(each)]:
            raise StudyError(
                f"study {self.name}: build_model: expected weights with shapes, got none yet for {empty[0]}; let "
                "build_model run the network on an example before it returns it"
            )
        state: Mapping[str, Any] = model.state_dict()
        if others := [name for name, each in state.items() if not isinstance(each, Tensor)]:
            raise StudyError(
                f"study {self.name}: build_model: expected a state_dict of tensors, got another object for "
                f"{others[0]}, which no packed file holds; leave out get_extra_state"
            )
        return model

    def seeded_model(self) -> nn.Module:
        """The untrained network with the reference's initial weights, folded as by `new_model`."""
        model = self.starting_model()
        fold(model)
        return model

    def new_model(self) -> nn.Module:
        """The network that jobs compress: of `build_model`, with each computed weight folded into a parameter."""
        model = self.build_model()
        fold(model)
        return model

    def augmented(self, train: Source) -> Source:
        """What is trained on: the training split with its inputs augmented.

        ValueError where the study augments a split that is not in memory.
        """
        if self.augment is None:
            return train
        in_memory = self.in_memory(train)
        return Split(self.augment(in_memory.inputs), in_memory.targets)

    def in_memory(self, train: Source) -> Split:
        """The training split. ValueError where it is not in memory, and augmentation or distillation needs it there."""
        if not isinstance(train, Split):
            raise ValueError(
                f"study {self.name}: augment and distillation need the training split in memory, as tensors; leave "
                "them out, or let the dataset augment"
            )
        return train

    def tasks(self, model: nn.Module, *, family: str, configuration: Configuration) -> tuple[CompressionTask, ...]:
        """What compresses which parameters of `model`.

        Raises:
            ValueError: a level does not fit the layers that it governs; the message names family, knobs and layer.
        """
        try:
            check_plan(plan := self.family(family).plan(configuration))
            tasks = plan_tasks(model, plan)
            for task in tasks:
                task.check()
        except Exception as error:  # `plan` is the user's, and may raise anything
            levels = ", ".join(f"{knob}={level}" for knob, level in configuration.items())
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            raise ValueError(f"study {self.name}, family {family}, {levels}: {kind}{error}") from error
        return tasks


def check_levels(study: Study, model: nn.Module) -> None:
    """Checks every level of `study` against `model`.

    Raises:
        ValueError: a parameter holds no real numbers, levels are not distinct numbers or strings, a grid names an
            unknown knob or level, or a level does not fit the model.
    """
    for name, parameter in model.named_parameters():
        if parameter.dtype not in DTYPES:
            raise ValueError(f"study {study.name}: {name}: expected real numbers, got {parameter.dtype}")
    for family in study.families:
        shown = ((knob, levels) for knob, levels in family.grid.items() if levels)  # a grid may leave the family out
        for knob, levels in (*family.knobs.items(), *shown):
            plain = all(type(level) in (int, float, str) for level in levels)
            if not levels or not plain or len(set(levels)) < len(levels):
                raise ValueError(
                    f"study {study.name}, family {family.name}: expected distinct numbers or strings as levels of "
                    f"{knob}, got {list(levels)}"
                )
        for knob, levels in family.grid.items():
            if knob not in family.knobs:
                raise ValueError(
                    f"study {study.name}, family {family.name}: the grid names no knob {knob!r}; the knobs are "
                    f"{list(family.knobs)}"
                )
            unknown = [level for level in levels if level not in family.knobs[knob]]
            if unknown:
                raise ValueError(
                    f"study {study.name}, family {family.name}: the grid's {knob} {unknown[0]} is not one of the "
                    f"knob's levels {list(family.knobs[knob])}"
                )
        for configuration in family.configurations():
            study.tasks(model, family=family.name, configuration=configuration)


def _combinations(knobs: Mapping[str, tuple[Level, ...]]) -> Iterator[Configuration]:
    for levels in itertools.product(*knobs.values()):
        yield dict(zip(knobs, levels, strict=True))
