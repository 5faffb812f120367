"""Measures models of a sweep, or models in files, beside the dense reference: what `lcsweep bench` does."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lc_core.file.artifact import encode, read
from lc_core.training.nest import Nest, leaves, map_nest, told_of
from sweep.bench.runtimes import Model, packed_model
from sweep.bench.timing import BATCHES, Say, Setup, measured
from sweep.job.context import settle_process
from sweep.pick.choice import candidates
from sweep.pick.origin import info_of, origin
from sweep.pick.pareto import front
from sweep.pick.picked import read_picked
from sweep.pick.verify import open_study, same_study
from sweep.store.files import FORMAT, StoreError, sha256_of, write_json
from sweep.store.folder import SweepFolder
from sweep.store.job import name_of
from sweep.store.manifest import read_manifest
from sweep.store.record import Done
from sweep.store.records import find_job, finished, read_records
from sweep.study import Data, Study
from sweep.study.splits import inputs_in_use

REFERENCE = "reference"


def bench_sweep(
    root: Path, *, jobs: Sequence[str], rounds: int, study_reference: str | None, user_folder: str, say: Say
) -> dict[str, Any]:
    """Measures models of the sweep in `root` and writes the results into its folder, a file for each job.

    The models of the jobs whose ids start with one of `jobs`; if that is empty, those on the front of error against
    bytes, and the pick.

    Raises:
        StoreError: `root` is no sweep, or has no such job.
        ArtifactError: a file is damaged.
        StudyError: the study cannot be loaded, or has changed.
    """
    settle_process()
    folder, manifest = SweepFolder(root), read_manifest(root)
    chosen = list(_chosen(root, jobs))
    study, data = open_study(root, study_reference=study_reference, user_folder=user_folder)
    inputs = _batch(study, data)
    models = [_made(REFERENCE, folder.reference, study, inputs, say)]
    models += [
        _made(record.id, folder.artifact(record.id), study, inputs, say, label=name_of(record)) for record in chosen
    ]
    named = study_reference or manifest.reference_study
    facts = measured(models, Setup(inputs, named, user_folder, rounds, say))
    for record in chosen:
        about = {"id": record.id, "artifact_sha256": record.artifact_sha256}
        found = facts["models"][record.id]
        found |= {"label": name_of(record)} | about
        found |= {"macs": record.macs, "reference_macs": record.reference_macs}
        run = {name: facts[name] for name in ("machine", "rounds", "finished")}
        write_json(folder.latency(record.id), {"format": FORMAT} | found | run)
    return {"folder": str(root)} | facts


def bench_files(
    paths: Sequence[Path], *, rounds: int, study_reference: str | None, user_folder: str, say: Say
) -> dict[str, Any]:
    """Measures models in packed and ONNX files; with a study, beside its dense model.

    Raises:
        ArtifactError: a file is damaged.
        StudyError: the study cannot be loaded, or is not the one that a file was made from.
        StoreError: a packed file without a study.
    """
    settle_process()
    if study_reference is None:
        return _bench_onnx_alone(paths, rounds=rounds, say=say)
    study, data = None, None
    for path in paths:
        info = _claims(path) if path.suffix == ".onnx" else _known(path, user_folder)
        study, data = same_study(info, path=path, study_reference=study_reference, user_folder=user_folder)
    assert study is not None and data is not None
    inputs = _batch(study, data)
    with tempfile.TemporaryDirectory() as scratch:
        dense = Path(scratch, "dense.lcz")  # untrained: the time does not depend on the weights
        dense.write_bytes(encode([], [], study.seeded_model().state_dict(), info={}))
        models = [_made(REFERENCE, dense, study, inputs, say)]
        for path in paths:
            models.append(
                Model(str(path), path, {}, path.read_bytes())
                if path.suffix == ".onnx"
                else _made(str(path), path, study, inputs, say)
            )
        return measured(models, Setup(inputs, study_reference, user_folder, rounds, say))


def _bench_onnx_alone(paths: Sequence[Path], *, rounds: int, say: Say) -> dict[str, Any]:
    packed = [path for path in paths if path.suffix != ".onnx"]
    if packed:
        raise StoreError(
            f"{packed[0]}: a packed file has no graph; expected --study STUDY, whose model it is loaded into"
        )
    from lc_core.onnx.file import Runtime
    from lc_core.onnx.file import read as read_onnx

    files = {path: read_onnx(path) for path in paths}
    runtimes = {path: Runtime(file.data) for path, file in files.items()}
    takes = {told_of(runtime.example(1)) for runtime in runtimes.values()}
    if len(takes) != 1:
        raise StoreError(
            f"expected files of the same inputs, got {' and '.join(sorted(takes))}; measure them separately"
        )
    inputs = runtimes[paths[0]].example(max(BATCHES))
    for runtime in runtimes.values():
        runtime(inputs)  # fails with a one-line error if it cannot run
    models = [Model(str(path), path, {}, file.data) for path, file in files.items()]
    return measured(models, Setup(inputs, None, None, rounds, say))


def _known(path: Path, user_folder: str) -> dict[str, Any]:
    info = read(path).info
    return info_of(info, origin(path, sha256_of(path), info, user_folder=user_folder))


def _claims(path: Path) -> dict[str, Any]:
    from lc_core.onnx.file import read

    return read(path).claims


def _made(name: str, path: Path, study: Study, inputs: Nest, say: Say, *, label: str | None = None) -> Model:
    say(f"model: {label or name}")
    return replace(packed_model(name, path, study, map_nest(lambda leaf: leaf[:2], inputs)), label=label)


def _chosen(root: Path, jobs: Sequence[str]) -> Iterator[Done]:
    """The records of the jobs to measure, the smallest file first."""
    records = {record.id: record for record in finished(read_records(root))}
    ids = {find_job(records.values(), job, root=root).id for job in jobs}
    if not jobs:
        each = candidates(records.values())
        best = front(np.array([[c.artifact_bytes, c.mean_error] for c in each]).reshape(-1, 2))
        picked = read_picked(SweepFolder(root))
        ids = {c.best_id for c, on in zip(each, best, strict=True) if on}
        ids |= {name for name in records if picked is not None and name == picked.id}
    if not ids:
        raise StoreError(f"{root}: no job is done, so there is nothing to measure; see lcsweep status")
    yield from sorted((records[name] for name in ids), key=lambda record: (record.artifact_bytes, record.id))


def _batch(study: Study, data: Data) -> Nest:
    """As many validation examples as the largest batch has; they repeat if there are fewer."""
    inputs = inputs_in_use(study, study.new_model(), data.val, max(BATCHES))
    index = torch.arange(max(BATCHES)) % len(next(leaves(inputs)))
    return map_nest(lambda leaf: leaf[index], inputs)
