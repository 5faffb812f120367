"""One LC job, from its configuration to its published record. Plain Python: no Ray."""

import ctypes
import datetime
import functools
import hashlib
import importlib.metadata
import itertools
import json
import platform
import random
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from lc_core.accounting import Uses, count_macs, layer_uses
from lc_core.algorithm import LCState, deploy, run_lc
from lc_core.artifact import Artifact, ArtifactError, encode, load, nominal_bytes, read
from lc_core.compression import Compressed
from lc_core.schedule import Schedule
from lc_core.surgery import cut_weights
from lc_core.task import CompressionTask
from lc_core.training import DivergedError, predict
from sweep.attempt import new_attempt, publish
from sweep.checkpoint import Checkpoint, Checkpoints
from sweep.intervals import paired_drop, wilson
from sweep.loading import load_study
from sweep.stopping import Bars
from sweep.store import FORMAT, Record, SweepFolder, label, write_json, write_whole
from sweep.study import Configuration, Data, Split, Study

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, KEPT_BYTES = -1, -3, 1 << 25  # the first two are glibc's own, of malloc.h
Method = Literal["lc", "dc"]
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """What a job does; equal jobs have equal ids.

    Attributes:
        study_hash: of the study's model, data, loss and reference.
        family: of the study.
        configuration: the levels of the family's knobs.
        method: "lc", or "dc" for direct compression alone.
        seed: of the order of the batches.
        schedule: of the LC run, as a dict.
    """

    study_hash: str
    family: str
    configuration: Configuration
    method: Method
    seed: int
    schedule: dict[str, Any]

    @functools.cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of what the job does."""
        return content_hash({field.name: getattr(self, field.name) for field in fields(self)})  # asdict copies all

    @property
    def label(self) -> str:
        """The job in words."""
        untrained = " (direct compression)" if self.method == "dc" else ""
        return f"{self.family}: {label(self.configuration)}, seed {self.seed}{untrained}"

    def as_dict(self) -> dict[str, Any]:
        """JSON data; `from_dict` is its inverse."""
        return asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "Job":
        return Job(**data)


@dataclass(frozen=True, eq=False)
class Workplace:
    """What a process needs to do jobs.

    Attributes:
        study: the study.
        data: its splits.
        reference: the reference's parameters and buffers, by name.
        reference_bytes: of the reference's own packed file.
        folder: the sweep's.
        template: an untrained model, for names and shapes.
        uses: of `lc_core.accounting.layer_uses`.
    """

    study: Study
    data: Data
    reference: dict[str, Tensor]
    reference_bytes: int
    folder: SweepFolder
    template: nn.Module
    uses: Uses

    @property
    def reference_macs(self) -> int:
        """Multiply-accumulates of the reference for one example."""
        return self.macs((), ())

    def macs(self, tasks: Sequence[CompressionTask], thetas: Sequence[Compressed]) -> int:
        """Multiply-accumulates for one example of the model compressed to `thetas`, groups that went cut out of it."""
        weights = cut_weights(self.template, self.data.train.inputs[:1], tasks=tasks, thetas=thetas)
        return count_macs(self.uses, weights, tasks=tasks, thetas=thetas)

    @functools.cached_property
    def reference_scores(self) -> Tensor:
        """The reference's accuracy on each example of the validation split, float64 (n,)."""
        model = self.build_model()
        model.load_state_dict(self.reference)
        return scores(model, self.data.val, study=self.study)["accuracy"]

    def build_model(self) -> nn.Module:
        """An untrained model where the data is."""
        return self.study.build_model().to(self.data.train.inputs.device)

    def on(self, device: str) -> "Workplace":
        """This workplace with its data and reference on `device`, where its jobs then run."""
        splits = (self.data.train, self.data.val, self.data.test)
        data = Data(*(Split(split.inputs.to(device), split.targets.to(device)) for split in splits))
        reference = {name: tensor.to(device) for name, tensor in self.reference.items()}
        return replace(self, data=data, reference=reference, template=self.template.to(device))

    @staticmethod
    def make(study: Study, data: Data, *, folder: SweepFolder) -> "Workplace":
        """The workplace of a sweep whose reference is in its folder."""
        artifact = read(folder.reference)
        reference, size = artifact.weights(), artifact.file_bytes
        return replace(Workplace.untrained(study, data, folder=folder), reference=reference, reference_bytes=size)

    @staticmethod
    def untrained(study: Study, data: Data, *, folder: SweepFolder) -> "Workplace":
        """The workplace of a sweep without a reference: its jobs have sizes, but cannot be done."""
        template = study.seeded_model()
        uses = layer_uses(template, data.train.inputs[:1])
        return Workplace(study, data, template.state_dict(), 0, folder, template, uses)


