"""Studies of other metrics than the accuracy, from the grid to the exported file, in this process."""

import csv
import functools
import json
from pathlib import Path

import pandas as pd
import pytest

import sweep
from sweep.execution import driver
from sweep.job.compress import run_job
from sweep.store.manifest import read_manifest
from sweep.store.metric import Metric
from sweep.store.record import Done
from sweep.store.records import finished, read_records
from tests.sweep.metric_studies import regression, with_metric
from tests.sweep.tiny import STUDY, changed, lcsweep, prepared, run_here, write_study

RUN = "runs/tiny"
MSE = Metric("mse", higher_is_better=False, unit="mm2", best=0.0)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_onnx: None) -> None:
    """Jobs run in this process, in an empty folder."""
    monkeypatch.setattr(driver, "run", functools.partial(driver.run, runner=run_here))
    monkeypatch.chdir(tmp_path)


def done() -> list[Done]:
    return finished(read_records(Path(RUN)))


def test_a_regression_from_the_grid_to_a_verified_file() -> None:
    """Lower is better, in a unit, in every line; JSON has the metric's name."""
    write_study(Path(), text=regression())
    said = lcsweep("run", "tiny.py")
    assert said.code == 0, said.err
    assert " mm2, " in said.out
    assert "%" not in said.out.partition("grid: ")[2]
    assert read_manifest(Path(RUN)).metric == MSE
    records = done()
    assert {record.val.metric for record in records} == {MSE}
    assert all(record.val.low < record.val.value < record.val.high for record in records)
    assert all(record.drop and record.drop.low < record.drop.drop < record.drop.high for record in records)
    data = json.loads((Path(RUN) / "artifacts" / records[0].id / "record.json").read_text())
    assert data["val"]["mse"] == records[0].val.value
    assert data["val"]["metric"] == {"name": "mse", "higher_is_better": False, "unit": "mm2", "best": 0.0}

    reference = read_manifest(Path(RUN)).reference.val.value
    picked = lcsweep("pick", RUN, "--max-drop", "2.5", "--json").json
    meeting = [record for record in records if record.val.value <= reference + 2.5]
    assert len(meeting) < len(records)
    assert picked["artifact_bytes"] == min(record.artifact_bytes for record in meeting)
    assert picked["values"] == [picked["val"]["mse"]]
    assert {"mse", "reference_mse"} <= set(picked["test"])
    assert picked["test"]["drop"] == pytest.approx(picked["test"]["mse"] - picked["test"]["reference_mse"])

    assert "validation    MSE " in lcsweep("pick", RUN, "--max-drop", "2.5").out
    assert lcsweep("export", RUN, "--out", "m.lcz").code == 0
    verified = lcsweep("verify", "m.lcz", "--study", "tiny.py")
    assert f"MSE {picked['val']['mse']:.4g} mm2 on 90 examples, verified" in verified.out
    assert f"MSE {picked['test']['mse']:.4g} mm2 on 90 examples, as measured before" in verified.out
    assert lcsweep("export", RUN, "--out", "dense", "--format", "safetensors").code == 0
    assert f"validation | MSE {picked['val']['mse']:.4g} mm2 (95 % interval " in Path("dense", "README.md").read_text()


def test_a_metric_called_error_has_one_column() -> None:
    measure = 'Measure(lambda o, t: (o.argmax(dim=1) != t).float(), higher_is_better=False, unit="%")'
    text = changed("    target=Target", f'    metrics={{"error": {measure}}},\n    target=Target')
    text = changed(
        "from sweep.study import", "from sweep.study.measure import Measure\nfrom sweep.study import", text=text
    )
    sweep = prepared(write_study(Path(), text=text), Path(RUN))
    record = run_job(sweep.entries[0].jobs[0], sweep.context, report=lambda _: None)
    assert isinstance(record, Done)
    said = lcsweep("report", RUN, "--format", "csv", "--json")
    assert said.code == 0, said.err
    (row,) = csv.DictReader(Path(said.json["path"]).read_text().splitlines())
    assert float(row["val_error"]) == record.val.value
    assert said.json["columns"].count("val_error") == said.json["columns"].count("direct_error") == 1


