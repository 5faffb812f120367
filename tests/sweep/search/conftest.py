"""An Optuna storage for each test."""

import shutil
from pathlib import Path

import optuna
import pytest


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An Optuna storage without a study: to make its tables takes most of a test's time."""
    path = tmp_path_factory.mktemp("empty") / "study.db"
    optuna.storages.RDBStorage(f"sqlite:///{path}")
    return path


@pytest.fixture
def folder(tmp_path: Path, empty: Path) -> Path:
    """A folder with an empty storage in it."""
    shutil.copy(empty, tmp_path)
    return tmp_path
