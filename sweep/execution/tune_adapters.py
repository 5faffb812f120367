"""Adapters of Ray Tune's interfaces (searcher, scheduler, callback), which pass events on to `TuneEvents`; the Tuner.

They have no state: every run makes a new Tuner, whose own state is deleted at the end of the run.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.execution.ray_internals import send_config
from sweep.execution.worker import Sent, work
from sweep.store.job import Job

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

    from sweep.execution.tune_events import TuneEvents


def configuration(job: Job) -> dict[str, Any]:
    """The job as the configuration of a Tune trial."""
    return {"job": job.as_dict()}


class TuneSearcher(Searcher):
    """Gives each new Tune trial its first job."""

    def __init__(self, events: TuneEvents) -> None:
        super().__init__()
        self.events = events

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        job = self.events.on_suggest(trial_id)
        return None if job is None else configuration(job)

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 (Tune's signature)
    ) -> None:
        """Does nothing: `TuneEvents` tells the search."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: there is no state to save."""

    def __getstate__(self) -> dict[str, Any]:
        """No state: the Tuner pickles its searcher into a file that nobody reads."""
        return {}


class TuneScheduler(FIFOScheduler):
    """Passes on what workers report. A worker whose job has ended gets the next one, or its Tune trial ends."""

    def __init__(self, events: TuneEvents) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.events = events

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        if not self.events.on_report(trial.trial_id, result):
            return TrialScheduler.CONTINUE
        job = self.events.on_free(trial.trial_id)
        if job is None:
            return TrialScheduler.STOP
        send_config(trial, configuration(job))  # it arrives before Tune's call that lets the worker continue
        return TrialScheduler.CONTINUE

    def __getstate__(self) -> dict[str, Any]:
        """No state, as for `TuneSearcher`."""
        return {}


class TuneCallback(tune.Callback):
    """Calls the driver between two events of Tune."""

    def __init__(self, events: TuneEvents) -> None:
        self.events = events

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.events.on_step(trials)

    def __getstate__(self) -> dict[str, Any]:
        """No state, as for `TuneSearcher`."""
        return {}


def run_tuner(
    events: TuneEvents,
    shared: ray.ObjectRef[Sent],
    *,
    storage: Path,
    gpus_per_job: float,
    callbacks: list[tune.Callback],
) -> None:
    """Runs a new Tuner, with its temporary files in `storage`, until `events` raises LeaveTune."""

    def lc_jobs(config: dict[str, Any]) -> None:
        work(config, shared)

    try:
        tune.Tuner(
            tune.with_resources(lc_jobs, {"cpu": 1} | ({"gpu": gpus_per_job} if gpus_per_job else {})),
            tune_config=tune.TuneConfig(
                search_alg=TuneSearcher(events),
                scheduler=TuneScheduler(events),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda tune_trial: Job.from_dict(tune_trial.config["job"]).label,
                trial_dirname_creator=lambda tune_trial: str(tune_trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=str(storage.resolve()),
                callbacks=[TuneCallback(events), *callbacks],
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
