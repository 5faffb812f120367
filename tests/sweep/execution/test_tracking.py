"""Trackers are asked for by name, and their packages by extras."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.execution.tracking import Tracking, trackers


def test_without_a_tracker_there_are_no_callbacks() -> None:
    with trackers(None) as callbacks:
        assert callbacks == []


@pytest.mark.parametrize("said", [True, False])
def test_what_wandb_keeps_offline_lies_where_its_users_look(
    said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not among Ray's own files, which go with the run."""
    named: dict[str, Any] = {}

    class Callback:
        def __init__(self, **others: Any) -> None:
            named.update(others)

        def on_experiment_end(self, trials: list[Any]) -> None:
            named["ended"] = True

    monkeypatch.setitem(sys.modules, "ray.air.integrations.wandb", SimpleNamespace(WandbLoggerCallback=Callback))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    if said:
        monkeypatch.setenv("WANDB_DIR", "elsewhere")
    with trackers(Tracking("wandb", "tiny")):
        pass
    assert named == {"project": "tiny", "dir": str(tmp_path / "elsewhere" if said else tmp_path), "ended": True}
