"""The model of a sweep to deploy: chosen on validation, its file proved, looked at once on the test split."""

from pathlib import Path
from typing import Any

from lc_core.file.artifact import read
from sweep.criteria import Target
from sweep.pick.choice import By, Candidate, among, candidates, chosen, shortfall
from sweep.pick.size_and_speed import speed_facts
from sweep.pick.verify import look_at_test, open_study, verify_parity, verify_record
from sweep.store.files import StoreError, write_json
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.records import read_records


def pick_model(
    root: Path,
    *,
    target: Target | None,
    by: By,
    user_folder: str,
    study_reference: str | None = None,
    confident: bool = False,
) -> dict[str, Any]:
    """The model of the sweep in `root` to deploy, its file proved and its test accuracy measured; writes pick.json.

    Without a target, the knee of the front; `confident` asks that the 95 % bound meets the target (`pick.choose`).

    Raises:
        StoreError: `root` is no sweep, or has nothing to pick from.
        ArtifactError: the file is not what its record says.
        StudyError: the study cannot be loaded, or has changed.
    """
    folder, manifest, records = SweepFolder(root), read_manifest(root), read_records(root)
    found = candidates(records)
    choice = chosen(found, manifest, target=target, by=by, confident=confident)
    if choice.candidate is None:
        confirm = manifest.get("confirm", 0)
        seeds = 1 + confirm if confirm else manifest["repeats"]
        raise StoreError(
            f"{root}: no configuration has all of its {seeds} seed(s) done, so there is nothing to pick; "
            "see lcsweep status"
        )
    if confident and target is not None and target.max_drop is not None and None in choice.candidate.drops:
        raise StoreError(
            f"{root}: expected records with the drop on the same examples, got some of an earlier version; pick "
            "without --confident, or begin a new sweep with --out"
        )
    record = next(record for record in records if record["id"] == choice.candidate.best_id)
    study, data = open_study(manifest, study_reference=study_reference, user_folder=user_folder)
    verify_record(record, folder, study, data)
    outputs = verify_parity(read(folder.artifact(record["id"])), study, data)
    copied = ("id", "family", "configuration", "method", "artifact_bytes", "artifact_sha256", "val")
    picked = {name: record[name] for name in copied} | {
        "seeds": list(choice.candidate.seeds),
        "accuracies": list(choice.candidate.accuracies),
        "meets_target": choice.feasible,
        "shortfall": shortfall(choice.margin),
        "target": target.as_dict() if target else None,
        "confident": confident,
        "by": by,
        "measured": [len(among(found, "latency")), len(found)],
        "runner_up": _beside(choice.runner_up),
        "next_smaller": _beside(choice.next_smaller, margin=choice.next_smaller_margin),
        "artifact": str(folder.artifact(record["id"])),
        "compression_ratio": record["reference_bytes"] / record["artifact_bytes"],
        "test": look_at_test(record["id"], folder, study, data),
    }
    picked |= speed_facts(record) | outputs
    write_json(folder.pick, picked)
    return picked


def _beside(candidate: Candidate | None, *, margin: float = 0.0) -> dict[str, Any] | None:
    """What a pick says of another candidate."""
    if candidate is None:
        return None
    what = ("family", "configuration", "artifact_bytes", "macs", "latency")
    return {name: getattr(candidate, name) for name in what} | {
        "id": candidate.best_id,
        "seeds": len(candidate.seeds),
        "shortfall": shortfall(margin),
    }
