"""How long models take and how much memory, in each form that they can run as, beside a dense one in the same run."""

import datetime
import functools
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lc_core.onnx import has_onnx
from sweep.bench.latency import Timings, timed
from sweep.bench.memory import Peak, peak
from sweep.bench.runtimes import Model, Runs
from sweep.run.process import cores, cpu

BATCHES = (1, 64)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Contestant:
    """One way of running one model.

    Attributes:
        model: its name.
        runs: how.
        denormals: "flushed" to zero, or "kept".
    """

    model: str
    runs: Runs
    denormals: str = "flushed"


@dataclass(frozen=True)
class Site:
    """What models are timed with, and where their memory is measured.

    Attributes:
        inputs: examples, as many as the largest batch.
        study: as it is loaded again in a fresh process; None where torch runs nothing.
        user_folders: where that looks for it.
        rounds: of timing.
        say: is told how far it is.
    """

    inputs: Tensor
    study: str | None
    user_folders: tuple[str, ...]
    rounds: int
    say: Say


def measured(models: Sequence[Model], site: Site) -> dict[str, Any]:
    """Latency and memory of each model, the first beside which the others are; and of what machine.

    By name: a row for each way to run it, with how many threads, in which batches; the row that counts as its latency.
    """
    rows: dict[str, list[dict[str, Any]]] = {model.name: [] for model in models}
    for threads in sorted({1, cores()}):
        for batch in BATCHES:
            site.say(f"latency: batches of {batch}, {_threads(threads)}, {site.rounds} rounds")
            for name, row in timed_rows(models, site, threads=threads, batch=batch):
                rows[name].append(row)
    torch.set_num_threads(1)
    found = {}
    for model in models:
        memory = {runs: asdict(used) for runs in model.forms if (used := _memory(model, runs, site))}
        found[model.name] = _headline(rows[model.name]) | {
            "rows": rows[model.name],
            "memory": memory,
            "denormal_weights": model.denormals,
        }
    return {
        "models": found,
        "machine": machine(),
        "rounds": site.rounds,
        "onnx": has_onnx(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """Where latency was measured."""
    names = ("torch", "onnxruntime") if has_onnx() else ("torch",)
    return {"cpu": cpu(), "cores": cores(), "system": platform.system(), "versions": {n: version(n) for n in names}}


def timed_rows(
    models: Sequence[Model], site: Site, *, threads: int, batch: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and row of each model in each form; on one thread, batches of one, with denormal numbers kept too."""
    torch.set_num_threads(threads)
    inputs = site.inputs[:batch].contiguous()
    states = ("flushed", "kept") if threads == batch == 1 else ("flushed",)
    with torch.inference_mode():
        makes = {
            Contestant(model.name, runs, state): functools.partial(model.call, runs, inputs, threads=threads)
            for model in models
            for runs in model.forms
            for state in states
        }
        timings = timed(
            makes,
            rounds=site.rounds,
            clock=time.perf_counter,
            prepare=lambda each: torch.set_flush_denormal(each.denormals == "flushed"),
        )
    torch.set_flush_denormal(True)
    for each in makes:
        setting = {"runs": each.runs, "threads": threads, "batch": batch, "denormals": each.denormals}
        yield each.model, setting | _row(timings, each, models[0], batch=batch)


def _row(timings: Timings[Contestant], each: Contestant, dense: Model, *, batch: int) -> dict[str, Any]:
    """Quantiles in seconds, examples a second, and how they compare with the dense model's in the same runtime."""
    names = {"p50_s": 0.5, "p95_s": 0.95, "p99_s": 0.99}
    row: dict[str, Any] = {name: timings.quantile(each, share) for name, share in names.items()}
    row |= {"throughput": batch / timings.mean(each), "n": timings.count(each), "calls": timings.calls}
    other = Contestant(dense.name, "onnx" if each.runs == "onnx" else "torch")
    if other in timings.rounds:
        ratio, low, high = timings.ratio(each, over=other)
        row |= {"ratio": ratio, "ratio_low": low, "ratio_high": high, "dense_throughput": batch / timings.mean(other)}
        row |= {f"dense_{name}": timings.quantile(other, share) for name, share in names.items()}
    if each.denormals == "kept":
        cost, low, high = timings.ratio(each, over=Contestant(each.model, each.runs))
        row |= {"denormals_cost": cost, "denormals_cost_low": low, "denormals_cost_high": high}
    return row


def _headline(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The row that counts as a model's latency: ONNX Runtime, one thread, one example, denormal numbers flushed."""
    wanted = {"runs": "onnx", "threads": 1, "batch": 1, "denormals": "flushed"}
    found = next((row for row in rows if all(row[name] == value for name, value in wanted.items())), None)
    return dict(found) if found else {}


def _memory(model: Model, runs: Runs, site: Site) -> Peak | None:
    """Of a fresh process that loads the model and runs the largest batch; None where the system does not tell."""
    site.say(f"memory: {model.name}, {runs}")
    sizes = [str(size) for size in (max(BATCHES), *site.inputs.shape[1:])]
    if runs != "onnx":
        assert site.study is not None
        form = "dense" if runs == "torch" else "structured"
        dtype = str(site.inputs.dtype).removeprefix("torch.")
        folders = json.dumps(site.user_folders)
        return peak(["-P", "-m", "sweep.bench.torch_alone", site.study, folders, str(model.path), form, dtype, *sizes])
    import lc_core.onnx.file

    script = Path(lc_core.onnx.file.__file__).with_name("alone.py")
    assert model.onnx is not None
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        file.write(model.onnx)
        file.flush()
        return peak(["-P", str(script), file.name, str(site.inputs.numpy().dtype), *sizes])


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
