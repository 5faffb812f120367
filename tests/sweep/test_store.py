"""The results on disk: written whole, published once, read back, damage named."""

import multiprocessing
import os
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from sweep.store import (
    COLUMNS,
    MANIFEST_FACTS,
    Record,
    StoreError,
    SweepFolder,
    claimed,
    label,
    publish,
    read_manifest,
    read_optional,
    read_records,
    table,
    write_json,
    write_whole,
)
from tests.sweep.tiny import folders_and_files

ID = "0123456789abcdef"


def record(status: str = "done", **others: Any) -> Record:
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
        "direct": {"accuracy": 0.3, "n": 50, "low": 0.2, "high": 0.4} if done else None,
        "gap": 0.004 if done else None,
        "epochs": 2.0 if done else None,
        "seconds": 1.5,
        "error": None if done else {"message": "ValueError: no", "traceback": "Traceback"},
    }
    return usual | others


def attempt(folder: SweepFolder, name: str, held: Record) -> Path:
    path = folder.artifacts / f".attempt-{name}"
    write_json(path / "record.json", held)
    return path


def add(folder: SweepFolder, held: Record) -> None:
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


# Jobs published


def test_a_published_job_is_the_attempts_folder(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    path = attempt(folder, "a", record())
    (path / "model.lcz").write_bytes(b"model")
    assert publish(folder, path, job_id=ID) == record()
    assert folder.artifact(ID).read_bytes() == b"model"
    assert [found.name for found in folder.artifacts.iterdir()] == [ID]


@pytest.mark.parametrize(
    ("standing", "later", "holds"),
    [
        (record(seconds=1), record(seconds=2), 1),
        (record(seconds=1), record("failed", seconds=2), 1),
        (record("failed", seconds=1), record(seconds=2), 2),
        (record("failed", seconds=1), record("failed", seconds=2), 2),
    ],
    ids=["done, done", "done, failed", "failed, done", "failed, failed"],
)
def test_the_first_done_record_holds_and_a_failed_one_gives_way(
    tmp_path: Path, standing: Record, later: Record, holds: int
) -> None:
    folder = SweepFolder(tmp_path)
    for name, held in (("first", standing), ("later", later)):
        told = publish(folder, attempt(folder, name, held), job_id=ID)
    assert told["seconds"] == holds
    assert read_records(tmp_path) == [told]
    assert list(folders_and_files(folder.artifacts)) == [ID, f"{ID}/record.json"]


def test_a_folder_without_a_record_gives_way(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.artifact(ID).parent.mkdir(parents=True)
    folder.artifact(ID).write_bytes(b"of a copy that was cut")
    assert publish(folder, attempt(folder, "a", record()), job_id=ID) == record()
    assert list(folders_and_files(folder.artifacts)) == [ID, f"{ID}/record.json"]


def test_threads_that_publish_a_new_job_at_once_agree(tmp_path: Path) -> None:
    """All attempts done, as those of one job are: one holds, and all are told of it."""
    for turn in range(20):
        folder = SweepFolder(tmp_path / str(turn))
        paths = [attempt(folder, str(number), record(seconds=number)) for number in range(6)]
        told: list[Record] = []
        barrier = threading.Barrier(len(paths))

        def publish_one(path: Path, folder=folder, told=told, barrier=barrier) -> None:
            barrier.wait()
            told.append(publish(folder, path, job_id=ID))

        threads = [threading.Thread(target=publish_one, args=[path]) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(told) == len(paths)
        assert all(held == told[0] for held in told)
        assert read_records(folder.root) == [told[0]]
        assert [path.name for path in folder.artifacts.iterdir()] == [ID]


def publish_in_turn(root: str, number: int, barrier: Any, told: Any) -> None:
    folder = SweepFolder(Path(root))
    for turn in range(10):
        path = attempt(folder, f"{turn}-{number}", record(id=f"{turn:016x}", seconds=number))
        barrier.wait()
        told.put((turn, publish(folder, path, job_id=f"{turn:016x}")["seconds"]))


def test_processes_that_publish_a_new_job_at_once_agree(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, told = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=publish_in_turn, args=[str(tmp_path), number, barrier, told]) for number in range(3)
    ]
    for process in processes:
        process.start()
    heard = [told.get(timeout=60) for _ in range(30)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    holds = {int(held["id"], 16): held["seconds"] for held in read_records(tmp_path)}
    assert all(holds[turn] == seconds for turn, seconds in heard)
    assert not [path for path in SweepFolder(tmp_path).artifacts.iterdir() if path.name.startswith(".")]


def test_a_done_record_that_comes_while_a_failed_one_is_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SweepFolder(tmp_path)
    add(folder, record("failed", seconds=1))
    other = attempt(folder, "other", record(seconds=2))
    rename, told = Path.rename, []
    rival = threading.Thread(target=lambda: told.append(publish(folder, other, job_id=ID)))

    def watched_rename(self: Path, target: Path) -> Path:
        if not rival.ident:  # the first step of the replacement: another worker comes in between
            rival.start()
            rival.join(timeout=0.3)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched_rename)
    publish(folder, attempt(folder, "late", record("failed", seconds=3)), job_id=ID)
    rival.join()
    assert [held["seconds"] for held in told] == [2]
    assert read_records(tmp_path) == told


def test_a_sweep_has_one_driver_and_it_clears_what_others_left(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    add(folder, record())
    attempt(folder, ".attempt-dead", record())
    with claimed(folder):
        assert [path.name for path in folder.artifacts.iterdir()] == [ID]
        with pytest.raises(StoreError, match="another lcsweep run is at work on this sweep"), claimed(folder):
            pytest.fail("a second driver was let in")
    with claimed(folder):
        assert len(read_records(tmp_path)) == 1


# A sweep read back


def test_a_manifest_is_read_back(tmp_path: Path) -> None:
    facts = {"format": 1, **dict.fromkeys(MANIFEST_FACTS)}
    write_json(SweepFolder(tmp_path).manifest, facts)
    assert read_manifest(tmp_path) == facts


@pytest.mark.parametrize("fact", MANIFEST_FACTS)
def test_a_manifest_without_a_fact_is_named(tmp_path: Path, fact: str) -> None:
    facts = {"format": 1, **dict.fromkeys(MANIFEST_FACTS)}
    del facts[fact]
    write_json(SweepFolder(tmp_path).manifest, facts)
    with pytest.raises(StoreError, match=rf"sweep.json: not what lcsweep wrote \(it has no {fact}\)"):
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
    found = [(held["family"], held["configuration"]["keep"], held["seed"]) for held in read_records(tmp_path)]
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
    assert {name: str(dtype) for name, dtype in rows.dtypes.items() if name in COLUMNS} == dict(COLUMNS)
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


def test_a_label_reads_as_people_do() -> None:
    assert label({"keep": 0.05, "size": 4, "form": "hard"}) == "keep 0.05, size 4, form hard"
    assert label({}) == ""
