"""A job's record holds once it is done, whoever races it; what a process that died left behind goes."""

import errno
import multiprocessing
import random
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from sweep.store.files import write_json, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_records
from sweep.store.staging import clear, new_staging, publish
from tests.sweep.store.test_records import ID, add, record
from tests.sweep.tiny import folders_and_files


def staged(folder: SweepFolder, name: str, held: Record) -> Path:
    path = folder.artifacts / f".attempt-{name}"
    write_json(path / "record.json", held)
    if held["status"] == "done":
        (path / "model.lcz").write_bytes(b"model")
    return path


def test_a_published_job_is_its_staging_folder(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    path = staged(folder, "a", record())
    assert publish(folder, path, job_id=ID).to_json() == record()
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
        told = publish(folder, staged(folder, name, held), job_id=ID)
    assert told.seconds == holds
    assert read_records(tmp_path) == [told]
    files = ["model.lcz", "record.json"] if told.status == "done" else ["record.json"]
    assert list(folders_and_files(folder.artifacts)) == [ID, *(f"{ID}/{name}" for name in files)]


def test_a_folder_without_a_record_gives_way(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.artifact(ID).parent.mkdir(parents=True)
    (folder.artifacts / ID / "diagnostics.json").write_bytes(b"of a copy that was cut")
    assert publish(folder, staged(folder, "a", record()), job_id=ID).to_json() == record()
    assert list(folders_and_files(folder.artifacts)) == [ID, f"{ID}/model.lcz", f"{ID}/record.json"]


def test_threads_that_publish_a_new_job_at_once_agree(tmp_path: Path) -> None:
    """All are done, as those of one job are. One stands, and all are told of it."""
    for turn in range(20):
        folder = SweepFolder(tmp_path / str(turn))
        paths = [staged(folder, str(number), record(seconds=number)) for number in range(6)]
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
        path = staged(folder, f"{turn}-{number}", record(id=f"{turn:016x}", seconds=number))
        barrier.wait()
        told.put((turn, publish(folder, path, job_id=f"{turn:016x}").seconds))


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
    holds = {int(held.id, 16): held.seconds for held in read_records(tmp_path)}
    assert all(holds[turn] == seconds for turn, seconds in heard)
    assert not [path for path in SweepFolder(tmp_path).artifacts.iterdir() if path.name.startswith(".")]


def test_a_done_record_that_comes_while_a_failed_one_is_replaced_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The failed one that was looked at is retired, and then it is the done one that came in between."""
    folder = SweepFolder(tmp_path)
    add(folder, record("failed", seconds=1))
    other = staged(folder, "other", record(seconds=2))
    rename, told = Path.rename, []

    def watched_rename(self: Path, target: Path) -> Path:
        if self.name == ID and not told:  # about to retire the failed one
            told.append(None)
            told.append(publish(folder, other, job_id=ID))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", watched_rename)
    late = publish(folder, staged(folder, "late", record("failed", seconds=3)), job_id=ID)
    assert late.to_json() == told[1].to_json() == record(seconds=2)
    assert read_records(tmp_path) == [late]
    assert [path.name for path in folder.artifacts.iterdir()] == [ID]


def test_a_full_disk_is_no_record_that_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SweepFolder(tmp_path)
    path = staged(folder, "a", record())

    def fail(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"):
        publish(folder, path, job_id=ID)
    monkeypatch.undo()
    assert read_records(tmp_path) == []
    assert publish(folder, path, job_id=ID).to_json() == record()


# What is left behind


def test_what_processes_that_died_left_goes_and_what_is_done_stays(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    add(folder, record())
    staged(folder, f"{ID}-1", record())
    staged(folder, "b-1", record("failed", id="b"))
    staged(folder, "c-1", record(id="c")).rename(folder.artifacts / ".retired-c-12345678")
    staged(folder, "d-1", record("failed", id="d")).rename(folder.artifacts / ".retired-d-12345678")
    (folder.artifacts / ".DS_Store").touch()
    for name in ("sweep.json", "reference/reference.lcz", "searches/grid.json", f"checkpoints/{ID}", "checkpoints/e"):
        write_whole(tmp_path / name, "{}")
        path = tmp_path / name
        path.with_name(f".{path.name}.12345678").touch()
    clear(folder)
    assert [held.id for held in read_records(tmp_path)] == [ID, "c"]
    assert list(folders_and_files(tmp_path)) == [
        *("artifacts", "artifacts/.DS_Store", f"artifacts/{ID}", f"artifacts/{ID}/record.json"),
        *("artifacts/c", "artifacts/c/model.lcz", "artifacts/c/record.json", "checkpoints", "checkpoints/e"),
        *("reference", "reference/reference.lcz", "searches", "searches/grid.json", "sweep.json"),
    ]
    folder.checkpoint("e").unlink()
    clear(folder)
    assert not folder.checkpoints.exists()


def test_a_worker_whose_staging_folder_was_cleared_away_publishes_nothing_half(tmp_path: Path) -> None:
    """It goes on writing where its folder was: the folder is there again, without the model."""
    folder = SweepFolder(tmp_path)
    path = new_staging(folder, ID)
    write_whole(path / "model.lcz", b"model")
    clear(folder)
    write_json(path / "record.json", record())
    with pytest.raises(FileNotFoundError, match="cleared away by another driver"):
        publish(folder, path, job_id=ID)
    assert read_records(tmp_path) == []


def work(root: str, number: int, enough: Event) -> None:
    """A worker that publishes jobs, done and failed, as fast as it can."""
    folder, random_ = SweepFolder(Path(root)), random.Random(number)
    while not enough.is_set():
        job_id = f"{random_.randrange(3):016x}"
        status = random_.choice(["done", "failed", "failed", "failed"])
        path = new_staging(folder, job_id)
        try:
            if status == "done":
                write_whole(path / "model.lcz", b"model")
            write_json(path / "record.json", record(status, id=job_id, seconds=random_.random()))
            publish(folder, path, job_id=job_id)
        except (FileNotFoundError, FileExistsError):
            continue  # cleared away; the other while its folder was looked for


def test_workers_that_race_while_a_driver_clears_lose_no_done_record(tmp_path: Path) -> None:
    """No moment but that of the replacement of a failed record shows none, and done is done for good."""
    folder = SweepFolder(tmp_path)
    context = multiprocessing.get_context("fork")
    enough = context.Event()
    workers = [context.Process(target=work, args=[str(tmp_path), number, enough]) for number in range(3)]
    for worker in workers:
        worker.start()
    done: dict[str, Record] = {}
    start = time.monotonic()
    while time.monotonic() < start + (2 if len(done) == 3 else 120):
        clear(folder)
        for held in read_records(tmp_path):
            if held.status == "done":
                assert done.setdefault(held.id, held) == held
                assert folder.artifact(held.id).read_bytes() == b"model"
    enough.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    clear(folder)
    assert len(done) == 3
    assert {held.id: held for held in read_records(tmp_path)} == done
    assert not [path for path in folder.artifacts.iterdir() if path.name.startswith(".")]
