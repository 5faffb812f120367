"""The command `lcsweep`. Heavy imports are inside the commands: `--help` and `status` load no torch, ray or pandas."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep.cli import files, text
from sweep.cli.answers import DONE, ERROR, INTERRUPTED, NO_MODEL, NOT_VERIFIED, SOME_FAILED, USAGE, fail, say, show
from sweep.cli.arguments import (
    ByName,
    DataFolder,
    Folder,
    FormatName,
    Json,
    MaxDrop,
    MethodName,
    MinAccuracy,
    Relative,
    SearchName,
    TrackerName,
    UsageError,
    target_of,
    use_data,
)
from sweep.criteria import NoTargetError, own_target
from sweep.pick.size_and_speed import speed_facts
from sweep.store import remote
from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Record
from sweep.store.records import read_records

if TYPE_CHECKING:
    from sweep.search.open import SweepSearch

EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx"}
"""Library -> the extra that brings it."""

CommandLineError: type[Any] = typer.BadParameter.__mro__[2]  # ClickException, which typer vendors and does not export


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compress a trained PyTorch network in many ways at once, and find the smallest that is accurate enough.",
    epilog="Exit codes: 0 done; 1 error; 2 usage; 3 some jobs failed; 4 no model meets the target; "
    "5 an artifact failed verification; 130 interrupted.",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; an error of the user's is one line on standard error."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given or ["--help"], standalone_mode=False, prog_name="lcsweep")
    except (UsageError, NoTargetError) as error:
        return fail(str(error), USAGE)
    except CommandLineError as error:
        return fail(error.format_message().replace("Value error, ", ""), USAGE)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return fail(f"{error.name} is not installed; it comes with pip install 'lcsweep[{EXTRAS[error.name]}]'", ERROR)
    except (ValueError, OSError) as error:
        if os.environ.get("LCSWEEP_DEBUG"):
            raise
        return fail(_one_line(error), NOT_VERIFIED if _is_artifact_error(error) else ERROR)
    if code == INTERRUPTED:  # typer's answer to KeyboardInterrupt
        return fail("interrupted; the same command goes on where it stopped", INTERRUPTED)
    return code if isinstance(code, int) else DONE


@app.command()
def run(
    study: Annotated[str, typer.Argument(help="A module (studies.digits_mlp), module:name, or a path to a .py file.")],
    search: Annotated[
        SearchName,
        typer.Option(
            help="All of the grid; the smallest model that meets the target, or the same by TPE; error against bytes."
        ),
    ] = (SearchName.grid),
    max_drop: MaxDrop = None,
    relative: Relative = False,
    min_accuracy: MinAccuracy = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="Start at most N jobs.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Jobs at once; as many as there is room for if unsaid.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="R", help="Seeds for each configuration.")] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="The first seed.")] = 0,
    confirm: Annotated[
        int, typer.Option(min=0, metavar="R", help="Fresh seeds, at least, that confirm a search's winner; 0: none.")
    ] = 3,
    macs: Annotated[bool, typer.Option("--macs", help="Minimise MACs too, with --search pareto.")] = False,
    method: Annotated[MethodName, typer.Option(help="LC, or direct compression without training.")] = MethodName.lc,
    out: Annotated[
        str | None, typer.Option(metavar="DIR", help="The sweep's folder, or a URL; runs/<study> if unsaid.")
    ] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Optuna's storage; DIR/study.db if unsaid.")
    ] = None,
    address: Annotated[str | None, typer.Option(metavar="ADDR", help="A Ray cluster: auto or HOST:PORT.")] = None,
    gpus_per_job: Annotated[float, typer.Option(min=0, metavar="F", help="GPUs of a job, or a part of one.")] = 0.0,
    track: Annotated[TrackerName | None, typer.Option(help="Log every LC step there too.")] = None,
    data: DataFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs, their nominal bytes, time and disk; run none.")
    ] = False,
) -> int:
    """Run the jobs of STUDY that are missing.

    All of its grid, or as many as a search for the smallest model at a target asks for. The same command again goes
    on where it stopped, and runs failed jobs again.
    """
    if macs and search != SearchName.pareto:
        raise UsageError("--macs: expected --search pareto, whose objectives it adds to")
    from sweep.run import driver
    from sweep.run.process import own_stream
    from sweep.run.progress import Progress

    use_data(data)
    url = out if out is not None and remote.is_url(out) else None
    options = driver.Options(
        study=study,
        user_folder=os.getcwd(),
        search=search.value,
        target=target_of(max_drop, min_accuracy, relative=relative),
        trials=trials,
        workers=_workers(workers, address, gpus_per_job),
        repeats=repeats,
        seed=seed,
        out=remote.begin(url) if url is not None else Path(out) if out is not None else None,
        storage=storage,
        address=address,
        method=method.value,
        confirm=confirm,
        objectives=("error", "bytes", "macs") if macs else ("error", "bytes"),
        gpus_per_job=gpus_per_job,
        url=url,
        tracker=track.value if track else None,
    )
    if dry_run:
        print(text.jobs(driver.outline(options), limit=trials, aimed=options.aimed))
        return DONE
    sweep = driver.prepare(options, say=say)
    say(text.reference(sweep.manifest))
    stream = own_stream(sys.stdout)

    def watch(search: "SweepSearch") -> Progress:
        say(text.plan(search, workers=options.workers, target=sweep.target))
        return Progress(
            total=search.left(),
            workers=options.workers,
            stream=stream,
            known=search.records(),
            least_accuracy=sweep.threshold,
        )

    outcome = driver.run(sweep, watch=watch)
    say(text.summary(outcome.summary))
    if outcome.choice is not None:
        say(text.chosen(outcome.choice, sweep.manifest))
    say(text.what_next(url or sweep.folder.root, failed=outcome.summary.failed))
    if outcome.summary.failed:
        return SOME_FAILED
    missed = outcome.choice is not None and not outcome.choice.feasible
    return NO_MODEL if missed and options.aimed else DONE


@app.command()
def status(folder: Folder, as_json: Json = False) -> int:
    """Say how far a sweep is.

    Jobs done and failed, with the cause; what its searches did; the reference; the pick.
    """
    root = remote.local(folder, but_for=remote.LARGE)
    manifest, records = read_manifest(root), read_records(root)
    searches = [read_optional(path) or {} for path in sorted(SweepFolder(root).searches.glob("*.json"))]
    facts = {
        "folder": folder if remote.is_url(folder) else str(root),
        "study": manifest["study"],
        "reference": manifest["reference"],
        "done": sum(record["status"] == "done" for record in records),
        "stopped": sum(record["status"] == "stopped" for record in records),
        "failed": [
            {name: record[name] for name in ("id", "family", "configuration", "seed", "error")}
            | {"record": str(SweepFolder(root).record(record["id"]))}
            for record in records
            if record["status"] == "failed"
        ],
        "searches": searches,
        "pick": _pick(root, records),
    }
    show(facts, text.status(facts, manifest), as_json=as_json)
    return DONE


@app.command()
def report(
    folder: Folder,
    max_drop: MaxDrop = None,
    relative: Relative = False,
    min_accuracy: MinAccuracy = None,
    by: Annotated[ByName, typer.Option(help="What the pick that is drawn minimises.")] = ByName.bytes,
    format: Annotated[
        FormatName,
        typer.Option(help="The page; Markdown and a figure for a pull request; or the records, a row a job."),
    ] = FormatName.html,
    as_json: Json = False,
) -> int:
    """Draw the front and write the page.

    DIR/report/index.html, and beside it the figures, as .png, .svg and .pdf; or report.md with front.png; or
    records.csv, records.parquet or records.json, whose columns docs/records.md explains.
    """
    root = remote.local(folder)
    manifest = read_manifest(root)
    target = target_of(max_drop, min_accuracy, relative=relative) or own_target(manifest)
    match format:
        case FormatName.html:
            from reports import write_report

            summary = write_report(root, target=target, by=by.value)
            show(summary, text.report(summary), as_json=as_json)
        case FormatName.md:
            from reports.digest import write_digest

            summary = write_digest(root, target=target, by=by.value)
            show(summary, text.digest(summary), as_json=as_json)
        case _:
            from reports.exports import export_records

            summary = export_records(root, format=format.value)
            show(summary, text.exported(summary), as_json=as_json)
    remote.put_back(folder, SweepFolder(root).report)
    return DONE


@app.command()
def compare(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR[:PART]...",
            help="Sweeps' folders, two or more; PART is lc, dc or a family, as reports name it: runs/digits_mlp:dc.",
        ),
    ],
    max_drop: MaxDrop = None,
    relative: Relative = False,
    min_accuracy: MinAccuracy = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write compare.md, .png, .svg and .pdf there too.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare fronts.

    Hypervolume, and the smallest model of each sweep at equal validation errors: that of the first's reference, some
    points more, and the target. The sweeps may differ in all but the data.
    """
    if len(sweeps) < 2:
        raise UsageError(f"compare: expected two sweeps or more, got {sweeps[0]} alone; a part of one is DIR:PART")
    from reports import compare_page
    from reports.compare import compare as compare_sweeps
    from reports.compare import facts

    comparison = compare_sweeps(sweeps, target=target_of(max_drop, min_accuracy, relative=relative))
    paths = {} if out is None else compare_page.write_comparison(comparison, out)
    tables = (compare_page.sides_table(comparison), compare_page.levels_table(comparison))
    words = text.compared([(table.lines, table.right) for table in tables], compare_page.meanings(comparison), paths)
    show(facts(comparison) | {"paths": paths}, words, as_json=as_json)
    return DONE


