"""Which LC steps are measured: few where it is costly, all where it is cheap, and the result is the same."""

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from lc_core import Schedule
from sweep.job import measured_steps as module
from sweep.job.checkpoint import Checkpoints
from sweep.job.compress import run_job
from sweep.job.measured_steps import PASSES, SHARE, measured_steps
from sweep.prepare.prepared import PreparedSweep
from tests.sweep.tiny import STUDY, changed, prepared, write_study

VAL, EACH = 2000, 2000 + 4096
NORMED = changed("nn.Linear(8, 64), nn.Tanh()", "nn.Linear(8, 64), nn.BatchNorm1d(64), nn.Tanh()")


def steps(epochs: float, *, macs: int = 40_000_000) -> list[int]:
    """By default of a network like ResNet20."""
    schedule = Schedule(epochs=epochs, lr=0.01, batch_size=128)
    return sorted(measured_steps(schedule, train=8000, val=VAL, statistics=EACH - VAL, macs=macs))


@pytest.mark.parametrize("epochs", [1, 4, 8, 10, 20, 40, 80, 200])
def test_measuring_costs_a_tenth_of_the_training_but_for_the_ends(epochs: int) -> None:
    found, allowed = steps(epochs), SHARE * PASSES * epochs * 8000
    last = 20 if epochs <= 10 else 40
    assert (found[0], found[-1]) == (0, last)
    spent = len(found) * EACH
    assert len(found) == 2 or spent <= allowed
    assert len(found) == last + 1 or spent + EACH > allowed
    apart = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert max(apart) - min(apart) <= 1


def test_the_numbers_of_curve_points_at_some_budgets() -> None:
    assert [len(steps(epochs)) for epochs in (5, 10, 20, 40, 200)] == [2, 3, 6, 13, 41]


def test_where_it_is_cheap_every_step_is_measured() -> None:
    assert steps(1, macs=160_000) == list(range(21))
    assert steps(1, macs=170_000) == [0, 20]  # 6,096 examples of 170,000 are more than a billion


# In a job


def begin(folder: Path, text: str) -> PreparedSweep:
    folder.mkdir(exist_ok=True)
    return prepared(write_study(folder, text=text), folder / "out")


def make_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the tiny network were a large one: some steps between the ends are measured."""
    monkeypatch.setattr(module, "CHEAP", 0)
    monkeypatch.setattr(module, "SHARE", 1.2)


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
