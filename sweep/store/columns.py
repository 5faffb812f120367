"""The columns of the table of records, and the tables of docs/records.md: `python -m sweep.store.columns` writes them.

A column that is a field of the record takes its type, unit and meaning from there; the others are made from fields.
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep.store.fields import Field, fields
from sweep.store.manifest import Manifest
from sweep.store.record import FRACTION, NOT_DONE, Record, Score

DTYPES = {str: "string", int: "Int64", float: "Float64", dict: "object"}
KINDS = {"string": "text", "Int64": "integer", "Float64": "number", "object": "text, JSON object"}
MEASURED = f"{FRACTION}, or the metric's"
"""The unit of what a metric measured: a fraction where its unit is "%"."""
PAGE = Path(__file__).parents[2] / "docs" / "records.md"


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Attributes:
        name: of the column.
        dtype: of pandas.
        unit: of its numbers.
        meaning: a phrase.
        null: when it is NA.
        value: what it holds of a record; None for NA.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    null: str
    value: Callable[[Record], Any]


def _field(name: str) -> Column:
    """The column of a field of the record."""
    found = next(field for field in fields(Record) if field.name == name)
    assert found.says is not None
    says = found.says
    return Column(name, DTYPES[found.kind], says.unit, says.meaning, says.null, lambda record: getattr(record, name))


def _measured(prefix: str, part: str, of: str) -> Iterator[Column]:
    """Those of the metric in a record's `part`, a Score; `of` says what was measured."""

    def column(name: str, meaning: str, value: Callable[[Score], float]) -> Column:
        def of_record(record: Record) -> float | None:
            score = getattr(record, part)
            return None if score is None else value(score)

        return Column(f"{prefix}_{name}", "Float64", MEASURED, meaning, NOT_DONE, of_record)

    yield column("accuracy", of, lambda score: score.value)
    yield column(
        "error",
        f"1 - `{prefix}_accuracy`; of another metric how far it is below the best, or itself where lower is better",
        lambda score: score.error,
    )
    yield column("low", f"Lower end of the 95 % interval of `{prefix}_accuracy` (Wilson)", lambda score: score.low)
    yield column("high", "Its upper end", lambda score: score.high)


def _compression_ratio(record: Record) -> float | None:
    size, whole = record.artifact_bytes, record.reference_bytes
    return None if not size or whole is None else whole / size


LABEL = Column(
    "label", "string", "", "The configuration as reports write it: `keep 0.05, size 4`", "never", lambda r: r.label
)
COMPRESSION = Column(
    *("compression_ratio", "Float64", "", "`reference_bytes` / `artifact_bytes`", NOT_DONE), _compression_ratio
)
LATENCY = Column(
    "latency_ratio",
    "Float64",
    "of the reference's",
    "Latency as a part of the dense reference's in the same rounds: ONNX Runtime, one example, one thread "
    "([latency.md](latency.md))",
    "unless `lcsweep bench` measured it",
    lambda record: None if record.latency is None else record.latency.ratio,
)
N_VAL = Column(
    *("n_val", "Int64", "examples", "On which it was measured", NOT_DONE), lambda r: None if r.val is None else r.val.n
)
ERROR = Column(
    "error",
    "string",
    "",
    "Why it failed, in a line; the traceback is in `artifacts/<id>/record.json`",
    "when it did not fail",
    lambda record: None if record.error is None else record.error.message,
)

COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        *map(_field, ("id", "status", "family", "method", "seed")),
        LABEL,
        *map(_field, ("configuration", "nominal_bytes", "artifact_bytes")),
        COMPRESSION,
        _field("macs"),
        LATENCY,
        *_measured(
            "val",
            "val",
            "Accuracy of the packed file on the validation split; of another metric its value, as `val_mse`",
        ),
        N_VAL,
        *_measured(
            "direct",
            "direct",
            "Validation accuracy of direct compression: the same configuration before any training",
        ),
        *map(_field, ("gap", "epochs", "seconds")),
        ERROR,
        *map(_field, ("reference_bytes", "reference_macs", "study_hash", "plan", "artifact_sha256", "device")),
        _field("finished"),
    )
}
"""Column of `table`, by its name."""


@dataclass(frozen=True)
class OpenColumn:
    """A column for each name in a field of records: "<prefix>.<name>"; its type follows from the values.

    Attributes:
        field: of the record, a dict or None.
        kind: what its values are.
        meaning: a phrase.
        null: when it is NA.
    """

    field: str
    kind: str
    meaning: str
    null: str


ANY = "integer, number or text"
OPEN_COLUMNS: Mapping[str, OpenColumn] = {
    "knob": OpenColumn("configuration", ANY, "One column a knob of any family", "where the family has no such knob"),
    "schedule": OpenColumn(
        "schedule",
        ANY,
        "One column a setting of the schedule: `schedule.epochs`, `schedule.lr`; see `lc_core.schedule.Schedule`",
        "where the setting is off, or the job has none",
    ),
    "version": OpenColumn(
        "versions",
        "text",
        "One column a package, and Python, that the job ran with",
        "where the job names no such package",
    ),
}
"""The prefixes of the columns that follow."""


def tables() -> dict[str, str]:
    """The tables of docs/records.md as Markdown, by the names of their places on the page."""
    columns = [(c.name, KINDS[c.dtype], c.unit, c.meaning, c.null) for c in COLUMNS.values()]
    columns += [(f"{prefix}.<name>", c.kind, "", c.meaning, c.null) for prefix, c in OPEN_COLUMNS.items()]
    return {
        "columns": _markdown("column", columns),
        "record.json": _markdown("field", _described(Record)),
        "sweep.json": _markdown("field", _described(Manifest)),
    }


def page(text: str) -> str:
    """The text of docs/records.md with its tables as they are now."""
    for name, table in tables().items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: f"{begin}{table}\n{end}", text, flags=re.S)  # noqa: B023
    return text


def _described(kind: type, prefix: str = "") -> list[tuple[str, str, str, str, str]]:
    """A row a field of the dataclass `kind`, those of a field that is a dataclass itself after it."""
    rows = []
    for field in fields(kind):
        if field.says is None or field.says.elsewhere:
            continue
        key = "<name>" if field.says.others else "<metric>" if field.says.named_by else field.name
        name = f"{prefix}{key}"
        null = f"{field.says.null}; older releases do not write it" if field.says.older else field.says.null
        rows.append((name, _kind(field), field.says.unit, field.says.meaning, null))
        if isinstance(field.kind, type) and dataclasses.is_dataclass(field.kind):
            rows += _described(field.kind, f"{name}.")
    return rows


def _kind(field: Field) -> str:
    words = {str: "text", int: "integer", float: "number", bool: "true or false"}
    return "number" if field.says is not None and field.says.others else words.get(field.kind, "object")


def _markdown(first: str, rows: list[tuple[str, str, str, str, str]]) -> str:
    lines = [f"| {first} | type | unit | meaning | null |", "| --- | --- | --- | --- | --- |"]
    for name, *cells in rows:
        lines.append("| " + " | ".join([f"`{name}`", *cells]).replace("|  |", "| |") + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
