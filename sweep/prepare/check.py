"""Checks a study before anything costly: one batch through the user's functions, and each family's ends.

What a user's function returns may be anything. A wrong thing is one line: the function, what came, what was expected,
and the way out.
"""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn

from lc_core.file.artifact import ArtifactError, encode, load
from lc_core.structure.accounting import ModelMacs, model_macs
from lc_core.structure.coverage import Coverage, coverage
from lc_core.structure.folding import fold
from lc_core.task import CompressionTask
from lc_core.training.data import first_inputs
from lc_core.training.nest import Nest, leaves, told_of
from sweep.prepare.check_metrics import check_metric, wanted_examples
from sweep.store.job import Configuration
from sweep.study import Data, Study, check_levels
from sweep.study.errors import StudyError, users_code

MOST = 1 << 20
"""Weights that a C step of the check compresses at once; of larger layers the levels are only checked for fit."""


@dataclass(frozen=True)
class Batch:
    """One training batch, as the check found it.

    Attributes:
        inputs: types and shapes.
        targets: likewise.
        outputs: likewise.
        loss: of the model as it is.
        scores: metric -> its value on the first examples of validation.
    """

    inputs: str
    targets: str
    outputs: str
    loss: float
    scores: dict[str, float]


@dataclass(frozen=True)
class End:
    """A family at one of its configurations, with the tasks of that."""

    family: str
    configuration: Configuration
    tasks: tuple[CompressionTask, ...]


@dataclass(frozen=True)
class Ends:
    """A family at its loosest and its tightest level.

    Attributes:
        bytes: of the packed file at both, by direct compression of the model as `build_model` gives it.
        coverage: which parameters the family governs, and why the others stay as they are.
    """

    family: str
    loosest: Configuration
    tightest: Configuration
    bytes: tuple[int, int]
    coverage: Coverage


@dataclass(frozen=True)
class Checked:
    """A study that passed its checks.

    Attributes:
        macs: what the model multiplies and accumulates on one example, uncompressed.
        folded: name of each weight that the model of `build_model` computes -> what computes it, as "weight_norm".
    """

    study: Study
    data: Data
    batch: Batch
    families: tuple[Ends, ...]
    macs: ModelMacs
    folded: Mapping[str, str]


def check(study: Study, data: Data) -> Checked:
    """Checks `study` in seconds; nothing is trained.

    Raises:
        StudyError: something that the user's code returned is not what was expected, or a packed file is not.
        ValueError: as `check_levels`.
    """
    with users_code(f"study {study.name}: build_model failed"):
        model = study.starting_model()
    folded = fold(model)
    check_levels(study, model)
    ends = _ends(study, model)
    batch = _check_batch(study, data, model, ends)
    families = tuple(_check_families(study, model, ends))
    example = first_inputs(data.train, 1)
    macs = model_macs(model, lambda model: study.forward(model, example))
    return Checked(study, data, batch, families, macs, folded)


def _check_batch(study: Study, data: Data, model: nn.Module, ends: Sequence[End]) -> Batch:
    """One training batch forward, its loss and gradients; one validation batch and its metrics.

    Raises:
        StudyError: something that the user's code returned is not what was expected.
    """
    size = study.schedule.batch_size
    with _calls(study, "load_data", "reading a training batch"):
        inputs, targets = next(data.train.batches(batch_size=size, seed=0).take(1))
    told = f"of inputs {told_of(inputs)}"
    with _calls(study, "forward", f"the model {told}"):
        outputs = study.training_forward(model.train(), inputs)
    if not _tensors(outputs):
        raise _wrong(study, "forward", f"a tensor, or a tuple or mapping with tensors, {told}", outputs)
    with _calls(study, "loss", f"outputs {told_of(outputs)} and targets {told_of(targets)}"):
        loss = study.loss(outputs, targets)
    _check_loss(study, loss)
    with _calls(study, "loss", "its gradient"):
        loss.backward()
    _check_gradients(study, model, ends)
    return Batch(told_of(inputs), told_of(targets), told_of(outputs), float(loss.detach()), _scores(study, data, model))


def _check_loss(study: Study, loss: Any) -> None:
    expected = "a tensor with one number, the mean over the batch"
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        raise _wrong(study, "loss", expected, loss)
    value = float(loss.detach())
    if not math.isfinite(value):
        raise StudyError(f"study {study.name}: loss: expected a finite number for the first batch, got {value}")
    if not loss.requires_grad:
        raise StudyError(
            f"study {study.name}: loss: expected a loss that depends on the weights, got one without a gradient; does "
            "forward or loss use detach, no_grad, argmax or .item()?"
        )