def job_device(gpus: Sequence[object]) -> str:
    """Where a job that was given these GPUs runs: on the first, where torch can use it."""
    return "cuda" if gpus and torch.cuda.is_available() else "cpu"


def open_workplace(
    study_reference: str, *, user_folder: str, splits: dict[str, np.ndarray], folder: str, device: str = "cpu"
) -> Workplace:
    """The workplace in a fresh process: imports the study, sets one torch thread.

    Args:
        study_reference: as the user named the study.
        user_folder: appended to `sys.path`, after all that is there.
        splits: of `split_arrays`; may be read-only, and is never written to.
        folder: the sweep's.
        device: where its jobs run.
    """
    settle_process()
    study = load_study(study_reference, user_folder=user_folder)
    return Workplace.make(study, _data(splits), folder=SweepFolder(Path(folder))).on(device)


def settle_process() -> None:
    """One torch thread, and denormal numbers flushed to zero, so that every process computes the same numbers.

    Freed memory is kept for the next batch, where the C library can be told so: to be given fresh pages for every
    activation and gradient takes a tenth of a small network's training.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def split_arrays(data: Data) -> dict[str, np.ndarray]:
    """The splits as named arrays, to share them with other processes without a copy."""
    splits = {"train": data.train, "val": data.val, "test": data.test}
    pairs = {name: {"inputs": split.inputs, "targets": split.targets} for name, split in splits.items()}
    return {f"{name}.{part}": tensor.cpu().numpy() for name, pair in pairs.items() for part, tensor in pair.items()}


NO_BARS = Bars()


def run_job(job: Job, workplace: Workplace, *, report: Progress, bars: Bars = NO_BARS) -> Record:
    """The job's published record; `report` hears of each LC step. What goes wrong in it becomes a failed record.

    A job that falls to `bars` ends there, with a record that says stopped and no file.

    Raises:
        OSError, MemoryError, RuntimeError: a file could not be read or written, or there was no memory: the job may go
            well another time, from its checkpoint.
    """
    started = time.monotonic()
    attempt = new_attempt(workplace.folder, job.id)
    try:
        result = _compress(job, workplace, attempt, report, bars)
        known = _record(job, workplace.reference_bytes, workplace.reference_macs)
        write_json(attempt / "record.json", known | result | {"seconds": time.monotonic() - started})
    except Exception as error:  # whatever a user's model raises belongs in the record
        shutil.rmtree(attempt, ignore_errors=True)
        if _may_pass(error):
            raise
        message, seconds = f"{type(error).__name__}: {error}", time.monotonic() - started
        failed = failure(job, message=message, traceback=traceback.format_exc(), seconds=seconds)
        return publish_failure(failed, workplace.folder)
    return publish(workplace.folder, attempt, job_id=job.id)


def failure(job: Job, *, message: str, traceback: str, seconds: float | None = None) -> Record:
    """The record of a job that failed."""
    error = {"message": " ".join(message.split()), "traceback": traceback}
    return _record(job, None, None) | {"error": error, "seconds": seconds}


def publish_failure(failed: Record, folder: SweepFolder) -> Record:
    """The record that holds once that of `failure` is published: one that says done stays."""
    attempt = new_attempt(folder, failed["id"])
    try:
        write_json(attempt / "record.json", failed)
        return publish(folder, attempt, job_id=failed["id"])
    finally:
        shutil.rmtree(attempt, ignore_errors=True)


def _may_pass(error: Exception) -> bool:
    """Whether the same job may go well another time: a disk was full, a file out of reach, the memory short."""
    short = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)  # torch has no class for it
    return short or isinstance(error, OSError | MemoryError | torch.OutOfMemoryError)


@dataclass(frozen=True)
class Sizes:
    """What is known of a job before training.

    Attributes:
        nominal_bytes: of its packed file before zstd.
        macs: multiply-accumulates of its model for one example; an upper bound where groups are pruned.
        fixed: whether `nominal_bytes` is what it will be, and not an upper bound as for a compression that chooses its
            own size; then so are `macs`.
        plan: hash of what its configuration comes to: which compression governs which parameters.
    """

    nominal_bytes: int
    macs: int
    fixed: bool
    plan: str


def job_sizes(job: Job, workplace: Workplace) -> Sizes:
    """What is known of `job` before training."""
    weights = workplace.reference
    tasks = workplace.study.tasks(workplace.template, family=job.family, configuration=job.configuration)
    size = nominal_bytes(tasks, weights, info=_info(job, workplace, accuracy=0.0))
    macs = workplace.macs(tasks, [task.outline_or_dense() for task in tasks])
    return Sizes(size, macs, fixed=all(task.outline() is not None for task in tasks), plan=_plan_hash(tasks))


def measure(model: nn.Module, split: Split, *, study: Study) -> dict[str, Any]:
    """The study's metrics of `model` on `split`, n, and the 95 % interval of the accuracy.

    Raises:
        DivergedError: an output is NaN or infinite.
    """
    means = {name: float(score.mean()) for name, score in scores(model, split, study=study).items()}
    n = len(split.targets)
    low, high = wilson(means["accuracy"], n=n)
    return means | {"n": n, "low": low, "high": high}


def scores(model: nn.Module, split: Split, *, study: Study) -> dict[str, Tensor]:
    """Metric -> its score of each example of `split`, float64 (n,). DivergedError as `measure`."""
    outputs = predict(model, split.inputs)
    if not bool(torch.isfinite(outputs).all()):
        raise DivergedError("the model's outputs hold NaN or infinity")
    return {
        name: _checked(name, metric(outputs, split.targets), len(outputs)) for name, metric in study.metrics.items()
    }


def drop(reference: Tensor, found: Tensor) -> dict[str, float]:
    """From scores `reference` (n,) to `found` (n,) on the same examples: the drop of their mean, its 95 % interval."""
    change = reference - found
    lost, won = float(change.clamp(min=0).sum()), float((-change).clamp(min=0).sum())
    low, high = paired_drop(lost, won, n=len(change))
    return {"drop": (lost - won) / len(change), "low": low, "high": high}


def _checked(name: str, score: Tensor, n: int) -> Tensor:
    if tuple(score.shape) != (n,):
        raise ValueError(
            f"metric {name!r}: expected a score for each of {n} examples, shape ({n},), got shape {tuple(score.shape)}"
        )
    score = score.double()
    if not bool(((score >= 0) & (score <= 1)).all()):  # NaN too
        raise ValueError(
            f"metric {name!r}: expected scores in [0, 1], got {float(score.min())} to {float(score.max())}"
        )
    return score


def content_hash(data: Any) -> str:
    """16 hexadecimal digits of the SHA-256 of JSON data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


