"""What `lcsweep bench` prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from sweep.cli.text import table
from sweep.pick.size_and_speed import faster

Facts = Mapping[str, Any]

HEADING = ("model", "runs", "P50", "P95", "P99", "of dense", "95 % interval", "examples/s", "samples")
COSTLY = 1.05
"""How many times as long a model takes with denormal numbers, by the lower 95 % bound, from which it is said to."""


def latency(facts: Facts) -> str:
    """Tables of latency by threads and batch, of memory, and what follows from them."""
    parts = [_machine(facts)]
    if not facts["onnx"]:
        parts.append("torch alone: ONNX Runtime is not installed; it comes with pip install 'lcsweep[onnx]'")
    every = [row for model in facts["models"].values() for row in model["rows"]]
    for threads, batch in sorted({(row["threads"], row["batch"]) for row in every}):
        parts.append(f"{'one thread' if threads == 1 else f'{threads} threads'}, batches of {batch}")
        parts.append(table([HEADING, *_rows(facts, threads=threads, batch=batch)], right=set(range(2, len(HEADING)))))
    memory = list(_memory(facts))
    if memory:
        parts += ["peak memory of a fresh process, batches of 64", table(memory, right={2, 3})]
    ends = [*_denormals(facts), *_verdicts(facts)]
    return "\n\n".join([*parts, *(["\n".join(ends)] if ends else [])])


def _machine(facts: Facts) -> str:
    machine = facts["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {versions}; {facts['rounds']} rounds, all models in each; "
        'what holds is "of dense": the same runtime\'s time of the dense reference in the same rounds'
    )


def _rows(facts: Facts, *, threads: int, batch: int) -> Iterator[tuple[str, ...]]:
    for name, model in facts["models"].items():
        for row in model["rows"]:
            if (row["threads"], row["batch"], row["denormals"]) != (threads, batch, "flushed"):
                continue
            ratio = ("", "")
            if "ratio" in row:
                ratio = (f"{row['ratio']:.2f}", f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}")
            times = (_seconds(row[name]) for name in ("p50_s", "p95_s", "p99_s"))
            samples = f"{row['n']} of {row['calls']}" if row["calls"] > 1 else str(row["n"])
            yield (model.get("label", name), row["runs"], *times, *ratio, f"{row['throughput']:,.0f}", samples)


def _memory(facts: Facts) -> Iterator[tuple[str, ...]]:
    rows = [
        (model.get("label", name), runs, f"{used['bytes'] / 1e6:.1f} MB", _above(used))
        for name, model in facts["models"].items()
        for runs, used in model["memory"].items()
    ]
    if rows:
        yield "model", "runs", "peak", "above its imports"
        yield from rows


def _above(used: Facts) -> str:
    return f"{(used['bytes'] - used['imported_bytes']) / 1e6:.1f} MB"


def _denormals(facts: Facts) -> Iterator[str]:
    """Of models that are slowed down by denormal numbers, or have some among their weights."""
    for name, model in facts["models"].items():
        kept = [row for row in model["rows"] if row["denormals"] == "kept"]
        costs = {row["runs"]: row["denormals_cost"] for row in kept if row["denormals_cost_low"] >= COSTLY}
        count = model["denormal_weights"]
        if count or costs:
            slower = ", ".join(f"{cost:.2f} times as long in {runs}" for runs, cost in costs.items()) or "no slower"
            held = f"{count:,} weights are denormal numbers; where these" if count else "where denormal numbers"
            yield f"{model.get('label', name)}: {held} are not flushed to zero it takes {slower}"


def _verdicts(facts: Facts) -> Iterator[str]:
    """A line a model that was compared in ONNX Runtime, the reference aside."""
    first, *others = facts["models"].items()
    dense = "the dense" if first[0] == "reference" else f"{first[0]}'s"
    for name, model in others:
        if "ratio" in model:
            words = "faster" if faster({"latency": model}) else "NOT FASTER"
            yield f"{model.get('label', name)}: {words}, {model['ratio']:.2f} of {dense} latency"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e-6:.1f} us"
