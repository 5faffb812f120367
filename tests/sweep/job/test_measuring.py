"""Which LC steps are measured: few where it is costly, all where it is cheap, and the result is the same."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lc_core import Schedule
from sweep.job import compress
from sweep.job import measuring as module
from sweep.job.checkpoint import Checkpoints
from sweep.job.compress import run_job
from sweep.job.measuring import CURVE, LEAST, PASSES, SHARE, Measuring, measuring
from sweep.prepare.prepared import PreparedSweep
from tests.sweep.tiny import STUDY, changed, prepared, write_study

TRAIN, VAL = 8000, 2000
NORMED = changed("nn.Linear(8, 64), nn.Tanh()", "nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Tanh()")


def found(epochs: float, *, macs: int = 40_000_000, batch_norm: bool = True) -> Measuring:
    """By default of a network like ResNet20."""
    schedule = Schedule(epochs=epochs, lr=0.01, batch_size=128)
    return measuring(schedule, train=TRAIN, val=VAL, batch_norm=batch_norm, macs=macs)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("epochs", [1, 3, 4, 5, 6, 10, 20, 40, 80, 200])
def test_measuring_costs_a_tenth_of_the_job_but_for_what_every_job_needs(epochs: int, batch_norm: bool) -> None:
    given, allowed = found(epochs, batch_norm=batch_norm), SHARE * PASSES * epochs * TRAIN
    steps, last = sorted(given.steps), 20 if epochs <= 10 else 40
    assert (steps[0], steps[-1]) == (0, last)
    spent = given.examples(VAL)
    if batch_norm:
        needed, curve = 2 * VAL + CURVE + LEAST, CURVE
        assert (given.curve, given.result) == (CURVE, min(max(int(allowed) - 2 * VAL - CURVE, LEAST), TRAIN))
    else:
        needed, curve = 2 * VAL, 0
        assert (given.curve, given.result) == (0, 0)
    assert spent <= max(allowed, needed)
    assert len(steps) == last + 1 or given.result < TRAIN * batch_norm or spent + VAL + curve > allowed
    apart = [later - earlier for earlier, later in itertools.pairwise(steps)]
    assert max(apart) - min(apart) <= 1


def test_what_is_measured_at_some_budgets() -> None:
    given = {epochs: found(epochs) for epochs in (1, 4, 5, 6, 10, 40, 200)}
    assert [each.result for each in given.values()] == [4096, 4753, 7198, 8000, 8000, 8000, 8000]
    assert [len(each.steps) for each in given.values()] == [2, 2, 2, 2, 5, 30, 41]


def test_where_it_is_cheap_every_step_is_measured_with_all_examples() -> None:
    assert found(1, macs=100_000) == Measuring(frozenset(range(21)), TRAIN, TRAIN)
    assert found(1, macs=500_000, batch_norm=False) == Measuring(frozenset(range(21)), 0, 0)
    assert found(1, macs=100_001).steps == {0, 20}  # 10,000 examples of 100,001 are more than a billion


def test_a_small_split_is_taken_whole() -> None:
    schedule = Schedule(epochs=1, lr=0.01, batch_size=128)
    given = measuring(schedule, train=900, val=100, batch_norm=True, macs=10**9)
    assert (given.curve, given.result) == (900, 900)


# In a job


def begin(folder: Path, text: str) -> PreparedSweep:
    folder.mkdir(exist_ok=True)
    return prepared(write_study(folder, text=text), folder / "out")


def make_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the tiny network were a large one: some steps between the ends are measured."""
    monkeypatch.setattr(module, "CHEAP", 0)
    monkeypatch.setattr(module, "SHARE", 3.0 / PASSES)


def run(sweep: PreparedSweep) -> tuple[Any, list[Any], list[Any]]:
    """The record, the steps of the diagnostics, and the reports of the first job."""
    reports: list[Any] = []
    record = run_job(sweep.entries[0].jobs[0], sweep.context, report=reports.append)
    assert record.status == "done", record
    own = dataclasses.replace(record, seconds=0.0, finished="")
    return own, json.loads(sweep.folder.diagnostics(record.id).read_text())["steps"], reports


@pytest.mark.parametrize(("text", "between"), [(STUDY, 11), (NORMED, 3)])  # statistics cost more
def test_a_job_that_measures_less_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, between: int
) -> None:
    whole, rows, _ = run(begin(tmp_path / "whole", text))
    assert None not in [row["val_error"] for row in rows]
    make_costly(monkeypatch)
    fewer, sparse, reports = run(begin(tmp_path / "fewer", text))
    assert fewer == whole
    wanted = [row["step"] for row in sparse if row["val_error"] is not None]
    assert len(wanted) == 2 + between
    assert [row for row in sparse if row["step"] in wanted] == [rows[step] for step in wanted]
    for row, full in zip(sparse, rows, strict=True):
        assert row | {"val_error": None} == full | {"val_error": None}
    latest = [max(step for step in wanted if step <= row["step"]) for row in sparse]
    assert [report["val_error"] for report in reports] == [rows[step]["val_error"] for step in latest]


def test_a_job_that_goes_on_measures_the_same_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_costly(monkeypatch)
    whole = run(begin(tmp_path / "whole", NORMED))[:2]
    sweep = begin(tmp_path / "cut off", NORMED)
    monkeypatch.setattr("sweep.job.checkpoint.SECONDS", 0.0)
    monkeypatch.setattr("sweep.job.checkpoint.SHARE", 0.0)
    offer = Checkpoints.offer

    def cut_off(kept: Checkpoints, state: Any, *facts: Any) -> None:
        kept._due = 0.0
        offer(kept, state, *facts)
        if state.step == 9:  # not a measured one
            raise MemoryError("killed")

    monkeypatch.setattr(Checkpoints, "offer", cut_off)
    with pytest.raises(MemoryError, match="killed"):
        run(sweep)
    monkeypatch.setattr(Checkpoints, "offer", offer)
    record, rows, reports = run(sweep)
    assert (record, rows) == whole
    assert reports[0]["step"] == 10  # it went on from the checkpoint


@pytest.mark.parametrize("method", ["lc", "dc"])
def test_only_the_model_that_is_packed_gets_the_statistics_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    make_costly(monkeypatch)
    monkeypatch.setattr(module, "CURVE", 20)
    sweep, put = begin(tmp_path, NORMED), []
    deploy = compress.deploy

    def spied(model: Any, tasks: Any, state: Any, *, statistics: int, **named: Any) -> None:
        put.append((state.step, statistics))
        deploy(model, tasks, state, statistics=statistics, **named)

    monkeypatch.setattr(compress, "deploy", spied)
    job = dataclasses.replace(sweep.entries[0].jobs[0], method=method)
    assert run_job(job, sweep.context, report=lambda _: None).status == "done"
    whole = len(sweep.context.data.train)
    *way, (last, result) = put
    assert (last, result) == (0 if method == "dc" else 20, whole)
    assert [examples for _, examples in way] == [20] * len(way)
    assert bool(way) == (method == "lc")
