"""Pipes, devices and folders in place of a sweep's files, and ids that name other files: one line, and never a wait."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweep.store.files import StoreError, read_regular, write_new
from sweep.store.folder import SweepFolder
from sweep.store.records import read_job, read_records
from tests.sweep.tiny import edit, lcsweep

pytestmark = pytest.mark.usefixtures("without_onnx")

RUN = Path("runs/tiny")
FOLDER = SweepFolder(RUN)
STRANGE: dict[str, Callable[[Path], None]] = {
    "pipe": lambda path: os.mkfifo(path),
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": lambda path: path.mkdir(),
}


@pytest.fixture(autouse=True)
def _no_wait() -> Iterator[None]:
    """A command that waits fails."""

    def stop(*_: object) -> None:
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def put(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    STRANGE[kind](path)


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("sweep.json", ("status", RUN)),
        ("record.json", ("status", RUN)),
        ("record.json", ("report", RUN)),
        ("model.lcz", ("pick", RUN, "--max-drop", "50%")),
        ("model.lcz", ("verify", "{model}")),
        ("pick.json", ("status", RUN)),
        ("diagnostics.json", ("report", RUN)),
        ("reference.lcz", ("pick", RUN, "--max-drop", "50%")),
        ("searches/smallest.json", ("status", RUN)),
        ("model.onnx", ("verify", "model.onnx")),
    ],
    ids=str,
)
def test_what_is_no_regular_file_is_named_in_one_line(finished: Path, kind: str, file: str, command: list[str]) -> None:
    picked = lcsweep("pick", RUN, "--max-drop", "50%", "--json").json["id"]
    FOLDER.searches.mkdir(exist_ok=True)
    at_job = {name: FOLDER.artifacts / picked / name for name in ("record.json", "model.lcz", "diagnostics.json")}
    others = {"reference.lcz": FOLDER.reference, "model.onnx": Path("model.onnx")}
    path = (at_job | others).get(file, RUN / file)
    put(path, kind)
    if file == "diagnostics.json":
        edit(FOLDER.pick, id=picked)
    said = lcsweep(*(str(part).format(model=path) for part in command))
    assert said.code != 0
    assert said.err.count("\n") == 1
    assert "regular file" in said.err or "not a sweep" in said.err
    assert str(path) in said.err or file == "sweep.json"


@pytest.mark.parametrize("kind", STRANGE)
def test_an_index_that_is_no_regular_file(finished: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.sweep.tiny import run_here

    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    FOLDER.index.unlink(missing_ok=True)
    put(FOLDER.index, kind)
    said = lcsweep("run", "tiny.py", "--workers", "1")
    assert said.code == 1
    assert said.err.count("\n") == 1
    assert "study.db" in said.err


def test_a_readers_own_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: no such file"):
        read_regular(tmp_path / "none")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="expected a regular file, got a pipe; remove it"):
        read_regular(tmp_path / "pipe")
    with pytest.raises(StoreError, match="got a pipe"):
        write_new(tmp_path / "pipe", b"")


def test_an_id_names_no_file_outside_the_folder(finished: Path) -> None:
    record = read_records(RUN)[0]
    outside = finished / "runs" / "x"
    outside.mkdir()
    for bad in ("../../x", "..", "", "/etc/passwd", "a/b", "a\n", "\N{ARABIC-INDIC DIGIT ONE}"):
        for named in (FOLDER.record, FOLDER.artifact, FOLDER.diagnostics, FOLDER.latency, FOLDER.checkpoint):
            with pytest.raises(StoreError, match="expected letters and digits as the id of a job"):
                named(bad)
        with pytest.raises(StoreError):
            read_job(FOLDER, bad)
    edit(FOLDER.record(record.id), id="../../x")
    said = lcsweep("status", RUN)
    assert said.code == 1
    assert f"{FOLDER.record(record.id)}: expected the job {record.id}, got '../../x'" in said.err
    assert list(outside.iterdir()) == []
