"""The ready studies: each passes its checks, and each quick form goes from training to a verified file on real Ray."""

import importlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sweep.store.manifest import read_manifest
from sweep.store.records import read_records
from sweep.study import Study
from sweep.study.families import completed
from tests.sweep.tiny import lcsweep

REFERENCES = {
    "tabular_classification": 0.95,
    "tabular_regression": 0.3,
    "digits_depthwise": 0.96,
    "sequence_lstm": 0.97,
    "text_transformer": 0.75,
    "segmentation_unet": 0.75,
    "hf_distilbert": 0.97,
    "mnist_lenet300": 0.93,
    "mnist_lenet5": 0.95,
    "rivals_lenet300": 0.93,
    "cifar10_resnet20": 0.8,
    "rivals_resnet20": 0.75,
}
"""Study -> a validation score that its reference reaches."""
ON_DISK = {"mnist_lenet300", "mnist_lenet5", "cifar10_resnet20", "rivals_lenet300", "rivals_resnet20"}
"""Those whose data lie in LCSWEEP_DATA."""
GOVERNED = 0.9
"""The share of the parameters that a family which takes every layer governs."""

pytestmark = pytest.mark.slow
studies = pytest.mark.parametrize("name", REFERENCES)


def module_of(name: str) -> ModuleType:
    """The file of a study whose data and libraries are here."""
    if name == "hf_distilbert":
        pytest.importorskip("transformers", reason="transformers is not installed: pip install 'lcsweep[hf]'")
    if name in ON_DISK and "LCSWEEP_DATA" not in os.environ:
        pytest.skip("LCSWEEP_DATA names no folder with this study's data")
    return importlib.import_module(f"studies.{name}")


def facts(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    """What a command prints with `--json`."""
    said = lcsweep(*arguments, "--json")
    assert said.code == code, said.err
    return said.json


def grid_jobs(study: Study) -> int:
    """How many jobs a grid of one seed has."""
    return sum(1 for family in completed(study).families for _ in family.grid_configurations())


@studies
def test_the_quick_form_is_the_study_with_less_to_do(name):
    module = module_of(name)
    whole, quick = module.study, module.quick
    assert (whole.name, quick.name) == (name, f"{name}_quick")
    assert quick.build_model is whole.build_model
    assert grid_jobs(quick) < grid_jobs(whole)
    assert quick.schedule.epochs <= whole.schedule.epochs


@studies
def test_a_study_passes_its_check(name):
    module_of(name)
    checked = facts("check", f"studies.{name}")
    shares = {family["name"]: family["share"] for family in checked["families"]}
    assert min(shares["prune"], shares["quantize"]) > GOVERNED
    for family in checked["families"]:
        loosest, tightest = family["bytes"]
        assert loosest > tightest


@studies
def test_a_quick_form_goes_from_training_to_a_verified_file(name, tmp_path):
    quick, folder = module_of(name).quick, tmp_path / "sweep"
    ran = lcsweep("run", f"studies.{name}:quick", "--out", folder, "--workers", "1")
    assert ran.code == 0, ran.err
    jobs = read_records(folder)
    assert [job.status for job in jobs] == ["done"] * grid_jobs(quick)
    assert read_manifest(folder).reference.val.value > REFERENCES[name]
    assert len({(job.artifact_bytes, job.val.value) for job in jobs}) > len(jobs) / 2
    assert lcsweep("report", folder).code == 0
    for file in ("index.html", "front.png"):
        assert (folder / "report" / file).stat().st_size > 10_000
    picked = facts("pick", folder, "--max-drop", "0.2")
    assert picked["meets_target"]
    assert picked["compression_ratio"] > 2
    assert abs(picked["test"]["drop"]) < 0.25
    verified = facts("verify", picked["artifact"], "--study", f"studies.{name}:quick")
    assert verified["bytes"] == picked["artifact_bytes"]
