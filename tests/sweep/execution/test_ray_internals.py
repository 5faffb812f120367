"""Private names of Ray: what they are used for, and that nothing breaks in a Ray without them."""

import sys
from typing import Any

import pytest
import ray
from ray._private import services
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.exceptions import (
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.tune.trainable.function_trainable import FunctionTrainable

from sweep.execution.ray_internals import (
    own_process_groups,
    ray_error_in,
    ray_errors_as_deaths,
    start_waited_for,
    workers_take_configs,
)


class Gone:
    """An actor, and the resources that it had."""

    def __getattr__(self, name: str) -> Any:
        return self

    def remote(self) -> str:
        return "future"

    def __call__(self, *args: object, **named: object) -> None:
        """Resources are given back."""


def heard_of(error: Exception, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Exception]]:
    """Who is told what when the call of a live actor ends with `error`."""

    def get(future: str) -> None:
        raise error

    monkeypatch.setattr(ray, "get", get)
    manager, heard = RayActorManager(resource_manager=Gone()), list[tuple[str, Exception]]()
    tracked = TrackedActor(1, on_error=lambda _, error: heard.append(("actor", error)))
    manager._live_actors_to_ray_actors_resources[tracked] = (Gone(), Gone())
    manager.schedule_actor_task(tracked, "train", on_error=lambda _, error: heard.append(("call", error)))
    manager._actor_task_events.resolve_future("future")
    assert manager.is_actor_failed(tracked) == ("actor" in [who for who, _ in heard])
    return heard


@pytest.mark.parametrize(
    "error",
    [
        OutOfMemoryError("Task was killed due to the node running low on memory."),
        ObjectLostError("ab", None, ""),
        NodeDiedError("its node died"),
        WorkerCrashedError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_worker_of_a_call_that_never_came_back_is_dead(error: RayError, monkeypatch: pytest.MonkeyPatch) -> None:
    with ray_errors_as_deaths():
        heard = heard_of(error, monkeypatch)
    assert [who for who, _ in heard] == ["actor", "call"]
    for _, told in heard:
        assert isinstance(told, RayActorError)
        assert str(told) == f"{type(error).__name__}: {error}"


def test_what_tune_knows_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    death, raised = RayActorError(error_msg="died"), RayTaskError("train", "Traceback", ValueError("no such luck"))
    with ray_errors_as_deaths():
        assert heard_of(death, monkeypatch) == [("actor", death), ("call", death)]
        assert heard_of(raised, monkeypatch) == [("call", raised)]
        with pytest.raises(RuntimeError, match="Caught unexpected exception: no error of Ray's"):
            heard_of(OSError("no error of Ray's"), monkeypatch)


def test_afterwards_tune_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it Tune's loop ends at a kill for memory. When this fails, `ray_errors_as_deaths` is no longer needed."""
    with ray_errors_as_deaths():
        pass
    with pytest.raises(RuntimeError, match="Caught unexpected exception: no memory"):
        heard_of(OutOfMemoryError("no memory"), monkeypatch)


def test_the_error_at_which_tune_left_its_loop_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RuntimeError) as left:
        heard_of(out_of_memory := OutOfMemoryError("no memory"), monkeypatch)
    assert ray_error_in(left.value) is out_of_memory
    with pytest.raises(RuntimeError) as left:
        heard_of(OSError("no error of Ray's"), monkeypatch)
    assert ray_error_in(left.value) is None
    assert ray_error_in(RuntimeError("of a search")) is None


# In a release of Ray without a private name, or with another one in its place


def test_a_manager_of_another_kind_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def other(self: Any, task: Any) -> None:
        """Takes fewer arguments than the manager's method of today."""

    monkeypatch.setattr(RayActorManager, "_actor_task_failed", other)
    with ray_errors_as_deaths():
        assert RayActorManager._actor_task_failed is other
    monkeypatch.delattr(RayActorManager, "_actor_task_failed")
    with ray_errors_as_deaths():
        assert not hasattr(RayActorManager, "_actor_task_failed")
    monkeypatch.setitem(sys.modules, "ray.air.execution._internal.actor_manager", None)
    with ray_errors_as_deaths():
        pass


def test_workers_take_configs_where_the_trainable_executes_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert workers_take_configs()
    monkeypatch.setattr(FunctionTrainable, "execute", lambda self, fn, *, _ray_trace_ctx=None: None)
    assert workers_take_configs()  # as in a process that has had such an actor
    monkeypatch.setattr(FunctionTrainable, "execute", lambda self, fn, *others: None)
    assert not workers_take_configs()
    monkeypatch.delattr(FunctionTrainable, "execute")
    assert not workers_take_configs()


def test_rays_processes_have_groups_of_their_own_where_ray_starts_them_as_today(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    popen = services.ConsolePopen
    with own_process_groups():
        process = services.ConsolePopen([sys.executable, "-c", "import os; print(os.getpgrp())"], stdout=-1, text=True)
        assert int(process.communicate()[0]) == process.pid
    assert services.ConsolePopen is popen
    monkeypatch.setattr(services, "ConsolePopen", other := object())
    with own_process_groups():
        assert services.ConsolePopen is other
    monkeypatch.delattr(services, "ConsolePopen")
    with own_process_groups():
        assert not hasattr(services, "ConsolePopen")


@pytest.mark.parametrize(("lives", "looks"), [(True, 3), (False, 1)])
def test_a_node_that_starts_slowly_is_waited_for_while_its_process_lives(
    lives: bool, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def get_node(cluster: str, node: str) -> str:
        looked.append((cluster, node))
        if len(looked) < 3:
            raise RuntimeError("no such node")
        return "found"

    monkeypatch.setattr(services, "get_node", get_node)
    with start_waited_for(lambda: lives, seconds=60):
        if lives:
            assert services.get_node("cluster", "node") == "found"
        else:
            with pytest.raises(ConnectionError, match="the end of its node process"):
                services.get_node("cluster", "node")
    assert looked == [("cluster", "node")] * looks
    assert services.get_node is get_node