@functools.cache
def versions() -> dict[str, str]:
    """Versions of what decides numbers."""
    packages = ("lcsweep", "torch", "numpy", "scikit-learn", "optuna", "ray")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}


def _compress(job: Job, workplace: Workplace, attempt: Path, report: Progress, bars: Bars) -> dict[str, Any]:
    study, data = workplace.study, workplace.data
    random.seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002 - a study's own code may draw from it
    torch.manual_seed(job.seed)
    model, shipped = workplace.build_model(), workplace.build_model()
    model.load_state_dict(workplace.reference)
    tasks = study.tasks(model, family=job.family, configuration=job.configuration)
    kept = _checkpoints(job, tasks, workplace)
    begun = kept.last()
    steps, measured = (begun.steps, begun.measured) if begun else ([], [])
    for state in _states(job, model, tasks, workplace, begun):
        deploy(shipped, tasks, state, inputs=data.train.inputs, batch_size=int(job.schedule["batch_size"]))
        measured.append(measure(shipped, data.val, study=study))
        error = 1 - measured[-1]["accuracy"]
        steps.append({"step": state.step, "mu": state.mu, "loss": state.loss, "gap": state.gap, "val_error": error})
        report({"step": state.step, "steps": state.steps, "gap": state.gap, "val_error": error})
        kept.offer(state, steps, measured)
        if bars.hopeless(state.step, measured[-1]["accuracy"]):
            write_json(attempt / "diagnostics.json", {"steps": steps})
            facts = {"step": state.step, "steps": state.steps, "accuracy": measured[-1]["accuracy"]}
            stopped = facts | {"bar": bars.least[state.step], "below": bars.below}
            return {"status": "stopped", "stopped": stopped, "plan": _plan_hash(tasks), "epochs": state.epochs}
    packed = encode(
        tasks, state.thetas, shipped.state_dict(), info=_info(job, workplace, accuracy=measured[-1]["accuracy"])
    )
    write_whole(attempt / "model.lcz", packed)
    artifact, right = _prove(attempt / "model.lcz", workplace, claimed=measured[-1])
    write_json(attempt / "diagnostics.json", {"steps": steps})
    sizes = job_sizes(job, workplace)
    expected, found = sizes.nominal_bytes, artifact.payload_bytes
    assert found == expected if sizes.fixed else found <= expected, f"{expected} nominal bytes, {found} before zstd"
    return {
        "status": "done",
        "plan": sizes.plan,
        "nominal_bytes": sizes.nominal_bytes,
        "artifact_bytes": len(packed),
        "artifact_sha256": hashlib.sha256(packed).hexdigest(),
        "macs": workplace.macs(tasks, state.thetas),
        "val": measured[-1],
        "drop": drop(workplace.reference_scores, right),
        "direct": measured[0],
        "gap": state.gap,
        "epochs": state.epochs,
        "device": str(data.train.inputs.device),
    }


