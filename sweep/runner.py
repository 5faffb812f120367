"""Runs the jobs of a search under Ray Tune.

Tune keeps the workers (one actor process each, used again for job after job), hands them jobs and starts a lost one
again. What it knows is thrown away at the end: the records are the truth, the search is asked for what is missing, and
every run is a new Tuner. All that the driver does (telling the search, drawing, stopping) happens in `_Driver.step`,
which Tune calls between two events; errors leave from there untouched, where Tune's own hooks would swallow them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sweep import parcel, remote, trial
from sweep.cluster import check_address, check_shared, connected, room
from sweep.job import Job
from sweep.process import Interruption, environment, redirected
from sweep.progress import Watch
from sweep.scratch import remove_dead
from sweep.store import Record, SweepFolder, read_optional, write_json
from sweep.tracking import Tracking, trackers
from sweep.worker import Data, work

if TYPE_CHECKING:
    from sweep.search import Search

ATTEMPTS = 3  # of one job whose worker dies, before it is a failed record

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
    driver = _Driver(search, folder=sweep_folder, watch=watch, check=check, workers=workers, url=url)
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
                driver.workers = min(workers, jobs)
            elif url is None:
                check_shared(folder.resolve())
            data = ray.put(Data(study_reference, user_folder, splits, str(folder.resolve()), url, tracking is not None))
            driver.step([])
            with trackers(tracking) as callbacks:
                _tune(driver, data, storage=storage, gpus=gpus_per_job, callbacks=callbacks)
    except _Stopped as stopped:
        if stopped.error is not None:
            raise stopped.error from None
    finally:
        driver.release()


class _Stopped(BaseException):
    """Leaves Tune's loop at once: with an error of ours, or at the end of the search.

    Left to itself, Tune waits for the running jobs after an error, and at the end writes and reads back a state that
    nobody needs: 2.6 ms a job.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class _Driver:
    """The search's side of a run: which jobs are with Tune, and what became of them."""

    def __init__(
        self,
        search: Search,
        *,
        folder: SweepFolder,
        watch: Watch,
        check: Callable[[], None],
        workers: int,
        url: str | None = None,
    ) -> None:
        self.search = search
        self.folder = folder
        self.url = url
        self.watch = watch
        self.check = check
        self.workers = workers
        self.jobs: dict[str, Job] = {}  # by Tune's trial id: asked for and not told yet
        self.started: set[str] = set()
        self.results: dict[str, dict[str, Any]] = {}  # the last unseen report
        self.interruption = Interruption()

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next job as a Tune configuration, or None to wait for one that is running."""
        if len(self.jobs) >= self.workers:
            return None
        try:
            job = self.search.ask()
            if job is not None:
                self.jobs[trial_id] = job
                return {"job": job.as_dict(), "bars": asdict(self.search.bars(job))}
            if not self.jobs:
                assert self.search.finished(), "the search starts nothing, waits for nothing and is not finished"
                raise _Stopped
        except Exception as error:
            raise _Stopped(error) from error
        return None

    def step(self, trials: list[Trial]) -> None:
        """See what happened since the last step to the jobs that are with Tune; stop here when asked to."""
        if self.interruption.asked:
            raise KeyboardInterrupt
        try:
            self.check()
            waiting = set(self.jobs)
            for tune_trial in reversed(trials):  # the running ones are near the end
                if not waiting:
                    break
                if tune_trial.trial_id in waiting:
                    waiting.discard(tune_trial.trial_id)
                    self._see(tune_trial)
        except Exception as error:
            raise _Stopped(error) from error

    def _see(self, tune_trial: Trial) -> None:
        trial_id = tune_trial.trial_id
        job = self.jobs[trial_id]
        if tune_trial.status == Trial.RUNNING and trial_id not in self.started:
            self.started.add(trial_id)
            self.watch.on_start(job)
        report = self.results.pop(trial_id, None)
        if report is not None and "record" in report:
            record = json.loads(report["record"])
            if self.url is not None:
                write_json(self.folder.record(job.id), record)
            self._tell(trial_id, record)
        elif tune_trial.status == Trial.ERROR:
            cause = Path(tune_trial.error_file).read_text() if tune_trial.error_file else "no cause is known"
            record = _give_up(job, self.folder, cause=cause)
            if self.url is not None:
                record = remote.put_job(self.url, self.folder, job_id=job.id)
            self._tell(trial_id, record)
        elif report is not None:
            self.watch.on_progress(job, report)

    def _tell(self, trial_id: str, record: Record) -> None:
        job = self.jobs.pop(trial_id)
        self.search.tell(job, record)
        self.started.discard(trial_id)
        self.watch.on_finish(job, record)

    def release(self) -> None:
        """Tell the search what is left once the workers are gone: its record where one was published, else None."""
        for trial_id in list(self.jobs):
            job = self.jobs.pop(trial_id)
            record = read_optional(self.folder.record(job.id))  # a failed one is of an earlier run, or of an attempt
            self.search.tell(job, record if record is not None and record["status"] == "done" else None)


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
        """Nothing: `_Driver.step` tells the search, before the next suggestion is asked for."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: there is no state to save."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: the Tuner pickles its searcher into a file that nobody reads."""
        return {}


class _Steps(tune.Callback):
    """Calls the driver between two of Tune's events."""

    def __init__(self, driver: _Driver) -> None:
        self.driver = driver

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self.driver.step(trials)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.driver.results[trial.trial_id] = result

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as for `_Asker`."""
        return {}


def _tune(
    driver: _Driver, data: ray.ObjectRef[Data], *, storage: Path, gpus: float, callbacks: list[tune.Callback]
) -> None:
    """Run the search to its end with a Tuner whose own files are temporary."""

    def lc_job(config: dict[str, Any]) -> dict[str, Any]:
        return work(config, data)

    try:
        tune.Tuner(
            tune.with_resources(lc_job, {"cpu": 1} | ({"gpu": gpus} if gpus else {})),
            tune_config=tune.TuneConfig(
                search_alg=_Asker(driver),
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=lambda tune_trial: Job.from_dict(tune_trial.config["job"]).label,
                trial_dirname_creator=lambda tune_trial: str(tune_trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=str(storage.resolve()),
                failure_config=tune.FailureConfig(max_failures=ATTEMPTS - 1),
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
    with parcel.packed(study_reference, user_folder=user_folder) as sent:
        yield sent


def _give_up(job: Job, folder: SweepFolder, *, cause: str) -> Record:
    """The record that holds for a job that Tune gave up: failed, unless a worker published it and then died.

    Where it cannot be written it is known to this run alone.

    `cause` is Tune's text on all its attempts.
    """
    cause = re.sub(r"\x1b\[[0-9;]*m", "", cause)  # Ray colours it
    attempts = cause.split("Failure # ")[1:] or [cause]
    lines = [line for line in attempts[-1].splitlines()[1:] if line.strip()] or [cause]
    line = lines[-1] if lines[0].startswith("ray::") else lines[0]  # an exception's own line, or Ray's on a dead worker
    message = f"given up after {len(attempts)} attempts, the last: {line.strip()}"
    try:
        return trial.publish_failure(trial.failure(job, message=message, traceback=cause), folder)
    except OSError as error:  # the user is told; without a record, the same command runs the job again
        message += f"; and its record cannot be written: {error}"
        return trial.failure(job, message=message, traceback=cause)
