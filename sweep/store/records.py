"""The records of a sweep, read back from its folder."""

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path

from sweep.store.fields import from_file
from sweep.store.files import StoreError, read_optional
from sweep.store.folder import SweepFolder
from sweep.store.record import Done, Latency, Record


def read_records(root: Path) -> list[Record]:
    """All records of the sweep in `root`, done and failed, ordered by family, configuration, method and seed.

    What `lcsweep bench` measured of a job's file, as it is now, is in it as `latency` (docs/latency.md).
    """
    folder = SweepFolder(root)
    names = sorted(p.name for p in folder.artifacts.iterdir()) if folder.artifacts.is_dir() else []
    found = [_of_job(folder, name) for name in names if not name.startswith(".")]
    measured = {path.stem: path for path in folder.latency("any").parent.glob("[!.]*.json")}
    records = [
        _with_latency(record, measured[record.id]) if record.id in measured else record
        for record in found
        if record is not None
    ]
    return sorted(records, key=lambda r: (r.family, json.dumps(r.configuration), r.method, r.seed))


def finished(records: Iterable[Record]) -> list[Done]:
    """Those of jobs that are done."""
    return [record for record in records if isinstance(record, Done)]


def find_job(records: Iterable[Record], start: str, *, root: Path) -> Done:
    """The finished job of the sweep in `root` whose id starts so. StoreError where there is none, or several."""
    found = [record for record in finished(records) if record.id.startswith(start)]
    if len(found) != 1:
        raise StoreError(f"{root}: expected one finished job whose id starts with {start!r}, found {len(found)}")
    return found[0]


def read_job(folder: SweepFolder, job_id: str) -> Record | None:
    """The record of a job, as `read_records` has it; None where there is none."""
    record = _of_job(folder, job_id)
    return None if record is None else _with_latency(record, folder.latency(job_id))


def read_record(path: Path) -> Record | None:
    """The record in `path`, or None where there is none. StoreError where it is damaged, or not one of ours."""
    data = read_optional(path)
    return None if data is None else Record.from_json(data, path)


def _of_job(folder: SweepFolder, job_id: str) -> Record | None:
    """The record in the job's folder. StoreError where it is of another job: its id would name other files."""
    record = read_record(folder.record(job_id))
    if record is not None and record.id != job_id:
        raise StoreError(f"{folder.record(job_id)}: expected the job {job_id}, got {record.id!r}; remove its folder")
    return record


def _with_latency(record: Record, path: Path) -> Record:
    """`record` with what was measured of its file, if that is of the file as it is now."""
    data = read_optional(path)
    if data is None:
        return record
    latency = from_file(Latency, data, path)
    fits = latency.artifact_sha256 == record.artifact_sha256
    return dataclasses.replace(record, latency=latency) if fits else record
