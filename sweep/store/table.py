"""The records of a sweep as a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.store.columns import COLUMNS, OPEN_COLUMNS
from sweep.store.record import Record
from sweep.store.records import read_records

if TYPE_CHECKING:
    import pandas as pd


def table(root: str | Path) -> "pd.DataFrame":
    """The records of the sweep in `root`, a row each, done and failed; what a record does not know is NA.

    Columns: those of COLUMNS, then one "knob.<name>" a knob, one "schedule.<name>" a setting of the schedule and one
    "version.<name>" a package. docs/records.md says what each holds, in which unit, and when it is NA.
    Of another metric than the accuracy, `val_accuracy` and `direct_accuracy` have its name: `val_mse`.
    """
    import pandas as pd

    records = read_records(Path(root))
    rows = [_row(record) for record in records]
    names = {name: None for row in rows for name in row if name not in COLUMNS}
    opened = [name for prefix in OPEN_COLUMNS for name in names if name.startswith(f"{prefix}.")]
    columns = {name: pd.Series([row[name] for row in rows], dtype=column.dtype) for name, column in COLUMNS.items()}
    columns |= {name: _open_column([row.get(name) for row in rows]) for name in opened}
    measured = {record.val.metric.name for record in records if record.val is not None} or {"accuracy"}
    named = {f"{part}_accuracy": f"{part}_{name}" for part in ("val", "direct") for name in measured}
    found = pd.DataFrame(columns).rename(columns=named)
    return found.loc[:, ~found.columns.duplicated()]  # of a metric called "error" there is one `val_error`: its value


def _row(record: Record) -> dict[str, Any]:
    row = {name: column.value(record) for name, column in COLUMNS.items()}
    for prefix, column in OPEN_COLUMNS.items():
        row |= {f"{prefix}.{name}": value for name, value in getattr(record, column.field).items()}
    return row


def _open_column(values: list[Any]) -> "pd.Series[Any]":
    """Whole numbers, numbers or, where one of `values` is neither, text: in each case with NA for None."""
    import pandas as pd

    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return pd.Series([None if value is None else str(value) for value in values], dtype="string")
    whole = bool(known) and all(isinstance(value, int) for value in known)
    return pd.Series(values, dtype="Int64" if whole else "Float64")
