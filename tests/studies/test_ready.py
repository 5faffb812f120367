"""The ready studies: each passes its checks, and each quick form goes from training to a verified file."""

import importlib
from pathlib import Path
from typing import Any

import pytest

from sweep.store.manifest import read_manifest
from sweep.store.records import read_records
from sweep.study import Study
from tests.sweep.tiny import lcsweep, run_here

REFERENCES = {
    "tabular_classification": 0.95,
    "digits_depthwise": 0.96,
    "sequence_lstm": 0.97,
}
"""Study -> a validation score that its reference reaches."""
GOVERNED = 0.9
"""The share of the parameters that a family which takes every layer governs."""

studies = pytest.mark.parametrize("name", REFERENCES)


def facts(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """What a command prints with `--json`."""
    said = lcsweep(*arguments, "--json")
    assert said.code == code, said.err
    return said.json


def grid_jobs(study: Study) -> int:
    """How many jobs a grid of one seed has."""
    return sum(1 for family in study.families for _ in family.grid_configurations())


@studies
def test_a_study_and_its_quick_form_pass_their_checks(name):
    for form in (f"studies.{name}", f"studies.{name}:quick"):
        checked = facts("check", form)
        shares = {family["name"]: family["share"] for family in checked["families"]}
        assert {"prune", "quantize", "prune, quantize"} <= set(shares)
        assert all(shares[family] > GOVERNED for family in ("prune", "quantize", "prune, quantize"))
        for family in checked["families"]:
            loosest, tightest = family["bytes"]
            assert loosest > tightest or family["loosest"] == family["tightest"]


@studies
def test_the_quick_form_is_the_study_with_less_to_do(name):
    module = importlib.import_module(f"studies.{name}")
    whole, quick = module.study, module.quick
    assert (whole.name, quick.name) == (name, f"{name}_quick")
    assert quick.reference == whole.reference
    assert grid_jobs(quick) < grid_jobs(whole)
    assert quick.schedule.epochs <= whole.schedule.epochs


@pytest.mark.slow
@studies
def test_a_quick_form_goes_from_training_to_a_verified_file(name, tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    study, folder = f"studies.{name}:quick", tmp_path / "sweep"
    ran = lcsweep("run", study, "--out", folder)
    assert ran.code == 0, ran.err
    jobs = read_records(folder)
    assert [job["status"] for job in jobs] == ["done"] * grid_jobs(importlib.import_module(f"studies.{name}").quick)
    assert read_manifest(folder).reference.val.accuracy > REFERENCES[name]
    assert len({(job["artifact_bytes"], job["val"]["accuracy"]) for job in jobs}) > 3
    assert lcsweep("report", folder).code == 0
    for file in ("index.html", "front.png"):
        assert (folder / "report" / file).stat().st_size > 10_000
    picked = facts("pick", folder, "--max-drop", "0.2")
    assert picked["meets_target"]
    assert picked["compression_ratio"] > 2
    assert abs(picked["test"]["drop"]) < 0.25
    assert facts("verify", picked["artifact"], "--study", study)["bytes"] == picked["artifact_bytes"]
