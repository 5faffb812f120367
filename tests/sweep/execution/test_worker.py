"""What a worker process does between Tune and a job, without either."""

import contextlib
import stat
import tempfile
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray import tune

from sweep.execution import ray_internals, worker
from sweep.execution.worker import own_folder


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


def test_the_folder_of_cloud_sweeps_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = own_folder()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    path.chmod(0o777)  # as an earlier release may have left it
    assert stat.S_IMODE(own_folder().stat().st_mode) == 0o700
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="expected a folder of this user"):
        own_folder()
