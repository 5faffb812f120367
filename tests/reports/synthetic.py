"""Synthetic sweep folders in the store's own JSON, for the report's tests: no training, the same numbers every time."""

import hashlib
import json
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweep import intervals
from sweep.store.fields import to_json
from sweep.store.metric import ACCURACY, Metric

REFERENCE_BYTES = 64_000
PARAMETERS = 17_226
MACS = 17_024
N_VAL = 359
MSE = Metric("mse", higher_is_better=False, unit="mm2", best=0.0)
R2 = Metric("r2", higher_is_better=True, unit="", best=1.0)
TOP_5 = Metric("top_5", higher_is_better=True, unit="%", best=1.0)
SCALES = {MSE: 400.0, R2: 3.0, TOP_5: 0.5}
"""The error of such a metric in a synthetic sweep, for an error of 1 of the accuracy."""


@dataclass(frozen=True)
class Point:
    """A configuration with the bytes and the validation error that its jobs come out with."""

    family: str
    configuration: dict[str, int | float | str]
    size_bytes: int
    error: float
    direct_error: float | None
    macs: int = MACS


def wilson(accuracy: float, n: int) -> dict[str, float | int]:
    """An accuracy seen on n examples with its 95 % interval, as records hold it."""
    low, high = intervals.wilson(accuracy, n=n)
    return {"accuracy": accuracy, "n": n, "low": low, "high": high}


def drop(accuracy: float, n: int, *, lost: float) -> dict[str, float]:
    """The drop from the reference's accuracy, of whose right answers a model loses this many at least."""
    less = (1 - 9 / N_VAL) * n - accuracy * n
    lost = max(lost, less)
    low, high = intervals.paired_drop(round(lost), round(lost) - round(less), n=n)
    return {"drop": less / n, "low": low, "high": high}


def grid() -> list[Point]:
    """A sweep of four families that looks like the digits one: pruning, codebooks, low rank, pruning then codebooks."""
    points = []
    for keep in (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02, 0.01):
        size = int(300 + PARAMETERS * keep * 4.6)
        points.append(Point("prune", {"keep": keep}, size, 0.0245 + 0.00042 / keep, min(0.9, 0.02 + 0.045 / keep)))
    for codes in (64, 32, 16, 8, 4, 2):
        size = int(700 + PARAMETERS * math.log2(codes) / 8 + codes * 12)
        points.append(Point("quantize", {"size": codes}, size, 0.0246 + 0.05 / codes**1.6, 0.024 + 1.1 / codes**1.5))
    for rank in (32, 16, 12, 8, 6, 4, 3, 2):
        size = int(800 + rank * 4 * 420)
        points.append(
            Point("low_rank", {"rank": rank}, size, 0.0247 + 0.6 / rank**2.6, min(0.9, 0.02 + 7 / rank**2), 420 * rank)
        )
    for keep in (0.3, 0.2, 0.1, 0.05, 0.03):
        for codes in (16, 4, 2):
            size = int(420 + PARAMETERS * keep * (4 + math.log2(codes)) / 8)
            error = 0.0242 + 0.00044 / keep + 0.02 / codes**1.6
            points.append(
                Point("prune_quantize", {"keep": keep, "size": codes}, size, error, min(0.9, 0.03 / keep + 1.2 / codes))
            )
    return points


def many(count: int) -> list[Point]:
    """`count` configurations scattered above a front, over four families."""
    draw = random.Random(5)
    points = []
    for index in range(count):
        size = int(700 * math.exp(draw.random() * 4))
        error = min(0.9, 0.02 + 18 / size + draw.random() ** 3 * 0.1)
        family = ("prune", "quantize", "low_rank", "prune_quantize")[index % 4]
        points.append(
            Point(family, {"level": index, "keep": round(draw.random(), 4)}, size, error, min(0.9, error * 4))
        )
    return points


