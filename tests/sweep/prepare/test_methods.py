"""A run by a method: the families to which it does not apply are named before anything is trained."""

from pathlib import Path
from typing import Any

import pytest

from sweep.job.compress import run_job
from sweep.prepare import prepared as module
from sweep.prepare.prepared import prepare
from sweep.study.errors import StudyError
from tests.sweep.tiny import changed, options, write_study


def test_families_to_which_it_does_not_apply_are_named_and_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    sweep = prepare(options(write_study(tmp_path), tmp_path / "out", method="gradual", repeats=2), say=said.append)
    assert {entry.family for entry in sweep.entries} == {"prune"}
    assert [job.seed for job in sweep.entries[0].jobs] == [0, 1]
    for family, kind in (("quantize", "Codebook"), ("low rank", "LowRank"), ("both", "Chain")):
        assert f"not run: {family}; gradual: applies to L0Pruning, got {kind}" in said
    record = run_job(sweep.entries[0].jobs[0], sweep.context, report=lambda _: None)
    assert (record.status, record.method) == ("done", "gradual")


def test_where_it_applies_to_nothing_a_line_says_so_before_the_reference_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(*_: Any, **__: Any) -> None:
        raise AssertionError("the reference was trained")

    monkeypatch.setattr(module, "open_folder", trained)
    codebooks = changed('L0Pruning(keep=configuration["keep"]))}', "Codebook(size=2))}")
    with pytest.raises(StudyError, match="no family is left; not run: prune; gradual: applies to L0Pruning, got Codeb"):
        prepare(options(write_study(tmp_path, text=codebooks), tmp_path / "out", method="gradual"), say=lambda _: None)
    assert not (tmp_path / "out").exists()
