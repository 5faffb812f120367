"""How a file's size compares with another's, in words that never make less of one that is larger."""

from collections.abc import Mapping
from typing import Any


def times(size: int, whole: int) -> str:
    """`size` against `whole`, both in bytes: "20.8 times smaller", "1.2 times LARGER", "no smaller"."""
    if size == whole:
        return "no smaller"
    factor = max(size, whole) / min(size, whole)
    return f"{factor:.{1 if factor >= 1.1 else 2}f} times {'smaller' if size < whole else 'LARGER'}"


def told(record: Mapping[str, Any]) -> str:
    """The size of a job's file; where it is larger than the reference's, that too."""
    size, whole = record["artifact_bytes"], record["reference_bytes"]
    larger = f", {times(size, whole)} than the reference" if size > whole else ""
    return f"{size:,} bytes{larger}"
