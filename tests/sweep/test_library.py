"""lcsweep as a library: what `run` and `load_sweep` return, of studies by name, from scripts and from notebooks."""

import functools
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import sweep
from reports.figures.formats import encode
from sweep.execution import driver
from sweep.pick.pareto import front
from sweep.study import Study
from sweep.study.errors import StudyError
from sweep.study.loading import load_study
from tests.sweep.tiny import STUDY, changed, edit, lcsweep, run_here, tree, write_study

RUN = "runs/tiny"


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run in this process."""
    monkeypatch.setattr(driver, "run", functools.partial(driver.run, runner=run_here))


def tiny(folder: Path) -> Study:
    return load_study("tiny.py", user_folder=str(folder))


def test_the_names_are_loaded_when_asked_for() -> None:
    assert sweep.Study is Study
    assert set(sweep.__all__) <= set(dir(sweep))
    with pytest.raises(AttributeError, match="module 'sweep' has no attribute 'nothing'"):
        _ = sweep.nothing  # type: ignore[attr-defined]


def test_importing_it_is_light() -> None:
    code = "import sweep, sys\nprint(sorted({'torch', 'pandas', 'ray', 'matplotlib', 'optuna'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_reference_that_was_trained_otherwise_is_said_to_be(finished: Path) -> None:
    manifest = Path(RUN, "sweep.json")
    edit(manifest, reference=json.loads(manifest.read_text())["reference"] | {"rates": [0.1, 0.3]})
    assert repr(sweep.load_sweep(RUN)).endswith("; trained at a learning rate of 0.1, the LC jobs at 0.3")


def test_a_sweep_that_is_loaded_says_what_the_commands_say(finished: Path, without_onnx: None) -> None:
    found = sweep.load_sweep(RUN)
    before = tree(Path(RUN))
    assert repr(found).startswith("Sweep('runs/tiny'): study tiny, 7 jobs done; reference ")
    table = found.table()
    pd.testing.assert_frame_equal(table, sweep.table(RUN))
    pd.testing.assert_frame_equal(table, sweep.table(Path(RUN)))
    assert len(table) == 7

    points = table[["artifact_bytes", "val_error"]].to_numpy(dtype=np.float64)
    expected = table[front(points)].sort_values("artifact_bytes")["id"]
    shown = found.front()
    assert list(shown["id"]) == list(expected)
    assert 1 < len(shown) < 7
    assert list(shown.columns[2:]) == list(table.columns)
    np.testing.assert_allclose(shown["mean_accuracy"], shown["val_accuracy"].astype(float))
    assert set(shown["seeds"]) == {1}
    assert list(found.front(by="macs")["macs"]) == sorted(found.front(by="macs")["macs"])
    with pytest.raises(ValueError, match="latency was measured, found none"):
        found.front(by="latency")
    html = found._repr_html_()
    assert "<table" in html
    assert "<th>method</th>" in html
    assert all(str(size) in html for size in shown["artifact_bytes"])
    assert tree(Path(RUN)) == before, "looking writes nothing"


def test_a_pick_is_the_commands_pick(finished: Path, without_onnx: None) -> None:
    found = sweep.load_sweep(RUN)
    threads, state, drawn = torch.get_num_threads(), torch.random.get_rng_state(), random.getstate()
    numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
    picked = found.pick(max_drop=0.05)
    assert torch.get_num_threads() == threads
    assert float(torch.tensor(1e-39) / 2) > 0, "denormal numbers are what they were"
    assert torch.equal(torch.random.get_rng_state(), state)
    assert random.getstate() == drawn
    assert np.random.get_state()[1].tolist() == numpy  # noqa: NPY002
    said = lcsweep("pick", RUN, "--max-drop", "0.05", "--json").json
    assert picked.to_json() == said
    assert found.pick().id == picked.id, "the study's own target"
    assert found.pick(knee=True).target is None
    assert found.pick(min_accuracy=0.5, by="macs").by == "macs"
    with pytest.raises(ValueError, match="knee: expected no target beside it"):
        found.pick(max_drop=0.05, knee=True)
    with pytest.raises(ValueError, match="relative: expected max_drop beside it"):
        found.pick(relative=True)


def test_a_pick_wants_a_target(finished: Path) -> None:
    edit(Path(RUN, "sweep.json"), target=None)
    with pytest.raises(
        ValueError, match="expected max_drop, at_least or at_most, since the study has no target; or knee"
    ):
        sweep.load_sweep(RUN).pick()


@pytest.mark.slow
def test_a_figure_shows_itself_and_a_report_is_written(finished: Path) -> None:
    found = sweep.load_sweep(RUN)
    figure: Any = found.figure(max_drop=0.02)
    png = figure._repr_png_()
    assert png.startswith(b"\x89PNG")
    assert png == encode(figure, format="png")
    assert png != sweep.load_sweep(RUN).figure(max_drop=0.2)._repr_png_()  # type: ignore[attr-defined]
    page = found.report()
    assert page == Path(RUN, "report", "index.html")
    assert page.read_text().startswith("<!doctype html>")


def test_what_is_not_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"sweep\.json"):
        sweep.load_sweep(tmp_path)


def test_a_run_is_the_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], without_ray: None
) -> None:
    """By the command, by the name and by the object: the same records, and each continues the other's sweep."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    study = tiny(tmp_path)
    state = torch.random.get_rng_state()
    found = sweep.run(study, trials=2, workers=1, repeats=1, confirm=0)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert float(torch.tensor(1e-39) / 2) > 0, "denormal numbers are what they were"
    assert "[2/" in capsys.readouterr().out
    assert (found.location, len(found.table())) == (RUN, 2)
    assert lcsweep("run", "tiny.py", "--trials", "3", "--workers", "1").code == 0
    assert len(found.table()) == 5
    done = sweep.run("tiny.py", workers=1, progress=False)
    assert capsys.readouterr().out == ""
    assert len(done.table()) == 7
    other = sweep.run(study, workers=1, out="elsewhere", progress=False).table()
    columns = ["id", "artifact_sha256", "val_accuracy"]
    pd.testing.assert_frame_equal(other[columns], done.table()[columns])


