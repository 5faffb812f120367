"""`lcsweep export`: copies a model out of a sweep."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sweep.cli import file_text
from sweep.cli.console import DONE, NO_MODEL, DataFolder, Folder, Json, UsageError, fail, show, use_data
from sweep.cli.text import verdict
from sweep.pick.picked import Picked, known_now, read_picked
from sweep.pick.size_and_speed import speed_facts
from sweep.store import remote
from sweep.store.files import StoreError, write_new
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Done
from sweep.store.records import find_job, read_records


def export(
    folder: Folder,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="The file to write; with --format safetensors, the folder.")
    ],
    job: Annotated[
        str | None, typer.Option(metavar="ID", help="This job, by the start of its id; by default the pick.")
    ] = None,
    trial: Annotated[str | None, typer.Option(hidden=True)] = None,
    form: Annotated[
        Literal["lcz", "onnx", "safetensors"],
        typer.Option(
            "--format",
            help="lcz: the packed file; onnx: an ONNX file that stands alone; safetensors: dense weights and a model "
            "card, as Hugging Face keeps them.",
        ),
    ] = "lcz",
    int8: Annotated[
        Literal["static", "dynamic"] | None,
        typer.Option(help="ONNX with eight-bit arithmetic; ranges from training data, or anew in each run."),
    ] = None,
    tidy: Annotated[
        bool,
        typer.Option(
            "--tidy",
            help="Packed file: a smaller one of the same function; weights that cannot act are zero, units are sorted.",
        ),
    ] = False,
    study: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="Packed file: verify its outputs too, with this study. ONNX, --tidy: the study, if it has moved.",
        ),
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Copy a model out of a sweep, as a packed file, as an ONNX file or as dense weights.

    Verifies size, hash and decoding first; for an ONNX file and with --tidy, which need the study, the outputs too.
    Exit code 4 if the model is a pick that misses its target.
    """
    root = remote.local(folder)
    wanted = job if job is not None else trial
    manifest = read_manifest(root)
    picked = None
    if wanted is None:
        picked = _picked(root, place=folder)
        wanted = picked.id
    records = read_records(root)
    record = find_job(records, wanted, root=root)
    use_data(data)
    if tidy and form != "lcz":
        raise UsageError(f"--tidy: expected --format lcz, got {form}")
    if form == "onnx":
        from sweep.pick import export

        facts = export.export_onnx(
            root,
            record,
            out=out,
            int8=int8,
            study_reference=study,
            user_folder=os.getcwd(),
        )
        words = file_text.onnx_file(facts)
    elif int8:
        raise UsageError("--int8: expected --format onnx beside it")
    elif form == "safetensors":
        from sweep.pick.safetensors_export import export_safetensors

        if study is not None:
            raise UsageError("--study: expected --format lcz or onnx; dense weights are written without the study")
        dense = export_safetensors(root, record, out=out)
        facts, words = dense.to_json(), file_text.dense_folder(dense)
    elif tidy:
        from sweep.pick.tidy_export import export_tidy

        facts = export_tidy(root, record, out=out, study_reference=study, user_folder=os.getcwd())
        words = file_text.packed_file(facts)
    else:
        facts = _export_packed(root, record, out, study)
        words = file_text.packed_file(facts)
    show(facts, words, as_json=as_json)
    if picked is not None:
        picked = known_now(picked, records, manifest)
        if not picked.meets_target:
            return fail(f"the exported model misses the target of the pick: {verdict(picked)}", NO_MODEL)
    return DONE


def _export_packed(root: Path, record: Done, out: Path, study: str | None) -> dict[str, Any]:
    """Verifies the packed file of a job and copies it to `out`; what it is."""
    from lc_core.file.artifact import ArtifactError
    from sweep.pick.verify import verify

    path = SweepFolder(root).artifact(record.id)
    facts = verify(path, study_reference=study, user_folder=os.getcwd())
    if facts["sha256"] != record.artifact_sha256:
        raise ArtifactError(
            f"{path}: expected SHA-256 {record.artifact_sha256}, as its record says, got {facts['sha256']}"
        )
    write_new(out, path.read_bytes())
    return facts | {"file": str(out)} | speed_facts(record)


def _picked(root: Path, *, place: str) -> Picked:
    """The sweep's pick. StoreError, which names `place`, DIR as it was typed, where nothing was picked."""
    picked = read_picked(SweepFolder(root))
    if picked is None:
        command = shlex.join(["lcsweep", "pick", place])
        raise StoreError(f"{place}: nothing was picked yet; run {command}, or name a job with --job")
    return picked
