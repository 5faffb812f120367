"""Makes a sweep ready to run from its options, or says what a run would do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lc_core.file.artifact import read
from sweep.criteria import UNTRAINED
from sweep.job.context import JobContext
from sweep.prepare.check import check, ignore
from sweep.prepare.check_onnx import OnnxTrial
from sweep.prepare.entries import check_plans, entries_of, refusals
from sweep.prepare.estimate import Estimate, estimate
from sweep.prepare.notes import family_coverage, notes
from sweep.prepare.opening import Say, check_study, open_folder
from sweep.prepare.options import Options, check_tracker
from sweep.search.protocol import Entries, Entry, SearchPlan
from sweep.store.coverage import FamilyCoverage, shares
from sweep.store.files import write_json
from sweep.store.folder import SweepFolder
from sweep.store.job import content_hash
from sweep.store.manifest import Manifest, read_manifest
from sweep.store.record import Record
from sweep.store.records import finished, read_records
from sweep.study import Data, Study
from sweep.study.earlier import recognised
from sweep.study.fingerprint import footing
from sweep.study.loading import load_splits, load_study
from sweep.target import NoTargetError, Target


@dataclass(frozen=True)
class PreparedSweep:
    """A sweep that is ready to run: its study, its folder with the reference in it, and its configurations.

    Attributes:
        coverage: what each of the study's families governs; the manifest may have earlier ones too.
    """

    options: Options
    context: JobContext
    manifest: Manifest
    target: Target | None
    entries: tuple[Entry, ...]
    coverage: Mapping[str, FamilyCoverage]

    @property
    def folder(self) -> SweepFolder:
        return self.context.folder

    @property
    def threshold(self) -> float | None:
        """The least validation score that meets the target; None without a target."""
        return self.target.threshold(self.manifest.reference.val.score) if self.target else None


def prepare(options: Options, *, say: Say, step: Callable[[str], None] = ignore) -> PreparedSweep:
    """The sweep that `options` ask for. Trains and stores the reference where it is missing.

    A sweep that is new tries ONNX files too, which takes some seconds, and says of which families there are none.

    Args:
        options: of the run.
        say: gets what the user should know, line by line.
        step: gets what is done next, in words.

    Raises:
        StudyError, StoreError, ValueError: one line each, for the user.
    """
    study, data, folder = _load(options, say=say, step=step)
    trial = OnnxTrial(study, data, step=step)
    checked = check(study, data, look=ignore if folder.manifest.exists() else trial.look, step=step)
    for note in (*notes(checked), *trial.refusals()):
        say(note)
    step("preparing the reference and the sweep's folder")
    parts = _parts(study, data, folder)
    context = JobContext.untrained(study, data, folder=folder)
    entries = entries_of(options, context, study_hash=content_hash(parts))
    manifest = open_folder(folder, study, data, options, parts, say=say)
    check_plans(entries, folder)
    for line in (*refusals(options, context), *_not_searched(options, study, entries)):
        say(line)
    repeats, confirm = max(options.seeds[0], manifest.repeats), max(options.seeds[1], manifest.confirm)
    if options.job is not None:  # its seeds are no seeds of the whole sweep
        repeats = manifest.repeats
    coverage = family_coverage(checked)
    known, manifest = manifest, replace(manifest, repeats=repeats, confirm=confirm)
    reference = replace(manifest.reference, **footing(study, parts))
    described = replace(manifest, coverage=known.coverage | coverage, reference=reference)
    if described != manifest and not _all_done(entries, folder):
        manifest = described
    if manifest != known:
        write_json(folder.manifest, manifest.to_json())
    context = JobContext.make(study, data, folder=folder)
    return PreparedSweep(options, context, manifest, options.target or study.target, entries, coverage)


def search_plan(
    options: Options, study: Study, entries: Sequence[Entry], manifest: Manifest, *, format: int
) -> SearchPlan:
    """What a search of the options is about, in a sweep whose packed files have `format`."""
    target = (options.target or study.target) if options.aimed else None
    confirm = manifest.confirm if options.method not in UNTRAINED else 0
    return SearchPlan(
        name=options.search,
        entries=Entries(entries),
        families={family.name: family.knobs for family in study.families},
        criteria=target.criteria(manifest.reference.val.score, confirm=confirm) if target else None,
        trials=options.trials,
        objectives=options.objectives,
        by=options.by,
        sizes="nominal" if format == 1 else "expected",  # as it began
    )


@dataclass(frozen=True)
class Outline:
    """What a run would do.

    Attributes:
        entries: the configurations that the options ask for.
        done: ids of the jobs that have a done record.
        needless: ids of the other jobs that a search would not start, since the results so far rule them out.
        over: whether a search would start no job at all.
        cost: of the jobs that may start; None where there are none.
        notes: what a run would say of the study, a line each.
    """

    entries: tuple[Entry, ...]
    done: frozenset[str]
    needless: frozenset[str]
    over: bool
    cost: Estimate | None
    notes: list[str]


def outline(options: Options) -> Outline:
    """What `options` ask for. Writes nothing, and trains one LC step of a job to time it.

    Raises:
        StudyError, StoreError, ValueError: as `prepare`.
    """
    said: list[str] = []
    study, data, folder = _load(options, say=said.append)
    checked = check(study, data)
    parts = _parts(study, data, folder)
    records: list[Record] = []
    if folder.manifest.exists():
        check_study(read_manifest(folder.root), study.name, parts, folder)
        records = read_records(folder.root)
    context = JobContext.untrained(study, data, folder=folder)
    entries = entries_of(options, context, study_hash=content_hash(parts))
    left = _may_start(entries, options, study, folder, records)
    said += [
        *notes(checked),
        *refusals(options, context),
        *_not_searched(options, study, entries),
        *shares(family_coverage(checked)),
    ]
    done = frozenset(record.id for record in finished(records))
    return Outline(
        entries,
        done,
        needless=_ids(entries) - _ids(left or ()) - done,
        over=left is None,
        cost=estimate(left or (), context, done=done, workers=options.workers, most=options.trials),
        notes=said,
    )


def _ids(entries: Sequence[Entry]) -> frozenset[str]:
    return frozenset(job.id for entry in entries for job in entry.jobs)


def _may_start(
    entries: Sequence[Entry], options: Options, study: Study, folder: SweepFolder, records: Sequence[Record]
) -> Sequence[Entry] | None:
    """The entries of which the results so far leave a search something to run; None where it is over."""
    if not options.aimed or not folder.manifest.exists():
        return entries
    from sweep.search.open import left_open  # imports Optuna, which no grid's dry run needs

    manifest = read_manifest(folder.root)
    manifest = replace(manifest, confirm=max(options.seeds[1], manifest.confirm))
    plan = search_plan(options, study, entries, manifest, format=read(folder.reference).format)
    numbers = left_open(plan, records=records)
    return None if numbers is None else [entries[number] for number in numbers]


def _load(options: Options, *, say: Say, step: Callable[[str], None] = ignore) -> tuple[Study, Data, SweepFolder]:
    if options.track is not None:
        check_tracker(options.track)
    step("loading the study")
    study = load_study(options.study, user_folder=options.user_folder)
    if options.aimed and (options.target or study.target) is None:
        raise NoTargetError(f"run --search {options.search}")
    if options.target is not None:
        options.target.check(study.metric)
    return study, load_splits(study, say=say), SweepFolder(options.out or Path("runs", study.name))


def _not_searched(options: Options, study: Study, entries: Sequence[Entry]) -> list[str]:
    """A line that names the families that a search leaves out, if any."""
    searched = {entry.family for entry in entries}
    left = [family.name for family in study.families if family.name not in searched]
    if not left or not options.aimed:
        return []
    return [f"not searched, since their sizes are not known before training: {', '.join(left)}"]


def _all_done(entries: Sequence[Entry], folder: SweepFolder) -> bool:
    """Whether every job has a done record. A sweep to which nothing is added stays as it is, file by file."""
    done = {record.id for record in finished(read_records(folder.root))}
    return all(job.id in done for entry in entries for job in entry.jobs)


def _parts(study: Study, data: Data, folder: SweepFolder) -> dict[str, str]:
    """The hashes of the study's parts; those that the sweep in `folder` states, for parts that have not changed."""
    known = read_manifest(folder.root).study_parts if folder.manifest.exists() else {}
    return recognised(study, data, known=known)
