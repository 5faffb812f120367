"""Models of others, to be shown beside the fronts of a comparison: read from a CSV file."""

import csv
import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sweep.store.metric import Metric

COLUMNS = ("name", "bytes", "error", "source")
MOST = len(string.ascii_lowercase)


@dataclass(frozen=True)
class Point:
    """A model that is not of a sweep.

    Attributes:
        letter: by which the figure names it.
        name: what it is.
        bytes: its size.
        error: as records have it: a fraction for accuracies, else the metric's value.
        source: who measured it, and on what.
    """

    letter: str
    name: str
    bytes: int
    error: float
    source: str


def read_points(path: Path) -> tuple[Point, ...]:
    """The points in a CSV file with the columns of `COLUMNS`.

    Raises:
        ValueError: the file is missing or is not that; the message names the line.
    """
    what = f"a CSV file with the columns {', '.join(COLUMNS)}"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"{path}: expected {what}, got {', '.join(reader.fieldnames or ()) or 'no columns'}")
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: expected {what}: {error}") from error
    if not 1 <= len(rows) <= MOST:
        raise ValueError(f"{path}: expected 1 to {MOST} points, got {len(rows)}")
    return tuple(
        _point(row, letter=letter, where=f"{path}, line {line}")
        for letter, (line, row) in zip(string.ascii_lowercase, rows, strict=False)
    )


def check_points(points: Sequence[Point], metric: Metric) -> None:
    """ValueError where an error is none of this metric."""
    for point in points:
        if metric.fraction and not 0 <= point.error <= 1:
            raise ValueError(f"{point.name}: expected an error that is a fraction in [0, 1], got {point.error:g}")


def _point(row: dict[str, str], *, letter: str, where: str) -> Point:
    name, source = row["name"], row["source"]
    try:
        size, error = int(row["bytes"]), float(row["error"])
    except (TypeError, ValueError):
        size, error = 0, float("nan")
    if not (name and source and None not in row and size > 0 and -float("inf") < error < float("inf")):
        raise ValueError(
            f"{where}: expected a name, whole bytes above 0, an error and a source, got "
            f"{', '.join(str(value) for value in row.values())}"
        )
    return Point(letter, name, size, error, source)
