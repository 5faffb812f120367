"""The command `lcsweep`. Heavy imports are inside the commands: `--help` and `status` load no torch, ray or pandas."""

import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sweep import text
from sweep.pick import NoTargetError, Target
from sweep.store import StoreError, SweepFolder, read_manifest, read_optional, read_records, write_whole

if TYPE_CHECKING:
    from sweep.search import IndexedSearch

DONE, ERROR, USAGE, SOME_FAILED, NO_MODEL, NOT_VERIFIED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


CommandLineError: type[Any] = typer.BadParameter.__mro__[2]  # ClickException, which typer vendors and does not export


class UsageError(ValueError):
    """A command line that makes no sense as a whole."""


class SearchName(StrEnum):
    """How the next job is chosen."""

    grid = "grid"
    smallest = "smallest"
    tpe = "tpe"
    pareto = "pareto"


class MethodName(StrEnum):
    """What a job does."""

    lc = "lc"
    dc = "dc"


class ByName(StrEnum):
    """What a pick minimises."""

    bytes = "bytes"
    macs = "macs"


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Compress a trained PyTorch network in many ways at once, and find the smallest that is accurate enough.",
    epilog="Exit codes: 0 done; 1 error; 2 usage; 3 some jobs failed; 4 no model meets the target; "
    "5 an artifact failed verification; 130 interrupted.",
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The sweep's folder, such as runs/digits_mlp.")]
MaxDrop = Annotated[
    float | None, typer.Option(metavar="F", help="At most this far below the reference's accuracy (0.01: one point).")
]
MinAccuracy = Annotated[float | None, typer.Option(metavar="F", help="At least this accuracy, a fraction.")]

DATA = "LCSWEEP_DATA"
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", exists=True, file_okay=False, envvar=DATA, help="Where studies find data."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code; an error of the user's is one line on standard error."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given or ["--help"], standalone_mode=False, prog_name="lcsweep")
    except (UsageError, NoTargetError) as error:
        return _fail(str(error), USAGE)
    except CommandLineError as error:
        return _fail(error.format_message().replace("Value error, ", ""), USAGE)
    except (ValueError, OSError) as error:
        if os.environ.get("LCSWEEP_DEBUG"):
            raise
        return _fail(_one_line(error), NOT_VERIFIED if _is_artifact_error(error) else ERROR)
    if code == INTERRUPTED:  # typer's answer to KeyboardInterrupt
        return _fail("interrupted; the same command goes on where it stopped", INTERRUPTED)
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
    min_accuracy: MinAccuracy = None,
    trials: Annotated[int | None, typer.Option(min=1, metavar="N", help="Start at most N jobs.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Jobs at once; a core each if unsaid.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, metavar="R", help="Seeds for each configuration.")] = 1,
    seed: Annotated[int, typer.Option(min=0, metavar="S", help="The first seed.")] = 0,
    confirm: Annotated[
        int, typer.Option(min=0, metavar="R", help="Fresh seeds, at least, that confirm a search's winner; 0: none.")
    ] = 3,
    macs: Annotated[bool, typer.Option("--macs", help="Minimise MACs too, with --search pareto.")] = False,
    method: Annotated[MethodName, typer.Option(help="LC, or direct compression without training.")] = MethodName.lc,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="The sweep's folder; runs/<study> if unsaid.")] = None,
    storage: Annotated[
        str | None, typer.Option(metavar="URL", help="Optuna's storage; DIR/study.db if unsaid.")
    ] = None,
    address: Annotated[str | None, typer.Option(metavar="ADDR", help="A Ray cluster: auto or HOST:PORT.")] = None,
    data: DataFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs with their nominal bytes; run none.")
    ] = False,
) -> int:
    """Run the jobs of STUDY that are missing.

    All of its grid, or as many as a search for the smallest model at a target asks for. The same command again goes
    on where it stopped, and runs failed jobs again.
    """
    from sweep import driver
    from sweep.process import own_stream
    from sweep.progress import Progress

    _use_data(data)
    options = driver.Options(
        study=study,
        user_folder=os.getcwd(),
        search=search.value,
        target=_target(max_drop, min_accuracy),
        trials=trials,
        workers=workers or _cores(),
        repeats=repeats,
        seed=seed,
        out=out,
        storage=storage,
        address=address,
        method=method.value,
        confirm=confirm,
        objectives=("error", "bytes", "macs") if macs else ("error", "bytes"),
    )
    if macs and search != SearchName.pareto:
        raise UsageError("--macs: expected --search pareto, whose objectives it adds to")
    if dry_run:
        entries, done = driver.outline(options)
        print(text.jobs(entries, done, limit=trials))
        return DONE
    sweep = driver.prepare(options, say=_say)
    _say(text.reference(sweep.manifest))
    stream = own_stream(sys.stdout)

    def watch(search: "IndexedSearch") -> Progress:
        _say(text.plan(search, workers=options.workers, target=sweep.target))
        return Progress(
            total=search.left() if search.threshold is None else None,
            workers=options.workers,
            stream=stream,
            known=search.records(),
            least_accuracy=sweep.threshold,
        )

    outcome = driver.run(sweep, watch=watch)
    _say(text.summary(outcome.summary))
    if outcome.choice is not None:
        _say(text.chosen(outcome.choice, sweep.manifest))
    _say(text.what_next(sweep.folder.root, failed=outcome.summary["failed"]))
    if outcome.summary["failed"]:
        return SOME_FAILED
    missed = outcome.choice is not None and not outcome.choice.feasible
    return NO_MODEL if missed and options.aimed else DONE


