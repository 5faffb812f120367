"""The records of a sweep as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.store.record import Record, label
from sweep.store.records import read_records

if TYPE_CHECKING:
    import pandas as pd


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
