"""Makes, measures and verifies ONNX files of a sweep's models. Importing this file needs the extra `onnx`."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import torch

from lc_core.file.artifact import read
from lc_core.onnx import file as onnx_file
from lc_core.onnx.build import build, decoded_at_run, difference, parity
from lc_core.onnx.file import OnnxFile, Runtime, run_file, seal
from lc_core.onnx.int8 import Int8, quantized
from sweep.job.context import settle_process
from sweep.job.measure import measure
from sweep.pick.origin import info_of, origin, recorded
from sweep.pick.size_and_speed import speed_facts
from sweep.pick.verify import (
    EXAMPLES,
    open_study,
    same_on_test,
    same_study,
    verify_claim,
    verify_outputs,
    verify_record,
)
from sweep.store.claims import claim
from sweep.store.fields import to_json
from sweep.store.files import read_optional, sha256_of, write_new
from sweep.store.folder import SweepFolder
from sweep.store.record import Done
from sweep.store.records import read_job
from sweep.study import Data, Split, Study
from sweep.study.splits import inputs_in_use

CALIBRATED = 1 << 14
"""Of a training split that is not in memory, the examples that the ranges of eight-bit activations are drawn from."""


def export_onnx(
    root: Path, record: Done, *, out: Path, int8: Int8 | None, study_reference: str | None, user_folder: str
) -> dict[str, Any]:
    """Writes the model of a job of the sweep in `root` as the ONNX file `out`; returns what was measured of it.

    First it verifies the packed file. Then it compares ONNX Runtime's outputs with torch's, before and after `int8`,
    and measures the metric on validation with ONNX Runtime: the file states it.

    Args:
        root: the sweep's folder.
        record: of the job.
        out: the file to write; another file there is not overwritten.
        int8: how activations and weights are quantized to eight bits; None to leave them as they are.
        study_reference: the study, where it has moved.
        user_folder: where the user stands.

    Raises:
        ArtifactError: a file is not what its record or its claims say.
        StoreError: `out` holds something else.
        StudyError: the study cannot be loaded, or has changed.
        ValueError: torch cannot export the model.
    """
    folder = SweepFolder(root)
    study, data = open_study(root, study_reference=study_reference, user_folder=user_folder)
    verify_record(record, folder, study, data)
    packed = folder.artifact(record.id)
    artifact, model = read(packed), study.new_model()
    made = build(artifact, model, inputs_in_use(study, model, data.train, 2), forward=study.forward)
    sealed, inputs = seal(made, {}), inputs_in_use(study, model, data.val, EXAMPLES)
    facts: dict[str, Any] = {
        "parity": parity(sealed, artifact, model, inputs, forward=study.forward),
        "decoded_at_run": decoded_at_run(sealed),
    }
    if int8 is not None:
        calibrated = len(data.train) if isinstance(data.train, Split) else CALIBRATED
        made = quantized(sealed, kind=int8, inputs=inputs_in_use(study, model, data.train, calibrated))
        sealed = seal(made, {})
        facts["int8_difference"] = difference(sealed, artifact, model, inputs, forward=study.forward)
    found = measure(_runtime(sealed, study, data), data.val, study=_in_onnx(study))
    claims = recorded(folder, record) | {
        "weights": "as packed" if int8 is None else f"int8, {int8}",
        "packed_sha256": record.artifact_sha256,
        "val": claim(found.metric, found.value, n=found.n),
    }
    if int8 is not None:  # for who verifies the file where the packed one is not
        claims["packed"] = {
            "bytes": artifact.file_bytes,
            "val": claim(record.val.metric, record.val.value, n=record.val.n),
        }
    sealed = seal(made, claims)
    write_new(out, sealed)
    sizes = {"packed_bytes": artifact.file_bytes, "payload_bytes": artifact.payload_bytes} | speed_facts(record)
    packed_val = {"packed_val": to_json(record.val), "val": to_json(found)}
    return _described(out, onnx_file.read(out)) | facts | sizes | packed_val | {"outputs": "as claimed"}


def verify_onnx(path: Path, *, study_reference: str | None, user_folder: str) -> dict[str, Any]:
    """Verifies an ONNX file and returns what it holds: its bytes, its hash, and that ONNX Runtime runs it.

    With a study, its metric on validation is measured again. Where the packed file that it was made from is found
    (beside it, or in a sweep in the user's folder), the outputs are compared, and so is the metric on the test split if
    that was measured before; of a file in eight bits, that on validation.

    Raises:
        ArtifactError: the file is damaged, or measures something else than it claims.
        StudyError: the study cannot be loaded, or is not the one that the file was made from.
    """
    settle_process()
    file = onnx_file.read(path)
    facts = _described(path, file)
    if study_reference is None:
        runtime = Runtime(file.data)
        outputs = runtime.named(runtime(runtime.example(2)))
        return facts | {"output_shapes": {name: list(each.shape[1:]) for name, each in outputs.items()}}
    study, data = same_study(file.claims, path=path, study_reference=study_reference, user_folder=user_folder)
    runtime = _runtime(file.data, study, data)
    found = verify_claim(path, runtime, file.claims, _in_onnx(study), data, who="ONNX Runtime ")
    return (
        facts | {"val": to_json(found), "outputs": "as claimed"} | _against_packed(path, file, study, data, user_folder)
    )


def _runtime(data: bytes, study: Study, splits: Data) -> Runtime:
    """An ONNX file that gives its outputs as the study's model does, whatever these are: a tuple, a ModelOutput."""
    model = study.new_model().eval()
    with torch.inference_mode():
        like = study.forward(model, inputs_in_use(study, model, splits.val, 2))
    return Runtime(data, like=like)


def _in_onnx(study: Study) -> Study:
    """The study with an ONNX file in place of its model: what its forward computes is in the file."""
    return dataclasses.replace(study, forward=run_file)


def _against_packed(path: Path, file: OnnxFile, study: Study, data: Data, user_folder: str) -> dict[str, Any]:
    """How an ONNX file compares with the packed file it was made from, at "packed"; None where that is not found."""
    digest, job = file.claims.get("packed_sha256"), str(file.claims.get("job"))
    runs = Path(user_folder, "runs")
    sweeps = [SweepFolder(runs / study.name), *map(SweepFolder, sorted(runs.glob("*")))]
    beside = [(packed, sweeps[0]) for packed in (path.with_suffix(".lcz"), *sorted(path.parent.glob("*.lcz")))]
    places = (*beside, *((sweep.artifact(job), sweep) for sweep in sweeps))
    found = next((place for place in places if place[0].is_file() and sha256_of(place[0]) == digest), None)
    if found is None:
        return {"packed": None}
    packed, folder = found
    artifact, model = read(packed), study.new_model()
    inputs = inputs_in_use(study, model, data.val, EXAMPLES)
    facts: dict[str, Any] = {"packed": str(packed), "packed_bytes": artifact.file_bytes}
    facts["payload_bytes"] = artifact.payload_bytes
    if file.claims.get("weights") != "as packed":  # eight-bit arithmetic has other outputs and another latency
        facts["int8_difference"] = difference(file.data, artifact, model, inputs, forward=study.forward)
        info = info_of(artifact.info, origin(packed, str(digest), artifact.info, user_folder=user_folder))
        return facts | {"packed_val": to_json(verify_outputs(packed, study, data, info=info))}
    facts["parity"] = parity(file.data, artifact, model, inputs, forward=study.forward)
    record = read_job(folder, job)
    if isinstance(record, Done) and record.artifact_sha256 == digest:
        facts |= speed_facts(record)
    known = read_optional(folder.test / f"{digest}.json")
    if known is None:
        return facts
    return facts | {"test": same_on_test(path, _runtime(file.data, study, data), known, _in_onnx(study), data)}


def _described(path: Path, file: OnnxFile) -> dict[str, Any]:
    return {
        "file": str(path),
        "bytes": len(file.data),
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "claims": file.claims,
    }
