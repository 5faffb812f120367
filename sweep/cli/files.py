"""The commands about files of models: `export`, `verify`, `bench`. Heavy imports are inside the commands."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.cli import text, text_latency
from sweep.cli.answers import DONE, NO_MODEL, fail, progress, show
from sweep.cli.arguments import DataFolder, FileFormatName, Folder, Int8Name, Json, UsageError, use_data
from sweep.pick.size_and_speed import speed_facts
from sweep.store import remote
from sweep.store.files import StoreError, read_optional, write_new
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.records import find_job, read_records


def export(
    folder: Folder,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the file goes.")],
    trial: Annotated[
        str | None, typer.Option(metavar="ID", help="A job, by the start of its id; the pick if unsaid.")
    ] = None,
    form: Annotated[
        FileFormatName, typer.Option("--format", help="The packed file as it is, or an ONNX file that stands alone.")
    ] = FileFormatName.lcz,
    int8: Annotated[
        Int8Name | None, typer.Option(help="ONNX: also compute in eight bits, ranges calibrated or taken in each run.")
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY", help="Also prove a packed file's outputs, with this study; ONNX: where it moved to."
        ),
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Take a model out of a sweep.

    After proof of its bytes, hash and decoding; an ONNX file (which needs the study) after proof of its outputs too.
    Exit code 4 when it is a pick that missed its target.
    """
    root = remote.local(folder)
    record = _record_of(root, trial)
    if form == FileFormatName.onnx:
        from sweep.pick import export

        use_data(data)
        facts = export.export_onnx(
            root,
            record,
            out=out,
            int8=None if int8 is None else int8.value,
            study_reference=study,
            user_folder=os.getcwd(),
        )
        show(facts, text.onnx_file(facts), as_json=as_json)
    elif int8:
        raise UsageError("--int8: expected --format onnx, whose files it is for")
    else:
        use_data(data)
        facts = _export_packed(root, record, out, study)
        show(facts, text.artifact(facts), as_json=as_json)
    picked = read_optional(SweepFolder(root).pick) if trial is None else None
    if picked is not None and not picked["meets_target"]:
        return fail(f"exported the nearest miss: {text.verdict(picked)}", NO_MODEL)
    return DONE


def _export_packed(root: Path, record: dict[str, Any], out: Path, study: str | None) -> dict[str, Any]:
    """Copies the packed file of a job to `out` after its proof; what it is."""
    from lc_core.file.artifact import ArtifactError
    from sweep.pick.verify import verify

    path = SweepFolder(root).artifact(record["id"])
    facts = verify(path, study_reference=study, user_folder=os.getcwd())
    if facts["sha256"] != record["artifact_sha256"]:
        raise ArtifactError(
            f"{path}: expected SHA-256 {record['artifact_sha256']}, as its record says, got {facts['sha256']}"
        )
    write_new(out, path.read_bytes())
    return facts | {"file": str(out)} | speed_facts(record)


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed model, .lcz, or an exported one, .onnx.")],
    study: Annotated[str | None, typer.Option(metavar="STUDY", help="Also prove the outputs, with this study.")] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Prove a packed model, or an ONNX file of one.

    Its bytes, hash and decoding; with the study, its outputs too. Runs nothing that the file names.
    """
    if not file.is_file():
        raise UsageError(f"{file}: no such file; expected a packed model, such as one made by lcsweep export")
    use_data(data)
    if file.suffix == ".onnx":
        from sweep.pick import export

        facts = export.verify_onnx(file, study_reference=study, user_folder=os.getcwd())
        show(facts, text.onnx_file(facts), as_json=as_json)
        return DONE
    from sweep.pick import verify

    facts = verify.verify(file, study_reference=study, user_folder=os.getcwd())
    show(facts, text.artifact(facts), as_json=as_json)
    return DONE


def bench(
    what: Annotated[
        list[str],
        typer.Argument(metavar="DIR|FILE...", help="A sweep's folder; or packed models, .lcz, and ONNX files, .onnx."),
    ],
    trial: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Of DIR, this job, and no others but further --trial; the front and the pick."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Turns that each model takes.")] = 30,
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study: of packed files, or where it moved to.")
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Measure latency, throughput and peak memory.

    In ONNX Runtime and in torch, on one thread and all, in batches of 1 and 64, beside the dense reference in the same
    run. Of a sweep: the models on the front and the pick; what is found stays in DIR/latency, for pick --by latency.
    """
    from sweep.bench import benchmark as measuring

    use_data(data)
    folders = [name for name in what if remote.is_url(name) or not name.endswith((".lcz", ".onnx"))]
    if folders and len(what) > 1:
        raise UsageError(f"bench: expected one sweep's folder, or files (.lcz, .onnx), got {' '.join(what)}")
    if folders:
        root = remote.local(what[0])
        facts = measuring.bench_sweep(
            root, trials=trial or [], rounds=rounds, study_reference=study, user_folder=os.getcwd(), say=progress
        )
        remote.put_back(what[0], SweepFolder(root).latency("any").parent)
    elif trial:
        raise UsageError("--trial: expected a sweep's folder, whose jobs it names")
    else:
        files = [Path(name) for name in what]
        for file in files:
            if not file.is_file():
                raise UsageError(f"{file}: no such file; expected a packed model, .lcz, or an ONNX file, .onnx")
        facts = measuring.bench_files(
            files, rounds=rounds, study_reference=study, user_folder=os.getcwd(), say=progress
        )
    show(facts, text_latency.latency(facts), as_json=as_json)
    return DONE


def _record_of(folder: Path, trial: str | None) -> dict[str, Any]:
    """The record of the job whose id starts with `trial`; of the pick without one."""
    read_manifest(folder)
    wanted = trial
    if wanted is None:
        picked = read_optional(SweepFolder(folder).pick)
        if picked is None:
            raise StoreError(f"{folder}: nothing was picked yet; run lcsweep pick {folder}, or name a job with --trial")
        wanted = picked["id"]
    return find_job(read_records(folder), wanted, root=folder)
