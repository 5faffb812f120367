"""A sweep from its options to its records: the study, the reference, what is known, the search, the runner."""

import dataclasses
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lc_core.file.artifact import encode, read
from lc_core.training.loop import train_reference
from sweep.criteria import NoTargetError, Target
from sweep.job.compress import job_sizes
from sweep.job.context import JobContext, settle_process, split_arrays
from sweep.job.measure import measure
from sweep.pick.choice import Choice, candidates, chosen
from sweep.run.estimate import Estimate, estimate
from sweep.run.progress import Progress
from sweep.run.tracking import Tracker, Tracking
from sweep.search.index import index_url, open_index, storage_errors
from sweep.search.open import SweepSearch, open_search
from sweep.search.protocol import FOR_A_TARGET, Entries, Entry, SearchName, SearchPlan
from sweep.search.summary import SearchSummary
from sweep.store import remote
from sweep.store.files import FORMAT, StoreError, write_json, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import Job, Method, content_hash, versions
from sweep.store.lock import locked
from sweep.store.manifest import read_manifest
from sweep.store.record import label
from sweep.store.records import read_records
from sweep.study import Data, Study, check_levels
from sweep.study.earlier import recognised
from sweep.study.loading import StudyError, lasting_reference, load_splits, load_study, users_code

Say = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What `lcsweep run` was asked for.

    Attributes:
        study: a module, `module:name` or a path to a .py file.
        user_folder: where the user stands.
        search: "grid", "smallest", "tpe" or "pareto".
        target: overrides the study's.
        trials: at most so many jobs are started.
        workers: jobs at once.
        repeats: seeds a configuration.
        seed: the first of them.
        out: the sweep's folder; runs/<study> when None.
        storage: Optuna's, a URL; study.db in the folder when None.
        address: of a Ray cluster; None to start Ray here.
        method: "lc" or "dc".
        confirm: fresh seeds, at least, on which a search for a target confirms its winner.
        objectives: what a search without a target minimises.
        gpus_per_job: a number, or a fraction of one.
        url: of the cloud folder that `out` mirrors; None for a folder that is what it is.
        tracker: "mlflow" or "wandb" hears of every LC step.
    """

    study: str
    user_folder: str
    search: SearchName
    target: Target | None
    trials: int | None
    workers: int
    repeats: int
    seed: int
    out: Path | None
    storage: str | None
    address: str | None
    method: Method
    confirm: int = 0
    objectives: tuple[str, ...] = ("error", "bytes")
    gpus_per_job: float = 0.0
    url: str | None = None
    tracker: Tracker | None = None

    @property
    def aimed(self) -> bool:
        """Whether the search is for the smallest that meets a target."""
        return self.search in FOR_A_TARGET

    @property
    def seeds(self) -> tuple[int, int]:
        """Seeds of a configuration and fresh ones of a winner; direct compression draws nothing, and needs one."""
        return (self.repeats, self.confirm if self.aimed else 0) if self.method == "lc" else (1, 0)


@dataclass(frozen=True)
class Sweep:
    """A sweep ready to run: its study, its folder with the reference in it, and the search's configurations."""

    options: Options
    context: JobContext
    manifest: dict[str, Any]
    target: Target | None
    entries: tuple[Entry, ...]

    @property
    def folder(self) -> SweepFolder:
        return self.context.folder

    @property
    def threshold(self) -> float | None:
        """The least validation accuracy that meets the target; None without one."""
        return self.target.threshold(self.manifest["reference"]["val"]["accuracy"]) if self.target else None


@dataclass(frozen=True)
class Outcome:
    """What a run came to: the search's summary, and what it would choose now; None without a target."""

    summary: SearchSummary
    choice: Choice | None


