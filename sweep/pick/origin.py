"""Where a packed file comes from: what it says of that itself, or the record of the job that made it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sweep.pick.choice import seeds_chosen_from
from sweep.store.claims import claim
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Done
from sweep.store.records import finished, read_job, read_records

Origin = tuple[SweepFolder, Done]
"""A sweep, and the record of the job of it that made a file."""


def origin(path: Path, digest: str, info: Mapping[str, Any], *, user_folder: str) -> Origin | None:
    """The sweep that holds the job of a packed file with the SHA-256 `digest`, and its record; None where unknown.

    It is the sweep in whose folder the file lies, or one in the user's folder: that of the study which `info` names,
    or any, where the file says nothing of itself.
    """
    for folder, record in _candidates(path, info, Path(user_folder, "runs")):
        if isinstance(record, Done) and record.artifact_sha256 == digest:
            return folder, record
    return None


def _candidates(path: Path, info: Mapping[str, Any], runs: Path) -> Iterator[tuple[SweepFolder, Any]]:
    place, study, job = path.resolve(), str(info.get("study")), str(info.get("job", path.resolve().parent.name))
    roots = [*place.parents[2:3], *([runs / study] if Path(study).name == study else [])]
    for folder in map(SweepFolder, roots):
        if folder.manifest.is_file():
            yield folder, read_job(folder, job)
    for folder in map(SweepFolder, [] if info else sorted(runs.glob("*"))):
        if folder.manifest.is_file():
            yield from ((folder, record) for record in finished(read_records(folder.root)))


def info_of(info: Mapping[str, Any], known: Origin | None) -> dict[str, Any]:
    """What is known of a packed file: its own `info`, and what its job's record says."""
    return ({} if known is None else recorded(*known)) | dict(info)


def recorded(folder: SweepFolder, record: Done) -> dict[str, Any]:
    """What the records say of a job's file: the study, the job, and what it measures on validation.

    "best_of" is among how many seeds it was chosen by that; it is missing where it was not.
    """
    seeds = seeds_chosen_from(record, read_records(folder.root))
    return {
        "study": read_manifest(folder.root).study,
        "study_hash": record.study_hash,
        "job": record.id,
        "family": record.family,
        "configuration": record.configuration,
        "val": claim(record.val.metric, record.val.value, n=record.val.n),
        **({"best_of": seeds} if seeds > 1 else {}),
    }
