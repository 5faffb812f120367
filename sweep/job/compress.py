"""One job, from its configuration to its published record. Plain Python: no Ray."""

import dataclasses
import datetime
import functools
import hashlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lc_core.algorithm import State, deploy
from lc_core.compression import Compressed
from lc_core.compressions.allotted import Allotted
from lc_core.file.artifact import Artifact, ArtifactError, decode, encode, fill, load, nominal_bytes
from lc_core.methods.known import METHODS
from lc_core.methods.method import TrainedState, Training
from lc_core.schedule import Schedule
from lc_core.structure.contents import layer_contents
from lc_core.task import CompressionTask
from lc_core.training.data import Split
from lc_core.training.loop import predict
from sweep.job.checkpoint import Checkpoint, Checkpoints
from sweep.job.context import JobContext
from sweep.job.evidence import drop
from sweep.job.layer_errors import layer_errors
from sweep.job.measure import evidence, measure, summary
from sweep.job.tidying import tidied_file
from sweep.store.claims import claim
from sweep.store.files import write_json, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import Job, content_hash, versions
from sweep.store.record import Done, Failure, Record, Score
from sweep.store.staging import new_staging, publish
from sweep.study import Data, Study
from sweep.study.measure import logits_of
from sweep.study.seeds import seed_all

Progress = Callable[[dict[str, Any]], None]


def run_job(job: Job, context: JobContext, *, report: Progress) -> Record:
    """Runs the job, publishes its record and returns it. `report` is called at each step.

    An error in the job becomes a failed record.

    Raises:
        OSError, MemoryError, RuntimeError: a file could not be read or written, or there was no memory. The job may
            succeed another time, from its checkpoint.
    """
    started = time.monotonic()
    staged = new_staging(context.folder, job.id)
    try:
        record = _compress(job, context, staged, report)
        record = dataclasses.replace(record, seconds=time.monotonic() - started)
        write_json(staged / "record.json", record.to_json())
    except Exception as error:  # whatever a user's model raises belongs in the record
        shutil.rmtree(staged, ignore_errors=True)
        if _may_pass(error):
            raise
        message, seconds = f"{type(error).__name__}: {error}", time.monotonic() - started
        failed = failure(job, message=message, traceback=traceback.format_exc(), seconds=seconds)
        return publish_failure(failed, context.folder)
    return publish(context.folder, staged, job_id=job.id)


def failure(job: Job, *, message: str, traceback: str, seconds: float | None = None) -> Record:
    """The record of a job that failed."""
    error = Failure(message=" ".join(message.split()), traceback=traceback)
    return Record(status="failed", error=error, seconds=seconds, **stamped(job))


def publish_failure(failed: Record, folder: SweepFolder) -> Record:
    """Publishes a record of `failure`, unless the job has a done record by now. The record that stands."""
    staged = new_staging(folder, failed.id)
    try:
        write_json(staged / "record.json", failed.to_json())
        return publish(folder, staged, job_id=failed.id)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _may_pass(error: Exception) -> bool:
    """Whether the same job may succeed another time: the disk was full, a file out of reach, or the memory short."""
    short = isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)  # torch has no class for it
    return short or isinstance(error, OSError | MemoryError | torch.OutOfMemoryError)


@dataclass(frozen=True)
class Sizes:
    """What is known of a job before training.

    Attributes:
        nominal_bytes: of its packed file with codes of fixed length; no file is larger.
        macs: multiply-accumulates of its model for one example; an upper bound where groups are pruned.
        fixed: whether both numbers are exact. For a compression that chooses its own size they are upper bounds.
        bounded: whether the bytes are exact, or a budget bounds them.
        plan: hash of which compression governs which parameters.
    """

    nominal_bytes: int
    macs: int
    fixed: bool
    bounded: bool
    plan: str


def job_sizes(job: Job, context: JobContext) -> Sizes:
    """What is known of `job` before training."""
    weights = context.reference
    tasks = context.study.tasks(context.template, family=job.family, configuration=job.configuration)
    size = nominal_bytes(tasks, weights, info=_info(job, context, value=0.0))
    macs = context.macs(tasks, [task.outline_or_dense() for task in tasks])
    fixed, bounded = all(task.outline() is not None for task in tasks), all(task.bounded for task in tasks)
    return Sizes(size, macs, fixed, bounded, plan=_plan_hash(tasks))


