"""Trackers are asked for by name, and their packages by extras."""

import importlib.util

import pytest

from sweep.tracking import Tracker, Tracking, trackers


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_missing_package_is_one_line_that_names_the_extra(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--track {tracker}: expected the package .*'lcsweep\[{tracker}\]'"):
        Tracking(tracker, "tiny")


def test_nobody_hears_unless_asked() -> None:
    with trackers(None) as callbacks:
        assert callbacks == []
