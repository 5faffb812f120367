"""What benchmarks print, and when a row holds; the measurements themselves are `make bench`."""

import itertools
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lc_core import Codebook, LowRank, PixelShifts, Schedule, plan_tasks, run_lc
from lc_core.training.data import Split
from tests.benchmarks.conftest import FOLDER
from tests.lc_core.models import mlp, randn, three_classes

KEYS = {"name", "ours", "against", "ratio", "target", "holds", "unit", "runs"}
NAMES = {
    "c_steps": "codebook-2-cold codebook-4-cold codebook-16-cold codebook-64-cold codebook-16-warm codebook-64-warm "
    "codebook-256-warm topk-10M lowrank-300x784-warm lowrank-1024-warm sum-sparse-codebook",
    "l_step": "gemm-share plain-loop",
    "whole_job": "training-share evaluation-share resnet20-evaluation-share peak-memory",
    "lenet300_table": "quantize-all quantize-1-3 prune-5 sum-k2-1pct mixed rank-selection quantize-all-plain "
    "quantize-1-3-plain prune-5-plain sum-k2-1pct-plain mixed-plain rank-selection-plain",
    "search": "budget-jobs budget-noisy-hit smallest-jobs smallest-hit smallest-noisy-jobs smallest-noisy-hit "
    "smallest-false-winners tie-noisy-jobs tie-false-winners bisection-jobs "
    "tpe-jobs tpe-alone-hit nsga-false-winners grid-jobs smallest-2-rounds smallest-8-jobs smallest-64-rounds",
    "orchestration": "trivial-job workers-busy eight-busy store-growth status-growth pick-growth front-growth "
    "resume-growth simulated-busy simulated-saturation simulated-search",
    "size": "digits-prune digits-both digits-factors lenet300-smallest lenet300-prune lenet300-ternary lenet5-both "
    "lenet5-uniform lenet5-n-of-m resnet20-prune resnet20-quantize resnet20-both",
    "kills": "killed-grid killed-smallest killed-reference killed-report killed-pick killed-export",
    "report": "report-100 report-1000 report-10000",
    "exported": "digits-k2 digits-k16 digits-5pct digits-rank20 digits-structured digits-prune-codebook digits-int8 "
    "lenet300-k2 lenet300-int8",
}


def test_the_faster_side_wins_by_the_ratio_of_both_in_the_same_rounds(monkeypatch):
    import rows
    from rows import compared

    now = [0.0]
    monkeypatch.setattr(rows.time, "perf_counter", lambda: now[0])

    def takes(*seconds):
        """What takes so long, call after call."""
        each = itertools.cycle(seconds)
        return lambda: now.append(now.pop() + next(each))

    row = compared("clock", takes(0.01, 0.02, 0.01), takes(0.03, 0.08, 0.02), target=2.0, rounds=3, times=0.5)
    assert row.runs == pytest.approx([3, 4, 2])
    assert (row.ratio, row.ours, row.against) == pytest.approx((3, 5, 15))  # of half, in milliseconds
    assert row.holds
    worse = compared("clock", takes(0.01), takes(0.01), target=2.0, rounds=3)
    assert not worse.holds
    unlike = compared("clock", takes(0.01), takes(0.03), target=2.0, rounds=1, as_good=False)
    assert unlike.ratio == pytest.approx(3)
    assert not unlike.holds


def test_as_json_a_benchmark_prints_one_object_of_its_machine_and_rows(capsys):
    from rows import Row, speak

    speak([Row("one", 1.0, 2.0, 2.0, 1.5, True, "ms", [2.0])], as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"machine", "rows"}
    assert {"cpu", "cores", "threads", "torch"} <= set(said["machine"])
    assert set(said["rows"][0]) >= KEYS
    speak([Row("one", 1.0, 2.0, 2.0, 1.5, False, "ms", [2.0], note="why")], as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["one", "1", "2", "ms", "2", "1.5", "NO", "why"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_runs_alone_and_knows_its_rows(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--help"]
    wide = os.environ | {"COLUMNS": "9999"}  # a narrow line breaks at a name's hyphen
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=wide).stdout
    assert set(NAMES[name].split()) <= set(told.split())


def test_a_row_of_the_table_holds_by_the_mean_of_its_seeds_and_by_the_largest_of_its_sizes():
    from lenet300_table import NEAR, TASKS, Run, row

    def runs(*errors, fewer=5.0):
        return [Run(2.0, 30.0, error, 0.005, fewer, 60.0) for error in errors]

    figure = TASKS["quantize-all"].figure
    met = row("quantize-all", runs(figure + 0.2, figure - 0.2 + 2 * NEAR - 0.001))
    assert met.holds
    assert met.ours == pytest.approx(figure + NEAR - 0.0005)
    assert met.runs == [figure + 0.2, figure - 0.2 + 2 * NEAR - 0.001]
    assert not row("quantize-all", runs(figure + 0.2, figure - 0.2 + 2 * NEAR + 0.001)).holds
    published = TASKS["quantize-all-plain"].published
    assert row("quantize-all-plain", runs(published)).holds
    assert not row("quantize-all-plain", runs(published + 0.001)).holds
    assert row("rank-selection", runs(1.9, 1.9, fewer=4.5)).holds
    assert not row("rank-selection", runs(1.9, 1.9)[:1] + runs(1.9, fewer=4.49)).holds


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prune-5", [(0.1, 0.0), (0.3, 0.0)]),
        ("prune-5-plain", [(0.1, 0.0), (0.1, 0.0)]),
        ("rank-selection-plain", [(0.2, 2e-4), (0.2, 2e-4)]),
    ],
)
def test_the_reference_of_a_row_trains_as_lc_trains(name, expected, monkeypatch, tmp_path):
    import lenet300_table as table

    images, classes = randn(40, 784), torch.arange(40) % 10
    trained, found = [], []
    monkeypatch.setattr(table, "settle_process", lambda: None)
    monkeypatch.setattr(table, "splits", lambda *, validate: (Split(images, classes), Split(images, classes)))

    def reference(model, data, *, recipe, **_):
        trained.append(data)
        found.append((recipe.lr, recipe.weight_decay))

    monkeypatch.setattr(table, "train_reference", reference)

    def lc(model, tasks, data, *, schedule, **_):
        trained.append(data)
        found.append((schedule.lr, schedule.weight_decay))
        return iter([SimpleNamespace(step=step, steps=1, gap=0.0, thetas=()) for step in (0, 1)])

    monkeypatch.setattr(table, "run_lc", lc)
    monkeypatch.setattr(table, "deploy", lambda *_, **__: None)
    settings, moved = table.Settings(validate=True, folder=str(tmp_path)), not name.endswith("plain")
    table.train_one(0, task=table.TASKS[name], settings=settings)
    table.run_one(name, 0, settings)
    assert [isinstance(data.inputs, PixelShifts) for data in trained] == [moved, moved]
    assert found == expected


def test_parameters_that_factors_save_are_counted_against_all():
    from lenet300_table import fewer_parameters

    model, inputs = mlp(), randn(20, 6)  # 6-8-3: 48 + 8 + 24 + 3 parameters
    tasks = plan_tasks(model, {"0": LowRank(rank=2), "2": Codebook(size=2)})
    schedule, loss = Schedule(epochs=1, lr=0.01, batch_size=10), nn.functional.cross_entropy
    direct = next(run_lc(model, tasks, Split(inputs, three_classes(inputs)), loss=loss, schedule=schedule, seed=0))
    assert fewer_parameters(model, direct) == pytest.approx(83 / (2 * (6 + 8) + 8 + 24 + 3))
