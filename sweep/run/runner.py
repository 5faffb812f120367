"""Runs the jobs of a search under Ray Tune.

Tune keeps the workers (one actor process each, which does job after job) and says which of them died. What it knows is
thrown away at the end: the records are the truth, the search is asked for what is missing, and every run is a new
Tuner. All that the driver does (telling the search, drawing, stopping) happens in `_Driver`, which Tune calls at and
between its events; errors leave from there untouched (`_Stopped`), where Tune would swallow or rewrite them.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweep.run import bundle
from sweep.run.cluster import check_address, check_shared, connected, room
from sweep.run.deaths import known_to_tune
from sweep.run.dispatch import Dispatch
from sweep.run.process import Interruption, environment, redirected
from sweep.run.progress import Watch
from sweep.run.scratch import remove_dead
from sweep.run.tracking import Tracking, trackers
from sweep.run.worker import Data, take, work
from sweep.store.folder import SweepFolder
from sweep.store.job import Job

if TYPE_CHECKING:
    from ray.tune.execution.tune_controller import TuneController

    from sweep.search.protocol import Search

SECONDS_FOR_A_WORKER = 60.0  # to be up; a job that waits for longer is given one that is

DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard file for each job
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler ends a run by waiting for its jobs
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # of the Tuner, which is never restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a job that asks for no GPU may still see the machine's
    # Workers that Ray starts ahead of need lack our environment, are never used and cost the start two seconds.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


def run(
    search: Search,
    *,
    folder: Path,
    study_reference: str,
    user_folder: str,
    splits: dict[str, np.ndarray],
    workers: int,
    address: str | None,
    watch: Watch,
    check: Callable[[], None] = lambda: None,
    gpus_per_job: float = 0.0,
    url: str | None = None,
    tracking: Tracking | None = None,
) -> None:
    """Run what `search` asks for, at most `workers` jobs at once, until it has finished.

    `folder` is the sweep's, which every node sees, or the mirror of a cloud folder at `url`; `splits` go into the
    object store once and reach the workers read-only. Without an `address` Ray is started here and ended again; "auto"
    or HOST:PORT joins a cluster, whose nodes are sent the study. Meanwhile this process's standard output and error are
    logs/ray.log in `folder`: what is for the user's eyes goes through `watch`, which writes elsewhere
    (`progress.own_stream`). `check` is called between two events, and may raise; `tracking` hears of every LC step.

    On return or raise, every job that was asked for has been told: with its record, or with None when it was lost.

    Raises: KeyboardInterrupt within seconds of SIGINT or SIGTERM; ValueError for an address that cannot be used; and
    whatever `search`, `watch` or `check` raise.
    """
    check_address(address)
    if workers < 1:
        raise ValueError(f"expected at least one worker, got workers={workers}")
    sweep_folder = SweepFolder(folder)
    logs = sweep_folder.logs
    storage = logs / "tune"
    shutil.rmtree(storage, ignore_errors=True)  # of a driver that was killed
    remove_dead()
    if search.finished():
        return
    logs.mkdir(parents=True, exist_ok=True)
    dispatch = Dispatch(search, folder=sweep_folder, watch=watch, workers=workers, url=url)
    # A tracker's run is a trial of Tune's.
    driver = _Driver(dispatch, check=check, job_a_trial=tracking is not None)
    try:
        wanted = DRIVER_ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": str(workers)}
        interruption = driver.interruption
        with (
            redirected(logs / "ray.log"),
            interruption.caught(),
            environment(wanted),
            _parcel(address, study_reference, user_folder) as sent,
            connected(address, workers, parcel=sent),
        ):
            interruption.catch()  # again: ray.init puts its own handler on SIGTERM
            jobs = room(gpus_per_job).jobs
            if address is None:
                dispatch.workers = min(workers, jobs)
            elif url is None:
                check_shared(folder.resolve())
            data = ray.put(Data(study_reference, user_folder, splits, str(folder.resolve()), url, tracking is not None))
            driver.step([])
            with known_to_tune(), trackers(tracking) as callbacks:
                _tune(driver, data, storage=storage, gpus=gpus_per_job, callbacks=callbacks)
    except _Stopped as stopped:
        if stopped.error is not None:
            raise stopped.error from None
    except Exception as error:
        if driver.interruption.asked:  # Ray's processes may have heard the signal too, as from systemd
            raise KeyboardInterrupt from error
        raise
    finally:
        dispatch.release()


class _Stopped(BaseException):
    """Leaves Tune's loop at once: with an error of ours, or at the end of the search.

    Left to itself, Tune waits for the running jobs after an error, and at the end writes and reads back a state that
    nobody needs: 2.6 ms a job.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class _Driver:
    """The driver's side of a run, as Tune calls it: a trial of Tune's is a seat, which does job after job.

    A trial of its own for each job costs 50 ms: a new placement group, the removal of the last one, a trial with its
    folder, and the reset of the actor.
    """

    def __init__(self, dispatch: Dispatch, *, check: Callable[[], None], job_a_trial: bool) -> None:
        self.dispatch = dispatch
        self.check = check
        self.job_a_trial = job_a_trial
        self.interruption = Interruption()
        self._waits: dict[str, float] = {}  # trials without a worker yet, and since when

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next job as the configuration of a trial, or None to wait for one that is running."""
        try:
            given = self.dispatch.next_job(trial_id)
            if given is None and not self.dispatch.jobs:
                assert self.dispatch.search.finished(), "the search starts nothing, waits for nothing and goes on"
                raise _Stopped
        except Exception as error:
            raise _Stopped(error) from error
        if given is not None:
            self._waits[trial_id] = time.monotonic()
        return given

    def step(self, trials: list[Trial]) -> None:
        """See which workers began and which died since the last step; stop here when asked to."""
        if self.interruption.asked:
            raise KeyboardInterrupt
        try:
            self.check()
            left = set(self.dispatch.jobs)
            for tune_trial in reversed(trials):  # those at work are near the end
                if not left:
                    break
                if tune_trial.trial_id in left:
                    left.discard(tune_trial.trial_id)
                    self._see(tune_trial)
        except Exception as error:
            raise _Stopped(error) from error

    def _see(self, tune_trial: Trial) -> None:
        seat = tune_trial.trial_id
        if tune_trial.status in (Trial.RUNNING, Trial.ERROR):
            self._waits.pop(seat, None)
        if tune_trial.status == Trial.RUNNING:
            self.dispatch.start(seat)
        elif tune_trial.status == Trial.ERROR:
            cause = Path(tune_trial.error_file).read_text() if tune_trial.error_file else "\nno cause is known"
            self.dispatch.died(seat, cause)

    def hear(self, tune_trial: Trial, report: dict[str, Any]) -> str:
        """What Tune does with a worker that has reported: it goes on, with another job after a record, or is free."""
        seat = tune_trial.trial_id
        try:
            self.dispatch.start(seat)
            if "record" not in report:
                self.dispatch.progress(seat, report)
                return TrialScheduler.CONTINUE
            self.dispatch.done(seat, json.loads(report["record"]))
            given = None if self.job_a_trial or self._in_need() else self.dispatch.next_job(seat)
            if given is None:
                return TrialScheduler.STOP
            self.dispatch.start(seat)
        except Exception as error:
            raise _Stopped(error) from error
        worker = tune_trial.temporary_state.ray_actor
        assert worker is not None
        worker.execute.remote(functools.partial(take, given))  # before the call that Tune makes now
        return TrialScheduler.CONTINUE

    def _in_need(self) -> bool:
        """Whether a trial waits for a worker for so long that this one must do, such as on a cluster that shrank."""
        return min(self._waits.values(), default=math.inf) < time.monotonic() - SECONDS_FOR_A_WORKER


class _Asker(Searcher):
    """Tune's view of the search. It holds no state that outlives the run."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()
        self.driver = driver

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        return self.driver.suggest(trial_id)

    def on_trial_complete(
        self,
        trial_id: str,
        result: dict[str, Any] | None = None,
        error: bool = False,  # noqa: FBT001, FBT002 (Tune's signature)
    ) -> None:
        """Nothing: `_Driver` tells the search."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: there is no state to save."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the Tuner pickles its searcher into a file that nobody reads."""
        return {}


