import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from sweep.prepare.options import Tracker, check_tracker
from tests.sweep.tiny import lcsweep, write_study


@pytest.mark.parametrize("tracker", ["mlflow", "wandb"])
def test_a_missing_tracker_is_one_line_that_names_the_extra(tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"--track {tracker}: expected the package .*'lcsweep\[{tracker}\]'"):
        check_tracker(tracker)


def test_a_missing_tracker_is_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where a folder has the tracker's name, as W&B leaves one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wandb").mkdir()
    find = importlib.util.find_spec

    def found(name: str, *others: Any) -> Any:
        return importlib.machinery.ModuleSpec("wandb", None) if name == "wandb" else find(name, *others)

    monkeypatch.setattr(importlib.util, "find_spec", found)
    write_study(tmp_path)
    said = lcsweep("run", "tiny.py", "--track", "wandb")
    assert (said.code, said.out) == (1, "")
    assert "pip install 'lcsweep[wandb]'" in said.err
    assert not (tmp_path / "runs").exists()
