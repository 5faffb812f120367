"""The script that runs a study by every method: what is done is not run again, and the comparison comes last."""

from pathlib import Path

import pytest

from sweep.store.records import read_records
from tests.sweep.tiny import write_study


@pytest.mark.slow
def test_it_runs_each_method_once_and_ends_with_their_comparison(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import rivals

    study, out = write_study(tmp_path), tmp_path / "out"
    how = ["--methods", "dc", "retrain", "--repeats", "1", "--workers", "1", "--out", str(out)]
    asked = rivals.given([str(study), *how])
    assert rivals.main(asked) == 0
    done = {record.id: record.finished for record in read_records(out)}
    assert {record.method for record in read_records(out)} == {"dc", "retrain"}
    compared = capfd.readouterr().out.split("$ lcsweep compare")[1]
    assert "better / equal / worse" in compared
    assert rivals.main(asked) == 0
    assert {record.id: record.finished for record in read_records(out)} == done


@pytest.mark.slow
def test_it_stops_where_a_method_cannot_run(tmp_path: Path) -> None:
    import rivals

    study = write_study(tmp_path)
    asked = rivals.given([str(study), "--methods", "ptq", "dc", "--out", str(tmp_path / "out")])
    assert rivals.main(asked) == 1  # the study has no uniform family
    assert not (tmp_path / "out").exists()
