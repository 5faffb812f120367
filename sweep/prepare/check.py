"""Checks a study before anything costly: one batch through the user's functions, and each family's ends.

What a user's function returns may be anything. A wrong thing is one line: the function, what came, what was expected,
and the way out.
"""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor, nn

from lc_core.file.artifact import Artifact, ArtifactError, encode, load
from lc_core.structure.accounting import ModelMacs, model_macs
from lc_core.structure.coverage import Coverage, coverage
from lc_core.structure.folding import computed_weights, fold
from lc_core.task import CompressionTask
from lc_core.training.data import first_inputs
from sweep.job.tidying import tidied_file
from sweep.prepare.check_batch import Batch, check_batch, some
from sweep.store.job import Configuration, label
from sweep.study import Checkpoint, Data, Study, check_levels
from sweep.study.errors import StudyError, users_code

Look = Callable[[str, Artifact], None]
"""Is called with each family and the packed file of its loosest level, and then with that of its tightest."""
MOST = 1 << 20
"""Weights that a C step of the check compresses at once; of larger layers the levels are only checked for fit."""


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
        bytes: of the packed file at both, by direct compression of the model that `build_model` gives, or of the
            checkpoint.
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


def ignore(*given: object) -> None:
    """Does nothing: for a caller who does not want to know."""


def check(study: Study, data: Data, *, look: Look = ignore, step: Callable[[str], None] = ignore) -> Checked:
    """Checks `study` in seconds; nothing is trained.

    Args:
        study: the study.
        data: its splits.
        look: sees the packed file of each end, the weights of which have been found to be right.
        step: gets what is done next, in words.

    Raises:
        StudyError: something that the user's code returned is not what was expected, or a packed file is not.
        CheckpointError: the checkpoint cannot be read, or does not fit the model.
        ValueError: as `check_levels`.
    """
    step("one batch through forward, loss, backward and metrics")
    model, other = study.starting_model(), study.starting_model()
    _check_new(study, model, other)
    folded = computed_weights(model)
    if isinstance(study.reference, Checkpoint):
        study.reference.load_into(model)
    for each in (model, other):
        fold(each)
    check_levels(study, model)
    ends = _ends(study, model)
    governed = {name for end in ends for task in end.tasks for name in task.governed.names}
    batch = check_batch(study, data, model, governed)
    families = tuple(_check_families(study, model, other, ends, look, step))
    if study.tidy:
        step("tidying")
        _check_tidy(study, data, model)
    step("counting multiply-accumulates")
    example = first_inputs(data.train, 1)
    with users_code(f"study {study.name}: forward failed on a single example"):
        macs = model_macs(model, lambda model: study.forward(model, example))
    return Checked(study, data, batch, families, macs, folded)


def _check_new(study: Study, model: nn.Module, other: nn.Module) -> None:
    """StudyError where build_model gave parameters a second time: what is written into one model is then in all."""
    others = {id(parameter) for parameter in other.parameters()}
    if same := [name for name, parameter in model.named_parameters() if id(parameter) in others]:
        raise StudyError(
            f"study {study.name}: build_model: expected new parameters at each call, got {some(same)} a second time; "
            "build the whole network in the function, or return copy.deepcopy of one"
        )


def _check_families(
    study: Study, model: nn.Module, other: nn.Module, ends: Sequence[End], look: Look, step: Callable[[str], None]
) -> Iterator[Ends]:
    """One C step, the packed file and its loading into `other`, at each family's loosest and tightest level.

    Raises:
        StudyError: the file of a level does not give back the weights.
    """
    weights = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    for loosest, tightest in zip(ends[::2], ends[1::2], strict=True):
        sizes = []
        for end in (loosest, tightest):
            step(f"{end.family}, {label(end.configuration)}: packing")
            packed = _packed(study, end, weights, other)
            look(end.family, packed)
            sizes.append(packed.file_bytes)
        covered = coverage(model, loosest.tasks)
        yield Ends(
            loosest.family, loosest.configuration, tightest.configuration, bytes=(sizes[0], sizes[1]), coverage=covered
        )


def _packed(study: Study, end: End, weights: Mapping[str, Tensor], other: nn.Module) -> Artifact:
    """The packed file. StudyError unless it loads into `other`, and gives back the weights."""
    tasks = [task for task in end.tasks if _numbers(task) <= MOST]
    thetas = [task.compress(task.governed.gather(weights), mu=1.0, previous=None) for task in tasks]
    try:
        with tempfile.NamedTemporaryFile(suffix=".lcz") as file:
            file.write(encode(tasks, thetas, weights, info={}))
            file.flush()
            artifact = load(file.name, other)
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
    return artifact


def _check_tidy(study: Study, data: Data, model: nn.Module) -> None:
    """StudyError where the files of the study cannot be tidied."""
    try:
        tidied_file(encode((), (), model.state_dict(), info={}), model, study=study, data=data)
    except ValueError as error:
        raise StudyError(f"study {study.name}: tidy: {error}") from error


def _ends(study: Study, model: nn.Module) -> list[End]:
    """Each family at its loosest level and then at its tightest."""
    return [
        End(family.name, configuration, study.tasks(model, family=family.name, configuration=configuration))
        for family in study.families
        for configuration in itemgetter(0, -1)(list(family.configurations()))
    ]


def _numbers(task: CompressionTask) -> int:
    return sum(torch.Size(shape).numel() for shape in task.governed.shapes)
