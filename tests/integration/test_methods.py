"""Every method from the command's options to its file, and all of them in one comparison."""

from pathlib import Path
from typing import get_args

import pytest

from reports.compare.comparison import compare
from reports.compare.methods import method_facts, sides_of_methods
from sweep.job.compress import run_job
from sweep.store.job import Method
from tests.sweep.tiny import changed, prepared, write_study

UNIFORM = 'Family("uniform", {"bits": (3, 2)}, lambda levels: {"*": UniformQuantization(levels["bits"])}),'


@pytest.mark.slow
def test_every_method_runs_a_whole_grid_and_stands_in_the_comparison(tmp_path: Path) -> None:
    text = changed('Family("low rank"', f'{UNIFORM}\n        Family("low rank"')
    text = text.replace("LowRank, Recipe", "LowRank, UniformQuantization, Recipe")
    study, out = write_study(tmp_path, text=text), tmp_path / "out"
    epochs = set()
    for method in get_args(Method):
        if method == "qat":
            families = {"quantize", "uniform"}
        elif method == "ptq":
            families = {"uniform"}
        elif method in ("gradual", "adam_masks"):
            families = {"prune"}
        else:
            families = {"prune", "quantize", "uniform", "low rank", "both"}
        sweep = prepared(study, out, method=method)
        assert {entry.family for entry in sweep.entries} == families
        for entry in sweep.entries:
            record = run_job(entry.jobs[0], sweep.context, report=lambda _: None)
            assert (record.status, record.method, record.error) == ("done", method, None)
            assert record.nominal_bytes == entry.nominal_bytes
            epochs |= {record.epochs} - {0.0}
    assert len(epochs) == 1
    sides = sides_of_methods(str(out))
    assert [side.rpartition(":")[2] for side in sides] == list(get_args(Method))
    first, *others = method_facts(compare(sides))
    assert first.paired is None
    assert all(facts.paired is not None and facts.paired.pairs for facts in others)
