"""Sweeps that tests share."""

import shutil
from pathlib import Path

import pytest

from tests.sweep.tiny import edit, prepared, run_all, write_study


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    run_all(prepared(write_study(folder), folder / "runs" / "tiny"))
    return folder


@pytest.fixture
def finished(_finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user stands: a folder with tiny.py, whose grid is done in runs/tiny."""
    shutil.copytree(_finished, tmp_path, dirs_exist_ok=True)
    edit(tmp_path / "runs" / "tiny" / "sweep.json", reference_study="tiny.py")
    monkeypatch.chdir(tmp_path)
    return tmp_path
