"""What a worker process does between Tune and a job, without either."""

import contextlib
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import tune

from sweep.execution import ray_internals, worker


def test_every_trial_flushes_denormals_and_does_job_after_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tune runs each trial of a worker in a new thread; the context is opened in the first."""
    config: dict[str, Any] = {"job": 1}
    reported: list[Any] = []

    def report(told: Any) -> None:
        reported.append(told)
        if len(reported) % 2 == 0:
            raise SystemExit  # as Tune ends a trial
        ray_internals.take_config(SimpleNamespace(config=config), config={"job": 10 * told[0]})

    monkeypatch.setattr(tune, "report", report)
    monkeypatch.setattr(worker, "opened", lambda shared: "context")
    monkeypatch.setattr(worker, "Job", SimpleNamespace(from_dict=lambda data: data))
    monkeypatch.setattr(worker, "_last_report", lambda job, context: (job, context, float(torch.tensor(1e-39) / 2)))

    def trial() -> None:
        with contextlib.suppress(SystemExit):
            worker.work(config, None)

    for _ in range(2):
        thread = threading.Thread(target=trial)
        thread.start()
        thread.join()
    assert reported == [(job, "context", 0.0) for job in (1, 10, 10, 100)]
