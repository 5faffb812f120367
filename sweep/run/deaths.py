"""Workers that Ray Tune does not know to be dead.

Tune starts a job again when Ray says that its actor died, or that it raised. Ray has more errors than these two: a
worker that the memory monitor killed is an OutOfMemoryError, a result that went with its node an ObjectLostError. At
those Tune raises RuntimeError out of its loop, and has no hook for them.
"""

import contextlib
from collections.abc import Iterator

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import RayActorError, RayError, RayTaskError


@contextlib.contextmanager
def known_to_tune() -> Iterator[None]:
    """Within it, Tune takes every such error for the death of the worker whose call it is."""
    known = RayActorManager._actor_task_failed

    def failed(self: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        known(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = known  # type: ignore[method-assign]
