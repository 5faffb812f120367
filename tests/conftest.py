"""What all tests share.

Hypothesis asks for no speed, which a busy machine does not have, and draws the same examples on every run. New ones,
ten times as many: `make test ARGS='-m hypothesis --hypothesis-profile=new'`.
"""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

from lc_core.file.artifact import Artifact
from sweep.prepare.check_onnx import OnnxTrial

settings.register_profile("same", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
settings.register_profile("new", settings.get_profile("same"), derandomize=False, max_examples=1000)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def _denormals() -> Iterator[None]:
    """Commands run in this process flush denormal numbers, which hypothesis draws from."""
    yield
    torch.set_flush_denormal(False)


@pytest.fixture
def png_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports write their figures as PNG files only, which is faster: for tests of something else."""
    monkeypatch.setattr("reports.FORMATS", ("png",))


class NoTrial(OnnxTrial):
    """Tries no ONNX files."""

    def look(self, family: str, artifact: Artifact) -> None:
        pass


@pytest.fixture(autouse=True)
def _new_sweeps_try_no_onnx_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes seconds. The tests of that undo it; `check` tries them."""
    monkeypatch.setattr("sweep.prepare.prepared.OnnxTrial", NoTrial)


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks, picks and proofs make no ONNX file, which takes a second: for tests of something else."""
    for module in ("sweep.prepare.check_onnx", "sweep.pick.verify"):
        monkeypatch.setattr(f"{module}.has_onnx", lambda: False)