def prepare(options: Options, *, say: Say) -> Sweep:
    """The sweep that `options` ask for; trains and stores the reference where it is missing.

    Raises:
        StudyError, StoreError, ValueError: one line each, for the user.
    """
    study, data, folder = _load(options)
    parts = _parts(study, data, folder)
    entries = _entries(JobContext.untrained(study, data, folder=folder), options, content_hash(parts))
    manifest = _open_folder(folder, study, data, options, parts, say=say)
    _refuse_other_plans(entries, folder)
    searched = {entry.family for entry in entries}
    left = [family.name for family in study.families if family.name not in searched]
    if left and options.aimed:
        say(f"not searched, since their sizes are not known before training: {', '.join(left)}")
    repeats, confirm = max(options.repeats, manifest["repeats"]), max(options.seeds[1], manifest.get("confirm", 0))
    if (repeats, confirm) != (manifest["repeats"], manifest.get("confirm", 0)):
        manifest |= {"repeats": repeats, "confirm": confirm}
        write_json(folder.manifest, manifest)
    context = JobContext.make(study, data, folder=folder)
    return Sweep(options, context, manifest, options.target or study.target, entries)


@dataclass(frozen=True)
class Outline:
    """What a run would do.

    Attributes:
        entries: the configurations that the options ask for.
        done: ids of the jobs that have a record that says so.
        cost: of the others; None where there are none.
    """

    entries: tuple[Entry, ...]
    done: list[str]
    cost: Estimate | None


def outline(options: Options) -> Outline:
    """What `options` ask for. Writes nothing, and trains one LC step of a job to time it.

    Raises:
        StudyError, StoreError, ValueError: as `prepare`.
    """
    study, data, folder = _load(options)
    parts = _parts(study, data, folder)
    done: list[str] = []
    if folder.manifest.exists():
        _same_study(read_manifest(folder.root), study.name, parts, folder)
        done = [record["id"] for record in read_records(folder.root) if record["status"] == "done"]
    context = JobContext.untrained(study, data, folder=folder)
    entries = _entries(context, options, content_hash(parts))
    return Outline(entries, done, estimate(entries, context, done=done, workers=options.workers))


def run(
    sweep: Sweep,
    *,
    watch: Callable[[SweepSearch], AbstractContextManager[Progress]],
    execute: Callable[..., None] | None = None,
) -> Outcome:
    """Runs what is missing.

    `watch` makes the progress that the user sees; `execute` does the jobs that the search asks for, and is
    `runner.run` or has its signature.
    """
    if execute is None:
        from sweep.run import runner  # imports ray: only for those who run

        execute = runner.run

    started = time.monotonic()
    options, folder, study = sweep.options, sweep.folder, sweep.context.study
    storage = options.storage or index_url(folder.index)
    tracking = Tracking(options.tracker, study.name) if options.tracker else None
    with locked(folder) as lock, storage_errors(storage):
        if options.url is not None:
            remote.put(options.url, folder.reference.parent.name, folder.manifest.name)
        search = _open_search(sweep, storage)
        try:
            with watch(search) as progress:
                execute(
                    search,
                    folder=folder.root,
                    study_reference=options.study,
                    user_folder=options.user_folder,
                    splits=split_arrays(sweep.context.data),
                    workers=options.workers,
                    address=options.address,
                    watch=progress,
                    check=lock.check,
                    gpus_per_job=options.gpus_per_job,
                    url=options.url,
                    tracking=tracking,
                )
        finally:
            target = sweep.target.as_dict() if sweep.target and options.aimed else None
            summary = search.summary(target=target, seconds=time.monotonic() - started)
            write_json(folder.search(options.search, method=options.method), summary.to_json())
            search.write()
            if options.url is not None:
                remote.put(options.url, folder.searches.name)
    return Outcome(summary, _choice(sweep))


