"""Measures the time and memory of models in every runtime, beside a dense model in the same rounds."""

import datetime
import functools
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lc_core.onnx import has_onnx
from lc_core.training.nest import Nest, map_nest
from sweep.bench.latency import Timings, timed
from sweep.bench.memory import Peak, peak
from sweep.bench.runtimes import Model, RuntimeName
from sweep.execution.process import cores, cpu

BATCHES = (1, 64)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Variant:
    """One way to run one model.

    Attributes:
        model: its name.
        runtime: where it runs.
        denormals: whether denormal numbers are "flushed" to zero or "kept".
    """

    model: str
    runtime: RuntimeName
    denormals: str = "flushed"


@dataclass(frozen=True)
class Setup:
    """What models are measured with.

    Attributes:
        inputs: examples, as many as the largest batch has.
        study: the reference by which a fresh process loads the study; None if no model runs in torch.
        user_folder: the user's current folder, for that process.
        rounds: how many rounds of timing.
        say: called with a line before each step.
    """

    inputs: Nest
    study: str | None
    user_folder: str | None
    rounds: int
    say: Say


def measured(models: Sequence[Model], setup: Setup) -> dict[str, Any]:
    """The latency and memory of each model, and the machine. The first model is the one that all are compared with.

    Each model has a row for every runtime, number of threads and batch size, and the headline row beside them.
    """
    memory = {  # first, since a model that does not run ends here, before the long part
        model.name: {name: asdict(used) for name in model.runtimes if (used := _memory(model, name, setup))}
        for model in models
    }
    rows: dict[str, list[dict[str, Any]]] = {model.name: [] for model in models}
    for threads in sorted({1, cores()}):
        for batch in BATCHES:
            setup.say(f"latency: batches of {batch}, {_threads(threads)}, {setup.rounds} rounds")
            for name, row in timed_rows(models, setup, threads=threads, batch=batch):
                rows[name].append(row)
    torch.set_num_threads(1)
    return {
        "models": {
            model.name: _headline(rows[model.name])
            | {"rows": rows[model.name], "memory": memory[model.name], "denormal_weights": model.denormals}
            for model in models
        },
        "machine": machine(),
        "rounds": setup.rounds,
        "onnx": has_onnx(),
        "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def machine() -> dict[str, Any]:
    """The machine and the versions that latency was measured with."""
    names = ("torch", "onnxruntime") if has_onnx() else ("torch",)
    return {"cpu": cpu(), "cores": cores(), "system": platform.system(), "versions": {n: version(n) for n in names}}


def timed_rows(
    models: Sequence[Model], setup: Setup, *, threads: int, batch: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, row) of each model in each runtime. On one thread in batches of one, also with denormal numbers kept."""
    torch.set_num_threads(threads)
    inputs = map_nest(lambda leaf: leaf[:batch].contiguous(), setup.inputs)
    states = ("flushed", "kept") if threads == batch == 1 else ("flushed",)
    with torch.inference_mode():
        functions = {
            Variant(model.name, runtime, state): functools.partial(model.call, runtime, inputs, threads=threads)
            for model in models
            for runtime in model.runtimes
            for state in states
        }
        timings = timed(
            functions,
            rounds=setup.rounds,
            clock=time.perf_counter,
            prepare=lambda each: torch.set_flush_denormal(each.denormals == "flushed"),
        )
    torch.set_flush_denormal(True)
    for each in functions:
        setting = {"runs": each.runtime, "threads": threads, "batch": batch, "denormals": each.denormals}
        yield each.model, setting | _row(timings, each, models[0], batch=batch)


def _row(timings: Timings[Variant], each: Variant, dense: Model, *, batch: int) -> dict[str, Any]:
    """Quantiles in seconds, examples a second, and both compared with the dense model's in the same runtime."""
    row = _percentiles(timings, each)
    row |= {"throughput": batch / timings.mean(each), "n": timings.count(each), "calls": timings.calls}
    other = Variant(dense.name, "onnx" if each.runtime == "onnx" else "torch")
    if other in timings.rounds:
        ratio, low, high = timings.ratio(each, over=other)
        row |= {"ratio": ratio, "ratio_low": low, "ratio_high": high, "dense_throughput": batch / timings.mean(other)}
        row |= {f"dense_{name}": value for name, value in _percentiles(timings, other).items()}
    if each.denormals == "kept":
        cost, low, high = timings.ratio(each, over=Variant(each.model, each.runtime))
        row |= {"denormals_cost": cost, "denormals_cost_low": low, "denormals_cost_high": high}
    return row


def _percentiles(timings: Timings[Variant], each: Variant) -> dict[str, Any]:
    """Seconds of a call; None where there are too few samples for a percentile."""
    shares = {"p95_s": 0.95, "p99_s": 0.99}
    median = {"p50_s": timings.quantile(each, 0.5)}
    return median | {name: timings.percentile(each, share) for name, share in shares.items()}


def _headline(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The headline row: ONNX Runtime, one thread, batches of one, denormal numbers flushed. Empty if there is none."""
    wanted = {"runs": "onnx", "threads": 1, "batch": 1, "denormals": "flushed"}
    found = next((row for row in rows if all(row[name] == value for name, value in wanted.items())), None)
    return dict(found) if found else {}


def _memory(model: Model, runtime: RuntimeName, setup: Setup) -> Peak | None:
    """The peak of a fresh process that loads the model and runs the largest batch; None on systems without /proc."""
    setup.say(f"memory: {model.label or model.name}, {runtime}")
    with tempfile.TemporaryDirectory() as folder:
        if runtime == "onnx":
            return peak(_in_onnx_alone(model, setup, Path(folder)))
        assert setup.study is not None and setup.user_folder is not None
        inputs, form = Path(folder, "inputs.pt"), "dense" if runtime == "torch" else "structured"
        torch.save(setup.inputs, inputs)
        ours = (setup.study, setup.user_folder, str(model.path), form, str(inputs))
        return peak(["-P", "-m", "sweep.bench.torch_alone", *ours])


def _in_onnx_alone(model: Model, setup: Setup, folder: Path) -> list[str]:
    """The arguments of a process that runs the model's ONNX file, which is written into `folder` with its inputs."""
    import lc_core.onnx.file

    assert model.onnx is not None
    file, inputs = folder / "model.onnx", folder / "inputs.npz"
    file.write_bytes(model.onnx)
    arrays: dict[str, Any] = lc_core.onnx.file.Runtime(model.onnx).arrays(setup.inputs)
    np.savez(inputs, **arrays)
    return ["-P", str(Path(lc_core.onnx.file.__file__).with_name("alone.py")), str(file), str(inputs)]


def _threads(count: int) -> str:
    return "one thread" if count == 1 else f"{count} threads"
