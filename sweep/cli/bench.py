"""`lcsweep bench`: measures latency, throughput and memory."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from sweep.cli.console import DONE, DataFolder, Json, UsageError, check_file, progress, show, use_data
from sweep.cli.text import table
from sweep.pick.size_and_speed import LEAST_ROUNDS, enough_rounds, speedup
from sweep.store import remote
from sweep.store.folder import SweepFolder

Facts = Mapping[str, Any]

HEADING = ("model", "runtime", "P50", "P95", "P99", "of dense", "95 % interval", "examples/s", "samples")
COSTLY = 1.05
"""Denormal numbers are reported where, by the lower 95 % bound, a model takes this many times as long with them."""


def bench(
    what: Annotated[
        list[str],
        typer.Argument(metavar="DIR|FILE...", help="A sweep's folder; or packed models (.lcz) and ONNX files (.onnx)."),
    ],
    job: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="Measure this job of DIR (repeat for more); by default the models on the front and the pick.",
        ),
    ] = None,
    trial: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    rounds: Annotated[int, typer.Option(min=1, metavar="N", help="Measure every model in N rounds.")] = 30,
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="The study of packed files; of DIR, if it has moved.")
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Measure latency, throughput and peak memory.

    Runs each model in ONNX Runtime and in torch, on one thread and on all cores, in batches of 1 and 64, beside the
    dense reference. Keeps a sweep's results in DIR/latency, where pick --by latency finds them.
    """
    use_data(data)
    facts = _measure(what, [*(job or []), *(trial or [])], rounds=rounds, study=study)
    show(facts, describe(facts), as_json=as_json)
    return DONE


def _measure(what: list[str], jobs: list[str], *, rounds: int, study: str | None) -> dict[str, Any]:
    """Measures the sweep or the files that `what` names."""
    from sweep.bench import benchmark

    folders = [name for name in what if remote.is_url(name) or not name.endswith((".lcz", ".onnx"))]
    if folders and len(what) > 1:
        raise UsageError(f"bench: expected one sweep's folder, or files (.lcz, .onnx), got {' '.join(what)}")
    if folders:
        root = remote.local(what[0])
        facts = benchmark.bench_sweep(
            root, jobs=jobs, rounds=rounds, study_reference=study, user_folder=os.getcwd(), say=progress
        )
        remote.put_back(what[0], SweepFolder(root).latency("any").parent)
        return facts
    if jobs:
        raise UsageError("--job: expected a sweep's folder beside it, whose job it names")
    files = [Path(name) for name in what]
    for file in files:
        check_file(file, expected="a packed model (.lcz) or an ONNX file (.onnx)")
    return benchmark.bench_files(files, rounds=rounds, study_reference=study, user_folder=os.getcwd(), say=progress)


def describe(facts: Facts) -> str:
    """Tables of latency by threads and batch, a table of memory, and what follows from them."""
    parts = [_machine(facts)]
    if not facts["onnx"]:
        parts.append("torch only: ONNX Runtime is not installed; run pip install 'lcsweep[onnx]'")
    every = [row for model in facts["models"].values() for row in model["rows"]]
    for threads, batch in sorted({(row["threads"], row["batch"]) for row in every}):
        parts.append(f"{'one thread' if threads == 1 else f'{threads} threads'}, batches of {batch}")
        parts.append(table([HEADING, *_rows(facts, threads=threads, batch=batch)], right=set(range(2, len(HEADING)))))
    memory = list(_memory(facts))
    if memory:
        parts += ["peak memory of a fresh process that runs batches of 64", table(memory, right={2, 3})]
    ends = [*_denormals(facts), *_verdicts(facts)]
    return "\n\n".join([*parts, *(["\n".join(ends)] if ends else [])])


def _machine(facts: Facts) -> str:
    machine = facts["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    rounds = "1 round" if facts["rounds"] == 1 else f"{facts['rounds']} rounds"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {versions}; {rounds}, every model in each. "
        'Seconds depend on what else the machine does; trust "of dense": the time over that of the dense reference in '
        "the same runtime and the same rounds. P95 and P99 need at least 100 and 500 samples: --rounds gives more."
    )


def _rows(facts: Facts, *, threads: int, batch: int) -> Iterator[tuple[str, ...]]:
    for name, model in facts["models"].items():
        for row in model["rows"]:
            if (row["threads"], row["batch"], row["denormals"]) != (threads, batch, "flushed"):
                continue
            ratio = ("", "")
            if "ratio" in row:
                interval = f"{row['ratio_low']:.2f} to {row['ratio_high']:.2f}" if enough_rounds(facts) else "–"
                ratio = (f"{row['ratio']:.2f}", interval)
            times = ("–" if row[name] is None else _seconds(row[name]) for name in ("p50_s", "p95_s", "p99_s"))
            samples = f"{row['n']}, {row['calls']} calls each" if row["calls"] > 1 else str(row["n"])
            yield (model.get("label", name), row["runs"], *times, *ratio, f"{row['throughput']:,.0f}", samples)


def _memory(facts: Facts) -> Iterator[tuple[str, ...]]:
    rows = [
        (model.get("label", name), runs, f"{used['bytes'] / 1e6:.1f} MB", _above(used))
        for name, model in facts["models"].items()
        for runs, used in model["memory"].items()
    ]
    if rows:
        yield "model", "runtime", "peak", "more than after its imports"
        yield from rows


def _above(used: Facts) -> str:
    return f"{(used['bytes'] - used['imported_bytes']) / 1e6:.1f} MB"


def _denormals(facts: Facts) -> Iterator[str]:
    """A line for each model that denormal numbers slow down, or that has some among its weights."""
    for name, model in facts["models"].items():
        kept = [row for row in model["rows"] if row["denormals"] == "kept" and enough_rounds(facts)]
        costs = {row["runs"]: row["denormals_cost"] for row in kept if row["denormals_cost_low"] >= COSTLY}
        count = model["denormal_weights"]
        if count or costs:
            slower = ", ".join(f"takes {cost:.2f} times as long in {runs}" for runs, cost in costs.items())
            held = f"{count:,} weights are denormal numbers; " if count else ""
            words = f"{held}if denormal numbers are not flushed to zero, it {slower or 'is no slower'}"
            words = words if enough_rounds(facts) else f"{held}what they cost shows in {LEAST_ROUNDS} rounds or more"
            yield f"{model.get('label', name)}: {words}"


def _verdicts(facts: Facts) -> Iterator[str]:
    """A line for each model that was compared in ONNX Runtime with the first one."""
    first, *others = facts["models"].items()
    other = "the dense reference" if first[0] == "reference" else first[0]
    for name, model in others:
        if "ratio" in model:
            yield f"{model.get('label', name)}: {speedup(model | {'rounds': facts['rounds']}, of=other)}"


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e-6:.1f} us"
