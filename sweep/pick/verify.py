"""Verifies that a packed file is what its record says."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lc_core.file.artifact import Artifact, ArtifactError, load, read
from lc_core.file.entropy import coded_sizes
from lc_core.onnx import has_onnx
from lc_core.structure.surgery import StructureError
from sweep.job.context import settle_process
from sweep.job.measure import evidence, measure
from sweep.pick.origin import info_of, origin
from sweep.pick.size_and_speed import speed_facts
from sweep.store.claims import claim, read_claim
from sweep.store.files import read_optional, sha256_of
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Done, Score
from sweep.study import Data, Study
from sweep.study.earlier import has_hash
from sweep.study.errors import StudyError
from sweep.study.loading import StudySource, load_splits, load_study
from sweep.study.splits import inputs_in_use
from sweep.study.trust import check_trusted

EXAMPLES = 1000
"""The most examples of the validation split on which outputs are compared."""


def verify(path: Path, *, study_reference: str | None, user_folder: str) -> dict[str, Any]:
    """Verifies a packed file and returns what it holds: its bytes, its hash, and that it decodes.

    What a file does not say of itself is taken from its job's record, if that is found (`origin`). With a study, its
    metric on validation is measured again, and compared with what is claimed, if anything is. If the extra `onnx` is
    installed, ONNX Runtime's outputs are compared with torch's. For the file of a job (in its sweep's folder, or of
    that study's sweep in the user's folder), the metric on the test split is measured again if it was measured before,
    and what `lcsweep bench` found is returned too.

    Raises:
        ArtifactError: the file is damaged, or measures something else than it claims.
        StudyError: the study cannot be loaded, or is not the one that the file was made from.
    """
    artifact = read(path)
    facts = describe(path, artifact)
    known = origin(path, facts["sha256"], artifact.info, user_folder=user_folder)
    facts |= {} if known is None else speed_facts(known[1])
    facts["info"] = info = info_of(artifact.info, known)
    if study_reference is not None:
        study, data = same_study(info, path=path, study_reference=study_reference, user_folder=user_folder)
        found = verify_outputs(path, study, data, info=info)
        measured = {"outputs": "not claimed", "val": claim(found.metric, found.value, n=found.n)}
        facts |= {"outputs": "as claimed"} if info else measured
        facts |= verify_parity(artifact, study, data)
        look = None if known is None else read_optional(known[0].test / f"{facts['sha256']}.json")
        if look is not None:
            facts["test"] = same_on_test(path, open_model(path, study)[0], look, study, data)
    return facts


def same_on_test(path: Path, model: nn.Module, known: Mapping[str, Any], study: Study, data: Data) -> dict[str, Any]:
    """What the model in `path` measures on the test split. ArtifactError unless that is what is `known` of it.

    A metric that is no share of examples may differ in its fifth digit: ONNX Runtime's outputs are not torch's to the
    last bit.
    """
    metric = study.metric
    value = evidence(model, data.test, study=study)[metric.name].value
    same = value == known[metric.name] if metric.fraction else math.isclose(value, known[metric.name], rel_tol=1e-4)
    if not same:
        before, now = metric.told_exactly(known[metric.name]), metric.told_exactly(value)
        raise ArtifactError(f"{path}: its sweep says a test {metric.label} of {before}, it measures {now}")
    return {metric.name: value, "n": known["n"]}


def verify_parity(artifact: Artifact, study: Study, data: Data) -> dict[str, Any]:
    """How far ONNX Runtime's outputs of a packed model are from torch's, as "parity"; nothing without the extra `onnx`.

    A model that torch cannot export, or ONNX Runtime cannot run, has none, and the reason as "no_parity".

    Raises:
        ArtifactError: they are further than `lc_core.onnx.build.TOLERANCE`.
    """
    if not has_onnx():
        return {}
    from lc_core.onnx.build import build, parity
    from lc_core.onnx.file import RuntimeLacksError, seal
    from lc_core.onnx.graph import ExportError

    model = study.new_model()
    try:
        made = build(artifact, model, inputs_in_use(study, model, data.train, 2), forward=study.forward)
        inputs = inputs_in_use(study, model, data.val, EXAMPLES)
        return {"parity": parity(seal(made, {}), artifact, model, inputs, forward=study.forward)}
    except (ExportError, StructureError, RuntimeLacksError) as error:
        return {"parity": None, "no_parity": " ".join(str(error).split())}


def describe(path: Path, artifact: Artifact) -> dict[str, Any]:
    """What a packed file says of itself, its size and hash, and the bytes that entropy coders would need."""
    weights = {name: tensor for name, tensor in artifact.weights().items() if name not in artifact.tied}
    return {
        "file": str(path),
        "bytes": artifact.file_bytes,
        "payload_bytes": artifact.payload_bytes,
        "dense_bytes": sum(tensor.numel() * tensor.element_size() for tensor in weights.values()),
        "coded": {kind: dataclasses.asdict(sizes) for kind, sizes in coded_sizes(artifact.thetas).items()},
        "sha256": sha256_of(path),
        "parameters": sum(tensor.numel() for tensor in weights.values()),
    }


def verify_outputs(path: Path, study: Study, data: Data, *, info: Mapping[str, Any]) -> Score:
    """What the packed file measures on validation. ArtifactError unless its `info` claims that, or is empty."""
    model, _ = open_model(path, study)
    return verify_claim(path, model, info, study, data) if info else measure(model, data.val, study=study)


def verify_claim(
    path: Path, model: nn.Module, info: Mapping[str, Any], study: Study, data: Data, *, who: str = ""
) -> Score:
    """What the model in `path`, run by `who`, measures on validation. ArtifactError unless its `info` claims that."""
    metric, claimed = study.metric, read_claim(info)
    if claimed is None:
        raise ArtifactError(
            f"{path}: claims no validation {metric.label}, so there is nothing to verify (is it a reference?)"
        )
    found = measure(model, data.val, study=study)
    if (found.n, metric, metric.exact(found.value)) != (claimed.n, claimed.metric, claimed.exact):
        raise ArtifactError(
            f"{path}: claims validation {claimed.metric.label} {claimed.metric.told_exactly(claimed.value)} on "
            f"{claimed.n} examples, {who}measures {metric.told_exactly(found.value)} on {found.n}"
        )
    return found


def verify_record(record: Done, folder: SweepFolder, study: Study, data: Data) -> None:
    """ArtifactError unless the job's file has the size, the hash and the outputs that its record states."""
    path = folder.artifact(record.id)
    artifact = read(path)
    digest = sha256_of(path)
    if (artifact.file_bytes, digest) != (record.artifact_bytes, record.artifact_sha256):
        raise ArtifactError(
            f"{path}: expected {record.artifact_bytes} bytes with SHA-256 {record.artifact_sha256[:12]}..., "
            f"as its record says, got {artifact.file_bytes} with {digest[:12]}..."
        )
    verify_outputs(path, study, data, info=artifact.info or _claimed(record))


