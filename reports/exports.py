"""A sweep's records as a file for pandas, R or a spreadsheet: CSV, Parquet or JSON, the same columns in each."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.metric import Metric
from sweep.store.table import table

if TYPE_CHECKING:
    import pandas as pd


def export_records(folder: Path, *, format: str) -> dict[str, Any]:
    """Writes `report/records.<format>` into a sweep's folder, "csv", "parquet" or "json"; returns a summary for JSON.

    Each job that is done or failed has one row. The header of a CSV has the metric's unit. docs/records.md says what
    each column holds. ValueError where the folder is no sweep or cannot be written.
    """
    if format not in ENCODERS:
        raise ValueError(f"expected a format among {', '.join(ENCODERS)}, got {format!r}; choose one of them")
    metric = read_manifest(folder).metric
    records = table(folder)
    path = SweepFolder(folder).report / f"records.{format}"
    headed = records.rename(columns=_units(records, metric)) if format == "csv" else records
    write_whole(path, ENCODERS[format](headed))
    return {"path": str(path), "rows": len(records), "columns": list(records.columns)}


def _units(records: "pd.DataFrame", metric: Metric) -> dict[str, str]:
    """Column of what the metric measured -> the same with its unit. A fraction has none."""
    if metric.fraction or not metric.unit:
        return {}
    measured = [f"{part}_{name}" for part in ("val", "direct") for name in (metric.name, "error", "low", "high")]
    return {name: f"{name} ({metric.unit})" for name in measured if name in records}


def _csv(records: "pd.DataFrame") -> bytes:
    """UTF-8. Unknown values are empty; each number is the shortest text that reads back as the same number.

    A spreadsheet runs no text of it.
    """
    flat = _flat(records)
    texts = {name: flat[name].map(_no_formula, na_action="ignore") for name in flat if flat[name].dtype == "string"}
    return bytes(flat.assign(**texts).to_csv(index=False, lineterminator="\n").encode("utf-8", "replace"))


def _no_formula(text: str) -> str:
    """The text, with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _parquet(records: "pd.DataFrame") -> bytes:
    try:
        import pyarrow  # noqa: F401  (Ray Tune installs it; the error of pandas would name other engines too)
    except ImportError as error:
        raise ValueError("a Parquet file: expected pyarrow, which is not installed; choose another format") from error
    stream = io.BytesIO()
    _flat(records).to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()


def _json(records: "pd.DataFrame") -> bytes:
    """An array with one object for each job, which has every column."""
    # pandas 3 does this in to_dict.
    known = records.astype(object).where(records.notna(), None).to_dict("records")
    return (json.dumps(known, indent=1, allow_nan=False) + "\n").encode()


def _flat(records: "pd.DataFrame") -> "pd.DataFrame":
    """The records with each configuration as JSON text, since neither CSV nor a typed column holds an object."""
    texts = [json.dumps(configuration) for configuration in records["configuration"]]
    return records.assign(configuration=texts).astype({"configuration": "string"})


ENCODERS: Mapping[str, Callable[["pd.DataFrame"], bytes]] = {"csv": _csv, "parquet": _parquet, "json": _json}