@app.command()
def status(folder: Folder, as_json: Json = False) -> int:
    """Say how far a sweep is.

    Jobs done and failed, with the cause; what its searches did; the reference; the pick.
    """
    manifest, records = read_manifest(folder), read_records(folder)
    searches = [read_optional(path) or {} for path in sorted(SweepFolder(folder).searches.glob("*.json"))]
    facts = {
        "folder": str(folder),
        "study": manifest["study"],
        "reference": manifest["reference"],
        "done": sum(record["status"] == "done" for record in records),
        "failed": [
            {name: record[name] for name in ("id", "family", "configuration", "seed", "error")}
            | {"record": str(SweepFolder(folder).record(record["id"]))}
            for record in records
            if record["status"] == "failed"
        ],
        "searches": searches,
        "pick": read_optional(SweepFolder(folder).pick),
    }
    _print(facts, text.status(facts, manifest), as_json=as_json)
    return DONE


@app.command()
def report(
    folder: Folder,
    max_drop: MaxDrop = None,
    min_accuracy: MinAccuracy = None,
    by: Annotated[ByName, typer.Option(help="What the pick that is drawn minimises.")] = ByName.bytes,
    as_json: Json = False,
) -> int:
    """Draw the front and write the page.

    DIR/report/index.html, and beside it the figures: front (against bytes) and macs, as .png, .svg and .pdf.
    """
    from reports import write_report

    manifest = read_manifest(folder)
    summary = write_report(folder, target=_target(max_drop, min_accuracy) or _own_target(manifest), by=by.value)
    _print(summary, text.report(summary), as_json=as_json)
    return DONE


