"""From a study to a verified file, through the command line, on the real Ray and the real Optuna."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
from scipy import stats

from lc_core.file.artifact import read
from sweep.intervals import CONFIDENCE
from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from sweep.store.table import table
from tests.sweep.tiny import STUDY, Said, changed, lcsweep, run_here, tree, write_study

pytestmark = pytest.mark.slow

# Every family's loosest level is in the grid, so the grid alone shows that a target is out of reach.
GRID = STUDY
for levels, few in (
    ("(0.5, 0.1, 0.01)}", "(0.8, 0.1, 0.01)}"),
    ("(4, 2)}", "(16, 2)}"),
    ("(2,)}", "(6,)}"),
    ('{"keep": (0.3,), "size": (4,)}', '{"keep": (0.5,), "size": (8, 4)}'),
):
    GRID = changed(levels, few, text=GRID)

RAISING = '''
class Raising:
    """Pruning that raises when it runs."""

    def __init__(self, pruning):
        self.check, self.outline = pruning.check, pruning.outline

    def compress(self, w, *, mu, previous=None):
        raise ArithmeticError("no luck with this one")


def prune(configuration):
    pruning = L0Pruning(keep=configuration["keep"])
    return {"*": Joint(Raising(pruning) if configuration["keep"] == 0.1 else pruning)}
'''
PRUNE = """
def prune(configuration):
    return {"*": Joint(L0Pruning(keep=configuration["keep"]))}
"""
SPOILT = changed(PRUNE, RAISING, text=GRID)


@dataclass(frozen=True)
class Way:
    """The output of each command, and the result files after it."""

    folder: SweepFolder
    said: dict[str, Said]
    records: dict[str, list[dict[str, Any]]]
    trees: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """Runs all commands, with one configuration that raises until its study is corrected."""
    here = tmp_path_factory.mktemp("way")
    root = Path("runs", "tiny")
    way = Way(SweepFolder(here / root), {}, {}, {})

    def do(name: str, *arguments: str | Path) -> None:
        way.said[name] = lcsweep(*arguments)
        way.records[name] = read_records(way.folder.root)
        way.trees[name] = tree(way.folder.artifacts)

    with contextlib.chdir(here):
        write_study(here, text=SPOILT)
        do("spoilt", "run", "tiny.py", "--workers", "2")
        write_study(here, text=GRID)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "sweep.execution.runner.run", run_here
            )  # the grid ran on Ray, and the demo runs a search there
            do("mended", "run", "tiny.py", "--workers", "1")
            do("again", "run", "tiny.py", "--workers", "1")
            do(
                "out of reach",
                "run",
                "tiny.py",
                "--search",
                "smallest",
                "--min-accuracy",
                "1",
                "--confirm",
                "0",
                "--workers",
                "1",
            )
            do(
                "smallest",
                "run",
                "tiny.py",
                "--search",
                "smallest",
                "--max-drop",
                "0.03",
                "--confirm",
                "0",
                "--workers",
                "1",
            )
        do("status", "status", root, "--json")
        do("report", "report", root, "--max-drop", "0.03", "--json")
        do("pick", "pick", root, "--max-drop", "0.03", "--json")
        do("export", "export", root, "--out", "model.lcz", "--json")
        do("verify", "verify", "model.lcz", "--study", "tiny.py", "--json")
        do("dry run", "run", "tiny.py", "--dry-run")
    return way


def finished(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that are done."""
    return [record for record in records if record.status == "done"]


def test_a_configuration_that_raises_is_a_failed_record_and_the_rest_are_done(way: Way) -> None:
    said, records = way.said["spoilt"], way.records["spoilt"]
    assert said.code == 3, said
    failed = [record for record in records if record.status == "failed"]
    assert [record.configuration for record in failed] == [{"keep": 0.1}]
    assert failed[0].error.message == "ArithmeticError: no luck with this one"
    assert "tiny.py" in failed[0].error.traceback
    assert "Traceback" not in said.out
    assert sum(record.status == "done" for record in records) == 7
    assert "8 jobs to run" in said.out
    assert "1 failed" in said.out
    assert "failed: ArithmeticError: no luck with this one" in said.out
    lines = [line for line in said.out.splitlines() if line.startswith("[")]
    assert [line.split("]")[0] for line in lines] == [f"[{number}/8" for number in range(1, 9)]


def test_once_mended_only_what_is_missing_runs(way: Way) -> None:
    said, records = way.said["mended"], way.records["mended"]
    assert said.code == 0, said
    assert "7 results known, 1 job to run" in said.out
    assert "1 job started, 7 already done" in said.out
    assert [record.status for record in records] == ["done"] * 8
    old = {path: digest for path, digest in way.trees["spoilt"].items() if "record.json" not in path}
    assert old.items() <= way.trees["mended"].items()


def test_the_same_command_again_does_nothing(way: Way) -> None:
    said = way.said["again"]
    assert said.code == 0, said
    assert "8 results known, 0 jobs to run" in said.out
    assert "0 jobs started, 8 already done" in said.out
    assert "training the reference" not in said.out
    assert way.trees["again"] == way.trees["mended"]


