"""What the driver does at Tune's events: gives out jobs, takes reports, notices which workers started or died."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray.tune.experiment import Trial

from sweep.execution.dispatch import Dispatch
from sweep.execution.process import Interruption
from sweep.execution.progress import Step
from sweep.execution.ray_internals import end_worker
from sweep.store.record import Record

if TYPE_CHECKING:
    from sweep.store.job import Job

SECONDS_FOR_A_WORKER = 60.0  # to start; a job that has waited longer goes to a running worker
LONGEST_STEP = 10.0  # seconds between two events that count for jobs: a suspended driver sees no job end


class LeaveTune(BaseException):
    """Leaves Tune's loop at once, after an error of ours or at the end of the search.

    Without it, Tune waits for the running jobs after an error, and swallows or rewrites the error. At the end it writes
    and reads back a state that is not needed, which takes 2.6 ms a job.
    """

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error


class TuneEvents:
    """Answers Tune's events. Each Tune trial is a worker slot, in which one job runs after the other.

    A trial for each job would cost 50 ms a job: Tune makes a placement group, removes the last one, makes a trial with
    its folder, and resets the actor.

    Args:
        dispatch: knows which job is in which slot.
        check: called between two events; may raise. `checks` are all such.
        job_a_trial: whether each job has a Tune trial of its own nevertheless.
    """

    def __init__(self, dispatch: Dispatch, *, check: Callable[[], None], job_a_trial: bool) -> None:
        self.dispatch = dispatch
        self.checks = [check]
        self.job_a_trial = job_a_trial
        self.interruption = Interruption()
        self._last = time.monotonic()  # when the last event was
        self._waiting: dict[str, float] = {}  # slots without a worker yet -> when they began to wait

    def on_suggest(self, slot: str) -> Job | None:
        """The first job of a new slot; None to wait until a running job ends."""
        try:
            job = self.dispatch.next_job(slot)
            if job is None and not self.dispatch.jobs:
                assert self.dispatch.search.finished(), "the search neither asks for a job nor waits for one nor ends"
                raise LeaveTune
        except Exception as error:
            raise LeaveTune(error) from error
        if job is not None:
            self._waiting[slot] = time.monotonic()
        return job

    def on_step(self, trials: list[Trial]) -> None:
        """Notices workers that started, died, or run too long since the last event; stops the run when asked to."""
        if self.interruption.asked:
            raise KeyboardInterrupt
        try:
            self._check()
            now = time.monotonic()
            over = self.dispatch.elapse(min(now - self._last, LONGEST_STEP))
            self._last = now
            for tune_trial in trials if over else ():
                if tune_trial.trial_id in over:
                    end_worker(tune_trial)
            left = set(self.dispatch.jobs)
            for tune_trial in reversed(trials):  # those that run are near the end
                if not left:
                    break
                if tune_trial.trial_id in left:
                    left.discard(tune_trial.trial_id)
                    self._see(tune_trial)
        except Exception as error:
            raise LeaveTune(error) from error

    def on_report(self, slot: str, report: Mapping[str, Any]) -> bool:
        """Takes a worker's report. Returns whether the job has ended with it."""
        try:
            self._check()  # a driver that was suspended has lost its lock
            self.dispatch.start(slot)
            if "record" in report:
                self.dispatch.done(
                    slot, Record.from_json(json.loads(report["record"]), Path(f"the worker in slot {slot}"))
                )
                return True
            self.dispatch.progress(slot, Step(report["step"], report["steps"], report["val_error"]))
        except Exception as error:
            raise LeaveTune(error) from error
        return False

    def on_free(self, slot: str) -> Job | None:
        """The next job of a slot whose job has ended; None to end its Tune trial."""
        try:
            job = None if self.job_a_trial or self._worker_is_missed() else self.dispatch.next_job(slot)
            if job is not None:
                self.dispatch.start(slot)
        except Exception as error:
            raise LeaveTune(error) from error
        return job

    def on_lost_workers(self, error: BaseException) -> None:
        """Call when an error of Ray ended Tune's loop, and the workers with it."""
        self._waiting.clear()
        for slot in list(self.dispatch.jobs):
            self.dispatch.died(slot, f"Tune's loop ended\n{type(error).__name__}: {error}")

    def _check(self) -> None:
        for check in self.checks:
            check()

    def _see(self, tune_trial: Trial) -> None:
        slot = tune_trial.trial_id
        if tune_trial.status in (Trial.RUNNING, Trial.ERROR):
            self._waiting.pop(slot, None)
        if tune_trial.status == Trial.RUNNING:
            self.dispatch.start(slot)
        elif tune_trial.status == Trial.ERROR:
            cause = Path(tune_trial.error_file).read_text() if tune_trial.error_file else "\nno cause is known"
            self.dispatch.died(slot, cause)

    def _worker_is_missed(self) -> bool:
        """Whether a slot has waited for its worker for too long, such as on a cluster that lost a node."""
        return min(self._waiting.values(), default=math.inf) < time.monotonic() - SECONDS_FOR_A_WORKER
