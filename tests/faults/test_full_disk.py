"""A really full disk: no job fails, files stay whole, and the sweep continues when there is space again."""

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from sweep.execution.dispatch import publish_deaths
from sweep.job import checkpoint
from sweep.job.compress import run_job
from sweep.search.index import index_url, open_index
from sweep.store.lock import locked
from sweep.store.records import read_records
from tests.sweep.tiny import prepared, write_study

CAUSE = "Failure # 1 (occurred at 12:00)\nray::lc_job\nOSError: [Errno 28] No space left on device\n"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    path = tmp_path / "disk"
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(path)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no right to mount a disk here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)  # the index has it open still


def fill(disk: Path) -> None:
    with (disk / "fill").open("wb", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_full_disk_loses_nothing(tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)
    sweep = prepared(write_study(tmp_path), disk / "out")
    index = open_index(index_url(sweep.folder.index), study="s", search="grid", target={}, space="a0")
    job, steps = sweep.entries[0].jobs[0], list[int]()

    def report(heard: dict[str, Any]) -> None:
        steps.append(heard["step"])
        if len(steps) == 10:
            fill(disk)

    with locked(sweep.folder) as lock:
        with pytest.raises(OSError, match="No space left on device"):
            run_job(job, sweep.context, report=report)
        assert steps == list(range(21))  # it went on without checkpoints
        failed = publish_deaths(job, sweep.folder, causes=[CAUSE])
        assert failed.status == "failed"
        assert "No space left on device; and its record cannot be written" in failed.error.message
        assert read_records(sweep.folder.root) == []
        assert not list(sweep.folder.artifacts.iterdir())
        threading.Timer(2, (disk / "fill").unlink).start()
        index.add(optuna.trial.create_trial(values=[0.1, 100]))
        index.write()  # waits for space
        assert not (disk / "fill").exists()
        assert run_job(job, sweep.context, report=report).status == "done"
        assert steps[21:] == list(range(9, 21))
        lock.check()
    assert [record.status for record in read_records(sweep.folder.root)] == ["done"]
    assert not sweep.folder.checkpoints.exists()
