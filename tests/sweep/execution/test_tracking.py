"""Trackers are asked for by name, and their packages by extras."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.execution.tracking import Tracker, Tracking, trackers


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_missing_package_is_one_line_that_names_the_extra(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--track {tracker}: expected the package .*'lcsweep\[{tracker}\]'"):
        Tracking(tracker, "tiny")


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
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_DIR", raising=False)
    if said:
        monkeypatch.setenv("WANDB_DIR", "elsewhere")
    with trackers(Tracking("wandb", "tiny")):
        pass
    assert named == {"project": "tiny", "dir": str(tmp_path / "elsewhere" if said else tmp_path), "ended": True}
