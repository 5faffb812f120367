"""A study that draws from the global generators without a seed of its own gives the same numbers each time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sweep.job.compress import run_job
from sweep.study.loading import load_splits, load_study
from sweep.study.seeds import seed_all
from tests.sweep.tiny import changed, options, prepare, prepared, write_study

DRAWING = {
    "torch": "torch.rand(())",
    "numpy": "np.random.rand()",
    "python": "random.random()",
}


def drawing(draw: str) -> str:
    """The study with draws in its loss, its initial weights and its data."""
    text = changed("import torch\n", "import random\n\nimport numpy as np\nimport torch\n")
    text = changed("cross_entropy(outputs, targets)", f"cross_entropy(outputs * float({draw}), targets)", text=text)
    text = changed("return nn.Sequential(", "return nn.Sequential(nn.Dropout(0.1), ", text=text)
    text = changed('{"0": LowRank', '{"1": LowRank', text=text)
    return changed("inputs = torch.randn", f"inputs = 0.01 * float({draw}) + torch.randn", text=text)


@pytest.mark.parametrize("draw", DRAWING)
def test_data_reference_and_jobs_repeat_whatever_generator_the_study_draws_from(tmp_path: Path, draw: str) -> None:
    study = write_study(tmp_path, text=drawing(DRAWING[draw]))
    records = []
    for number, folder in enumerate(("first", "second")):
        np.random.rand(number)  # noqa: NPY002 - whatever was drawn before
        torch.rand(number)
        sweep = prepared(study, tmp_path / folder)
        records.append(run_job(sweep.entries[0].jobs[0], sweep.context, report=lambda _: None))
    first, second = records
    assert first.status == second.status == "done"
    assert first.artifact_sha256 == second.artifact_sha256
    prepare(options(study, tmp_path / "first"), say=lambda _: None)  # its hash is the same: the sweep goes on


def test_each_load_gives_the_same_splits(tmp_path: Path) -> None:
    study = load_study(str(write_study(tmp_path, text=drawing("random.random()"))), user_folder=str(tmp_path))
    first, second = load_splits(study), load_splits(study)
    assert torch.equal(first.train.inputs, second.train.inputs)


def test_a_seed_below_zero_is_a_seed() -> None:
    seed_all(-1)
    first = np.random.rand()  # noqa: NPY002
    seed_all(-1)
    assert first == np.random.rand()  # noqa: NPY002
