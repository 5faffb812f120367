"""Whose code a command runs: the study that a stranger's folder names is not imported unasked."""

from pathlib import Path

import pytest

from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from sweep.study.errors import StudyError
from sweep.study.trust import check_trusted
from tests.sweep.tiny import STUDY, edit, lcsweep, write_study

RUN = Path("runs/tiny")
TRAP = STUDY + "\nimport pathlib\n\npathlib.Path(__file__).with_name('was_run').touch()\n"
COMMANDS = [
    ("pick", RUN, "--max-drop", "50%"),
    ("bench", RUN, "--rounds", "8"),
    ("export", RUN, "--format", "onnx", "--out", "made.onnx"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("inside", [False, True], ids=["elsewhere", "in the sweep's folder"])
def test_a_study_from_elsewhere_runs_only_when_it_is_named(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, command: tuple[str, ...], inside: bool
) -> None:
    there = RUN.resolve() if inside else tmp_path_factory.mktemp("stranger")
    study = write_study(there, text=TRAP, name="theirs.py")
    edit(SweepFolder(RUN).manifest, reference_study=str(study), user_folder=str(there))
    job = next(record.id for record in read_records(RUN))
    command = (*command, "--job", job) if command[0] != "pick" else command
    said = lcsweep(*command)
    assert said.code != 0
    assert not (there / "was_run").exists()
    assert said.err.count("\n") == 1
    assert f"if you trust it, name it: --study {study}" in said.err
    if command[0] == "pick":
        assert lcsweep(*command, "--study", study).code == 0
        assert (there / "was_run").exists()


def test_what_is_installed_or_where_the_user_stands_is_trusted(tmp_path: Path) -> None:
    root, here = tmp_path / "here" / "runs" / "mine", tmp_path / "here"
    root.mkdir(parents=True)
    (root.parent / "theirs").mkdir()
    for sweep in (root, root.parent / "theirs"):
        SweepFolder(sweep).manifest.touch()
    write_study(root.parent / "theirs", name="packed.py")
    write_study(here, name="own.py")
    for reference in ("studies.digits_mlp", "own", "own.py", f"{here}/own.py:study", "own:study"):
        check_trusted(reference, root=root, user_folder=str(here))
    write_study(tmp_path, name="beside.py")
    write_study(root, name="packed.py")
    for reference in (
        "../beside.py",
        f"{tmp_path}/beside.py",
        f"{root}/packed.py",
        "beside",
        "antigravity",
        "os.path",
        "..x",
        "runs.mine.packed",
        "runs.theirs.packed",
        "runs/theirs/packed.py",
    ):
        with pytest.raises(StudyError, match="neither installed nor in the folder you stand in"):
            check_trusted(reference, root=root, user_folder=str(here))
    with pytest.raises(StudyError, match="neither installed"):
        check_trusted("packed", root=root, user_folder=str(root))