def test_the_options_reach_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each keyword of `run` changes the options that the same option of the command changes."""
    write_study(tmp_path)
    monkeypatch.chdir(tmp_path)
    seen: list[Any] = []

    class Stop(Exception):
        pass

    def carry_out(options: Any, **_: Any) -> None:
        seen.append(options)
        raise Stop

    monkeypatch.setattr("sweep.library.carry_out", carry_out)
    given: dict[str, Any] = {
        "search": "pareto", "target": sweep.Target(min_accuracy=0.9), "trials": 5, "workers": 3, "repeats": 2,
        "seed": 7, "confirm": 4, "macs": True, "method": "dc", "out": "there", "storage": "sqlite:///x.db",
        "gpus_per_job": 0.5, "track": "mlflow",
    }  # fmt: skip
    with pytest.raises(Stop):
        sweep.run("tiny.py", **given)
    (options,) = seen
    same = given.keys() - {"out"}
    assert {name: getattr(options, name) for name in same} == {name: given[name] for name in same}
    assert (options.objectives, options.out) == (("error", "bytes", "macs"), Path("there"))
    assert (options.study, options.user_folder) == ("tiny.py", str(tmp_path))
    with pytest.raises(ValueError, match="macs: expected search pareto beside it"):
        sweep.run("tiny.py", macs=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": "3"}, "trials: expected a whole number, or None, got '3'"),
        ({"repeats": 2.5}, "repeats: expected a whole number, got 2.5"),
        ({"job_timeout": "9"}, "job_timeout: expected a number, or None, got '9'"),
        ({"gpus_per_job": None}, "gpus_per_job: expected a number, got None"),
        ({"workers": "1"}, "workers: expected a whole number, or None, got '1'"),
    ],
    ids=lambda each: next(iter(each)) if isinstance(each, dict) else "",
)
def test_an_option_that_is_no_number_is_a_line(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        sweep.run(str(write_study(tmp_path)), out=tmp_path / "new", progress=False, **options)
    assert not (tmp_path / "new").exists()


def test_a_script_that_runs_when_it_is_imported_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker or a pick that imports it would run the sweep again."""
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path, text=STUDY + "\nfrom sweep import run\n\nrun(study)\n")
    with pytest.raises(StudyError, match=r"run\(\) was called while this file was imported as a study"):
        load_study("tiny.py", user_folder=str(tmp_path))


MAIN = """

if __name__ == "__main__":
    from sweep import run

    found = run(study, workers=1, trials=2, progress=False)
    print(len(found.table()), found.pick(knee=True).method)
"""


@pytest.mark.slow
def test_a_script_runs_its_own_study_on_ray(tmp_path: Path) -> None:
    """Its study, which uses a module beside it, is sent to the workers; the command picks later where it is named."""
    (tmp_path / "here").mkdir()
    (tmp_path / "mine.py").write_text("WIDTH = 64\n")
    text = changed("8, 64), nn.Tanh(), nn.Linear(64, 3)", "8, mine.WIDTH), nn.Tanh(), nn.Linear(mine.WIDTH, 3)")
    write_study(tmp_path, text="import mine\n" + text + MAIN)
    here = tmp_path / "here"
    done = subprocess.run([sys.executable, "../tiny.py"], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2 lc\n"), done.stderr
    main = "from sweep.cli import main; raise SystemExit(main())"
    command = [sys.executable, "-c", main, "pick", "runs/tiny", "--knee"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), "it lies outside the folder where the user stands"
    named = [*command, "--study", "../tiny.py"]
    done = subprocess.run(named, cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "by LC" in done.stdout