def job_id(*parts: object) -> str:
    """16 hex digits of the parts' hash."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def record(point: Point, *, seed: int, seeds: int, n_val: int) -> dict[str, Any]:
    """The finished record of one job at `point`: its error moved by the seed, in steps of one example of the split."""
    draw = random.Random(f"{point.family} {point.configuration} {seed}")
    moved = point.error * (1 + (draw.random() - 0.5) * (0.25 if seeds > 1 else 0.1))
    accuracy = 1 - round(moved * n_val) / n_val
    name = job_id(point.family, point.configuration, seed)
    direct = None if point.direct_error is None else wilson(1 - round(point.direct_error * n_val) / n_val, n_val)
    return {
        "format": 1,
        "id": name,
        "status": "done",
        "study": "digits_mlp",
        "study_hash": "0123456789abcdef",
        "family": point.family,
        "configuration": point.configuration,
        "method": "lc",
        "seed": seed,
        "schedule": {"steps": 40, "epochs": 60.0},
        "plan": "0" * 16,
        "nominal_bytes": int(point.size_bytes * 1.05),
        "artifact_bytes": point.size_bytes,
        "artifact_sha256": hashlib.sha256(name.encode()).hexdigest(),
        "reference_bytes": REFERENCE_BYTES,
        "macs": point.macs,
        "reference_macs": MACS,
        "val": wilson(accuracy, n_val),
        "drop": drop(accuracy, n_val, lost=draw.randrange(9)),
        "direct": direct,
        "gap": 0.002 + draw.random() * 0.006,
        "epochs": 60.0,
        "seconds": 2.0 + draw.random(),
        "device": "cpu",
        "versions": {"python": "3.11.9", "torch": "2.13.0", "optuna": "5.0.0"},
        "finished": "2026-03-01T12:00:00+00:00",
        "error": None,
    }


def records(points: Iterable[Point], *, seeds: int) -> list[dict[str, Any]]:
    """Those of `seeds` seeds of each point."""
    return [record(point, seed=seed, seeds=seeds, n_val=N_VAL) for point in points for seed in range(seeds)]


def failed(point: Point, *, message: str, trace: str) -> dict[str, Any]:
    """The record of a job at `point` that raised."""
    made = record(point, seed=0, seeds=1, n_val=N_VAL)
    nothing = dict.fromkeys(("artifact_bytes", "artifact_sha256", "macs", "val", "direct", "gap", "epochs"))
    return {**made, **nothing, "status": "failed", "error": {"message": message, "traceback": trace}}


def write(path: Path, content: object) -> None:
    """`content` as JSON at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def write_sweep(
    folder: Path,
    records: list[dict[str, Any]],
    *,
    target: dict[str, float] | None,
    study: str = "digits_mlp",
    repeats: int = 1,
    confirm: int = 0,
    metric: Metric = ACCURACY,
) -> Path:
    """A sweep's folder with its manifest and these records, whose accuracies become values of `metric`; the folder."""
    reference = wilson(1 - 9 / N_VAL, N_VAL)
    manifest = {
        "format": 1,
        "study": study,
        "reference_study": f"studies.{study}",
        "user_folder": ".",
        "sweep": "0" * 32,
        "repeats": repeats,
        "confirm": confirm,
        "study_parts": {},
        "study_hash": "0123456789abcdef",
        "metric": "accuracy" if metric == ACCURACY else to_json(metric),
        "target": target,
        "splits": {"train": 1078, "val": N_VAL, "test": 360},
        "reference": {
            "bytes": REFERENCE_BYTES,
            "parameters": PARAMETERS,
            "macs": MACS,
            "val": measured(reference, metric),
        },
        "versions": {"python": "3.11.9", "torch": "2.13.0", "optuna": "5.0.0"},
    }
    write(folder / "sweep.json", manifest)
    for made in records:
        write(folder / "artifacts" / made["id"] / "record.json", remeasured(made, metric))
    return folder


def remeasured(record: dict[str, Any], metric: Metric) -> dict[str, Any]:
    """The record with values of another metric in place of its accuracies."""
    if metric == ACCURACY:
        return record
    scores = {name: measured(record[name], metric) for name in ("val", "direct") if record[name]}
    drop = record.get("drop") and {name: SCALES[metric] * value for name, value in record["drop"].items()}
    return record | scores | {"drop": drop}


def measured(score: dict[str, Any], metric: Metric) -> dict[str, Any]:
    """A score with values of another metric: its error is that of the accuracy times the metric's scale."""
    if metric == ACCURACY:
        return score
    values = {name: metric.value_of_error(SCALES[metric] * (1 - score[name])) for name in ("accuracy", "low", "high")}
    ends = sorted((values["low"], values["high"]))
    ends_by_name = dict(zip(("low", "high"), ends, strict=True))
    return {metric.name: values["accuracy"], "n": score["n"], **ends_by_name, "metric": to_json(metric)}