def _compress(job: Job, context: JobContext, staged: Path, report: Progress) -> Done:
    study, data = context.study, context.data
    seed_all(job.seed)
    model, compact = context.build_model(), context.build_model()
    model.load_state_dict(context.reference)
    tasks = study.tasks(model, family=job.family, configuration=job.configuration)
    kept = _checkpoints(job, tasks, context)
    begun = kept.last()
    steps, measured = (begun.steps, begun.measured) if begun else ([], [])
    direct: Sequence[Compressed] | None = None
    schedule = Schedule(**job.schedule)
    wanted, last = context.measuring(schedule), METHODS[job.method].steps(schedule)
    put = functools.partial(deploy, compact, tasks, data=data.train, batch_size=schedule.batch_size)
    for state in _states(job, model, tasks, context, begun):
        direct = state.thetas if state.step == 0 else direct
        if due := state.step in wanted.steps:
            examples = wanted.result if state.step == last else wanted.curve
            put(state, forward=study.forward, statistics=examples)
            found = evidence(compact, data.val, study=study)
            measured.append(summary(found, interval=not measured))
        facts = {"step": state.step, "mu": state.mu, "loss": state.loss, "gap": state.gap}
        latest = measured[-1].error
        told = state.facts if isinstance(state, TrainedState) else {}
        steps.append(facts | {"val_error": latest if due else None} | _choice(tasks, state) | told)
        report({"step": state.step, "steps": state.steps, "gap": state.gap, "val_error": latest})
        kept.offer(state, steps, measured)
    info = _info(job, context, value=measured[-1].value)
    plain = packed = encode(tasks, state.thetas, compact.state_dict(), info=info, format=context.format)
    if study.tidy:
        packed = tidied_file(plain, context.build_model(), study=study, data=data)
        fill(compact, decode(packed))
        found = evidence(compact, data.val, study=study)
        measured.append(summary(found))
    write_whole(staged / "model.lcz", packed)
    artifact = _verified(staged / "model.lcz", context, compact=compact, claimed=measured[-1])
    direct = _direct(job, tasks, context) if direct is None else direct
    layers = _layers(artifact, tasks, state, direct, context)
    write_json(staged / "diagnostics.json", {"steps": steps, "layers": layers})
    sizes = job_sizes(job, context)
    expected, size = sizes.nominal_bytes, (artifact if packed is plain else decode(plain)).payload_bytes
    assert size == expected if sizes.fixed else size <= expected, f"{expected} nominal bytes, {size} uncoded"
    return Done(
        status="done",
        seconds=0.0,  # run_job sets it when all is done
        reference_bytes=context.reference_bytes,
        reference_macs=context.reference_macs,
        device=context.device,
        plan=sizes.plan,
        nominal_bytes=sizes.nominal_bytes,
        artifact_bytes=len(packed),
        artifact_sha256=hashlib.sha256(packed).hexdigest(),
        macs=context.macs(tasks, state.thetas),
        val=summary(found),
        drop=drop(study.metric, context.reference_points, found[study.metric.name].points),
        direct=measured[0],
        gap=state.gap,
        epochs=state.epochs,
        **stamped(job),
    )