def _open_search(sweep: Sweep, storage: str) -> SweepSearch:
    """The search that the options ask for, with its index in `storage`."""
    options, study, target = sweep.options, sweep.context.study, sweep.target if sweep.options.aimed else None
    confirm = sweep.manifest["confirm"] if options.method == "lc" else 0
    accuracy = sweep.manifest["reference"]["val"]["accuracy"]
    plan = SearchPlan(
        name=options.search,
        entries=Entries(sweep.entries),
        families={family.name: family.knobs for family in study.families},
        criteria=target.criteria(accuracy, confirm=confirm) if target else None,
        trials=options.trials,
        objectives=options.objectives,
    )
    index = open_index(
        storage,
        study=study.name,
        search=options.search,
        target=target.as_dict() if target else {},
        space=_space_hash(sweep),
        objectives=len(options.objectives),
    )
    return open_search(plan, records=read_records(sweep.folder.root), index=index)


def _space_hash(sweep: Sweep) -> str:
    """Of the sweep, the method and the levels: Optuna allows no change of a study's categories."""
    levels = [[family.name, dict(family.knobs)] for family in sweep.context.study.families]  # their order counts
    return content_hash([sweep.manifest["sweep"], sweep.options.method, levels])[:8]


def _load(options: Options) -> tuple[Study, Data, SweepFolder]:
    study = load_study(options.study, user_folder=options.user_folder)
    if options.aimed and (options.target or study.target) is None:
        raise NoTargetError(f"run --search {options.search}")
    data = load_splits(study)
    with users_code(f"study {study.name}: build_model failed"):
        model = study.seeded_model()
    check_levels(study, model)
    return study, data, SweepFolder(options.out or Path("runs", study.name))


def _parts(study: Study, data: Data, folder: SweepFolder) -> dict[str, str]:
    """The study's parts, as the sweep in `folder` has them where they have not changed since."""
    known = read_manifest(folder.root)["study_parts"] if folder.manifest.exists() else {}
    return recognised(study, data, known=known)


def _choice(sweep: Sweep) -> Choice | None:
    found = candidates(read_records(sweep.folder.root))
    return chosen(found, sweep.manifest, target=sweep.target) if sweep.target else None


def _entries(context: JobContext, options: Options, study_hash: str) -> tuple[Entry, ...]:
    study = context.study
    entries = []
    for family in study.families:
        for configuration in family.grid_configurations() if options.search == "grid" else family.configurations():
            jobs = tuple(
                Job(study_hash, family.name, configuration, options.method, seed, dataclasses.asdict(study.schedule))
                for seed in range(options.seed, options.seed + options.seeds[0])
            )
            sizes = job_sizes(jobs[0], context)
            if sizes.fixed or not options.aimed:
                facts = (sizes.nominal_bytes, sizes.macs, sizes.fixed, sizes.plan)
                entries.append(Entry(family.name, configuration, *facts, jobs))
    if not entries:
        raise StudyError(
            f"study {study.name}: expected a family whose sizes are known before training, for a search of the "
            "smallest; got none; run --search grid"
        )
    _check_order([entry for entry in entries if entry.fixed], study)
    return tuple(entries)


def _check_order(entries: Sequence[Entry], study: Study) -> None:
    """ValueError where a knob's levels do not go from loosest to tightest, by the sizes that follow from them."""
    sizes = {(entry.family, *entry.configuration.values()): entry.nominal_bytes for entry in entries}
    for entry in entries:
        for place, (knob, levels) in enumerate(study.family(entry.family).knobs.items()):
            for tighter in levels[levels.index(entry.configuration[knob]) + 1 :]:
                values = list(entry.configuration.values())
                values[place] = tighter
                size = sizes.get((entry.family, *values), 0)
                if size > entry.nominal_bytes:
                    raise StudyError(
                        f"study {study.name}, family {entry.family}: expected the levels of {knob} from loosest to "
                        f"tightest, got {entry.configuration[knob]} ({entry.nominal_bytes} bytes) before {tighter} "
                        f"({size} bytes)"
                    )
                if size:
                    break


