import json
import random
from pathlib import Path

import pytest

from reports.facts.diagnostics import STEP, read_diagnostics
from reports.facts.findings import Findings, read_findings
from reports.page.curves import curve_scripts
from reports.page.data import page_data
from reports.page.html import page_script
from sweep.intervals import CONFIDENCE, student
from sweep.pick.choice import candidates
from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from tests.reports import synthetic


def write_tied(folder: Path, *, confirm: int = 0, method: str = "lc") -> Findings:
    """The sweep; `method` is that of its trained jobs."""
    records = synthetic.tied(seeds=(1, 2, 4), draw=random.Random(3))
    records = [each | {"method": method if each["method"] == "lc" else each["method"]} for each in records]
    synthetic.write_sweep(folder, records, target={"min_accuracy": 0.95}, confirm=confirm)
    return read_findings(folder, target=None, by="bytes")


def test_the_data_have_every_candidate_in_the_order_of_a_pick_exactly(tmp_path: Path) -> None:
    findings = write_tied(tmp_path)
    content = json.loads(page_data(findings, curves=()))
    expected = sorted(
        candidates(read_records(tmp_path)), key=lambda c: (c.artifact_bytes, c.macs, c.mean_error, c.best_id)
    )
    columns, ids, values = content["columns"], iter(content["ids"]), iter(content["values"])
    assert content["count"] == len(expected)
    for index, candidate in enumerate(expected):
        seeds = columns["seeds"][index]
        assert tuple(next(ids) for _ in range(seeds)) == candidate.ids
        sent = [next(values) for _ in range(seeds)]
        read = tuple(value / synthetic.N_VAL if isinstance(value, int) else value for value in sent)
        assert read == candidate.scores
        assert candidate.ids[columns["best"][index]] == candidate.best_id
        assert (columns["bytes"][index], columns["macs"][index]) == (candidate.artifact_bytes, candidate.macs)
        series, method, knobs = content["forms"][columns["form"][index]]
        assert (method, knobs) == (candidate.method, ["level", "scale"])
        assert content["series"][series]["name"].startswith(candidate.family)
    assert content["levels"][1] == "1.0"  # JavaScript would write 1
    shown = {row.candidate.best_id: row for row in findings.rows}
    for cost in content["costs"]:
        front = {expected[index].best_id for index in cost["front"]}
        assert front == {job for job, row in shown.items() if cost["key"] in row.fronts}


@pytest.mark.parametrize("method", ["lc", "retrain"])
def test_the_data_have_what_the_rule_needs(method: str, tmp_path: Path) -> None:
    content = json.loads(page_data(write_tied(tmp_path, confirm=3, method=method), curves=()))
    trained = [c for c in candidates(read_records(tmp_path)) if c.method == method]
    dof = sum(len(c.seeds) - 1 for c in trained)
    assert content["rule"]["untrained"] == ["dc", "ptq"]
    assert content["rule"]["student"] == student(CONFIDENCE, dof=dof)
    assert "98.5\u00a0% confidence" in content["rule"]["words"]
    assert content["target"] == {"kind": "min_accuracy", "value": 0.95}


@pytest.mark.parametrize("level", [3, 0.25, -0.001, 2.0, 1e-5, 1e20, 10**17, True, "a < b & c"])
def test_a_level_reads_as_python_writes_it(tmp_path: Path, level: object) -> None:
    point = synthetic.Point("prune", {"knob": level}, 900, 0.03, None)  # type: ignore[dict-item]
    synthetic.write_sweep(tmp_path, [synthetic.record(point, seed=0, seeds=1, n_val=359)], target=None)
    (sent,) = json.loads(page_data(read_findings(tmp_path, target=None, by="bytes"), curves=()))["levels"]
    (candidate,) = candidates(read_records(tmp_path))
    assert f"knob {sent}" == candidate.label
    assert isinstance(sent, str) or ((sent % 1 != 0 or isinstance(sent, int)) and abs(sent) < 2**53)


def test_curves_are_scripts_of_numbers_in_the_order_of_the_columns(tmp_path: Path) -> None:
    for job in ("ab" + "0" * 14, "ab" + "1" * 14, "cd" + "0" * 14):
        synthetic.write_diagnostics(tmp_path, job)
    names = ["ab" + "0" * 14, "ab" + "1" * 14, "cd" + "0" * 14, "ef" + "0" * 14, "../../x"]
    curves, layers = read_diagnostics(SweepFolder(tmp_path), names, exported=[names[1]])
    scripts = curve_scripts(curves, layers)
    assert list(scripts) == ["ab", "cd"]
    first, second = scripts["ab"].decode().splitlines()
    jobs = json.loads(first.removeprefix("lcsweepCurves(").removesuffix(");"))
    assert list(jobs) == names[:2]
    consists = json.loads(second.removeprefix("lcsweepLayers(").removesuffix(");"))
    assert list(consists) == names[1:2]
    assert consists[names[1]][0] == ["fc1.weight", "30\u00d720", 1.0, 1.25, 0.05, 0.025, 359]
    columns = dict(zip(STEP, jobs[names[0]], strict=True))
    assert columns["step"] == list(range(11))
    assert columns["loss"][:2] == [None, 0.25]
    assert columns["gap"][3] == pytest.approx(0.512)
    assert columns["val_error"][9] == pytest.approx(0.05)


def test_the_script_is_one_strict_scope_without_comments() -> None:
    script = page_script()
    assert script.startswith('(() => {\n"use strict";\n')
    assert not [line for line in script.splitlines() if line.startswith(("//", " "))]
    assert "</" not in script
    assert "innerHTML" not in script
    assert len(script) < 66_000
