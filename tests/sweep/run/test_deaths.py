"""Errors of Ray's that Tune's loop must survive, on Tune's own manager of actors and an actor that is not there."""

from typing import Any

import pytest
import ray
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

from sweep.run.deaths import known_to_tune


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
    with known_to_tune():
        heard = heard_of(error, monkeypatch)
    assert [who for who, _ in heard] == ["actor", "call"]
    for _, told in heard:
        assert isinstance(told, RayActorError)
        assert str(told) == f"{type(error).__name__}: {error}"


def test_what_tune_knows_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    death, raised = RayActorError(error_msg="died"), RayTaskError("train", "Traceback", ValueError("no such luck"))
    with known_to_tune():
        assert heard_of(death, monkeypatch) == [("actor", death), ("call", death)]
        assert heard_of(raised, monkeypatch) == [("call", raised)]
        with pytest.raises(RuntimeError, match="Caught unexpected exception: no error of Ray's"):
            heard_of(OSError("no error of Ray's"), monkeypatch)


def test_afterwards_tune_is_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the loop ends at a kill for memory; when this fails, Tune has learnt of it and the file can go."""
    with known_to_tune():
        pass
    with pytest.raises(RuntimeError, match="Caught unexpected exception: no memory"):
        heard_of(OutOfMemoryError("no memory"), monkeypatch)
