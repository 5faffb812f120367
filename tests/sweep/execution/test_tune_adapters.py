"""What Tune is answered at its events, with Tune trials that are only said to be there."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.execution import tune_events
from sweep.execution.dispatch import Dispatch
from sweep.execution.tune_adapters import TuneScheduler, TuneSearcher
from sweep.execution.tune_events import LeaveTune, TuneEvents
from sweep.store.job import Job
from tests.sweep.execution.test_dispatch import dispatch_of
from tests.sweep.execution.test_runner import job
from tests.sweep.tiny import done_record


class Slot:
    """A Tune trial, and the seeds of the jobs that its worker was sent."""

    def __init__(self, name: str) -> None:
        self.trial_id, self.status, self.error_file = name, "RUNNING", None
        self.temporary_state = self.ray_actor = self.execute = self
        self.sent: list[int] = []

    def remote(self, sent: Any) -> None:
        trainable = SimpleNamespace(config={"job": None})
        sent(trainable)
        self.sent.append(trainable.config["job"]["seed"])


class Tune:
    """The adapters of a run, called as Tune calls them."""

    def __init__(self, dispatch: Dispatch, *, job_a_trial: bool = False) -> None:
        self.events = TuneEvents(dispatch, check=lambda: None, job_a_trial=job_a_trial)
        self.suggest = TuneSearcher(self.events).suggest
        self._scheduler = TuneScheduler(self.events)

    def report(self, slot: Slot, report: dict[str, Any]) -> str:
        return self._scheduler.on_trial_result(None, slot, report)  # type: ignore[arg-type]

    def step(self, *slots: Any) -> None:
        self.events.on_step(list(slots))


def last_report(of: Job) -> dict[str, Any]:
    return {"record": json.dumps(done_record(of).to_json())}


def test_a_worker_whose_job_has_ended_gets_the_next_at_once(tmp_path: Path) -> None:
    jobs = [job(seed) for seed in range(3)]
    dispatch, search, heard = dispatch_of(jobs, tmp_path)
    tune, slot = Tune(dispatch), Slot("a")
    assert [tune.suggest(name) for name in "ab"] == [{"job": each.as_dict()} for each in jobs[:2]]
    assert tune.report(slot, {"step": 1, "steps": 2, "val_error": 0.25, "gap": 0.5}) == "CONTINUE"
    assert [(step.step, step.steps, step.val_error) for step in heard.steps] == [(1, 2, 0.25)]
    assert tune.report(slot, last_report(jobs[0])) == "CONTINUE"
    assert (slot.sent, heard.started) == ([2], [jobs[0].id, jobs[2].id])
    assert tune.report(slot, last_report(jobs[2])) == "STOP"  # nothing to do now, until "b" ends
    assert (slot.sent, list(search.told)) == ([2], [jobs[0].id, jobs[2].id])
    assert tune.suggest("c") is None
    assert tune.report(Slot("b"), last_report(jobs[1])) == "STOP"
    with pytest.raises(LeaveTune):
        tune.suggest("c")


def test_a_worker_is_given_up_for_a_job_that_waited_too_long_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one does whose worker was lost with its node."""
    jobs = [job(seed) for seed in range(4)]
    dispatch, _, _ = dispatch_of(jobs, tmp_path)
    tune, slot, dead = Tune(dispatch), Slot("a"), Slot("b")
    for name in "ab":
        tune.suggest(name)
    tune.step(slot, dead)
    dead.status = "ERROR"
    tune.step(slot, dead)
    assert tune.suggest("c") == {"job": jobs[1].as_dict()}
    assert tune.report(slot, last_report(jobs[0])) == "CONTINUE"
    monkeypatch.setattr(tune_events, "SECONDS_FOR_A_WORKER", 0.0)
    assert tune.report(slot, last_report(jobs[2])) == "STOP"
    assert dispatch.jobs == {"c": jobs[1]}


def test_a_job_that_a_tracker_follows_has_a_tune_trial_of_its_own(tmp_path: Path) -> None:
    dispatch, _, _ = dispatch_of([job(0), job(1)], tmp_path)
    tune, slot = Tune(dispatch, job_a_trial=True), Slot("a")
    tune.suggest("a")
    assert tune.report(slot, last_report(job(0))) == "STOP"
    assert slot.sent == []
    assert tune.suggest("b") == {"job": job(1).as_dict()}
