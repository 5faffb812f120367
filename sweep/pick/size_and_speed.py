"""A model's size and speed beside the reference's, in words. A model that is larger or not faster is said to be so.

A speed is a claim with an interval. A model counts as faster when its measured latency is at most FASTER times the
reference's in the same run, of LEAST_ROUNDS rounds or more, and the 95 % interval lies below 1. Without a measurement,
a model with as many multiply-accumulates as the reference is not faster; of one with fewer it is not known.
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
LEAST_ROUNDS = 6
"""Fewer rounds have no 95 % interval: the true median may lie outside all of them."""


def faster(facts: Mapping[str, Any]) -> bool | None:
    """Whether a job's model is faster than the reference, from its `speed_facts`; None where that is not known."""
    latency = facts.get("latency") or {}
    if "ratio" in latency:
        return bool(latency["ratio"] <= FASTER and latency["ratio_high"] < 1 and enough_rounds(latency))
    return None if facts["macs"] < facts["reference_macs"] else False


def speed(facts: Mapping[str, Any]) -> str:
    """How fast a job's model is, and how that is known, from its `speed_facts`, and "no_parity" where it has that."""
    latency, found = facts.get("latency") or {}, faster(facts)
    if "ratio" in latency:
        return speedup(latency)
    if found is None and facts.get("no_parity"):
        return "not measured, since it has no ONNX file"
    if found is None:
        return "not measured; lcsweep bench does"
    return "NOT FASTER, as many multiply-accumulates as the reference"


def speedup(latency: Mapping[str, Any], *, of: str = "the reference") -> str:
    """What a measured ratio of latencies shows: "faster", "SLOWER", or that neither is proven; with its interval.

    `of` is what the ratio is to.
    """
    low, high = latency["ratio_low"], latency["ratio_high"]
    measured = f"{latency['ratio']:.2f} ({low:.2f} to {high:.2f}) of the latency of {of}"
    if not enough_rounds(latency):
        return f"speed-up not proven: {measured}, in fewer than {LEAST_ROUNDS} rounds"
    if faster({"latency": latency}):
        return f"faster: {measured}"
    if low > 1:
        return f"SLOWER: {measured}"
    return f"{'speed-up not proven' if high >= 1 else 'hardly faster'}: {measured}"


def enough_rounds(latency: Mapping[str, Any]) -> bool:
    """Whether ratios that were measured have a 95 % interval."""
    return bool(latency.get("rounds", LEAST_ROUNDS) >= LEAST_ROUNDS)


def speed_facts(record: Done) -> dict[str, Any]:
    """What is known of the speed of a job's model and of the reference; of the latency, all but the single rows."""
    latency = None
    if record.latency is not None:
        known = to_json(record.latency).items()
        latency = {name: value for name, value in known if value is not None and name not in ("rows", "memory")}
    facts = {"macs": record.macs, "reference_macs": record.reference_macs, "reference_bytes": record.reference_bytes}
    return facts | {"latency": latency, "faster": faster(facts | {"latency": latency})}
