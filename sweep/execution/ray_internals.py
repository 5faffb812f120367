"""The three private names of Ray that lcsweep uses, and what lcsweep does with a release of Ray that lacks them.

- `FunctionTrainable.execute` gives a worker its next job. Without it each job has a Tune trial of its own.
- `RayActorManager._actor_task_failed` tells which worker an error of Ray belongs to. Without it such an error ends
  Tune's loop and counts as the death of all workers; a new Tuner continues.
- `services.ConsolePopen` starts Ray's processes. Without it they are in the driver's process group: SIGTERM to the
  group ends them before the driver, which then waits for them for a minute.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError, RayError, RayTaskError

if TYPE_CHECKING:
    from ray import tune
    from ray.tune.experiment import Trial


def workers_take_configs() -> bool:
    """Whether `send_config` works in this release of Ray."""
    trainable = _private("ray.tune.trainable.function_trainable", "FunctionTrainable")
    execute = getattr(trainable, "execute", None)
    return execute is not None and _parameters(execute) == ["self", "fn"]


def send_config(tune_trial: Trial, config: dict[str, Any]) -> None:
    """Gives the trial's worker, which waits at a report, its next configuration."""
    actor = tune_trial.temporary_state.ray_actor
    assert actor is not None
    actor.execute.remote(functools.partial(take_config, config=config))


def take_config(trainable: tune.Trainable, *, config: dict[str, Any]) -> None:
    """Runs in the worker: its function finds `config` when its report returns."""
    trainable.config.update(config)


@contextlib.contextmanager
def ray_errors_as_deaths() -> Iterator[None]:
    """Within the block, Tune treats every error of Ray as the death of the worker whose call failed.

    Tune starts a trial again when its actor died or raised (RayActorError, RayTaskError). Other errors of Ray end its
    loop with a RuntimeError: the memory monitor killed a worker (OutOfMemoryError), or a result was lost with its node
    (ObjectLostError).
    """
    manager = _private("ray.air.execution._internal.actor_manager", "RayActorManager")
    task_failed = getattr(manager, "_actor_task_failed", None)
    if task_failed is None or _parameters(task_failed) != ["self", "tracked_actor_task", "exception"]:
        yield
        return

    def failed(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        task_failed(self, tracked_actor_task, exception)

    manager._actor_task_failed = failed
    try:
        yield
    finally:
        manager._actor_task_failed = task_failed


def ray_error_in(error: BaseException) -> RayError | None:
    """The error of Ray that ended Tune's loop with `error`; None where the loop ended for another reason."""
    cause = error.__cause__
    return cause if isinstance(error, RuntimeError) and isinstance(cause, RayError) else None


@contextlib.contextmanager
def own_process_groups() -> Iterator[None]:
    """Within the block, Ray's processes start outside our process group, so that only the driver ends them.

    SIGTERM to our group, as `timeout` sends it, would end Ray's processes first. The driver then waits for their
    answers for a minute, until Ray ends it.
    """
    services = _private("ray._private", "services")
    popen = getattr(services, "ConsolePopen", None)
    if not (isinstance(popen, type) and issubclass(popen, subprocess.Popen)):
        yield
        return
    services.ConsolePopen = functools.partial(popen, process_group=0)
    try:
        yield
    finally:
        services.ConsolePopen = popen


def _private(module: str, name: str) -> Any:
    """A private name of Ray; None in a release without it."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _parameters(function: Any) -> list[str]:
    """Its parameters, without the one that Ray adds to the methods of an actor's class."""
    return [name for name in inspect.signature(function).parameters if not name.startswith("_ray_")]
