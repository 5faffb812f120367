"""The configurations that a run asks for, checked before any of them is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from lc_core.methods.known import METHODS
from lc_core.training.loop import predict
from sweep.job.compress import Sizes, job_sizes
from sweep.job.context import JobContext
from sweep.prepare.options import Options
from sweep.search.protocol import Entry
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
from sweep.store.job import Configuration, Job
from sweep.store.records import find_job, read_records
from sweep.study import Family, Study
from sweep.study.errors import StudyError
from sweep.study.measure import logits_of

LEEWAY, LEEWAY_BYTES = 0.01, 64
"""A file of a tighter level may be larger by this share, and by so many bytes."""


def entries_of(options: Options, context: JobContext, *, study_hash: str) -> tuple[Entry, ...]:
    """The configurations that `options` ask for, with their jobs and with their sizes before training.

    A search for a target leaves out the families whose sizes are not known before training, and every method those to
    which it does not apply.

    Raises:
        StudyError: none is left, or a knob's levels do not go from loosest to tightest.
    """
    study = context.study
    check_teacher(options, context)
    if options.job is not None:
        first = _of_job(options.job, options, context, study_hash=study_hash)
        return (_entry(first, job_sizes(first, context), options),)
    schedule = study.schedule.as_dict()
    entries = []
    for family in study.families:
        for configuration in _configurations(family, options):
            if _refusal(options, context, family, configuration):
                continue
            first = Job(study_hash, family.name, configuration, options.method, options.seed, schedule)
            sizes = job_sizes(first, context)
            if sizes.bounded or not options.aimed:
                entries.append(_entry(first, sizes, options))
    if not entries and (refused := refusals(options, context)):
        raise StudyError(f"study {study.name}: no family is left; {'; '.join(refused)}")
    if not entries:
        raise StudyError(
            f"study {study.name}: expected a family whose sizes are known before training, for a search of the "
            "smallest; got none; run --search grid"
        )
    _check_order([entry for entry in entries if entry.fixed], study)
    return tuple(entries)


def refusals(options: Options, context: JobContext) -> list[str]:
    """A line for each family, or part of one, to which the method does not apply."""
    lines = []
    for family in context.study.families:
        found = [_refusal(options, context, family, levels) for levels in _configurations(family, options)]
        if why := next((each for each in found if each), None):
            lines.append(f"not run: {'' if all(found) else 'part of '}{family.name}; {why}")
    return lines


def check_teacher(options: Options, context: JobContext) -> None:
    """ValueError where jobs learn from the reference's outputs, and these are no class logits, or from layers that it
    does not have."""
    distillation = METHODS[options.method].distillation or context.study.distillation
    if distillation is None:
        return
    study, train = context.study, context.study.in_memory(context.data.train)
    outputs = logits_of(predict(context.template, context.example, forward=study.forward))
    try:
        distillation.targets_and_loss(outputs, targets=train.targets, loss=study.loss)
        forward, _ = distillation.guided(study.forward, study.loss, reference=context.template)
        predict(context.template, context.example, forward=forward)
    except ValueError as error:
        raise ValueError(f"study {study.name}, method {options.method}: {error}") from error


def _refusal(options: Options, context: JobContext, family: Family, configuration: Configuration) -> str | None:
    """Why the method does not apply to a configuration; None where it does."""
    if options.method in ("lc", "dc"):
        return None  # they apply to all
    tasks = context.study.tasks(context.template, family=family.name, configuration=configuration)
    try:
        METHODS[options.method].check(tasks)
    except ValueError as error:
        return f"{options.method}: {error}"
    return None


def _configurations(family: Family, options: Options) -> Iterator[Configuration]:
    return family.grid_configurations() if options.search == "grid" else family.configurations()


def _entry(first: Job, sizes: Sizes, options: Options) -> Entry:
    """The configuration of a job, with one job for each seed from that of `first`."""
    jobs = tuple(replace(first, seed=first.seed + place) for place in range(options.seeds[0]))
    facts = (sizes.nominal_bytes, sizes.macs, sizes.fixed, sizes.plan)
    return Entry(first.family, first.configuration, *facts, jobs)


def _of_job(start: str, options: Options, context: JobContext, *, study_hash: str) -> Job:
    """The job of the first seed of the configuration that a finished job of the sweep is a seed of.

    Raises:
        StoreError: there is no such job, or the study would run it otherwise today.
    """
    folder, study = context.folder, context.study
    record = find_job(read_records(folder.root), start, root=folder.root)
    job = Job(study_hash, record.family, record.configuration, record.method, options.seed, study.schedule.as_dict())
    known = any(family.name == record.family for family in study.families)
    if not known or job.key != record.key:
        raise StoreError(
            f"{folder.root}: job {record.id} ran family {record.family} with a schedule that the study no longer has; "
            "expected the study as it was"
        )
    return job


def _check_order(entries: Sequence[Entry], study: Study) -> None:
    """StudyError where a knob's levels do not go from loosest to tightest, as the sizes tell.

    The order of levels is the knob's own. Sizes need not follow it to the byte: an index may take a few bytes more as
    the weights on it become fewer.
    """
    sizes = {(entry.family, *entry.configuration.values()): entry.nominal_bytes for entry in entries}
    for entry in entries:
        for index, (knob, levels) in enumerate(study.family(entry.family).knobs.items()):
            for tighter in levels[levels.index(entry.configuration[knob]) + 1 :]:
                values = list(entry.configuration.values())
                values[index] = tighter
                size = sizes.get((entry.family, *values), 0)
                if size > (1 + LEEWAY) * entry.nominal_bytes + LEEWAY_BYTES:
                    raise StudyError(
                        f"study {study.name}, family {entry.family}: expected the levels of {knob} from loosest to "
                        f"tightest, got {entry.configuration[knob]} ({entry.nominal_bytes} bytes) before {tighter} "
                        f"({size} bytes)"
                    )


def check_plans(entries: Sequence[Entry], folder: SweepFolder) -> None:
    """StoreError where the plan of a family has changed since one of its records was made."""
    plans = {job.id: entry.plan for entry in entries for job in entry.jobs}
    for record in read_records(folder.root):
        if record.status == "done" and record.plan != plans.get(record.id, record.plan):
            what = f"family {record.family}, {record.label}"
            raise StoreError(
                f"{folder.root}: holds results of {what}, from when its plan said something else; give the family "
                "another name, or begin a new sweep with --out"
            )
