"""Ray's folder goes with its process; that of a killed one goes with the next."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sweep.run.scratch import remove_dead, scratch

HOLDER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from sweep.run.scratch import scratch
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
            cwd=Path(__file__).resolve().parents[3],
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


def test_what_a_dead_ones_agents_made_anew_goes_and_a_strangers_folder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        Path(parent, "lcs-anew", "session_2026", "logs", "events").mkdir(parents=True)
        Path(parent, "lcs-theirs", "sessions").mkdir(parents=True)
        Path(parent, "lcs-mixed", "session_2026").mkdir(parents=True)
        Path(parent, "lcs-mixed", "letter").touch()
        remove_dead()
        assert sorted(path.name for path in Path(parent).rglob("*")) == [
            "lcs-mixed", "lcs-theirs", "letter", "session_2026", "sessions"
        ]  # fmt: skip