@app.command()
def pick(
    folder: Folder,
    max_drop: MaxDrop = None,
    relative: Relative = False,
    min_accuracy: MinAccuracy = None,
    by: Annotated[
        ByName, typer.Option(help="What to minimise; latency is that of models that bench has measured.")
    ] = ByName.bytes,
    confident: Annotated[
        bool, typer.Option("--confident", help="The 95 % bound must meet the target, in every seed.")
    ] = False,
    knee: Annotated[bool, typer.Option("--knee", help="No target: the bend of the front.")] = False,
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study, where it is no longer where it was.")
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Choose the model to deploy.

    The smallest that meets the target on validation, else the nearest miss (exit code 4). Proves its file, and
    measures it on the test split, once.
    """
    from sweep.pick import picking

    use_data(data)
    root = remote.local(folder)
    manifest = read_manifest(root)
    target = target_of(max_drop, min_accuracy, relative=relative)
    if knee and (target is not None or confident):
        raise UsageError("--knee: expected no target beside it, got --max-drop, --min-accuracy or --confident")
    target = None if knee else target or own_target(manifest)
    if target is None and not knee:
        raise NoTargetError("pick")
    picked = picking.pick_model(
        root, target=target, by=by.value, user_folder=os.getcwd(), study_reference=study, confident=confident
    )
    remote.put_back(folder, SweepFolder(root).pick, SweepFolder(root).test)
    show(picked, text.picked(picked, SweepFolder(root).report / "index.html"), as_json=as_json)
    return DONE if picked["meets_target"] else NO_MODEL


for command in (files.export, files.verify, files.bench):
    app.command()(command)


def _pick(root: Path, records: list[Record]) -> dict[str, Any] | None:
    """The pick, with what has been found of its speed since."""
    picked = read_optional(SweepFolder(root).pick)
    own = [record for record in records if picked and record["id"] == picked["id"] and record["status"] == "done"]
    return picked | speed_facts(own[0]) if picked and own else picked


def _workers(wanted: int | None, address: str | None, gpus_per_job: float) -> int:
    """Jobs at once: as many as wanted, or as there is room for."""
    if address is None:
        from sweep.run.process import cores

        return wanted or cores()
    from sweep.run.cluster import survey

    room = survey(address, gpus_per_job=gpus_per_job)
    if not room.free:
        say(f"the cluster at {address} is busy: the jobs wait until it has room for one")
    return wanted or room.jobs


def _is_artifact_error(error: Exception) -> bool:
    artifact = sys.modules.get("lc_core.file.artifact")  # not imported: nothing of it was raised
    return artifact is not None and isinstance(error, artifact.ArtifactError)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split())
