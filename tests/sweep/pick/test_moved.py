"""A sweep that was moved or copied: what a command names is in the folder that it was given."""

import json
import shutil
from pathlib import Path

import pytest

from tests.sweep.tiny import edit, lcsweep

pytestmark = pytest.mark.usefixtures("without_onnx")
RUN = Path("runs/tiny")


def named(folder: Path | str) -> Path:
    """The picked file that `status` names, of the sweep in `folder`; its words name it too."""
    path = lcsweep("status", folder, "--json").json["pick"]["artifact"]
    assert f", {path}; " in lcsweep("status", folder).out
    return Path(path)


def test_status_names_a_file_that_is_there_wherever_the_sweep_is(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picked = lcsweep("pick", RUN, "--max-drop", "50%", "--json").json
    assert Path(picked["artifact"]) == RUN / "artifacts" / picked["id"] / "model.lcz"
    assert json.loads((RUN / "pick.json").read_text())["artifact"] == f"artifacts/{picked['id']}/model.lcz"
    content = Path(picked["artifact"]).read_bytes()
    shutil.copytree(RUN, finished / "a copy")
    shutil.move(RUN, finished / "moved")
    for folder in ("moved", str(finished / "a copy")):
        assert named(folder).is_relative_to(folder)
        assert named(folder).read_bytes() == content
    monkeypatch.chdir(finished / "moved")
    assert named(".").read_bytes() == content
    assert lcsweep("export", ".", "--out", "new.lcz").code == 0
    assert Path("new.lcz").read_bytes() == content


def test_an_earlier_pick_with_a_whole_path_is_read(finished: Path) -> None:
    picked = lcsweep("pick", RUN, "--max-drop", "50%", "--json").json
    edit(RUN / "pick.json", artifact=f"/elsewhere/artifacts/{picked['id']}/model.lcz")
    assert named(RUN) == Path(picked["artifact"])
    edit(RUN / "pick.json", id="../../x")
    said = lcsweep("status", RUN)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "expected letters and digits as the id of a job, got '../../x'" in said.err
