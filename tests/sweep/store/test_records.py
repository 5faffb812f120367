"""The results on disk: written whole, published once, read back, damage named."""

import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweep.store.columns import COLUMNS, PAGE, page, tables
from sweep.store.files import StoreError, read_optional, write_json, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import label
from sweep.store.manifest import read_manifest
from sweep.store.record import Score
from sweep.store.records import read_records
from sweep.store.table import table
from sweep.target import Target
from tests.sweep.tiny import folders_and_files

ID = "0123456789abcdef"


def record(status: str = "done", **others: Any) -> dict[str, Any]:
    done = status == "done"
    usual = {
        "format": 1,
        "id": ID,
        "status": status,
        "study_hash": "f" * 16,
        "family": "prune",
        "configuration": {"keep": 0.05, "size": 4},
        "method": "lc",
        "seed": 0,
        "schedule": {"epochs": 2},
        "plan": "0" * 16,
        "nominal_bytes": 440 if done else None,
        "artifact_bytes": 400 if done else None,
        "artifact_sha256": "0" * 64 if done else None,
        "reference_bytes": 6400 if done else None,
        "macs": 170 if done else None,
        "reference_macs": 170 if done else None,
        "device": "cpu" if done else None,
        "versions": {},
        "finished": "2026-01-01T00:00:00+00:00",
        "val": {"accuracy": 0.9, "n": 50, "low": 0.79, "high": 0.96} if done else None,
        "drop": None,
        "stopped": None,
        "direct": {"accuracy": 0.3, "n": 50, "low": 0.2, "high": 0.4} if done else None,
        "gap": 0.004 if done else None,
        "epochs": 2.0 if done else None,
        "seconds": 1.5,
        "error": None if done else {"message": "ValueError: no", "traceback": "Traceback"},
    }
    return usual | others


def attempt(folder: SweepFolder, name: str, held: dict[str, Any]) -> Path:
    path = folder.artifacts / f".attempt-{name}"
    write_json(path / "record.json", held)
    return path


def add(folder: SweepFolder, held: dict[str, Any]) -> None:
    write_json(folder.record(held["id"]), held)


# Files written whole


