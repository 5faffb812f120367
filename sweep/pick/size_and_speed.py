"""A model's size and speed beside the reference's, in words. A model that is larger or not faster is said to be so.

A model counts as faster when its measured latency is at most FASTER times the reference's in the same run and the 95 %
interval lies below 1. Without a measurement, a model with as many multiply-accumulates as the reference is not faster;
of one with fewer it is not known.
"""

from collections.abc import Mapping
from typing import Any

from sweep.store.fields import to_json
from sweep.store.record import Done


def times(size: int, whole: int) -> str:
    """`size` against `whole`, both in bytes: "20.8 times smaller", "1.2 times LARGER", "no smaller"."""
    if size == whole:
        return "no smaller"
    factor = max(size, whole) / min(size, whole)
    return f"{factor:.{1 if factor >= 1.1 else 2}f} times {'smaller' if size < whole else 'LARGER'}"


def told(record: Done) -> str:
    """The size of a job's file, and by how much it is larger than the reference's where it is."""
    size, whole = record.artifact_bytes, record.reference_bytes
    larger = f", {times(size, whole)} than the reference" if size > whole else ""
    return f"{size:,} bytes{larger}"


FASTER = 0.95


def faster(facts: Mapping[str, Any]) -> bool | None:
    """Whether a job's model is faster than the reference, from its `speed_facts`; None where that is not known."""
    latency = facts.get("latency") or {}
    if "ratio" in latency:
        return bool(latency["ratio"] <= FASTER and latency["ratio_high"] < 1)
    return None if facts["macs"] < facts["reference_macs"] else False


def speed(facts: Mapping[str, Any]) -> str:
    """How fast a job's model is, and how that is known, from its `speed_facts`."""
    latency, found = facts.get("latency") or {}, faster(facts)
    if "ratio" in latency:
        interval = f"95 % interval {latency['ratio_low']:.2f} to {latency['ratio_high']:.2f}"
        measured = f"{latency['ratio']:.2f} of the reference's latency ({interval})"
        return f"{'faster' if found else 'NOT FASTER'}, {measured}"
    if found is None:
        return "not measured; lcsweep bench does"
    return "NOT FASTER, as many multiply-accumulates as the reference"


def speed_facts(record: Done) -> dict[str, Any]:
    """What is known of the speed of a job's model and of the reference; of the latency, all but the single rows."""
    latency = None
    if record.latency is not None:
        known = to_json(record.latency).items()
        latency = {name: value for name, value in known if value is not None and name not in ("rows", "memory")}
    facts = {"macs": record.macs, "reference_macs": record.reference_macs, "reference_bytes": record.reference_bytes}
    return facts | {"latency": latency, "faster": faster(facts | {"latency": latency})}