@app.command()
def pick(
    folder: Folder,
    max_drop: MaxDrop = None,
    min_accuracy: MinAccuracy = None,
    by: Annotated[ByName, typer.Option(help="What to minimise.")] = ByName.bytes,
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
    from sweep import prove

    _use_data(data)
    manifest = read_manifest(folder)
    target = _target(max_drop, min_accuracy) or _own_target(manifest)
    if target is None:
        raise NoTargetError("pick")
    picked = prove.pick_model(folder, target=target, by=by.value, user_folder=os.getcwd(), study_reference=study)
    _print(picked, text.picked(picked, SweepFolder(folder).report / "index.html"), as_json=as_json)
    return DONE if picked["meets_target"] else NO_MODEL


@app.command()
def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the packed file goes.")],
    trial: Annotated[
        str | None, typer.Option(metavar="ID", help="A job, by the start of its id; the pick if unsaid.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Copy a packed model out of a sweep.

    After proof of its bytes, hash and decoding. Exit code 4 when it is a pick that missed its target.
    """
    from lc_core.artifact import ArtifactError, read
    from sweep.prove import describe

    record = _record_of(folder, trial)
    path = SweepFolder(folder).artifact(record["id"])
    facts = describe(path, read(path))
    if facts["sha256"] != record["artifact_sha256"]:
        raise ArtifactError(
            f"{path}: expected SHA-256 {record['artifact_sha256']}, as its record says, got {facts['sha256']}"
        )
    if out.exists() and out.read_bytes() != path.read_bytes():
        raise StoreError(f"{out}: there is another file of that name; expected a new one: move it away or name another")
    write_whole(out, path.read_bytes())
    facts["file"] = str(out)
    _print(facts, text.artifact(facts), as_json=as_json)
    picked = read_optional(SweepFolder(folder).pick) if trial is None else None
    if picked is not None and not picked["meets_target"]:
        return _fail(f"exported the nearest miss: {text.verdict(picked)}", NO_MODEL)
    return DONE


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed model, .lcz.")],
    study: Annotated[str | None, typer.Option(metavar="STUDY", help="Also prove the outputs, with this study.")] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Prove a packed model.

    Its bytes, hash and decoding; with the study, its outputs too. Runs nothing that the file names.
    """
    from sweep import prove

    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected a packed model, such as one made by lcsweep export")
    _use_data(data)
    facts = prove.verify(file, study_reference=study, user_folder=os.getcwd())
    _print(facts, text.artifact(facts), as_json=as_json)
    return DONE


def _target(max_drop: float | None, min_accuracy: float | None) -> Target | None:
    if max_drop is None and min_accuracy is None:
        return None
    try:
        return Target(max_drop=max_drop, min_accuracy=min_accuracy)
    except ValueError as error:
        raise UsageError(
            str(error).replace("max_drop", "--max-drop").replace("min_accuracy", "--min-accuracy")
        ) from error


def _use_data(folder: Path | None) -> None:
    """Has studies look there, in this process and in those that Ray starts from it."""
    if folder is not None:
        os.environ[DATA] = str(folder.resolve())


def _own_target(manifest: dict[str, Any]) -> Target | None:
    return Target(**manifest["target"]) if manifest["target"] else None


def _record_of(folder: Path, trial: str | None) -> dict[str, Any]:
    """The record of the job whose id starts with `trial`; of the pick without one."""
    read_manifest(folder)
    wanted = trial
    if wanted is None:
        picked = read_optional(SweepFolder(folder).pick)
        if picked is None:
            raise StoreError(f"{folder}: nothing was picked yet; run lcsweep pick {folder}, or name a job with --trial")
        wanted = picked["id"]
    found = [r for r in read_records(folder) if r["id"].startswith(wanted) and r["status"] == "done"]
    if len(found) != 1:
        raise StoreError(f"{folder}: expected one finished job whose id starts with {wanted!r}, found {len(found)}")
    return found[0]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _print(facts: dict[str, Any], words: str, *, as_json: bool) -> None:
    print(json.dumps(facts, indent=1) if as_json else words)


def _say(words: str) -> None:
    print(words, flush=True)


def _fail(message: str, code: int) -> int:
    print(f"lcsweep: {message}", file=sys.stderr)
    return code


def _is_artifact_error(error: Exception) -> bool:
    artifact = sys.modules.get("lc_core.artifact")  # not imported: nothing of it was raised
    return artifact is not None and isinstance(error, artifact.ArtifactError)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split())
