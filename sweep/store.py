"""The results of a sweep on disk: where each file is, how it is written, and how it is read back.

One record.json a job is the truth. Files appear whole or not at all; a job's folder appears by a rename, its record in
it, so that a record's presence means finished. Reading needs neither torch nor pandas, but for `table`.
"""

import json
import os
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
Record = dict[str, Any]
COLUMNS: Mapping[str, str] = {
    "id": "string", "status": "string", "family": "string", "method": "string", "seed": "Int64", "label": "string",
    "configuration": "object", "nominal_bytes": "Int64", "artifact_bytes": "Int64", "compression_ratio": "Float64",
    "macs": "Int64", "latency_ratio": "Float64", "val_accuracy": "Float64", "val_error": "Float64",
    "val_low": "Float64", "val_high": "Float64", "n_val": "Int64", "direct_accuracy": "Float64",
    "direct_error": "Float64", "direct_low": "Float64", "direct_high": "Float64", "gap": "Float64",
    "epochs": "Float64", "seconds": "Float64", "error": "string",
    "reference_bytes": "Int64", "reference_macs": "Int64", "study_hash": "string", "plan": "string",
    "artifact_sha256": "string", "device": "string", "finished": "string",
}  # fmt: skip
"""Column of `table` -> its pandas dtype; docs/records.md says what each holds."""
OPEN_COLUMNS = {"knob": "configuration", "schedule": "schedule", "version": "versions"}
"""What follows them: a column "<prefix>.<name>" for each name that this fact of a record has."""
MANIFEST_FACTS = (
    *("study", "reference_study", "user_folder", "sweep", "study_hash", "study_parts", "repeats", "target", "splits"),
    *("reference", "versions"),
)
RECORD_FACTS = (
    *("id", "status", "study_hash", "family", "configuration", "method", "seed", "schedule", "plan"),
    *("nominal_bytes", "artifact_bytes", "artifact_sha256", "reference_bytes", "macs", "reference_macs", "val"),
    *("direct", "gap", "epochs", "seconds", "device", "versions", "finished", "error"),
)
"""What the files must have besides their format."""


class StoreError(ValueError):
    """A folder is not a sweep's, or cannot be read or written; the message is one line that names it."""


@dataclass(frozen=True)
class SweepFolder:
    """Every file of a sweep, named in one place."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "sweep.json"

    @property
    def claim(self) -> Path:
        return self.root / ".claim"

    @property
    def index(self) -> Path:
        return self.root / "study.db"

    @property
    def reference(self) -> Path:
        return self.root / "reference" / "reference.lcz"

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def searches(self) -> Path:
        return self.root / "searches"

    @property
    def test(self) -> Path:
        return self.root / "test"

    def latency(self, job_id: str) -> Path:
        return self.root / "latency" / f"{job_id}.json"

    @property
    def pick(self) -> Path:
        return self.root / "pick.json"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def report(self) -> Path:
        return self.root / "report"

    def record(self, job_id: str) -> Path:
        return self.artifacts / job_id / "record.json"

    def search(self, name: str, *, method: str) -> Path:
        return self.searches / (f"{name}.json" if method == "lc" else f"{name}-{method}.json")

    def artifact(self, job_id: str) -> Path:
        return self.artifacts / job_id / "model.lcz"

    def checkpoint(self, job_id: str) -> Path:
        return self.checkpoints / job_id

    def diagnostics(self, job_id: str) -> Path:
        return self.artifacts / job_id / "diagnostics.json"


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes `data` beside `path`, flushes it to the disk and renames it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """As `write_whole`, but never over something else: a StoreError where `path` holds other bytes."""
    if path.exists() and path.read_bytes() != data:
        raise StoreError(
            f"{path}: there is another file of that name; expected a new one: move it away or name another"
        )
    write_whole(path, data)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """`data` as JSON, by `write_whole`. NaN and infinity are refused: a ValueError."""
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_manifest(root: Path) -> dict[str, Any]:
    """sweep.json of the sweep in `root`. StoreError where there is none that we wrote."""
    path = SweepFolder(root).manifest
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder; expected a sweep's, such as runs/digits_mlp after `lcsweep run`")
    if not path.is_file():
        raise StoreError(f"{root}: not a sweep (it has no {path.name}); expected the folder that `lcsweep run` filled")
    return _checked(path, _read_json(path), MANIFEST_FACTS)


def read_records(root: Path) -> list[Record]:
    """All records of the sweep in `root`, done and failed, ordered by family, configuration and seed.

    What `lcsweep bench` found of a job's file, as it is now, is in it as "latency" (docs/latency.md).
    """
    folder = SweepFolder(root)
    names = sorted(p.name for p in folder.artifacts.iterdir()) if folder.artifacts.is_dir() else []
    found = [read_record(folder.record(name)) for name in names if not name.startswith(".")]
    measured = {path.stem: path for path in folder.latency("any").parent.glob("[!.]*.json")}
    records = [
        _with_latency(record, measured[record["id"]]) if record["id"] in measured else record
        for record in found
        if record is not None
    ]
    return sorted(records, key=lambda r: (r["family"], json.dumps(r["configuration"]), r["method"], r["seed"]))


def find_job(records: Iterable[Record], start: str, *, root: Path) -> Record:
    """The finished job whose id starts so, of those of the sweep in `root`. StoreError where it is none, or several."""
    found = [record for record in records if record["id"].startswith(start) and record["status"] == "done"]
    if len(found) != 1:
        raise StoreError(f"{root}: expected one finished job whose id starts with {start!r}, found {len(found)}")
    return found[0]


def read_job(folder: SweepFolder, job_id: str) -> Record | None:
    """The record of a job, as `read_records` has it; None where there is none."""
    record = read_record(folder.record(job_id))
    return record and _with_latency(record, folder.latency(job_id))


def _with_latency(record: Record, path: Path) -> Record:
    """`record` with what was measured of its file, if that is of the file as it is now."""
    found = read_optional(path)
    fits = found is not None and found.get("artifact_sha256") == record["artifact_sha256"]
    return record | {"latency": found} if fits else record


def read_optional(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None where there is no such file. StoreError where it is damaged."""
    if not path.is_file():
        return None
    try:
        return _read_json(path)
    except StoreError:
        if path.is_file():
            raise
        return None  # a worker took it away in between