def test_write_whole_makes_folders_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    write_whole(path, "first")
    write_whole(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(folders_and_files(tmp_path)) == ["deep", "deep/er", "deep/er/file"]


@pytest.mark.parametrize("fault", ["fsync", "replace", "write"])
@pytest.mark.parametrize("before", [b"the old one", None])
def test_a_fault_while_writing_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    there = list(folders_and_files(tmp_path))

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    data: Any = "the new one"
    match fault:
        case "fsync":
            monkeypatch.setattr(os, "fsync", fail)
        case "replace":
            monkeypatch.setattr(Path, "replace", fail)
        case "write":
            data = 7  # neither bytes nor text: refused in the middle of the writing
    with pytest.raises((OSError, TypeError)):
        write_whole(path, data)
    monkeypatch.undo()
    assert list(folders_and_files(tmp_path)) == there
    assert before is None or path.read_bytes() == before


def test_the_data_are_on_the_disk_before_the_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file", []
    sync, replace = os.fsync, Path.replace

    def watched_sync(number: int) -> None:
        seen.append(("fsync", os.fstat(number).st_size, path.exists()))
        sync(number)

    def watched_replace(self: Path, target: Path) -> Path:
        seen.append(("replace", self.stat().st_size, path.exists()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_sync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_whole(path, "12345")
    assert seen == [("fsync", 5, False), ("replace", 5, False)]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_json_that_is_none_is_not_written(tmp_path: Path, number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []


# A sweep read back


def manifest(**others: Any) -> dict[str, Any]:
    score = {"accuracy": 0.9, "hits": 0.9, "n": 50, "low": 0.79, "high": 0.96}
    usual = {
        "format": 1,
        "study": "tiny",
        "reference_study": "tiny.py",
        "study_hash": "f" * 16,
        "study_parts": {"model": "0" * 16},
        "metric": "accuracy",
        "user_folder": ".",
        "sweep": "0" * 32,
        "repeats": 1,
        "confirm": 0,
        "target": {"max_drop": 0.01, "relative": True},
        "splits": {"train": 120, "val": 50, "test": 50},
        "reference": {
            "bytes": 6400,
            "parameters": 1500,
            "macs": 170,
            "val": score,
            "folded": {"0.weight": "weight_norm"},
            "uncounted": ["aten::fft_fft"],
            "plainly_trained": True,
            "rates": [0.1, 0.3],
            "decays": [0.001, 0.0],
        },
        "versions": {"python": "3.11.7"},
        "coverage": {"prune": {"share": 0.7, "dense": [{"name": "a", "share": 0.3, "why": "norm"}], "others": 0}},
    }
    return usual | others


@pytest.mark.parametrize("target", [None, {"max_drop": 0.01, "relative": True}, {"min_accuracy": 0.9}])
def test_a_manifest_is_read_back(tmp_path: Path, target: dict[str, Any] | None) -> None:
    write_json(SweepFolder(tmp_path).manifest, manifest(target=target))
    found = read_manifest(tmp_path)
    assert list(found.to_json().items()) == list(manifest(target=target).items())
    assert found.reference.val == Score(value=0.9, metrics={"hits": 0.9}, n=50, low=0.79, high=0.96)
    assert found.target == (Target(**target) if target else None)


@pytest.mark.parametrize("name", sorted(manifest().keys() - {"format", "metric", "confirm", "coverage"}))
def test_a_manifest_without_a_field_is_named(tmp_path: Path, name: str) -> None:
    write_json(SweepFolder(tmp_path).manifest, {key: value for key, value in manifest().items() if key != name})
    with pytest.raises(StoreError, match=rf"sweep.json: {name}: expected .*, got nothing; restore it or remove it"):
        read_manifest(tmp_path)


def test_a_manifest_whose_target_makes_no_sense_is_named(tmp_path: Path) -> None:
    write_json(SweepFolder(tmp_path).manifest, manifest(target={"max_drop": -2.0}))
    with pytest.raises(
        StoreError,
        match=r"sweep.json: target: expected values that make sense .max_drop: expected a number from 0 up, got -2.0",
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not a sweep (it has no sweep.json); expected the folder that `lcsweep run` filled"),
        ("", "sweep.json: not the JSON that lcsweep wrote"),
        ('{"format": 1', "sweep.json: not the JSON that lcsweep wrote"),
        (b"\xff\xfe\x00", "sweep.json: not the JSON that lcsweep wrote"),
        ("[1]", "sweep.json: expected a JSON object, got list"),
        ("{}", "sweep.json: expected format 1, got None"),
        ('{"format": 2}', "sweep.json: expected format 1, got 2; a later lcsweep may read it"),
    ],
)
def test_a_folder_that_is_no_sweep_is_named(tmp_path: Path, content: str | bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "sweep.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreError) as caught:
        read_manifest(tmp_path)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_a_file_in_its_place_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(StoreError, match=f"{name}: no such folder; expected a sweep's"):
            read_manifest(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format": 1, "id"', "record.json: not the JSON that lcsweep wrote"),
        ("null", "record.json: expected a JSON object, got NoneType"),
        ('{"format": 3}', "record.json: expected format 1, got 3"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str, message: str) -> None:
    folder = SweepFolder(tmp_path)
    add(folder, record())
    add(folder, record(id="damaged"))
    folder.record("damaged").write_text(content)
    for read in (read_records, table):
        with pytest.raises(StoreError) as caught:
            read(tmp_path)
        assert f"artifacts/damaged/{message}" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert folder.record("damaged").read_text() == content


def test_records_come_in_one_order_and_unfinished_folders_are_passed_over(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    keys = [("b", 1, 0), ("a", 2, 1), ("a", 2, 0), ("a", 1, 0)]
    for number, (family, keep, seed) in enumerate(keys):
        add(folder, record(id=f"{number:016x}", family=family, configuration={"keep": keep}, seed=seed))
    attempt(folder, "unfinished", record(id="x"))
    (folder.artifacts / "begun").mkdir()
    found = [(held.family, held.configuration["keep"], held.seed) for held in read_records(tmp_path)]
    assert found == sorted(keys)


def test_no_records_are_an_empty_table_with_all_columns(tmp_path: Path) -> None:
    assert read_records(tmp_path) == []
    assert list(table(tmp_path).columns) == list(COLUMNS)
    assert len(table(tmp_path)) == 0


def test_an_optional_file(tmp_path: Path) -> None:
    assert read_optional(tmp_path / "none") is None
    write_json(tmp_path / "some", {"a": 1})
    assert read_optional(tmp_path / "some") == {"a": 1}


def test_a_table_has_a_row_a_record_and_the_stated_columns(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    add(folder, record())
    add(folder, record("failed", id="b" * 16, seed=1))
    add(folder, record(id="c" * 16, family="rank", configuration={"rank": 3}, versions={"torch": "2.13.0"}))
    rows = table(tmp_path)
    assert list(rows.columns) == [*COLUMNS, "knob.keep", "knob.size", "knob.rank", "schedule.epochs", "version.torch"]
    assert {name: str(dtype) for name, dtype in rows.dtypes.items() if name in COLUMNS} == {
        name: column.dtype for name, column in COLUMNS.items()
    }
    done, failed, other = (rows.iloc[number] for number in range(3))
    expected = {
        "id": ID,
        "status": "done",
        "family": "prune",
        "method": "lc",
        "seed": 0,
        "label": "keep 0.05, size 4",
        "configuration": {"keep": 0.05, "size": 4},
        "nominal_bytes": 440,
        "artifact_bytes": 400,
        "compression_ratio": 16.0,
        "macs": 170,
        "val_accuracy": 0.9,
        "val_error": pytest.approx(0.1),
        "val_low": 0.79,
        "val_high": 0.96,
        "n_val": 50,
        "direct_error": pytest.approx(0.7),
        "gap": 0.004,
        "epochs": 2.0,
        "seconds": 1.5,
        "direct_low": 0.2,
        "reference_bytes": 6400,
        "finished": "2026-01-01T00:00:00+00:00",
        "knob.keep": 0.05,
        "knob.size": 4,
        "schedule.epochs": 2,
    }
    assert {name: done[name] for name in expected} == expected
    assert pd.isna(done["error"])
    assert pd.isna(done["knob.rank"])
    assert (failed["status"], failed["seed"], failed["error"]) == ("failed", 1, "ValueError: no")
    unknown = ["artifact_bytes", "compression_ratio", "val_error", "val_low", "n_val", "gap"]
    assert failed[unknown].isna().all()
    assert (other["knob.rank"], other["label"], other["version.torch"]) == (3, "rank 3", "2.13.0")


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ((4, None), "Int64", [4, None]),
        ((4, 0.5), "Float64", [4.0, 0.5]),
        ((4, "float16"), "string", ["4", "float16"]),
        ((True, 4), "string", ["True", "4"]),
        ((None, None), "Float64", [None, None]),
    ],
)
def test_a_knobs_column_has_one_type(tmp_path: Path, values: Any, dtype: str, expected: list[Any]) -> None:
    for number, value in enumerate(values):
        add(SweepFolder(tmp_path), record(id=f"{number:016x}", schedule={"value": value}, seed=number))
    column = table(tmp_path)["schedule.value"]
    assert str(column.dtype) == dtype
    assert [None if pd.isna(value) else value for value in column] == expected


def test_the_page_on_records_has_the_tables_of_the_fields() -> None:
    """`python -m sweep.store.columns` writes them."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("<!-- begin ") == text.count("<!-- end ") == len(tables())
    for name, table_ in tables().items():
        assert f"<!-- begin {name} -->\n{table_}\n<!-- end {name} -->\n" in text
    assert page(text) == text


def test_a_label_reads_as_people_do() -> None:
    assert label({"keep": 0.05, "size": 4, "form": "hard"}) == "keep 0.05, size 4, form hard"
    assert label({}) == ""
