"""A sweep that release 0.1.0 made, kept in old_sweep: it opens, goes on, reports and picks.

Its study uses classes and functions of lcsweep, which 0.1.0 hashed with their modules. It never changes. It was made by

    cd tests/golden/old_sweep && lcsweep run study.py --out sweep --workers 2

then `reference_study` and `user_folder` in sweep.json were made relative, and the logs removed.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from sweep.job.compress import run_job
from sweep.prepare.prepared import outline, prepare
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
from sweep.store.job import content_hash
from sweep.store.manifest import read_manifest
from sweep.store.records import read_records
from sweep.study.earlier import earlier_parts
from sweep.study.fingerprint import plainly_trained, study_parts
from sweep.study.loading import load_study
from tests.sweep.tiny import changed, edit, lcsweep, options, tree

KEPT = Path(__file__).with_name("old_sweep")


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The sweep's folder, beside the study's file in the user's folder."""
    shutil.copytree(KEPT, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "sweep"


def test_its_hash_is_the_earlier_one_of_the_study_and_its_ids_follow(old: Path) -> None:
    manifest = read_manifest(old)
    study = load_study("study.py", user_folder=str(old.parent))
    data = study.load_data()
    now = study_parts(study, data)
    assert earlier_parts(study, data) == manifest.study_parts
    assert content_hash(manifest.study_parts) == manifest.study_hash
    assert [part for part in now if now[part] != manifest.study_parts[part]] == ["model", "loss", "reference"]
    assert plainly_trained(study, manifest.study_parts)  # as that release did
    assert not plainly_trained(study, now)
    records = read_records(old)
    assert len(records) == 4
    for record in records:
        assert replace(record.job, study_hash=manifest.study_hash).id == record.id


def test_nothing_of_it_is_missing(old: Path) -> None:
    before, given = tree(old), options(old.parent / "study.py", old)
    found = outline(given)
    asked = {job.id for entry in found.entries for job in entry.jobs}
    assert asked == set(found.done) == {record.id for record in read_records(old)}
    assert found.cost is None
    prepared = prepare(given, say=pytest.fail)
    assert {job.id for entry in prepared.entries for job in entry.jobs} == asked
    assert tree(old) == before


def test_a_job_that_an_earlier_release_stopped_is_open_and_runs_again(old: Path) -> None:
    folder, given = SweepFolder(old), options(old.parent / "study.py", old)
    whole = read_records(old)[0]
    nothing = ("nominal_bytes", "artifact_bytes", "artifact_sha256", "macs", "val", "drop", "direct", "gap", "device")
    facts = {"step": 3, "steps": 4, "accuracy": 0.3, "bar": 0.4, "below": 0.89}
    edit(folder.record(whole.id), **dict.fromkeys(nothing), status="stopped", stopped=facts)
    folder.artifact(whole.id).unlink()
    assert lcsweep("status", "sweep").code == 0
    found = outline(given)
    assert {job.id for entry in found.entries for job in entry.jobs} - set(found.done) == {whole.id}
    sweep = prepare(given, say=pytest.fail)
    (job,) = (job for entry in sweep.entries for job in entry.jobs if job.id == whole.id)
    record = run_job(job, sweep.context, report=lambda _: None)
    assert (record.status, record.val) == ("done", whole.val)
    assert {record.status for record in read_records(old)} == {"done"}


def test_another_state_of_the_study_is_refused_by_the_part_that_changed(old: Path) -> None:
    study = old.parent / "study.py"
    study.write_text(changed("height=6, width=6", "height=3, width=12", text=study.read_text()))
    with pytest.raises(StoreError, match="its loss changed since"):
        prepare(options(study, old), say=pytest.fail)


@pytest.mark.slow
def test_it_goes_on(old: Path) -> None:
    """With a further level and another seed, by Ray and Optuna."""
    before = {record.id: record for record in read_records(old)}
    study = old.parent / "study.py"
    study.write_text(changed('"keep": (0.3, 0.1)', '"keep": (0.3, 0.1, 0.05)', text=study.read_text()))
    said = lcsweep("run", "study.py", "--out", "sweep", "--workers", "1", "--repeats", "2")
    assert said.code == 0, said.out + said.err
    assert "training the reference" not in said.out + said.err
    records = {record.id: record for record in read_records(old)}
    assert {name: records[name] for name in before} == before
    assert len(records) == 10
    manifest = read_manifest(old)
    assert {record.study_hash for record in records.values()} == {manifest.study_hash}
    assert all(record.status == "done" for record in records.values())
    summary = json.loads((old / "searches" / "grid.json").read_text())
    assert (summary["started"], summary["known"]) == (6, 4)


@pytest.mark.usefixtures("png_only")
def test_it_reports_and_picks_and_its_file_is_verified(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.pick.verify.has_onnx", lambda: False)
    assert lcsweep("report", "sweep").code == 0
    said = lcsweep("pick", "sweep", "--json")
    assert said.code == 0, said.err
    assert said.json["meets_target"]
    verified = lcsweep("verify", said.json["artifact"], "--study", "study.py")
    assert verified.code == 0, verified.err