def _claimed(record: Done) -> dict[str, Any]:
    return {"val": claim(record.val.metric, record.val.value, n=record.val.n)}


def open_study(root: Path, *, study_reference: StudySource | None, user_folder: str) -> tuple[Study, Data]:
    """The study of the sweep in `root` and its data: `study_reference`, or what the sweep was run with.

    Raises:
        StudyError: it cannot be loaded, is no longer the one that the sweep ran, or is not named and not to be trusted
            (`sweep.study.trust`).
    """
    manifest = read_manifest(root)
    if study_reference is None:
        check_trusted(manifest.reference_study, root=root, user_folder=user_folder)
    study = load_study(study_reference or manifest.reference_study, user_folder=user_folder)
    data = load_splits(study)
    if not has_hash(study, data, study_hash=manifest.study_hash):
        raise StudyError(
            f"study {manifest.reference_study!r}: changed since the sweep ran (hash {manifest.study_hash}); "
            "restore it to verify and test the sweep's models"
        )
    return study, data


def open_model(path: Path, study: Study) -> tuple[nn.Module, Artifact]:
    """The study's model with the weights of a packed file, and the file."""
    settle_process()
    model = study.new_model()
    return model, load(path, model)


def same_study(info: Mapping[str, Any], *, path: Path, study_reference: str, user_folder: str) -> tuple[Study, Data]:
    """The study that the model in `path`, of which its file says `info`, was made from, and its data.

    A file of which nothing is known may be of any study.

    Raises:
        StudyError: it cannot be loaded, or is another.
    """
    study = load_study(study_reference, user_folder=user_folder)
    data = load_splits(study)
    made_from = info.get("study_hash")
    if info and not has_hash(study, data, study_hash=made_from):
        raise StudyError(
            f"study {study_reference!r}: not the one that {path} was made from (study {info.get('study')!r}, "
            f"hash {made_from}); expected the same model, data, loss and reference"
        )
    return study, data