def _choice(tasks: Sequence[CompressionTask], state: State) -> dict[str, Any]:
    """What the layers under budgets chose at this step, and the bytes of their weights; nothing without a budget."""
    found = [(task, theta) for task, theta in zip(tasks, state.thetas, strict=True) if isinstance(theta, Allotted)]
    if not found:
        return {}
    pairs = (pair for task, theta in found for pair in zip(task.governed.names, theta.chosen, strict=True))
    used = sum(theta.storage_bits() // 8 for _, theta in found)
    return {"chosen": dict(pairs), "weight_bytes": used, "choice_gap": max(theta.gap for _, theta in found)}


def _layers(
    artifact: Artifact,
    tasks: Sequence[CompressionTask],
    state: State,
    direct: Sequence[Compressed],
    context: JobContext,
) -> list[dict[str, Any]]:
    """What each layer of the job's file consists of, how much it hurts alone, by its Theta in `direct`, and what it
    chose of a budget."""
    contents = layer_contents(artifact.governed, artifact.thetas, context.reference)
    chosen = _choice(tasks, state).get("chosen", {})
    alone = layer_errors(tasks, direct, context)
    parts = (("chosen", chosen), ("alone", alone))
    return [each | {part: of[each["name"]] for part, of in parts if each["name"] in of} for each in contents]


def _direct(job: Job, tasks: tuple[CompressionTask, ...], context: JobContext) -> Sequence[Compressed]:
    """The Thetas of the job's direct compression, for a job that went on from a checkpoint."""
    seed_all(job.seed)
    model = context.build_model()
    model.load_state_dict(context.reference)
    return next(_states(job, model, tasks, context, None)).thetas


def _checkpoints(job: Job, tasks: Sequence[CompressionTask], context: JobContext) -> Checkpoints:
    identity = {"job": job.id, "plan": _plan_hash(tasks), "device": context.device, "versions": versions()}
    return Checkpoints(context.folder.checkpoint(job.id), identity=identity, tasks=tasks)


def _plan_hash(tasks: Sequence[CompressionTask]) -> str:
    return content_hash([[task.governed.names, repr(task.compression)] for task in tasks])


def _states(
    job: Job, model: nn.Module, tasks: tuple[CompressionTask, ...], context: JobContext, begun: Checkpoint | None
) -> Iterator[State]:
    """The states of the job after the checkpoint `begun`. Without one, the first state is direct compression.

    `model` holds the reference's weights.
    """
    method = METHODS[job.method]
    training = job_training(job, context.study, context.data, reference=model, build_model=context.build_model)
    states = method.states(model, tasks, training, resume=begun.state if begun else None)
    if begun:
        begun.draw_on()  # last, since all of the above draws random numbers
    return states


def job_training(
    job: Job, study: Study, data: Data, *, reference: nn.Module, build_model: Callable[[], nn.Module]
) -> Training:
    """What the job trains on, and how: with the study's augmentation, and the study's or the method's distillation.

    ValueError where these need training data in memory and it is read from elsewhere.
    """
    train, loss, forward = data.train, study.loss, study.training_forward
    if distillation := METHODS[job.method].distillation or study.distillation:
        in_memory = study.in_memory(train)
        outputs = logits_of(predict(reference, in_memory.inputs, forward=study.forward))
        targets, loss = distillation.targets_and_loss(outputs, targets=in_memory.targets, loss=loss)
        forward, loss = distillation.guided(forward, loss, reference=reference)
        train = Split(in_memory.inputs, targets)
    schedule = Schedule(**job.schedule)
    return Training(study.augmented(train), loss, schedule, job.seed, build_model, forward)


def _verified(path: Path, context: JobContext, *, compact: nn.Module, claimed: Score) -> Artifact:
    """The packed file, read back from the disk into a new model.

    Raises:
        ArtifactError: it holds other weights than `compact`, and does not measure the same on validation.
    """
    model = context.build_model()
    artifact = load(path, model)
    read = model.state_dict()
    if all(torch.equal(read[name], tensor) for name, tensor in compact.state_dict().items()):
        return artifact  # to measure it again would take as long as the statistics
    found = measure(model, context.data.val, study=context.study, interval=False)
    if (found.value, found.metrics) != (claimed.value, claimed.metrics):
        raise ArtifactError(f"the packed file measures {found}, the model that it was made from {claimed}")
    return artifact


def _info(job: Job, context: JobContext, *, value: float) -> dict[str, Any]:
    """What a packed file of format 1 says of its model: its JSON has the same length before training as after.

    Of format 2, nothing: the record says it all, and small files are small.
    """
    if context.format > 1:
        return {}
    return {
        "study": context.study.name,
        "study_hash": job.study_hash,
        "job": job.id,
        "family": job.family,
        "configuration": job.configuration,
        "input_shape": context.input_shape,
        "val": claim(context.study.metric, value, n=len(context.data.val)),
    }


def stamped(job: Job) -> dict[str, Any]:
    """Fields of the job's record that do not depend on how it ended: the job, the versions, the time."""
    return {
        "id": job.id,
        "study_hash": job.study_hash,
        "family": job.family,
        "configuration": job.configuration,
        "method": job.method,
        "seed": job.seed,
        "schedule": job.schedule,
        "versions": versions(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