def label(configuration: Mapping[str, Any]) -> str:
    """A configuration as people read it: "keep 0.05, size 4"."""
    return ", ".join(f"{knob} {level}" for knob, level in configuration.items())


def but_for_seed(job: Mapping[str, Any]) -> str:
    """What a job does but for its seed: equal for the seeds of one candidate. `job` is a record, or a job as a dict."""
    return json.dumps([job[name] for name in ("family", "configuration", "method", "schedule")], sort_keys=True)


def table(root: Path) -> "pd.DataFrame":
    """The records of the sweep in `root`, a row each, done and failed; what a record does not know is NA.

    Columns: those of COLUMNS, then one "knob.<name>" a knob, one "schedule.<name>" a setting of the schedule and one
    "version.<name>" a package. docs/records.md says what each holds, in which unit, and when it is NA.
    """
    import pandas as pd

    rows = [_row(record) for record in read_records(root)]
    names = {name: None for row in rows for name in row if name not in COLUMNS}
    opened = [name for prefix in OPEN_COLUMNS for name in names if name.startswith(f"{prefix}.")]
    columns = {name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    columns |= {name: _open_column([row.get(name) for row in rows]) for name in opened}
    return pd.DataFrame(columns)


def _row(record: Record) -> dict[str, Any]:
    val, direct, size = record["val"] or {}, record["direct"] or {}, record["artifact_bytes"]
    derived = {
        "label": label(record["configuration"]),
        "latency_ratio": (record.get("latency") or {}).get("ratio"),
        "compression_ratio": record["reference_bytes"] / size if size else None,
        "val_accuracy": val.get("accuracy"),
        "val_error": 1 - val["accuracy"] if val else None,
        "val_low": val.get("low"),
        "val_high": val.get("high"),
        "n_val": val.get("n"),
        "direct_accuracy": direct.get("accuracy"),
        "direct_error": 1 - direct["accuracy"] if direct else None,
        "direct_low": direct.get("low"),
        "direct_high": direct.get("high"),
        "error": record["error"]["message"] if record["error"] else None,
    }
    row = {name: (record | derived)[name] for name in COLUMNS}
    for prefix, fact in OPEN_COLUMNS.items():
        row |= {f"{prefix}.{name}": value for name, value in (record[fact] or {}).items()}
    return row


def _open_column(values: list[Any]) -> "pd.Series[Any]":
    """Whole numbers, numbers or, where one of `values` is neither, text: in each case with NA for None."""
    import pandas as pd

    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return pd.Series([None if value is None else str(value) for value in values], dtype="string")
    whole = bool(known) and all(isinstance(value, int) for value in known)
    return pd.Series(values, dtype="Int64" if whole else "Float64")


def read_record(path: Path) -> Record | None:
    """The record in `path`, or None where there is none. StoreError where it is damaged, or not one of ours."""
    record = read_optional(path)
    return None if record is None else _checked(path, record, RECORD_FACTS)


def _checked(path: Path, data: dict[str, Any], facts: Sequence[str]) -> dict[str, Any]:
    if data.get("format") != FORMAT:
        raise StoreError(f"{path}: expected format {FORMAT}, got {data.get('format')!r}; a later lcsweep may read it")
    missing = [fact for fact in facts if fact not in data]
    if missing:
        raise StoreError(f"{path}: not what lcsweep wrote (it has no {missing[0]}); restore it or remove it")
    return data


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text())
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise StoreError(f"{path}: not the JSON that lcsweep wrote ({error}); restore it or remove it") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}: expected a JSON object, got {type(data).__name__}; restore it or remove it")
    return data
