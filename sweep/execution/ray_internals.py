"""The private names of Ray that lcsweep uses, and what lcsweep does with a release of Ray that lacks them.

- `FunctionTrainable.execute` gives a worker its next job. Without it each job has a Tune trial of its own.
- `RayActorManager._actor_task_failed` tells which worker an error of Ray belongs to. Without it such an error ends
  Tune's loop and counts as the death of all workers; a new Tuner continues.
- `services.ConsolePopen` starts Ray's processes. Without it they are in the driver's process group: SIGTERM to the
  group ends them before the driver, which then waits for them for a minute.
- `services.resolve_ip_for_localhost` replaces 127.0.0.1 by an address that other machines reach. Without it a Ray that
  is started here may listen on all of the machine's addresses.
- `services.get_node` fails until a new node is known to the cluster server. Without it `ray.init` waits for 30 s alone.
- `utils.set_sigterm_handler` puts Ray's own handler on SIGTERM. Without it a signal at the moment after that ends the
  process with Ray's exit code.
- `JobConfig._runtime_env_has_working_dir` keeps Ray from putting the current folder, and the script's, first on the
  `sys.path` of workers. Without it a package there that is named as an installed one shadows it in workers.
- `AuthenticationTokenLoader` and `Config` of `ray._raylet` have read the environment once. Without them this process
  goes on with the token that it has read first; releases before 2.52 know no token.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import ray
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


def end_worker(tune_trial: Trial) -> None:
    """Ends the process of the trial's worker, whatever it does. Tune sees that it died."""
    actor = tune_trial.temporary_state.ray_actor
    if actor is not None:
        ray.kill(actor)


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


@contextlib.contextmanager
def loopback_kept() -> Iterator[None]:
    """Within the block, Ray takes 127.0.0.1 as a node's address, and its processes listen there alone."""
    with _replaced(_private("ray._private", "services"), "resolve_ip_for_localhost", lambda host: host):
        yield


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    """Within the block, Ray leaves the handler of SIGTERM as it is."""
    with _replaced(_private("ray._private", "utils"), "set_sigterm_handler", lambda _handler: None):
        yield


@contextlib.contextmanager
def start_waited_for(lives: Callable[[], object], *, seconds: float) -> Iterator[None]:
    """Within the block, Ray waits so long for a node to start, while `lives` says that its process lives.

    Ray itself waits for half a minute, which is too short on a busy machine, and as long where the process has ended:
    here that is a ConnectionError at once.
    """
    services = _private("ray._private", "services")
    look: Callable[[str, str], Any] | None = getattr(services, "get_node", None)

    def get_node(cluster: str, node: str) -> Any:
        assert look is not None
        end = time.monotonic() + seconds
        while True:
            try:
                return look(cluster, node)
            except RuntimeError as error:  # not known yet
                if not lives():
                    raise ConnectionError("the end of its node process (raylet)") from error
                if time.monotonic() > end:
                    raise
            time.sleep(0.05)

    with _replaced(services, "get_node", get_node):
        yield


@contextlib.contextmanager
def installed_first() -> Iterator[None]:
    """Within the block, Ray does not put the driver's folders first on the `sys.path` of workers, which append them."""
    with _replaced(_private("ray.job_config", "JobConfig"), "_runtime_env_has_working_dir", lambda _config: True):
        yield


def read_token_again() -> None:
    """Makes Ray in this process read from the environment again whether there is a token, and which."""
    config, loader = _private("ray._raylet", "Config"), _private("ray._raylet", "AuthenticationTokenLoader")
    if config is not None and loader is not None:
        config.initialize("")
        loader.instance().reset_cache()


def sends_token() -> bool:
    """Whether this process sends a token to the cluster that it is connected to."""
    mode, modes = _private("ray._raylet", "get_authentication_mode"), _private("ray._raylet", "AuthenticationMode")
    return mode is not None and modes is not None and mode() == modes.TOKEN


@contextlib.contextmanager
def _replaced(holder: Any, name: str, stand_in: Callable[..., Any]) -> Iterator[None]:
    """Within the block, `stand_in` is in the place of a function of a module or a class, if it is there."""
    found = getattr(holder, name, None)
    if found is None:
        yield
        return
    setattr(holder, name, stand_in)
    try:
        yield
    finally:
        setattr(holder, name, found)


def _private(module: str, name: str) -> Any:
    """A private name of Ray; None in a release without it."""
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _parameters(function: Any) -> list[str]:
    """Its parameters, without the one that Ray adds to the methods of an actor's class."""
    return [name for name in inspect.signature(function).parameters if not name.startswith("_ray_")]
