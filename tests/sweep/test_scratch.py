"""Ray's folder goes with its process; that of a killed one goes with the next."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.scratch import remove_dead, scratch

HOLDER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from sweep.scratch import scratch
with scratch() as path:
    (path / "session").mkdir()
    print(path, flush=True)
    time.sleep(60)
"""


def test_a_living_process_keeps_its_folder_and_a_killed_ones_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        Path(parent, "lcs-other").mkdir()  # nothing of ours
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, parent],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parents[2],
        )
        assert process.stdout is not None
        theirs = Path(process.stdout.readline().strip())
        with scratch() as ours:
            assert sorted(path.name for path in Path(parent).iterdir()) == sorted([ours.name, theirs.name, "lcs-other"])
        assert not ours.exists()
        process.kill()
        process.communicate()
        assert (theirs / "session").is_dir()
        with scratch():
            assert not theirs.exists()
        assert [path.name for path in Path(parent).iterdir()] == ["lcs-other"]


def test_what_is_still_being_written_goes_with_the_one_after_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder keeps its lock until all else is gone: without it, nobody would know whose it is."""
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        with monkeypatch.context() as writing, scratch() as path:
            (path / "session" / "logs").mkdir(parents=True)
            (path / "latest").symlink_to(path / "session")
            (path / "ports").touch()

            def fail(folder: Path) -> None:
                (folder / "logs" / "new").touch()
                raise OSError(39, "Directory not empty")

            writing.setattr(shutil, "rmtree", fail)
        assert (path / "session" / "logs" / "new").exists()
        assert (path / "lock").exists()
        remove_dead()
        assert not list(Path(parent).iterdir())


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="nothing here tells how a process was started")
def test_a_dead_folder_stays_while_a_process_works_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would make the folder anew, without the lock."""
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        dead = Path(parent, "lcs-12345678")
        (dead / "session").mkdir(parents=True)
        (dead / "lock").touch()
        agent = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()", f"--logs={dead}/session"], stdin=subprocess.PIPE
        )
        remove_dead()
        assert (dead / "session").exists()
        agent.communicate()
        remove_dead()
        assert not dead.exists()