def _open_folder(
    folder: SweepFolder, study: Study, data: Data, options: Options, parts: dict[str, str], *, say: Say
) -> dict[str, Any]:
    """The manifest of the sweep in `folder`, which is begun where it is new. A sweep of another study is refused."""
    manifest = read_manifest(folder.root) if folder.manifest.exists() else None
    if manifest is not None:
        _same_study(manifest, study.name, parts, folder)
    elif not folder.reference.exists() and folder.root.exists() and not _unused(folder):
        raise StoreError(
            f"{folder.root}: not a sweep, and not empty; expected a new folder or one that lcsweep made: "
            "name another with --out"
        )
    _make_writable(folder.root)
    if not _reference_fits(folder, content_hash(parts)):
        _train_reference(folder, study, data, content_hash(parts), say=say)
        manifest = None
    if manifest is None:
        manifest = _new_manifest(folder, study, data, options, parts)
        write_json(folder.manifest, manifest)
    return manifest


def _same_study(manifest: dict[str, Any], name: str, parts: dict[str, str], folder: SweepFolder) -> None:
    if manifest["study"] != name:
        raise StoreError(
            f"{folder.root}: holds a sweep of study {manifest['study']}, not of {name}; name another folder with --out"
        )
    changed = [part for part in parts if manifest["study_parts"].get(part) != parts[part]]
    if changed:
        raise StoreError(
            f"{folder.root}: holds a sweep of another state of study {manifest['study']}: its "
            f"{' and '.join(changed)} changed since; begin a new sweep with --out, or restore the study"
        )


def _refuse_other_plans(entries: Sequence[Entry], folder: SweepFolder) -> None:
    """StoreError where a record of one of `entries` was made when its family's plan said something else."""
    plans = {job.id: entry.plan for entry in entries for job in entry.jobs}
    for record in read_records(folder.root):
        if record["status"] == "done" and record["plan"] != plans.get(record["id"], record["plan"]):
            what = f"family {record['family']}, {label(record['configuration'])}"
            raise StoreError(
                f"{folder.root}: holds results of {what}, from when its plan said something else; give the family "
                "another name, or begin a new sweep with --out"
            )


def _make_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=root):
            pass
    except OSError as error:
        raise StoreError(
            f"{root}: expected a folder that can be written ({error.strerror}); name another with --out"
        ) from error


def _unused(folder: SweepFolder) -> bool:
    """Whether the folder is empty, but for what a driver left that was killed while it wrote the reference."""
    return folder.root.is_dir() and all(path == folder.reference.parent for path in folder.root.iterdir())


def _reference_fits(folder: SweepFolder, study_hash: str) -> bool:
    if not folder.reference.exists():
        return False
    return bool(read(folder.reference).info["study_hash"] == study_hash)


def _train_reference(folder: SweepFolder, study: Study, data: Data, study_hash: str, *, say: Say) -> None:
    say(f"training the reference of {study.name}: {study.reference.epochs:g} epochs")
    settle_process()
    model = study.seeded_model()
    with users_code(f"study {study.name}: training the reference failed"):
        train_reference(model, data.train.inputs, data.train.targets, loss=study.loss, recipe=study.reference)
    info = {"study": study.name, "study_hash": study_hash}
    write_whole(folder.reference, encode((), (), model.state_dict(), info=info))


def _new_manifest(
    folder: SweepFolder, study: Study, data: Data, options: Options, parts: dict[str, str]
) -> dict[str, Any]:
    context = JobContext.make(study, data, folder=folder)
    model = study.build_model()
    model.load_state_dict(context.reference)
    return {
        "format": FORMAT,
        "study": study.name,
        "reference_study": lasting_reference(options.study, user_folder=options.user_folder),
        "study_hash": content_hash(parts),
        "study_parts": parts,
        "metric": "accuracy",
        "user_folder": options.user_folder,
        "sweep": uuid.uuid4().hex,
        "repeats": options.repeats,
        "confirm": options.seeds[1],
        "target": study.target.as_dict() if study.target else None,
        "splits": {name: len(getattr(data, name).targets) for name in ("train", "val", "test")},
        "reference": {
            "bytes": context.reference_bytes,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "macs": context.reference_macs,
            "val": measure(model, data.val, study=study),
        },
        "versions": versions(),
    }