def _check_gradients(study: Study, model: nn.Module, ends: Sequence[End]) -> None:
    """StudyError where a parameter that some family governs has no gradient, or one that is not finite."""
    governed = {name for end in ends for task in end.tasks for name in task.governed.names}
    parameters = dict(model.named_parameters())
    without = [name for name in sorted(governed) if name in parameters and parameters[name].grad is None]
    if without:
        raise StudyError(
            f"study {study.name}: forward: expected a gradient for every weight under a compression, got none for "
            f"{_some(without)}; leave layers that do not run, or are frozen, out of the plan"
        )
    gradients = {name: each.grad for name, each in parameters.items() if each.grad is not None}
    infinite = [name for name, gradient in gradients.items() if not bool(gradient.isfinite().all())]
    if infinite:
        what = f"expected finite gradients, got NaN or infinity for {_some(infinite)}"
        raise StudyError(f"study {study.name}: loss: {what}")


@torch.no_grad()
def _scores(study: Study, data: Data, model: nn.Module) -> dict[str, float]:
    """Each metric of the first examples of validation."""
    with _calls(study, "load_data", "reading a validation batch"):
        inputs, targets = next(data.val.parts(wanted_examples(study)))
    with _calls(study, "forward", f"the model in evaluation mode, of inputs {told_of(inputs)}"):
        outputs = study.forward(model.eval(), inputs)
    n = len(next(leaves(targets)))
    return {name: check_metric(study, name, outputs, targets, n) for name in study.metrics}


def _check_families(study: Study, model: nn.Module, ends: Sequence[End]) -> Iterator[Ends]:
    """One C step, the packed file and its loading, at each family's loosest and tightest level.

    Raises:
        StudyError: the file of a level does not give back the weights.
    """
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    other = study.seeded_model()
    for loosest, tightest in zip(ends[::2], ends[1::2], strict=True):
        sizes = _packed_bytes(study, loosest, weights, other), _packed_bytes(study, tightest, weights, other)
        covered = coverage(model, loosest.tasks)
        yield Ends(loosest.family, loosest.configuration, tightest.configuration, sizes, covered)


def _packed_bytes(study: Study, end: End, weights: Mapping[str, Tensor], other: nn.Module) -> int:
    """The size of the packed file. StudyError unless it loads into `other`, and gives back the weights."""
    tasks = [task for task in end.tasks if _numbers(task) <= MOST]
    thetas = [task.compress(task.governed.gather(weights), mu=1.0, previous=None) for task in tasks]
    packed = encode(tasks, thetas, weights, info={})
    try:
        with tempfile.NamedTemporaryFile(suffix=".lcz") as file:
            file.write(packed)
            file.flush()
            load(file.name, other)
    except ArtifactError as error:
        raise StudyError(
            f"study {study.name}, family {end.family}: expected a file that loads, got: {error}"
        ) from error
    loaded = other.state_dict()
    for task, theta in zip(tasks, thetas, strict=True):
        for name, values in task.governed.scatter(theta.decompress()).items():
            if not torch.equal(loaded[name], values):
                raise StudyError(
                    f"study {study.name}, family {end.family}: {name}: the packed file holds other weights"
                )
    return len(packed)


def _ends(study: Study, model: nn.Module) -> list[End]:
    """Each family at its loosest level and then at its tightest."""
    return [
        End(family.name, configuration, study.tasks(model, family=family.name, configuration=configuration))
        for family in study.families
        for configuration in itemgetter(0, -1)(list(family.configurations()))
    ]


def _numbers(task: CompressionTask) -> int:
    return sum(torch.Size(shape).numel() for shape in task.governed.shapes)


def _tensors(nest: Nest) -> list[Tensor]:
    return [leaf for leaf in leaves(nest) if isinstance(leaf, Tensor)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _wrong(study: Study, function: str, expected: str, got: Any) -> StudyError:
    return StudyError(f"study {study.name}: {function}: expected {expected}, got {told_of(got)}")


def _calls(study: Study, function: str, what: str) -> Any:
    return users_code(f"study {study.name}: {function} failed on {what}")
