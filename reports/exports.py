"""A sweep's records as a file for pandas, R or a spreadsheet: CSV, Parquet or JSON, the same columns in each."""

import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.table import table

if TYPE_CHECKING:
    import pandas as pd


def export_records(folder: Path, *, format: str) -> dict[str, Any]:
    """Writes `report/records.<format>` into a sweep's folder: "csv", "parquet" or "json"; a summary for JSON.

    One row a job, done and failed; docs/records.md says what each column holds. ValueError when the folder is no sweep,
    or cannot be written.
    """
    if format not in ENCODERS:
        raise ValueError(f"expected a format among {', '.join(ENCODERS)}, got {format!r}; choose one of them")
    read_manifest(folder)
    records = table(folder)
    path = SweepFolder(folder).report / f"records.{format}"
    write_whole(path, ENCODERS[format](records))
    return {"path": str(path), "rows": len(records), "columns": list(records.columns)}


def _csv(records: "pd.DataFrame") -> bytes:
    """UTF-8; an empty field is what is not known; numbers as the shortest text that gives them back."""
    return bytes(_flat(records).to_csv(index=False, lineterminator="\n").encode("utf-8", "replace"))


def _parquet(records: "pd.DataFrame") -> bytes:
    try:
        import pyarrow  # noqa: F401  (Ray Tune brings it; pandas would name its other engines too)
    except ImportError as error:
        raise ValueError("a Parquet file: expected pyarrow, which is not installed; take another format") from error
    stream = io.BytesIO()
    _flat(records).to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()


def _json(records: "pd.DataFrame") -> bytes:
    """An array with an object a job, every column in each."""
    # to_dict of pandas 3 would give None for NA by itself.
    known = records.astype(object).where(records.notna(), None).to_dict("records")
    rows = [{name: _finite(value) for name, value in row.items()} for row in known]
    return (json.dumps(rows, indent=1, allow_nan=False) + "\n").encode()


def _flat(records: "pd.DataFrame") -> "pd.DataFrame":
    """With the configuration as JSON in a text: neither a CSV nor a typed column holds an object."""
    texts = [json.dumps(configuration) for configuration in records["configuration"]]
    return records.assign(configuration=texts).astype({"configuration": "string"})


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


ENCODERS: Mapping[str, Callable[["pd.DataFrame"], bytes]] = {"csv": _csv, "parquet": _parquet, "json": _json}
