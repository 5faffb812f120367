"""The benchmark of the orchestration: its made-up records, its virtual clock, and when its rows hold."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sweep.execution.context import RunContext
from sweep.pick.choice import candidates
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.record import Record
from sweep.store.records import read_records
from tests.benchmarks.conftest import FOLDER


class Many:
    """A search that asks for so many jobs, one after the other."""

    def __init__(self, jobs: int) -> None:
        self.waiting = [Job("0" * 16, "prune", {"kept": 1500, "turn": 1000}, "dc", seed, {}) for seed in range(jobs)]
        self.told: list[int] = []

    def next(self) -> Job | None:
        return self.waiting.pop(0) if self.waiting else None

    def finished(self) -> bool:
        return not self.waiting

    def tell(self, job: Job, record: Record | None) -> None:
        assert record is not None
        self.told.append(record.seed)


class Silent:
    """A watch that says nothing."""

    def on_start(self, job: Job) -> None: ...

    def on_progress(self, job: Job, step: object) -> None: ...

    def on_finish(self, job: Job, record: Record) -> None: ...


@pytest.mark.parametrize(("per_job", "share"), [(0.0, 1.0), (0.1, 1.0), (1.0, 0.6), (4.0, 0.15)])
def test_workers_are_kept_busy_as_far_as_the_driver_can_serve_them(
    monkeypatch: pytest.MonkeyPatch, per_job: float, share: float
) -> None:
    """A hundred workers finish 100 jobs of a minute in a minute: a driver that takes a second for each serves 60."""
    from virtual_time import Simulated

    monkeypatch.setattr("virtual_time.time.process_time", lambda: 0.0)
    search, simulation = Many(1500), Simulated(seconds=60.0, per_job=per_job)
    context = RunContext(SweepFolder(Path()), study_reference="", user_folder="", splits={}, workers=100)
    simulation.run(search, context, watch=Silent())
    assert sorted(search.told) == list(range(1500))
    assert search.told != sorted(search.told)  # a job takes from half a minute to one and a half
    assert simulation.jobs == 1500
    assert simulation.driver == pytest.approx(1500 * per_job)
    assert simulation.busy == pytest.approx(share, rel=0.08)


def test_made_up_records_are_read_as_any_others(tmp_path: Path) -> None:
    from many_records import cost_of, write_sweep

    write_sweep(tmp_path, jobs=20)
    records = read_records(tmp_path)
    assert len({record.id for record in records}) == 20
    assert [len(candidate.ids) for candidate in candidates(records)].count(3) == 6
    assert all(record.id == record.job.id for record in records)
    cost = cost_of("status", tmp_path)
    assert cost.processor > 0
    assert cost.megabytes > 10


def test_growth_holds_up_to_n_log_n() -> None:
    from many_records import Cost
    from orchestration import growth

    costs = [Cost(1.0, 1.0, 10.0)] * 3
    allowed = growth("store", 100_000, [(1.0, 2.0, 13.4), (1.0, 2.0, 13.5), (1.0, 2.0, 14.0)], costs)
    assert allowed.against == pytest.approx(12.5)
    assert allowed.ratio == pytest.approx(1.0)
    assert allowed.holds
    assert "exponent 1.10" in allowed.note
    assert not growth("store", 100_000, [(1.0, 2.0, 14.0)], costs).holds


@pytest.mark.cluster
def test_all_of_it_runs_in_small() -> None:
    told = subprocess.run(
        [sys.executable, str(FOLDER / "orchestration.py"), "--small", "--json"], stdout=subprocess.PIPE, check=True
    )
    rows = json.loads(told.stdout)["rows"]
    assert len(rows) == 11
    assert all(row["ours"] > 0 for row in rows)
