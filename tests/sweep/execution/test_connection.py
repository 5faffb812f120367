"""Ray's temporary folder is removed with its process; that of a killed process by the next; errors of Ray's start."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import ray

from sweep.execution.connection import connected, own_token, ray_folder, remove_dead_folders
from sweep.execution.ray_internals import sends_token

HOLDER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from sweep.execution.connection import ray_folder
with ray_folder() as path:
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
        with ray_folder() as ours:
            assert sorted(path.name for path in Path(parent).iterdir()) == sorted([ours.name, theirs.name, "lcs-other"])
        assert not ours.exists()
        process.kill()
        process.communicate()
        assert (theirs / "session").is_dir()
        with ray_folder():
            assert not theirs.exists()
        assert [path.name for path in Path(parent).iterdir()] == ["lcs-other"]


def test_what_a_dead_ones_agents_made_anew_goes_and_a_strangers_folder_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        Path(parent, "lcs-anew", "r", "session_2026", "logs", "events").mkdir(parents=True)
        Path(parent, "lcs-earlier", "session_2026", "logs", "events").mkdir(parents=True)  # of an earlier release
        Path(parent, "lcs-theirs", "sessions").mkdir(parents=True)
        Path(parent, "lcs-mixed", "session_2026").mkdir(parents=True)
        Path(parent, "lcs-mixed", "letter").touch()
        remove_dead_folders()
        assert sorted(path.name for path in Path(parent).rglob("*")) == [
            "lcs-mixed", "lcs-theirs", "letter", "session_2026", "sessions"
        ]  # fmt: skip


def test_a_link_that_another_user_could_have_made_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory(prefix="s-") as parent:
        monkeypatch.setattr(tempfile, "tempdir", parent)
        mine = Path(parent, "mine")
        (mine / "session_notes").mkdir(parents=True)
        Path(parent, "lcs-link").symlink_to(mine)
        remove_dead_folders()
        assert [path.name for path in mine.iterdir()] == ["session_notes"]


def test_a_token_is_in_a_file_of_this_users_and_gone_afterwards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    before = dict(os.environ)
    tokens = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with own_token(folder):
            path = folder / "token"
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            tokens.append(path.read_text())
            assert "RAY_AUTH_TOKEN" not in os.environ
            assert (os.environ["RAY_AUTH_MODE"], os.environ["RAY_AUTH_TOKEN_PATH"]) == ("token", str(path))
            assert sends_token()
        assert not sends_token()
        assert dict(os.environ) == before
    assert len(set(tokens)) == 2
    assert {len(token) for token in tokens} == {64}


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        (
            None,
            Exception("The current node timed out\nduring startup."),
            "expected Ray to start on this machine, got The current node timed out during startup.: try again",
        ),
        (
            "auto",
            RuntimeError("Version mismatch: the cluster was started with\n Ray: 2.50.0" + 40 * " and so on"),
            r"expected a Ray cluster at the address 'auto', .* \(Version mismatch: .* \.\.\.\): start one",
        ),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(
    address: str | None, error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def init(**_: Any) -> None:
        raise error

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ValueError, match=said) as raised, connected(address, 2):
        pass
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []
