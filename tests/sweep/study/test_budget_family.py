"""The family of one knob, bytes: its levels fit and fall, its jobs keep within them, and a search goes down them."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from lc_core import Codebook, fisher, nominal_bytes, plan_tasks, read
from lc_core.structure.contents import layer_contents
from reports.facts.diagnostics import read_diagnostics
from studies.digits_mlp import build_model, load_data
from sweep.job.compress import job_sizes, run_job
from sweep.study.families import budget
from tests.sweep.tiny import STUDY, options, prepare, write_study

LADDER = "(Codebook(2), Codebook(8), Chain(L0Pruning(0.3), Codebook(4)), Chain(L0Pruning(0.1), Codebook(2)))"


def write_budget(folder: Path) -> Path:
    """The tiny study with a budget as its only family."""
    start, end = STUDY.index("    families=("), STUDY.index("    target=")
    text = STUDY[:start] + f"    families=(families.budget(build_model(), of={LADDER}, small=None),),\n" + STUDY[end:]
    return write_study(folder, text=text.replace("from sweep.study import", "from sweep.study import families,"))


def test_levels_fall_by_a_constant_ratio_to_the_least_that_the_ladder_allows() -> None:
    model = build_model()
    family = budget(model)
    levels = [int(level) for level in family.knobs["bytes"]]
    assert levels[0] == 64 * 128 + 128 * 64 + 64 * 10  # a quarter of four bytes a weight
    assert all(0.8 < tighter / looser < 0.9 for looser, tighter in itertools.pairwise(levels))
    assert levels[-1] < levels[0] / 40
    sizes = [
        nominal_bytes(plan_tasks(model, family.plan({"bytes": level})), model.state_dict(), info={}) for level in levels
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert set(family.grid["bytes"]) < set(levels)


def test_a_model_of_which_no_level_fits_is_a_line() -> None:
    with pytest.raises(ValueError, match="budget: expected a model whose weights fit into 40 bytes"):
        budget(nn.Linear(8, 5), of=(Codebook(32),))


def test_jobs_keep_within_the_budget_and_tell_what_the_layers_chose(tmp_path: Path) -> None:
    sweep = prepare(options(write_budget(tmp_path), tmp_path / "out"), say=lambda _: None)
    entry = sweep.entries[1]
    (job,) = entry.jobs
    record = run_job(job, sweep.context, report=lambda _: None)
    assert record.status == "done"
    sizes = job_sizes(job, sweep.context)
    assert (sizes.fixed, sizes.bounded) == (False, True)
    artifact = read(sweep.folder.artifact(job.id))
    assert artifact.payload_bytes <= sizes.nominal_bytes == record.nominal_bytes
    limit = job.configuration["bytes"]
    steps = json.loads(sweep.folder.diagnostics(job.id).read_text())["steps"]
    assert len(steps) == 21
    assert all(0 < step["weight_bytes"] <= limit and step["choice_gap"] == 0 for step in steps)
    assert all(set(step["chosen"]) == {"0.weight", "2.weight"} for step in steps)
    assert sum(theta.storage_bits() for theta in artifact.thetas) == 8 * steps[-1]["weight_bytes"]
    layers = read_diagnostics(sweep.folder, [job.id], exported=[job.id])[1][job.id]
    assert {layer.name: layer.chosen for layer in layers} == steps[-1]["chosen"]
    assert [layer.bits * 8 for layer in layers if layer.chosen == "dense"] == []
    reference = layer_contents(artifact.governed, artifact.thetas, sweep.context.reference)
    assert [layer.kept for layer in layers] == [layer["kept"] for layer in reference]


def test_a_search_for_the_smallest_takes_budgets(tmp_path: Path) -> None:
    path = write_budget(tmp_path)
    sweep = prepare(options(path, tmp_path / "out", search="smallest"), say=lambda _: None)
    sizes = [entry.nominal_bytes for entry in sweep.entries]
    assert len(sizes) > 5
    assert sizes == sorted(sizes, reverse=True)


def test_the_sensitivities_of_a_network_s_layers_differ_and_have_a_mean_of_one() -> None:
    torch.manual_seed(0)
    model, train = build_model().train(), load_data().train
    model[2].eval()
    modes = [module.training for module in model.modules()]
    found = fisher(model, train, loss=nn.functional.cross_entropy, batches=4)
    assert set(found) == {name for name, _ in model.named_parameters()}
    assert sum(found.values()) / len(found) == pytest.approx(1)
    assert found["4.weight"] > 3 * found["0.weight"] > 0
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    (task,) = plan_tasks(model, budget(model, sensitivity=found, small=None).plan({"bytes": 4000}))
    assert [layer.sensitivity for layer in task.compression.layers] == [found[name] for name in task.governed.names]
