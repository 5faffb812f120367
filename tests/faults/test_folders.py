"""Folders, disks and databases that fail a command: one line, or it heals itself, and nothing else is lost."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from tests.sweep.tiny import Said, lcsweep, run_here, tree

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_onnx", "_without_ray")]
RUN = Path("runs/tiny")
FOLDER = SweepFolder(RUN)
AGAIN = ("run", "tiny.py", "--workers", "1")
OTHER_ALPHABETS = "\u0434\u0430\u043d\u043d\u044b\u0435 \u6570\u636e \u05d0"
NAMES = ("with spaces", OTHER_ALPHABETS, "x" * 200, "a'b\"c$d;e&f#g?h%20", "-x", "a:b@c")


@pytest.fixture
def _without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.execution.runner.run", run_here)


@pytest.fixture
def disk(finished: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A disk of its own on runs/tiny, with the options of the test's parameter, that holds the sweep."""
    kept = finished / "kept"
    shutil.move(RUN, kept)
    RUN.mkdir(parents=True)
    options = getattr(request, "param", "size=3m")
    mount = ["mount", "-t", "tmpfs", "-o", options, "none", str(RUN)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a disk here")
    shutil.copytree(kept, RUN, dirs_exist_ok=True)
    yield RUN
    subprocess.run(["umount", "--lazy", str(finished / RUN)], check=True)


def check_one_line(said: Said, *words: str) -> None:
    assert (said.code, said.err.count("\n")) == (1, 1), said
    assert [word for word in words if word not in said.err] == []


def test_a_folder_that_is_read_only_is_one_line_for_what_writes(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    before = tree(disk)
    check_one_line(lcsweep(*AGAIN), "runs/tiny: expected a folder that can be written (Read-only file system)", "--out")
    check_one_line(lcsweep("pick", RUN, "--max-drop", "50%"), "read-only file system")
    check_one_line(lcsweep("report", RUN, "--format", "csv"), "read-only file system")
    assert lcsweep("status", RUN).code == 0
    assert lcsweep("export", RUN, "--job", read_records(RUN)[0].id, "--out", "new.lcz").code == 0
    assert tree(disk) == before


@pytest.mark.parametrize("disk", ["size=3m,nr_inodes=60"], indirect=True)
def test_a_folder_without_place_for_another_file_is_one_line(disk: Path) -> None:
    before = tree(disk)
    for number in range(60):
        try:
            (disk / f"x{number}").touch()
        except OSError:
            break
    check_one_line(lcsweep(*AGAIN), "runs/tiny: expected a folder that can be written (No space left on device)")
    check_one_line(lcsweep("pick", RUN, "--max-drop", "50%"), "no space left on device")
    for path in disk.glob("x*"):
        path.unlink()
    assert tree(disk) == before
    assert lcsweep(*AGAIN).code == 0


def test_a_folder_that_is_deleted_during_the_run_is_one_line(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def delete(search: Any, context: Any, **others: Any) -> None:
        shutil.rmtree(RUN)
        run_here(search, context, **others)

    monkeypatch.setattr("sweep.execution.runner.run", delete)
    said = lcsweep(*AGAIN, "--repeats", "2")
    assert said.code in (1, 5)
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_works(finished: Path, name: str) -> None:
    shutil.copytree(RUN, finished / name)
    (finished / name / "study.db").unlink(missing_ok=True)
    out = f"./{name}"
    assert lcsweep(*AGAIN, "--out", out).code == 0
    assert (finished / name / "study.db").is_file()
    assert lcsweep("status", out).code == 0
    picked = lcsweep("pick", out, "--max-drop", "50%", "--json")
    assert Path(picked.json["artifact"]).is_file()
    assert lcsweep("export", out, "--out", "new.lcz").code == 0


def test_a_folder_that_is_a_link_stays_one(finished: Path) -> None:
    shutil.move(RUN, finished / "elsewhere")
    RUN.symlink_to(finished / "elsewhere")
    assert lcsweep(*AGAIN).code == 0
    assert RUN.is_symlink()
    assert (finished / "elsewhere" / "study.db").is_file()


def test_an_index_that_was_deleted_is_made_again(finished: Path) -> None:
    assert lcsweep(*AGAIN).code == 0
    with sqlite3.connect(FOLDER.index) as before:
        count = before.execute("select count(*) from trials").fetchone()
    FOLDER.index.unlink()
    assert lcsweep(*AGAIN).code == 0
    with sqlite3.connect(FOLDER.index) as after:
        assert after.execute("select count(*) from trials").fetchone() == count == (7,)


@pytest.mark.parametrize("place", [0, 100, 5000])
def test_an_index_that_was_damaged_is_one_line(finished: Path, place: int) -> None:
    assert lcsweep(*AGAIN).code == 0
    content, before = FOLDER.index.read_bytes(), tree(FOLDER.artifacts)
    FOLDER.index.write_bytes(content[:place] + b"\xff" * (len(content) - place))
    check_one_line(lcsweep(*AGAIN), "study.db", "move it away")
    os.rename(FOLDER.index, "damaged.db")
    assert lcsweep(*AGAIN).code == 0
    assert tree(FOLDER.artifacts) == before


def test_an_index_that_is_deleted_during_the_run_loses_no_record(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete(search: Any, context: Any, **others: Any) -> None:
        FOLDER.index.unlink()
        run_here(search, context, **others)

    monkeypatch.setattr("sweep.execution.runner.run", delete)
    said = lcsweep(*AGAIN, "--repeats", "2", "--trials", "1")
    assert said.code == 0 or (said.code, said.err.count("\n")) == (1, 1)
    assert len(read_records(RUN)) == 8
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    assert lcsweep(*AGAIN).code == 0
    assert FOLDER.index.is_file()


def test_a_record_that_was_emptied_is_named_and_its_job_runs_again_without_it(finished: Path) -> None:
    record = read_records(RUN)[0]
    before = tree(RUN)
    FOLDER.record(record.id).write_text("")
    check_one_line(lcsweep(*AGAIN), f"{record.id}/record.json: not the JSON that lcsweep wrote", "remove it")
    FOLDER.record(record.id).unlink()
    assert lcsweep(*AGAIN).code == 0
    assert len(read_records(RUN)) == 7
    assert tree(RUN)[f"artifacts/{record.id}/model.lcz"] == before[f"artifacts/{record.id}/model.lcz"]
