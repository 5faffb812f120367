"""What a cluster's nodes are sent of the user's folder."""

import sys
from pathlib import Path

import pytest

from sweep.execution import bundle
from sweep.study.errors import StudyError
from sweep.study.loading import load_study
from tests.sweep.tiny import folders_and_files, write_study

SENT = ["beside.py", "labels.txt", "package", "package/__init__.py", bundle.MARK, "tiny.py"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with all that is sent, and much that is not."""
    write_study(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LCSWEEP_DATA", str(tmp_path / "data"))
    for name in (
        *("beside.py", "labels.txt", "package/__init__.py", "data/small.csv", ".git/config", ".venv/lib/module.py"),
        *("env/pyvenv.cfg", "env/lib/module.py", "__pycache__/tiny.pyc", "runs/tiny/sweep.json", "results/sweep.json"),
        *("results/artifacts/0/model.lcz", "tiny.egg-info/PKG-INFO", ".hidden"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "large.npy").write_bytes(b"0" * (bundle.LARGEST_FILE + 1))
    return tmp_path


def test_code_and_small_files_are_sent_and_gone_again(here: Path) -> None:
    with bundle.packed("tiny.py:study", user_folder=str(here)) as sent:
        assert sent is not None
        assert sent.name == bundle.FOLDER
        assert list(folders_and_files(sent)) == SENT
    assert not sent.exists()


def test_a_module_of_the_users_folder_is_sent_and_an_installed_one_is_not(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (here / "tiny.py").rename(here / "only_here.py")  # other tests' folders have a tiny.py too
    for name in ("only_here", "studies.digits_mlp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        load_study(name, user_folder=str(here))
    with bundle.packed("only_here", user_folder=str(here)) as sent:
        assert sent is not None
        assert sorted(name.replace("only_here", "tiny") for name in folders_and_files(sent)) == SENT
    with bundle.packed("studies.digits_mlp", user_folder=str(here)) as sent:
        assert sent is None
    monkeypatch.delitem(sys.modules, "only_here")


def test_a_study_outside_the_folder_is_refused(here: Path) -> None:
    with (
        pytest.raises(StudyError, match=r"expected one below the folder you stand in.*got one outside .*package"),
        bundle.packed("../tiny.py", user_folder=str(here / "package")),
    ):
        pass


@pytest.mark.parametrize(("limit", "most"), [("LARGEST", 400_000), ("MOST_FILES", 3)])
def test_too_much_is_refused_with_the_place(here: Path, limit: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (here / "package" / f"{number}.txt").write_bytes(b"0" * 200_000)
    monkeypatch.setattr(bundle, limit, most)
    with (
        pytest.raises(StudyError, match=r"expected at most .* got more, the last in .*; give the command in the study"),
        bundle.packed("tiny.py", user_folder=str(here)),
    ):
        pass


def test_a_worker_finds_what_it_was_sent(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundle.unpacked() is None
    (here / bundle.FOLDER).mkdir()
    monkeypatch.syspath_prepend(here)
    assert bundle.unpacked() == str(here / bundle.FOLDER)
