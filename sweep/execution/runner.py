"""Runs the jobs of a search on Ray, with Ray Tune.

Each Tune trial is a long-lived worker that runs many jobs. Tune starts the workers and reports which of them died. Its
state is deleted at the end: the records are the truth, and the search asks for what is missing. `TuneEvents` does all
that the driver does while Tune runs.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.execution import bundle
from sweep.execution.cluster import capacity, check_shared
from sweep.execution.connection import check_address, connected, remove_dead_folders
from sweep.execution.context import RunContext
from sweep.execution.dispatch import Dispatch
from sweep.execution.process import environment, redirected
from sweep.execution.progress import Watch
from sweep.execution.ray_internals import ray_error_in, ray_errors_as_deaths, workers_take_configs
from sweep.execution.ray_processes import RayProcesses
from sweep.execution.time_limit import TimeLimit
from sweep.execution.tracking import trackers
from sweep.execution.tune_adapters import run_tuner
from sweep.execution.tune_events import LeaveTune, TuneEvents
from sweep.execution.witness import Witness, died, witnessed
from sweep.execution.worker import Sent
from sweep.store.folder import SweepFolder

if TYPE_CHECKING:
    from sweep.search.protocol import Search

TUNE = "tune"
"""How the folders of Tune's temporary files begin."""
SECONDS_BETWEEN_LOOKS = 0.1
"""At whether Ray's processes live."""
DRIVER_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV, JSON and TensorBoard file for each job
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler ends a run by waiting for its jobs
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # seconds between checkpoints of the Tuner, which is never restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # a job that asks for no GPU may still see the machine's
    # Workers that Ray starts in advance lack our environment, are never used and delay the start by two seconds.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}


def run(search: Search, context: RunContext, *, watch: Watch, check: Callable[[], None] = lambda: None) -> None:
    """Runs the jobs that `search` asks for, until it has finished.

    Without an address in `context`, Ray is started here and ended again. With one, this process joins a cluster, whose
    nodes are sent the study. Meanwhile this process's standard output and error go to logs/ray.log in the sweep's
    folder. What the user should see goes through `watch`, which writes elsewhere (`progress.own_stream`).
    `check` is called between two events, and may raise.

    On return or raise, the search has been told of every job that it asked for: its record, or None when it was lost.

    Raises:
        KeyboardInterrupt: within seconds of SIGINT, SIGTERM or SIGHUP.
        ValueError: the address cannot be used, or there are no workers.
        ConnectionError: one of Ray's own processes died.
        Exception: whatever `search`, `watch` or `check` raise.
    """
    check_address(context.address)
    if context.workers < 1:
        raise ValueError(f"expected at least one worker, got workers={context.workers}")
    logs = context.folder.logs
    for left in logs.glob(f"{TUNE}*"):  # by a driver that was killed
        shutil.rmtree(left, ignore_errors=True)
    remove_dead_folders()
    if search.finished():
        return
    logs.mkdir(parents=True, exist_ok=True)
    storage = logs / f"{TUNE}-{uuid.uuid4().hex[:8]}"  # a driver that has lost the lock removes its own alone
    dispatch = Dispatch(
        search,
        folder=context.folder,
        watch=watch,
        workers=context.workers,
        url=context.url,
        limit=context.limit,
    )
    # A tracker takes a Tune trial for a run of its own.
    events = TuneEvents(dispatch, check=check, job_a_trial=context.tracking is not None or not workers_take_configs())
    wanted = DRIVER_ENVIRONMENT | {"TUNE_MAX_PENDING_TRIALS_PG": str(context.workers)}
    try:
        with (
            witnessed(logs / "ray.log") as witness,
            redirected(logs / "ray.log"),
            events.interruption.caught(),
            environment(wanted),
        ):
            _run_on_ray(events, context, storage, witness)
    except LeaveTune as left:
        if left.error is not None:
            raise left.error from None
    except Exception as error:
        if events.interruption.asked:  # Ray's processes may have got the signal too, as from systemd
            raise KeyboardInterrupt from error
        raise
    finally:
        dispatch.release()


def _run_on_ray(events: TuneEvents, context: RunContext, storage: Path, witness: Witness) -> None:
    """Connects to Ray and runs Tuners on it until `events` raises LeaveTune."""
    with _bundle(context) as sent, connected(context.address, context.workers, bundle=sent) as processes:
        events.interruption.catch()  # again: in some releases ray.init puts its own handler on SIGTERM
        alive = functools.partial(_check_alive, processes, context.folder.logs / "ray.log")
        if processes is not None:
            witness.look_at(processes.known)
        events.checks.append(functools.partial(alive, apart=SECONDS_BETWEEN_LOOKS))
        try:
            _run_tuners(events, context, storage)
        except Exception:
            alive()  # where Ray has died, that is the cause
            raise


def _run_tuners(events: TuneEvents, context: RunContext, storage: Path) -> None:
    """Runs Tuners, with their temporary files in `storage`, until `events` raises LeaveTune."""
    jobs = capacity(context.gpus_per_job).jobs
    folder = SweepFolder(context.folder.root.resolve())
    if context.address is None:
        events.dispatch.workers = min(context.workers, jobs)
    elif context.url is None:
        check_shared(folder.root)
    shared = Sent.put(replace(context, folder=folder, limit=TimeLimit()))
    events.on_step([])
    with ray_errors_as_deaths(), trackers(context.tracking) as callbacks:
        while True:
            try:
                run_tuner(
                    events,
                    shared,
                    storage=storage,
                    gpus_per_job=context.gpus_per_job,
                    callbacks=callbacks,
                )
                return
            except RuntimeError as error:
                lost = ray_error_in(error)
                if lost is None or not events.dispatch.jobs:
                    raise
                events.on_lost_workers(lost)


def _check_alive(processes: RayProcesses | None, log: Path, *, apart: float = 0.0) -> None:
    """ConnectionError when one of Ray's processes has died."""
    if processes is None or not (dead := processes.dead(apart=apart)):
        return
    said = died(dead, log=str(log))
    processes.print_last_words()
    raise ConnectionError(said)  # Ray may end this process before it is printed; then the witness says so


@contextlib.contextmanager
def _bundle(context: RunContext) -> Iterator[Path | None]:
    """The files that the nodes of a cluster are sent; None for this machine."""
    if context.address is None:
        yield None
        return
    with bundle.packed(context.study_reference, user_folder=context.user_folder) as sent:
        yield sent