def _checkpoints(job: Job, tasks: Sequence[CompressionTask], workplace: Workplace) -> Checkpoints:
    device = str(workplace.data.train.inputs.device)
    identity = {"job": job.id, "plan": _plan_hash(tasks), "device": device, "versions": versions()}
    return Checkpoints(workplace.folder.checkpoint(job.id), identity=identity, tasks=tasks)


def _plan_hash(tasks: Sequence[CompressionTask]) -> str:
    return content_hash([[task.governed.names, repr(task.compression)] for task in tasks])


def _states(
    job: Job, model: nn.Module, tasks: tuple[CompressionTask, ...], workplace: Workplace, begun: Checkpoint | None
) -> Iterator[LCState]:
    """The LC states of the job that come after `begun`; the first of all is direct compression.

    `model` holds the reference's weights.
    """
    study, train = workplace.study, workplace.data.train
    targets, loss = train.targets, study.loss
    if study.distillation:
        outputs = predict(model, train.inputs)
        targets, loss = study.distillation.targets_and_loss(outputs, targets=targets, loss=loss)
    schedule = Schedule(**job.schedule)
    inputs = study.augment(train.inputs) if study.augment else train.inputs
    resume = begun.state if begun else None
    states = run_lc(model, tasks, inputs, targets, loss=loss, schedule=schedule, seed=job.seed, resume=resume)
    if begun:
        begun.draw_on()  # after all else that draws
    return itertools.islice(states, 1) if job.method == "dc" else states


def _prove(path: Path, workplace: Workplace, *, claimed: dict[str, Any]) -> tuple[Artifact, Tensor]:
    """The file, whose accuracy is what a record states: read back from the disk, into a model of its own.

    With it the accuracy on each example of the validation split.
    """
    model = workplace.build_model()
    artifact = load(path, model)
    found = measure(model, workplace.data.val, study=workplace.study)
    if found != claimed:
        raise ArtifactError(f"the packed file measures {found}, the model that it was made from {claimed}")
    return artifact, scores(model, workplace.data.val, study=workplace.study)["accuracy"]


def _info(job: Job, workplace: Workplace, *, accuracy: float) -> dict[str, Any]:
    """What travels with a packed model; its JSON is as long before training as after."""
    return {
        "study": workplace.study.name,
        "study_hash": job.study_hash,
        "job": job.id,
        "family": job.family,
        "configuration": job.configuration,
        "input_shape": list(workplace.data.train.inputs.shape[1:]),
        "val": {"accuracy": f"{accuracy:.17f}", "n": len(workplace.data.val.targets)},
    }


def _record(job: Job, reference_bytes: int | None, reference_macs: int | None) -> Record:
    """A record but for what the job finds out."""
    unknown = (
        "plan",
        "nominal_bytes",
        "artifact_bytes",
        "artifact_sha256",
        "macs",
        "val",
        "drop",
        "direct",
        "gap",
        "epochs",
    )
    return {
        "format": FORMAT,
        "id": job.id,
        "status": "failed",
        "study_hash": job.study_hash,
        "family": job.family,
        "configuration": job.configuration,
        "method": job.method,
        "seed": job.seed,
        "schedule": job.schedule,
        "reference_bytes": reference_bytes,
        "reference_macs": reference_macs,
        "seconds": None,
        "device": None,
        "versions": versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "error": None,
        "stopped": None,
    } | dict.fromkeys(unknown)


def _data(arrays: Mapping[str, np.ndarray]) -> Data:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")  # it is never written to
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    train, val, test = (
        Split(tensors[f"{name}.inputs"], tensors[f"{name}.targets"]) for name in ("train", "val", "test")
    )
    return Data(train, val, test)