def test_a_target_out_of_reach_exits_with_4_and_the_nearest_miss(way: Way) -> None:
    said = way.said["out of reach"]
    assert said.code == 4, said
    best = max(record.val.value for record in way.records["again"])
    miss = f"the nearest misses it by {100 * (1 - best):.2f} points: "
    assert f"no model meets the target, accuracy 100.00%; {miss}" in said.out
    assert f"validation accuracy {best:.2%}" in said.out.partition(miss)[2].partition("\n")[0]
    assert "0 jobs started, 8 already done, 17 of 25 configurations ruled out without running" in said.out
    assert way.trees["out of reach"] == way.trees["again"]


def test_the_search_takes_the_grid_as_known_and_starts_jobs_of_its_own(way: Way) -> None:
    said = way.said["smallest"]
    assert said.code == 0, said
    (summary,) = (s for s in way.said["status"].json["searches"] if s["name"] == "smallest")
    assert (summary["configurations"], summary["known"], summary["failed"]) == (25, 8, 0)
    assert 0 < summary["started"] < 17
    assert summary["started"] + sum(summary["skipped"].values()) == 17
    assert summary["target"] == {"max_drop": 0.03}
    assert len(way.records["smallest"]) == 8 + summary["started"]
    assert "smallest that meets the target" in said.out


def test_optunas_studies_hold_every_job(way: Way) -> None:
    storage = f"sqlite:///{way.folder.index}"
    names = sorted(optuna.get_all_study_names(storage))
    assert [re.sub(r"^tiny (.*) [0-9a-f]{8}$", r"\1", name) for name in names] == [
        "grid",
        "smallest max_drop 0.03",
        "smallest min_accuracy 1.0",
    ]
    smallest = optuna.load_study(study_name=names[1], storage=storage)
    jobs = [trial.user_attrs["job"] for trial in smallest.trials]
    assert sorted(jobs) == sorted(record.id for record in way.records["smallest"])
    picked = way.said["pick"].json
    assert smallest.best_trial.user_attrs["job"] == picked["id"]
    assert smallest.best_value == picked["artifact_bytes"]


def test_the_pick_is_the_smallest_file_that_meets_the_target_whoever_made_it(way: Way) -> None:
    picked = way.said["pick"].json
    records = way.records["pick"]
    threshold = way.said["status"].json["reference"]["val"]["accuracy"] - 0.03
    meeting = [record for record in finished(records) if record.val.value >= threshold]
    assert picked["id"] == min(meeting, key=lambda record: record.artifact_bytes).id
    assert picked["meets_target"]
    assert picked["test"]["looks"] == 2
    assert way.said["report"].json["choice"]["id"] == picked["id"]


def test_what_is_exported_is_the_picked_file_and_does_what_it_claims(way: Way) -> None:
    picked, exported, verified = (way.said[name].json for name in ("pick", "export", "verify"))
    assert exported["sha256"] == verified["sha256"] == picked["artifact_sha256"]
    assert verified["bytes"] == picked["artifact_bytes"]
    assert verified["outputs"] == "as claimed"
    assert float(verified["info"]["val"]["accuracy"]) == picked["val"]["accuracy"]


def test_the_report_is_one_page_its_figures_and_the_curves_of_every_job(way: Way) -> None:
    names = ("front", "macs", "progress", "run", "layers")
    figures = {f"{name}.{kind}" for name in names for kind in ("pdf", "png", "svg")}
    assert {path.name for path in way.folder.report.iterdir()} == {"index.html", "curves"} | figures
    curves = "".join(path.read_text() for path in (way.folder.report / "curves").iterdir())
    assert all(record.id in curves for record in finished(way.records["smallest"]))
    page = (way.folder.report / "index.html").read_text()
    assert not re.search(r"(src|href)=\"https?:", page)
    assert way.said["pick"].json["id"] in page


def test_every_file_loads_and_has_the_bytes_of_its_record(way: Way) -> None:
    for record in finished(way.records["smallest"]):
        artifact = read(way.folder.artifact(record.id))
        assert artifact.file_bytes == record.artifact_bytes
        assert artifact.payload_bytes == record.nominal_bytes


def test_the_results_lie_where_the_readme_says(way: Way) -> None:
    names = {path.name for path in way.folder.root.iterdir() if not path.name.startswith(".")}  # but for the locks
    assert names == {
        "artifacts",
        "logs",
        "pick.json",
        "reference",
        "report",
        "searches",
        "study.db",
        "sweep.json",
        "test",
    }
    assert sorted(path.name for path in way.folder.artifacts.iterdir()) == sorted(
        record.id for record in way.records["smallest"]
    )
    assert [path.name for path in way.folder.logs.iterdir()] == ["ray.log"]


def test_a_dry_run_knows_what_is_done(way: Way) -> None:
    assert "8 jobs, 0 without a result" in way.said["dry run"].out