def test_the_smallest_model_with_at_most_an_error_is_found() -> None:
    write_study(Path(), text=regression())
    said = lcsweep("run", "tiny.py", "--search", "smallest", "--at-most", "5", "--confirm", "1")
    assert said.code == 0, said.err
    assert "smallest model for MSE of at most 5 mm2" in said.out
    picked = lcsweep("pick", RUN, "--at-most", "5", "--json").json
    assert picked["meets_target"]
    assert picked["target"] == {"at_most": 5.0}
    assert max(picked["values"]) <= 5
    assert len(picked["values"]) >= 2
    missed = lcsweep("pick", RUN, "--at-most", "0.01")
    assert missed.code == 4
    assert "MISSED by" in missed.out
    assert " mm2: MSE of at most 0.01 mm2" in missed.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--at-least", "3"),
            "target: expected --at-most or --max-drop, since a lower MSE is better, got --at-least 3.0",
        ),
        (("--min-accuracy", "0.9"), "target: expected --at-most or --max-drop"),
        (("--max-drop", "-1"), "--max-drop: expected a number from 0 up, got -1.0"),
        (
            ("--max-drop", "10%"),
            "--max-drop: expected a number in the units of MSE, got 10%; --relative makes it a part of the reference's",
        ),
        (("--max-drop", "2", "--relative"), "--max-drop: expected a fraction in [0, 1]"),
        (
            ("--at-most", "2", "--max-drop", "1"),
            "target: expected one of --max-drop, --min-accuracy, --at-least, --at-most",
        ),
    ],
)
def test_a_target_that_makes_no_sense_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    write_study(Path(), text=regression())
    said = lcsweep("run", "tiny.py", *arguments)
    assert said.code == 2
    assert said.err.startswith(f"lcsweep: {message}")
    assert said.err.count("\n") == 1
    assert not Path(RUN).exists()


def test_the_library_takes_the_same_targets() -> None:
    study = write_study(Path(), text=regression("r2()", name="r2", target="max_drop=0.1"))
    found = sweep.run(str(study), progress=False)
    assert "; reference " in repr(found)
    assert ", R2 0." in repr(found)
    table = found.table()
    assert {"val_r2", "direct_r2", "val_error"} <= set(table.columns)
    assert "val_accuracy" not in table.columns
    pd.testing.assert_series_equal(table["val_error"], 1 - table["val_r2"], check_names=False)
    front = found.front()
    assert list(front["mean_r2"]) == sorted(front["mean_r2"])
    picked = found.pick(at_least=0.5)
    assert picked.meets_target
    assert picked.test.value > 0.3
    assert found.pick(max_drop=0.2, relative=True).target.relative  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="target: expected at_least or max_drop, since a higher R2 is better"):
        found.pick(at_most=0.5)
    with pytest.raises(ValueError, match=r"at_least: expected at most 1, the best R2, got 1\.5"):
        found.pick(at_least=1.5)


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "name"), [("f1()", "f1"), ("auroc()", "auroc")])
def test_an_aggregate_has_bootstrapped_intervals_and_a_paired_drop(metric: str, name: str) -> None:
    write_study(Path(), text=with_metric(STUDY, metric, name=name))
    assert lcsweep("run", "tiny.py").code == 0
    records = done()
    assert all(record.val.low <= record.val.value <= record.val.high for record in records)
    assert all(record.direct is not None and record.direct.low < record.direct.high for record in records)
    narrower = [
        record.drop.high - record.drop.low < record.val.high - record.val.low for record in records if record.drop
    ]
    assert sum(narrower) > len(records) / 2
    picked = lcsweep("pick", RUN, "--json").json
    test = next(json.loads(path.read_text()) for path in (Path(RUN) / "test").iterdir())
    assert len(test["resampled"]) == 1000
    assert picked["test"]["drop_low"] <= picked["test"]["drop"] <= picked["test"]["drop_high"]
    assert lcsweep("export", RUN, "--out", "m.lcz").code == 0
    assert lcsweep("verify", "m.lcz", "--study", "tiny.py").code == 0


def test_a_job_of_an_aggregate_repeats_to_the_last_bit() -> None:
    write_study(Path(), text=with_metric(STUDY, "f1()", name="f1"))
    for out in ("one", "other"):
        assert lcsweep("run", "tiny.py", "--out", out).code == 0
    one, other = (finished(read_records(Path(out))) for out in ("one", "other"))
    assert [(each.id, each.val, each.drop, each.direct) for each in one] == [
        (each.id, each.val, each.drop, each.direct) for each in other
    ]


def test_an_aggregate_that_remembers_its_calls_is_found_by_the_check() -> None:
    grows = "CALLS = []\n\n\ndef grows(outputs, targets):\n    CALLS.append(1)\n    return float(len(CALLS))"
    text = with_metric(STUDY, "Measure(grows, best=9.0, aggregate=True)", name="grows")
    write_study(Path(), text=changed("study = Study(", f"{grows}\n\n\nstudy = Study(", text=text))
    said = lcsweep("check", "tiny.py")
    assert said.code == 1
    assert said.err.startswith(
        "lcsweep: study tiny: metric 'grows': expected the same for the same examples in another"
    )
    assert said.err.count("\n") == 1