class _Hearer(FIFOScheduler):
    """Hands what workers report to the driver, and its decision to Tune."""

    def __init__(self, driver: _Driver) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.driver = driver

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        return self.driver.hear(trial, result)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for `_Asker`."""
        return {}


class _Steps(tune.Callback):
    """Calls the driver between two of Tune's events."""

    def __init__(self, driver: _Driver) -> None:
        self.driver = driver

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.driver.step(trials)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for `_Asker`."""
        return {}


def _tune(
    driver: _Driver, data: ray.ObjectRef[Data], *, storage: Path, gpus: float, callbacks: list[tune.Callback]
) -> None:
    """Run the search to its end with a Tuner whose own files are temporary."""

    def lc_jobs(config: dict[str, Any]) -> None:
        work(config, data)

    try:
        tune.Tuner(
            tune.with_resources(lc_jobs, {"cpu": 1} | ({"gpu": gpus} if gpus else {})),
            tune_config=tune.TuneConfig(
                search_alg=_Asker(driver),
                scheduler=_Hearer(driver),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda tune_trial: Job.from_dict(tune_trial.config["job"]).label,
                trial_dirname_creator=lambda tune_trial: str(tune_trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=str(storage.resolve()),
                callbacks=[_Steps(driver), *callbacks],
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


@contextlib.contextmanager
def _parcel(address: str | None, study_reference: str, user_folder: str) -> Iterator[Path | None]:
    """What nodes are sent; nothing to this machine."""
    if address is None:
        yield None
        return
    with bundle.packed(study_reference, user_folder=user_folder) as sent:
        yield sent