def test_a_winner_is_confirmed_on_fresh_seeds_before_it_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search that is stopped early says that nothing is confirmed; the same command continues to the end.

    Its jobs run in this process: other tests run a search on Ray.
    """
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    search = ("run", "tiny.py", "--search", "smallest", "--max-drop", "0.1", "--workers", "1")
    root = tmp_path / "runs" / "tiny"
    with contextlib.chdir(tmp_path):
        write_study(tmp_path, text=GRID)
        cut = lcsweep(*search, "--trials", "5")
        whole = lcsweep(*search)
        picked = lcsweep("pick", root, "--max-drop", "0.1", "--json").json
        again = lcsweep(*search)
    assert cut.code == 4, cut
    assert "smallest that meets the target (unconfirmed, meets the target so far): " in cut.out
    assert whole.code == 0, whole
    assert "smallest that meets the target (confirmed, enough fresh seeds clear the bound): " in whole.out
    assert re.search(r", mean of [0-9]+ fresh seeds .*; speed: ", whole.out)
    assert "0 jobs started" in again.out
    assert again.code == 0
    assert picked["seeds"][:4] == [0, 1, 2, 3]
    by_seed: dict[str, list[float]] = {}
    for record in read_records(root):
        by_seed.setdefault(str(record.configuration), []).append(record.val.value)
    several = [np.array(found) for found in by_seed.values() if len(found) > 1]
    dof = sum(len(found) - 1 for found in several)
    sd = np.sqrt(sum(((found - found.mean()) ** 2).sum() for found in several) / dof)
    fresh = np.array(picked["accuracies"][1:])
    reference = json.loads((root / "sweep.json").read_text())["reference"]["val"]["accuracy"]
    assert fresh.mean() - stats.t.ppf(CONFIDENCE, dof) * sd / np.sqrt(len(fresh)) >= reference - 0.1


# Through the installed command, minutes each


def command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("lcsweep")), *arguments]


def call(folder: Path, *arguments: str) -> Said:
    done = subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    return Said(done.returncode, done.stdout, done.stderr)


def rows(root: Path) -> pd.DataFrame:
    """The sweep's table without times."""
    return table(root).drop(columns=["seconds", "finished"]).sort_values("id").reset_index(drop=True)


def test_an_interrupted_grid_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    """Ctrl-C twice, at different moments, sent to the whole process group, as by a terminal."""
    text = changed("Schedule(epochs=2", "Schedule(epochs=150")
    for grid in (', grid={"keep": (0.5, 0.1, 0.01)}', ', grid={"size": (4, 2)}', ', grid={"rank": (2,)}'):
        text = changed(grid, "", text=text)
    write_study(tmp_path, text=text)
    root = tmp_path / "interrupted"
    for enough in (2, 7):
        process = subprocess.Popen(
            command("run", "tiny.py", "--workers", "2", "--out", "interrupted"),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        deadline = time.monotonic() + 240
        while len(list(root.glob("artifacts/*/record.json"))) < enough and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert err.splitlines()[-1] == "lcsweep: interrupted; run the same command again to continue"
        assert "Traceback" not in out + err
        assert enough <= len(read_records(root)) < 17
    said = call(tmp_path, "run", "tiny.py", "--workers", "2", "--out", "interrupted")
    assert (said.code, said.err) == (0, "")
    assert call(tmp_path, "run", "tiny.py", "--workers", "1", "--out", "whole").code == 0
    interrupted, whole = rows(root), rows(tmp_path / "whole")
    assert len(whole) == 17
    assert set(whole["status"]) == {"done"}
    pd.testing.assert_frame_equal(interrupted, whole, check_exact=True)
    hashes = [{r.id: r.artifact_sha256 for r in read_records(folder)} for folder in (root, tmp_path / "whole")]
    assert hashes[0] == hashes[1]


def test_the_demo(tmp_path: Path) -> None:
    """The commands of `make demo`, on the digits."""
    grid = call(tmp_path, "run", "studies.digits_mlp")
    assert (grid.code, grid.err) == (0, ""), grid
    search = call(tmp_path, "run", "studies.digits_mlp", "--search", "smallest", "--max-drop", "0.01")
    assert (search.code, search.err) == (0, ""), search
    root = tmp_path / "runs" / "digits_mlp"
    summaries = {name: json.loads((root / "searches" / f"{name}.json").read_text()) for name in ("grid", "smallest")}
    assert summaries["grid"]["configurations"] == summaries["grid"]["started"] == 31
    assert summaries["smallest"]["configurations"] >= 10 * summaries["grid"]["configurations"]
    assert summaries["smallest"]["known"] == 31
    assert 0 < summaries["smallest"]["started"] < 60
    assert call(tmp_path, "report", "runs/digits_mlp").code == 0
    pick = call(tmp_path, "pick", "runs/digits_mlp", "--max-drop", "0.01", "--json")
    assert pick.code == 0, pick
    picked = pick.json
    assert picked["compression_ratio"] > 15
    assert picked["val"]["accuracy"] >= 0.96
    assert picked["test"]["accuracy"] > 0.93
    assert call(tmp_path, "export", "runs/digits_mlp", "--out", "model.lcz").code == 0
    verified = call(tmp_path, "verify", "model.lcz", "--study", "studies.digits_mlp", "--json")
    assert verified.code == 0, verified
    assert verified.json["bytes"] == (tmp_path / "model.lcz").stat().st_size == picked["artifact_bytes"]
