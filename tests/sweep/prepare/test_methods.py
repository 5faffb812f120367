"""A run by a method: the families to which it does not apply are named before anything is trained."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sweep.job.compress import run_job
from sweep.prepare import prepared as module
from sweep.prepare.prepared import prepare
from sweep.store.folder import SweepFolder
from sweep.study import Data, Split
from sweep.study.errors import StudyError
from tests.sweep.metric_studies import regression
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


def test_soft_targets_need_class_logits(tmp_path: Path) -> None:
    study = write_study(tmp_path, text=regression())
    with pytest.raises(
        ValueError, match=r"^study tiny, method distill: distillation: expected outputs of shape \(n, c"
    ):
        prepare(options(study, tmp_path / "out", method="distill"), say=lambda _: None)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "hints, said",
    [
        ('hints={"9": 1.0}', r"expected layers among 0, 1, .*, got '9'$"),
        (
            'attention={"0": 1.0}',
            r"attention: expected layers' outputs of shape \(n, channels, height, width\), got \(1, ",
        ),
    ],
)
def test_layers_to_learn_from_are_checked_before_the_reference_is_trained(
    tmp_path: Path, hints: str, said: str
) -> None:
    text = changed("    target=Target", f"    distillation=Distillation(temperature=4, {hints}),\n    target=Target")
    study = write_study(tmp_path, text=text.replace("from lc_core import", "from lc_core import Distillation,"))
    with pytest.raises(ValueError, match=f"^study tiny, method lc: .*{said}"):
        prepare(options(study, tmp_path / "out"), say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_a_job_without_labels_never_sees_them(tmp_path: Path) -> None:
    """It ends with the same bytes where all labels of the training split are other ones."""
    sweep = prepare(options(write_study(tmp_path), tmp_path / "out", method="label_free"), say=lambda _: None)
    context, job = sweep.context, sweep.entries[0].jobs[0]
    record = run_job(job, context, report=lambda _: None)
    train = context.data.train
    wrong = Data(Split(train.inputs, (train.targets + 1) % 3), context.data.val, context.data.test)
    (context.folder.root / "other").mkdir()
    elsewhere = replace(context, data=wrong, folder=SweepFolder(context.folder.root / "other"))
    assert run_job(job, elsewhere, report=lambda _: None).artifact_sha256 == record.artifact_sha256
    supervised = replace(job, method="distill")
    sums = {run_job(supervised, each, report=lambda _: None).artifact_sha256 for each in (context, elsewhere)}
    assert len(sums) == 2