def write_searches(folder: Path) -> None:
    """What a grid and a smallest-model search leave in searches/."""
    write(
        folder / "searches" / "grid.json",
        {"name": "grid", "configurations": 37, "jobs": 37, "known": 0, "started": 37, "failed": 1, "skipped": {}}
        | {"left": 0, "method": "lc", "target": None, "seconds": 74.2},
    )
    skipped = {"no smaller than the best": 261, "tighter than one that misses the target": 92}
    write(
        folder / "searches" / "smallest.json",
        {"name": "smallest", "configurations": 402, "jobs": 49, "known": 37, "started": 12, "failed": 0}
        | {
            "left": 0,
            "method": "lc",
            "skipped": skipped,
            "target": {"max_drop": 0.01, "relative": True},
            "seconds": 31.7,
        },
    )


def write_test(folder: Path, *, id: str, sha256: str, accuracy: float, metric: Metric = ACCURACY) -> None:
    """One look at the test split, as `pick` leaves it."""
    content = {
        "id": id,
        "artifact_sha256": sha256,
        **measured(wilson(accuracy, 360), metric),
        "finished": "2026-03-01T12:05:00+00:00",
    }
    write(folder / "test" / f"{sha256}.json", content)


def write_latency(folder: Path, job: str, *, sha256: str, ratio: float) -> None:
    """What lcsweep bench leaves of a job whose file has this hash."""
    around = {"ratio": ratio, "ratio_low": 0.9 * ratio, "ratio_high": 1.02 * ratio}
    write(folder / "latency" / f"{job}.json", {"artifact_sha256": sha256, **around})


def tied(*, seeds: tuple[int, ...], draw: random.Random) -> list[dict[str, Any]]:
    """Records of configurations with few sizes and few accuracies, so that much ties; `seeds` are how many one has."""
    records = []
    for index in range(60):
        family, macs = draw.choice([("prune", MACS), ("low_rank", 4000), ("low_rank", 4400), ("quantize", MACS)])
        point = Point(family, {"level": index, "scale": 1.0}, 1000 + 100 * draw.randrange(12), 0.03, 0.4, macs)
        right = N_VAL - 7 - draw.randrange(20)
        for seed in range(draw.choice(seeds)):
            made = record(point, seed=seed, seeds=1, n_val=N_VAL)
            accuracy = (right - draw.randrange(3)) / N_VAL
            if index % 10 == 0:
                accuracy = 0.95 + draw.random() / 40  # a score that is no count of right answers
            if index % 10 == 1:
                accuracy = 344 / N_VAL  # every seed alike
            made["val"] = wilson(accuracy, N_VAL)
            made["drop"] = drop(accuracy, N_VAL, lost=draw.randrange(25)) if index % 13 else None
            if index % 10 == 0 and made["drop"]:
                made["drop"]["high"] += draw.random() / 100  # of scores that are not right or wrong
            made["artifact_bytes"] += draw.randrange(2)
            if index % 7 == 3:  # direct compression, of which one seed is enough
                made |= {"method": "dc", "artifact_bytes": 900 + 20 * index}
                records.append(made)
                break
            records.append(made)
    return records


def write_diagnostics(folder: Path, job: str) -> None:
    """The LC steps of a job: direct compression and ten more."""
    steps = [
        {"step": k, "mu": 0.0 if k == 0 else 1e-3 * 1.3**k, "loss": None if k == 0 else 0.5 / (k + 1), "gap": 0.8**k}
        | {"val_error": 0.5 / (k + 1)}
        for k in range(11)
    ]
    layers = [
        layer(f"fc{k}.weight", [30, 20], kept=600 // k, ranks=[], codes=k)
        | {"alone": {"error": 0.05 * k, "reference": 0.025, "n": N_VAL}}
        for k in (1, 2, 3)
    ]
    write(folder / "artifacts" / job / "diagnostics.json", {"steps": steps, "layers": layers})


def layer(name: str, shape: list[int], *, kept: int, ranks: list[int], codes: int) -> dict[str, Any]:
    """What a layer of a compressed model is made of, as lc_core.structure.contents has it."""
    counts = [round(100 * math.exp(-((k - 40) ** 2) / 300)) for k in range(80)]
    values = [[-0.3 + 0.6 * (k + 1) / (codes + 1), 10 * (k + 1)] for k in range(codes)]
    seen = {"histogram": {"low": -0.5, "high": 0.5, "counts": counts}, "values": values}
    return {"name": name, "shape": shape, "kept": kept, "bits": 1.25, "ranks": ranks} | seen
