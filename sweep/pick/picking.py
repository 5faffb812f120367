"""The model of a sweep to deploy: chosen on validation, its file verified, measured once on the test split."""

from pathlib import Path
from typing import Any

from lc_core.file.artifact import read
from sweep.pick.choice import By, Candidate, Choice, among, candidates, chosen
from sweep.pick.confirming import confirming
from sweep.pick.looks import look_at_test, question, why_not
from sweep.pick.picked import Alternative, Picked
from sweep.pick.size_and_speed import speed_facts
from sweep.pick.verify import open_study, verify_parity, verify_record
from sweep.store.files import StoreError, write_json
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Done
from sweep.store.records import finished, read_records
from sweep.study.loading import StudySource
from sweep.target import Target


def pick_model(
    root: Path,
    *,
    target: Target | None,
    by: By,
    user_folder: str,
    study_reference: StudySource | None = None,
    confident: bool = False,
    test: bool | None = None,
    place: str | None = None,
    data: Path | None = None,
) -> Picked:
    """The model to deploy of the sweep in `root`, its file verified and measured on the test split; writes pick.json.

    Args:
        root: the sweep's folder.
        target: without one, it is the knee of the front.
        by: what to minimise.
        user_folder: where the user stands.
        study_reference: the study, where it has moved.
        confident: the 95 % bounds must meet the target too.
        test: whether to look at the test split. None looks for an answer to the question that was asked of it first; a
            file that was measured there before is not measured again.
        place: how the user names the folder; None for `root`.
        data: the folder that a command must name for the study to read its data; None where it need not.

    Raises:
        StoreError: `root` is not a sweep, or nothing in it is done.
        ArtifactError: the file is not what its record says.
        StudyError: the study cannot be loaded, or has changed.
    """
    folder, manifest, records = SweepFolder(root), read_manifest(root), read_records(root)
    found = candidates(records)
    if target is not None:
        target.check(manifest.metric)
    choice = chosen(found, manifest, target=target, by=by, confident=confident)
    best = _pickable(choice, root=root, target=target, confident=confident)
    record = next(record for record in finished(records) if record.id == best.best_id)
    study, splits = open_study(root, study_reference=study_reference, user_folder=user_folder)
    verify_record(record, folder, study, splits)
    parity = verify_parity(read(folder.artifact(record.id)), study, splits)
    asked = question(target, manifest.reference.val.score, by=by, confident=confident)
    no_test = why_not(choice, record, folder, asked=asked, test=test)
    to_confirm = choice.to_confirm
    picked = Picked(
        **_of_record(record),
        **_of_choice(choice, best),
        target=target,
        confident=confident,
        by=by,
        measured=(len(among(found, "latency")), len(found)),
        confirm=None
        if to_confirm is None or choice.criteria is None or target is None
        else confirming(
            to_confirm,
            choice.criteria,
            manifest,
            target=target,
            place=place or str(root),
            study=study_reference,
            data=data,
        ),
        artifact=str(folder.artifact(record.id)),
        test=look_at_test(record.id, folder, study, splits, asked=asked) if no_test is None else None,
        no_test=no_test,
        parity=parity,
        uncounted=tuple(manifest.reference.uncounted),
    )
    write_json(folder.pick, picked.to_json() | {"artifact": folder.name_of(picked.artifact)})
    return picked


def _of_record(record: Done) -> dict[str, Any]:
    """What the record of the picked job says, as `Picked` takes it."""
    return {
        "id": record.id,
        "family": record.family,
        "configuration": record.configuration,
        "method": record.method,
        "artifact_bytes": record.artifact_bytes,
        "artifact_sha256": record.artifact_sha256,
        "val": record.val,
        "compression_ratio": record.reference_bytes / record.artifact_bytes,
        "speed": speed_facts(record),
    }


def _of_choice(choice: Choice, best: Candidate) -> dict[str, Any]:
    """What is known of the choice and of the alternatives to it, as `Picked` takes it."""
    return {
        "seeds": best.seeds,
        "failed": best.failed,
        "values": best.values,
        "mean": best.mean_value,
        "meets_target": choice.feasible,
        "state": choice.state,
        "margin": choice.margin,
        "better": Alternative.of(choice.better),
        "runner_up": Alternative.of(choice.runner_up),
        "next_smaller": Alternative.of(choice.next_smaller, margin=choice.next_smaller_margin),
    }


def _pickable(choice: Choice, *, root: Path, target: Target | None, confident: bool) -> Candidate:
    """The candidate of the choice. StoreError where there is none, or its records lack what `confident` needs."""
    if choice.candidate is None:
        raise StoreError(f"{root}: no configuration is done, so there is nothing to pick; see lcsweep status")
    if confident and target is not None and target.max_drop is not None and None in choice.candidate.drops:
        raise StoreError(
            f"{root}: expected records with the drop on the same examples, got some of an earlier version; pick "
            "without --confident, or begin a new sweep with --out"
        )
    return choice.candidate
