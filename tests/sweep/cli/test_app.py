"""The command line: what it prints, its exit codes, and what it says when it is given something wrong."""

import contextlib
import importlib.metadata
import io
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sweep.cli import app, console
from sweep.execution import driver
from sweep.job.compress import run_job
from sweep.prepare import estimate
from sweep.prepare.estimate import FACTS_BYTES
from sweep.store.folder import SweepFolder
from sweep.store.record import Done
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, Said, changed, edit, lcsweep, run_here, tree, write_study

pytestmark = pytest.mark.usefixtures("without_onnx")

RUN = Path("runs", "tiny")
FOLDER = SweepFolder(RUN)


def assert_refused(said: Said, code: int, *words: str) -> None:
    """One line on standard error that has all `words`, and the exit code."""
    assert said.code == code, said
    assert said.err.startswith("lcsweep: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    assert "Traceback" not in said.err + said.out
    for word in words:
        assert word in said.err


@pytest.fixture
def without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run one after the other in this process: Ray takes seconds to start, and has tests of its own."""
    whole = driver.run

    def run(sweep: driver.PreparedSweep, *, watch: Any) -> driver.Outcome:
        def in_process(search: Any, *others: Any, **named: Any) -> None:
            while (job := search.next()) is not None:
                search.tell(job, run_job(job, sweep.context, report=lambda report: None))

        return whole(sweep, watch=watch, runner=in_process)

    monkeypatch.setattr(driver, "run", run)


def some_record(family: str = "both") -> str:
    return next(record.id for record in read_records(RUN) if record.family == family)


# Command lines that make no sense


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run", ["Missing argument", "STUDY"]),
        ("run tiny.py --search best", ["--search", "'best'", "'grid', 'smallest', 'tpe', 'pareto'"]),
        ("run tiny.py --workers 0", ["--workers", "greater than or equal to 1"]),
        ("run tiny.py --workers two", ["--workers"]),
        ("run tiny.py --trials 0", ["--trials"]),
        ("run tiny.py --repeats 0", ["--repeats"]),
        ("run tiny.py --seed -1", ["--seed"]),
        ("run tiny.py --max-drop 2", ["--max-drop: 2 may mean 2% or 200%"]),
        ("run tiny.py --min-accuracy 97.5", ["--min-accuracy: expected a fraction", "got 97.5"]),
        ("run tiny.py --max-drop nan", ["--max-drop", "got nan"]),
        (
            "run tiny.py --max-drop 0.1 --min-accuracy 0.9",
            ["expected one of --max-drop, --min-accuracy, --at-least, --at-most"],
        ),
        ("run tiny.py --nonsense", ["No such option", "--nonsense"]),
        ("frobnicate", ["No such command", "frobnicate"]),
        ("status", ["Missing argument"]),
        ("pick runs/tiny --by weight", ["--by", "'weight'"]),
        ("pick runs/tiny --max-drop -1", ["--max-drop"]),
        ("pick runs/tiny --relative", ["--relative", "expected --max-drop"]),
        ("pick runs/tiny --min-accuracy 0.5 --relative", ["relative", "expected --max-drop"]),
        ("pick runs/tiny --knee --max-drop 0.1", ["--knee", "expected no target beside it"]),
        ("report runs/tiny --max-drop 0.1 --min-accuracy 0.9", ["expected one of"]),
        ("report runs/tiny --format xml", ["--format", "'xml'", "'html', 'md', 'csv', 'parquet', 'json'"]),
        ("compare", ["Missing argument"]),
        ("compare runs/tiny", ["expected two sweeps or more, got runs/tiny alone", "STUDY --method dc adds dc"]),
        ("export runs/tiny", ["--out"]),
        ("verify", ["Missing argument"]),
        ("verify nowhere.lcz", ["nowhere.lcz: no such file; expected a packed model"]),
        ("verify runs", ["runs: not a regular file"]),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(finished: Path, line: str, words: list[str]) -> None:
    before = tree(finished)
    assert_refused(lcsweep(*line.split()), console.USAGE, *words)
    assert tree(finished) == before


# Bad input


def nothing() -> None:
    """What is there is bad enough."""


def no_target() -> None:
    edit(FOLDER.manifest, target=None)


def file_in_the_way() -> None:
    Path("file").write_text("mine")


def somebodys_folder() -> None:
    Path("mine").mkdir()
    Path("mine", "thesis.tex").write_text("mine")


def level(old: str, new: str) -> Callable[[], None]:
    return lambda: Path("bad.py").write_text(changed(old, new)) and None


def study(text: str) -> Callable[[], None]:
    return lambda: Path("bad.py").write_text(text) and None


def write(path: Path, content: str) -> Callable[[], None]:
    return lambda: path.write_text(content) and None


def cut(path: Callable[[], Path], length: int = -9) -> Callable[[], None]:
    return lambda: path().write_bytes(path().read_bytes()[:length]) and None


def flipped() -> None:
    path = FOLDER.artifact(some_record())
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 16
    path.write_bytes(data)


def artifact() -> Path:
    return FOLDER.artifact(some_record())


def picked() -> Path:
    """The file that a pick would choose."""
    reference = json.loads(FOLDER.manifest.read_text())["reference"]["val"]["accuracy"]
    meeting = [record for record in read_records(RUN) if record.val.value >= reference - 0.05]
    return FOLDER.artifact(min(meeting, key=lambda record: record.artifact_bytes).id)


BAD = {
    "an unknown module": (nothing, "run no_such_study", 1, ["'no_such_study': no such module; expected a module"]),
    "an unknown file": (nothing, "run no_such.py", 1, ["no_such.py': no such file", "a path to a .py file"]),
    "an unknown name": (nothing, "run tiny.py:other", 1, ["expected a Study called 'other'", "its studies: study"]),
    "no study": (nothing, "run tiny.py:loss", 1, ["found a function"]),
    "a syntax error": (study("def ("), "run bad.py", 1, ["'bad.py' does not import: SyntaxError"]),
    "a file that raises": (study("1 / 0"), "run bad.py", 1, ["ZeroDivisionError: division by zero (bad.py:1)"]),
    "a file that exits": (study("exit(0)"), "run bad.py", 1, ["'bad.py' does not import: SystemExit"]),
    "a missing package": (study("import no_such_package"), "run bad.py", 1, ["No module named 'no_such_package'"]),
    "keep of 0": (level("0.05, 0.01)}", "0.05, 0.01, 0.0)}"), "run bad.py", 1, ["family prune, keep=0.0:", "above 0"]),
    "keep over 1": (level("(0.8, 0.5", "(1.01, 0.5"), "run bad.py", 1, ["family prune, keep=1.01:", "[0, 1]"]),
    "size of 0": (level("3, 2)}, q", "3, 2, 0)}, q"), "run bad.py", 1, ["family quantize, size=0:", "at least 1"]),
    "size over all layers": (level("(16, 8,", "(513, 8,"), "run bad.py", 1, ["size=513:", "0.weight", "at most 512"]),
    "size over what is kept": (level("(8, 4, 2)", "(80, 4, 2)"), "run bad.py", 1, ["keep=0.1, size=80:", "at most 70"]),
    "rank of 0": (level("4, 2, 1)", "4, 2, 1, 0)"), "run bad.py", 1, ["family low rank, rank=0:", "at least 1"]),
    "a grid's level": (level('"rank": (2,)', '"rank": (3,)'), "run bad.py", 1, ["grid's rank 3 is not one of"]),
    "no target": (
        study(changed("    target=Target(max_drop=0.05),\n", "")),
        "run bad.py --out new --search smallest",
        2,
        ["--search smallest: expected a target, --max-drop, --at-least or --at-most"],
    ),
    "an address": (nothing, "run tiny.py --seed 5 --address ray://a:10001", 1, ["ray://", "'auto' or HOST:PORT"]),
    "a file for a folder": (file_in_the_way, "run tiny.py --out file", 1, ["file: ", "--out"]),
    "a folder below a file": (file_in_the_way, "run tiny.py --out file/out", 1, ["file/out: ", "--out"]),
    "somebody's folder": (somebodys_folder, "run tiny.py --out mine", 1, ["mine: not a sweep, and not empty", "--out"]),
    "another state of the study": (
        study(changed("manual_seed(0)", "manual_seed(1)")),
        "run bad.py",
        1,
        ["tiny: holds a sweep of another state of study tiny: its data changed since", "--out"],
    ),
    "a storage that is a text": (
        write(FOLDER.index, "mine"),
        "run tiny.py",
        1,
        ["study.db: expected a storage that Optuna can open", "--storage"],
    ),
    "a storage that is none": (nothing, "run tiny.py --storage nonsense", 1, ["nonsense: expected a storage"]),
    "a reference that was cut": (cut(lambda: FOLDER.reference), "run tiny.py", 5, ["reference.lcz: expected a whole"]),
    **{
        f"{what} for {command.split()[0]}": (breaks, command, 1, words)
        for command in ("status runs/tiny", "report runs/tiny", "pick runs/tiny", "export runs/tiny --out new.lcz")
        for what, breaks, words in (
            ("a manifest that was cut", cut(lambda: FOLDER.manifest), ["sweep.json: not the JSON that lcsweep wrote"]),
            ("a later manifest", lambda: edit(FOLDER.manifest, format=2), ["sweep.json: expected format 1, got 2"]),
        )
    },
    **{
        f"{what} for {command.split()[0]}": (breaks, command, 1, words)
        for command in ("status nowhere", "report nowhere", "pick nowhere", "export nowhere --out new.lcz")
        for what, breaks, words in (
            ("no folder", nothing, ["nowhere: no such folder; expected a sweep's"]),
            ("an empty folder", lambda: Path("nowhere").mkdir(), ["nowhere: not a sweep (it has no sweep.json)"]),
        )
    },
    **{
        f"a record that was cut for {command.split()[0]}": (
            cut(lambda: FOLDER.record(some_record())),
            command,
            1,
            ["record.json: not the JSON that lcsweep wrote", "restore it or remove it"],
        )
        for command in ("status runs/tiny", "report runs/tiny", "pick runs/tiny", "run tiny.py")
    },
    "a part that a sweep has not": (nothing, "compare runs/tiny runs/tiny:x", 1, ["expected a method or", "'x'"]),
    "a method that did not run": (nothing, "compare runs/tiny runs/tiny:qat", 1, ["run STUDY --method qat adds qat"]),
    "a later record": (lambda: edit(FOLDER.record(some_record()), format=9), "status runs/tiny", 1, ["got 9"]),
    "a pick without a target": (no_target, "pick runs/tiny", 2, ["expected a target, --max-drop, --at-least"]),
    "a pick of a file that was cut": (cut(picked), "pick runs/tiny", 5, ["model.lcz: expected a whole packed model"]),
    "nothing picked": (nothing, "export runs/tiny --out new.lcz", 1, ["nothing was picked yet", "--job"]),
    "an unknown job": (nothing, "export runs/tiny --job zzz --out new.lcz", 1, ["starts with 'zzz', found 0"]),
    "a job that is not one": (lambda: None, "export runs/tiny --job= --out new.lcz", 1, ["found 7"]),
    "a file there for export": (
        file_in_the_way,
        "export runs/tiny --job {job} --out file",
        1,
        ["file: another file of that name exists", "move it away"],
    ),
    "a folder for export": (nothing, "export runs/tiny --job {job} --out runs", 1, ["regular file, got a folder"]),
    "a file that was cut for export": (
        cut(artifact),
        "export runs/tiny --job {job} --out new.lcz",
        5,
        ["expected a whole packed model"],
    ),
    "another job's file for export": (
        lambda: artifact().write_bytes(FOLDER.artifact(some_record("prune")).read_bytes()) and None,
        "export runs/tiny --job {job} --out new.lcz",
        5,
        ["expected SHA-256", "as its record says"],
    ),
    "a file that was cut": (cut(artifact), "verify {artifact}", 5, ["model.lcz: expected a whole packed model (.lcz)"]),
    "a file that was cut to nothing": (cut(artifact, 0), "verify {artifact}", 5, ["expected a whole packed model"]),
    "a file that was flipped": (flipped, "verify {artifact}", 5, ["expected a whole packed model"]),
    "a file that is a text": (file_in_the_way, "verify file", 5, ["file: expected a whole packed model"]),
    "a file of another study": (
        study(changed("manual_seed(0)", "manual_seed(1)")),
        "verify {artifact} --study bad.py",
        1,
        ["study 'bad.py': not the one that"],
    ),
    "a file of an unknown study": (nothing, "verify {artifact} --study no_such", 1, ["'no_such': no such module"]),
    "a file that claims nothing": (
        nothing,
        f"verify {FOLDER.reference} --study tiny.py",
        5,
        ["claims no validation accuracy"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_a_line_and_loses_nothing(finished: Path, what: str) -> None:
    spoil, line, code, words = BAD[what]
    job = some_record()
    spoil()
    before = tree(finished)
    said = lcsweep(*line.format(job=job, artifact=FOLDER.artifact(job)).split())
    assert_refused(said, code, *words)
    after = tree(finished)
    assert {path: digest for path, digest in after.items() if path in before} == before
    assert "new.lcz" not in after


KEEP = 'Joint(L0Pruning(keep=configuration["keep"]))'
UNSEEN = {
    "a manifest without its facts": (write(FOLDER.manifest, '{"format": 1}'), "status runs/tiny", "sweep.json"),
    "a record without its facts": (
        lambda: FOLDER.record(some_record()).write_text('{"format": 1}') and None,
        "status runs/tiny",
        "record.json",
    ),
    "data that raise": (
        study(changed("    generator =", '    raise RuntimeError("no data here")\n    generator =')),
        "run bad.py --out new",
        "no data here",
    ),
    "a model that raises": (
        study(changed("    return nn.Seq", '    raise RuntimeError("no model here")\n    return nn.Seq')),
        "run bad.py --out new",
        "no model here",
    ),
    "a plan that raises": (study(changed(KEEP, KEEP.replace('keep"', 'kep"'))), "run bad.py --out new", "prune"),
    "a reference that diverges": (
        study(
            changed("nn.Tanh()", "nn.Identity()", text=changed("Recipe(epochs=20, lr=0.1", "Recipe(epochs=20, lr=1e30"))
        ),
        "run bad.py --out new",
        "reference",
    ),
}


@pytest.mark.parametrize("what", UNSEEN)
def test_bad_input_that_comes_out_as_a_traceback(finished: Path, what: str) -> None:
    spoil, line, word = UNSEEN[what]
    spoil()
    assert_refused(lcsweep(*line.split()), 1, word)


def test_the_debug_variable_brings_the_traceback(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LCSWEEP_DEBUG", "1")
    with pytest.raises(ValueError, match="no such module"):
        app.main(["run", "no_such_study"])


# Exit codes


def test_an_interrupt_exits_with_130(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweep.prepare.prepared.prepare", interrupt)
    said = lcsweep("run", "tiny.py")
    assert said.code == 130
    assert said.err.splitlines()[-1] == "lcsweep: interrupted; run the same command again to continue"
    assert "Traceback" not in said.err


def test_a_pick_that_misses_its_target_exits_with_4_and_is_given(finished: Path) -> None:
    said = lcsweep("pick", RUN, "--min-accuracy", "1.0")
    assert (said.code, said.err) == (4, "")
    best = max(record.val.value for record in read_records(RUN))
    assert f"MISSED by {100 * (1 - best):.2f} points" in said.out
    assert json.loads(FOLDER.pick.read_text())["meets_target"] is False


COMMANDS = ("init", "run", "status", "report", "compare", "pick", "export", "verify", "bench")


def test_help_lists_the_commands_and_the_exit_codes() -> None:
    for arguments in (["--help"], []):
        said = lcsweep(*arguments)
        assert (said.code, said.err) == (0, "")
        for word in (
            "run",
            "status",
            "report",
            "compare",
            "pick",
            "export",
            "verify",
            "5 a file failed verification",
            "130",
        ):
            assert word in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    said = lcsweep(command, "--help")
    assert said.code == 0
    assert lcsweep(command, "-h") == said
    assert f"lcsweep {command}" in said.out
    assert "--trial " not in said.out


def test_the_options_of_run_are_in_groups() -> None:
    """Each but --data, --dry-run and --help, which stand alone."""
    parts = re.split(r"^.*─ ([A-Z][\w ]+) ─.*$", lcsweep("run", "-h").out, flags=re.MULTILINE)
    groups = {name: set(re.findall(r"--[a-z-]+", lines)) for name, lines in zip(parts[1::2], parts[2::2], strict=True)}
    assert groups["Target"] >= {"--max-drop", "--relative", "--min-accuracy"}
    assert groups["What to run"] >= {"--search", "--trials", "--macs", "--method"}
    assert groups["Seeds"] >= {"--repeats", "--seed", "--confirm"}
    assert groups["Where it runs"] >= {"--workers", "--address", "--gpus-per-job"}
    assert groups["Where results go"] >= {"--out", "--storage", "--track"}
    assert {"--data", "--dry-run", "--help"} <= groups["Options"]


def test_the_version_is_that_of_the_package() -> None:
    said = lcsweep("--version")
    assert (said.code, said.out, said.err) == (0, f"lcsweep {importlib.metadata.version('lcsweep')}\n", "")
    assert lcsweep("--version", "run") == said


# What the commands print


def test_a_dry_run_lists_the_jobs_and_touches_nothing(finished: Path) -> None:
    write_study(finished, name="new.py", text=changed('"tiny"', '"new"'))
    before = tree(finished)
    said = lcsweep("run", "new.py", "--dry-run")
    assert said.code == 0
    rows = [line for line in said.out.splitlines() if re.match("[0-9a-f]{16} ", line)]
    assert len(rows) == 7
    assert "7 jobs, 7 without a result" in said.out
    sizes = [int(row.split()[-2].replace(",", "")) for row in rows]
    assert f"disk: at most {(sum(sizes) + 7 * FACTS_BYTES) / 1e3:.1f} kB to keep" in said.out
    two = lcsweep("run", "new.py", "--dry-run", "--trials", "2").out
    assert f"disk: at most {(sum(sorted(sizes)[-2:]) + 2 * FACTS_BYTES) / 1e3:.1f} kB to keep" in two
    assert tree(finished) == before
    assert not Path("runs", "new").exists()


def test_a_dry_runs_nominal_bytes_are_those_of_the_files(finished: Path) -> None:
    before = tree(finished)
    said = lcsweep("run", "tiny.py", "--dry-run")
    for record in read_records(RUN):
        (row,) = (line for line in said.out.splitlines() if line.startswith(record.id))
        assert f"{record.nominal_bytes:,}" in row
        assert f"{record.macs:,}" in row
        assert row.endswith("done")
    assert "7 jobs, 0 without a result" in said.out
    assert "time:" not in said.out
    assert tree(finished) == before


def test_a_dry_run_of_a_search_lists_all_its_jobs(finished: Path) -> None:
    line = ("run", "tiny.py", "--search", "smallest", "--repeats", "2", "--trials", "5", "--dry-run")
    said = lcsweep(*line)
    assert said.code == 0
    assert re.search("50 jobs, 43 without a result.* of which this run starts at most 5", said.out)
    (time,) = (line for line in said.out.splitlines() if line.startswith("time: about "))
    assert "a search needs only some of those left; all about" in time


def test_the_command_that_confirms_names_the_data_where_the_environment_does_not(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LCSWEEP_DATA", "elsewhere")
    Path("my data").mkdir()
    ask = ("pick", RUN, "--max-drop", "20%", "--data", "my data", "--no-test", "--json")
    assert lcsweep(*ask).json["confirm"].endswith(" --data 'my data'")
    assert "--data" not in lcsweep(*ask).json["confirm"]  # the environment says it by now


def test_a_dry_run_of_a_search_costs_what_the_results_leave(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.execution.runner.run", run_here)
    search = ("run", "tiny.py", "--search", "smallest", "--workers", "1")
    before = tree(finished)
    said = lcsweep(*search, "--dry-run").out
    assert tree(finished) == before
    rows = [line for line in said.splitlines() if re.match("[0-9a-f]{16} ", line)]
    out = [row for row in rows if row.endswith("ruled out")]
    left = [row for row in rows if not row.endswith(("ruled out", "done"))]
    assert out
    assert left
    assert f"25 jobs, {len(out + left)} without a result, of which the results rule out {len(out)}\n" in said
    bytes = sum(int(row.split()[-2].replace(",", "")) + FACTS_BYTES for row in left)
    assert f"disk: at most {bytes / 1e3:.1f} kB to keep" in said
    started = re.search(r"smallest: (\d+) jobs? started", lcsweep(*search).out)
    assert started is not None
    assert int(started[1]) > 0
    after = lcsweep(*search, "--dry-run").out
    assert "the search is over: it would start no job" in after
    assert "time:" not in after
    assert "smallest: 0 jobs started" in lcsweep(*search).out


def test_a_timed_step_tells_a_jobs_time(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second, here, for direct compression, for each of 20 or 40 LC steps, and for each time that it is measured."""
    monkeypatch.setattr(estimate, "time", SimpleNamespace(monotonic=itertools.count(0.0).__next__))
    seconds = []
    for epochs, method in ((10, "lc"), (1000, "lc"), (1000, "dc")):
        write_study(finished, name="timed.py", text=changed("Schedule(epochs=2,", f"Schedule(epochs={epochs},"))
        said = lcsweep("run", "timed.py", "--method", method, "--out", "timed", "--dry-run").out
        found = re.search(r"time: about (.*) a job \(measured here on one LC step of prune.*: keep 0.5, seed 0", said)
        assert found, said
        seconds.append(as_seconds(found[1]))
    assert seconds == [1 + 20 + 21, 1 + 40 + 41, 1 + 1]


def as_seconds(words: str) -> float:
    """ "3.5 s", "12 s" and "2 min 05 s" as a number."""
    minutes, _, rest = words.rpartition(" min ")
    return 60 * float(minutes or 0) + float(rest.removesuffix(" s"))


LOW_RANK = '        Family("low rank", {"rank": (6, 4, 2, 1)}, low_rank, grid={"rank": (2,)}),\n'
GROWN = {
    "the grid": STUDY,
    "a level": changed("(0.8, 0.5, 0.3", "(0.9, 0.8, 0.5, 0.3"),
    "a family": changed(LOW_RANK, LOW_RANK + LOW_RANK.replace("low rank", "more").replace("(2,)", "()")),
    "the families' order": changed("    families=(\n", "    families=(\n" + LOW_RANK, text=changed(LOW_RANK, "")),
    "the levels' order": changed("(6, 4, 2, 1)", "(6, 2, 4, 1)"),
}


PENALTY = 'Family("penalty", {"alpha": (1e-5, 1e-4)}, lambda level: {"*": L0Penalty(alpha=level["alpha"])}),\n'
WITH_PENALTY = changed("L0Pruning, LowRank", "L0Penalty, L0Pruning, LowRank")
OPEN = changed("    families=(\n", f"    families=(\n        {PENALTY}", text=WITH_PENALTY)


def test_a_family_of_open_size_runs_in_a_grid_and_is_left_out_of_the_smallest(
    finished: Path, without_ray: None
) -> None:
    write_study(finished, text=OPEN)
    rows = [line for line in lcsweep("run", "tiny.py", "--dry-run").out.splitlines() if " penalty " in line]
    assert len(rows) == 2
    assert all(row.count("at most") == 2 for row in rows)
    searched = lcsweep("run", "tiny.py", "--search", "smallest", "--dry-run").out.splitlines()
    assert searched[-2] == "not searched, since their sizes are not known before training: penalty"
    assert searched[-1].startswith("low rank governs 66.4% of the parameters")
    said = lcsweep("run", "tiny.py")
    assert (said.code, "2 jobs started, 7 already done" in said.out) == (0, True)
    said = lcsweep("run", "tiny.py", "--search", "smallest", "--trials", "1", "--confirm", "0")
    assert "not searched, since their sizes are not known before training: penalty" in said.out
    assert said.code == 0


def test_results_of_a_plan_that_said_something_else_are_refused(finished: Path, without_ray: None) -> None:
    write_study(finished, text=changed('return {"*": Codebook(', 'return {"0": Codebook('))
    said = lcsweep("run", "tiny.py")
    assert said.code == 1
    assert "holds results of family quantize, size 2, from when its plan said something else" in said.err
    assert len(said.err.splitlines()) == 1
    write_study(
        finished,
        text=changed(
            'Family("quantize"',
            'Family("first layer"',
            text=changed('return {"*": Codebook(', 'return {"0": Codebook('),
        ),
    )
    assert "2 jobs started" in lcsweep("run", "tiny.py").out


@pytest.mark.parametrize("what", GROWN)
def test_a_space_can_change_and_what_is_known_stays_known(finished: Path, without_ray: None, what: str) -> None:
    """The first run indexes what is done of a smaller grid, the second meets its index."""
    write_study(finished, text=changed('grid={"rank": (2,)}', 'grid={"rank": ()}'))
    assert "0 jobs started, 6 already done" in lcsweep("run", "tiny.py").out
    write_study(finished, text=GROWN[what])
    said = lcsweep("run", "tiny.py")
    assert said.code == 0, said
    assert "0 jobs started, 7 already done" in said.out


def test_status_tells_what_is_done_and_what_failed(finished: Path) -> None:
    job = some_record()
    error = {"message": "ValueError: out of luck", "traceback": "Traceback"}
    edit(FOLDER.record(job), status="failed", error=error, val=None, direct=None, artifact_bytes=None)
    said = lcsweep("status", RUN)
    assert (said.code, said.err) == (0, "")
    assert "6 jobs done, 1 failed" in said.out
    assert "failed: both: keep 0.3, size 4, seed 0: ValueError: out of luck" in said.out
    facts = lcsweep("status", RUN, "--json").json
    assert (facts["done"], facts["failed"][0]["id"], facts["study"]) == (6, job, "tiny")
    assert facts["failed"][0]["error"]["message"] == "ValueError: out of luck"


@pytest.mark.usefixtures("png_only")
def test_json_is_one_object_on_standard_output_and_nothing_else(finished: Path) -> None:
    lines = [
        ("report", RUN, "--json"),
        ("pick", RUN, "--max-drop", "0.05", "--json"),
        ("export", RUN, "--out", "model.lcz", "--json"),
        ("verify", "model.lcz", "--study", "tiny.py", "--json"),
        ("status", RUN, "--json"),
    ]
    said = {str(line[0]): lcsweep(*line) for line in lines}
    for name, one in said.items():
        assert (one.code, one.err) == (0, ""), name
    picked = said["pick"].json
    assert picked == json.loads(FOLDER.pick.read_text()) | {"artifact": f"{RUN}/artifacts/{picked['id']}/model.lcz"}
    assert said["export"].json["file"] == "model.lcz"
    assert said["export"].json["sha256"] == said["verify"].json["sha256"] == picked["artifact_sha256"]
    assert said["verify"].json["outputs"] == "as claimed"
    assert said["status"].json["pick"] == picked
    assert said["report"].json["choice"]["id"] == picked["id"]
    assert Path(said["report"].json["paths"]["html"]).is_file()


@pytest.mark.parametrize("format", ["md", "csv", "parquet", "json"])
def test_a_report_is_written_as_asked(finished: Path, format: str) -> None:
    said = lcsweep("report", RUN, "--format", format)
    assert (said.code, said.err) == (0, "")
    name = "report.md" if format == "md" else f"records.{format}"
    assert str(RUN / "report" / name) in said.out
    written = {path.name for path in (RUN / "report").iterdir()}
    assert written == ({name, "front.png"} if format == "md" else {name})
    assert lcsweep("report", RUN, "--format", format, "--json").code == 0


def test_a_comparison_is_printed_and_written_where_asked(finished: Path) -> None:
    before = tree(finished)
    said = lcsweep("compare", f"{RUN}:prune", f"{RUN}:low rank", RUN, "--min-accuracy", "0.01")
    assert (said.code, said.err) == (0, "")
    smallest = min(record.artifact_bytes for record in read_records(RUN))
    for word in (f"{RUN}:low rank", "hypervolume", f"{smallest:,}", "Error: 1 \u2212 accuracy on the validation split"):
        assert word in said.out
    assert tree(finished) == before
    facts = lcsweep("compare", f"{RUN}:prune", RUN, "--out", "new", "--max-drop", "30%", "--json").json
    assert [side["name"] for side in facts["sides"]] == [f"{RUN}:prune", str(RUN)]
    assert [side["candidates"] for side in facts["sides"]] == [3, 7]
    assert facts["sides"][1]["hypervolume"] >= facts["sides"][0]["hypervolume"]
    assert facts["levels"][-1]["name"] == "target"
    assert all(Path(path).is_file() for path in facts["paths"].values())


def test_the_texts_say_what_matters(finished: Path) -> None:
    page = RUN / "report" / "index.html"
    page.parent.mkdir()
    page.write_text("as lcsweep report writes it")
    picked = lcsweep("pick", RUN)
    facts = json.loads(FOLDER.pick.read_text())
    for word in (
        f"job {facts['id']}",
        f"{facts['artifact_bytes']:,} bytes",
        f"{facts['compression_ratio']:.1f} times smaller",
        f"accuracy {facts['test']['accuracy']:.2%} (95 % interval",
        "2 models measured on it so far",
        str(page),
    ):
        assert word in picked.out
    exported = lcsweep("export", RUN, "--out", "new/model.lcz")
    assert exported.code == 0
    assert Path("new/model.lcz").read_bytes() == FOLDER.artifact(facts["id"]).read_bytes()
    assert "as claimed; --study STUDY verifies it" in lcsweep("verify", "new/model.lcz").out
    assert "examples, verified\n" in lcsweep("verify", "new/model.lcz", "--study", "tiny.py").out


def test_a_command_in_a_message_is_quoted_for_a_shell(finished: Path) -> None:
    RUN.rename("runs/my sweep")
    assert "run lcsweep pick 'runs/my sweep', or" in lcsweep("export", "runs/my sweep", "--out", "model.lcz").err
    said = lcsweep("init", "my studies/first.py", "--dataset", "digits")
    assert "then: lcsweep run 'my studies/first.py' --dry-run\n" in said.out
    assert "    lcsweep run 'my studies/first.py' --search smallest " in Path("my studies/first.py").read_text()


def test_a_file_that_was_chosen_by_its_score_says_so_beside_it(finished: Path) -> None:
    """Everything that shows the score: the best of several seeds is no estimate."""
    record = next(record for record in read_records(RUN) if record.id == some_record()).to_json()
    own, path = ("--job", record["id"]), FOLDER.artifact(record["id"])
    words = "; best of 4 on validation, which flatters"
    assert words not in lcsweep("verify", path).out
    for seed in (1, 2, 3):
        target = FOLDER.record(f"{seed:016x}")
        target.parent.mkdir()
        score = record["val"] | {"accuracy": record["val"]["accuracy"] - 0.01 * seed}
        target.write_text(json.dumps(record | {"id": target.parent.name, "seed": seed, "val": score}))
    shown = [
        lcsweep("export", RUN, *own, "--out", "model.lcz"),
        lcsweep("export", RUN, *own, "--out", "tidied.lcz", "--tidy"),
        lcsweep("export", RUN, *own, "--out", "model.onnx", "--format", "onnx"),
        lcsweep("verify", "model.onnx"),
        lcsweep("verify", path, "--study", "tiny.py"),
        lcsweep("export", RUN, *own, "--out", "dense", "--format", "safetensors"),
    ]
    for said in shown:
        assert (said.code, words in said.out) == (0, True), said
    assert f"n = 90){words} |" in Path("dense/README.md").read_text()


def test_an_export_names_a_job_by_the_start_of_its_id_and_may_be_repeated(finished: Path) -> None:
    """`--trial` is the option's old name, which still works and which no help shows."""
    job = some_record()
    for option in ("--job", "--job", "--trial"):
        said = lcsweep("export", RUN, option, job[:6], "--out", "model.lcz")
        assert said.code == 0, said
    assert Path("model.lcz").read_bytes() == FOLDER.artifact(job).read_bytes()


def test_two_picks_count_one_look(finished: Path) -> None:
    asked = (("0.05",), ("5%",), ("5%", "--by", "macs"), ("100%", "--no-test"), ("100%",), ("100%", "--test"))
    picks = [lcsweep("pick", RUN, "--max-drop", *options, "--json").json for options in asked]
    assert [each["test"] and each["test"]["looks"] for each in picks] == [
        2,
        2,
        2,
        None,
        None,
        3,
    ]  # by MACs it is the same file
    assert picks[0]["id"] == picks[1]["id"]
    assert lcsweep("status", RUN, "--json").json["test_looks"] == 3
    assert "test split: 3 models have been measured on it, the reference included" in lcsweep("status", RUN).out
    assert picks[4]["no_test"] == "not looked at: it was looked at for another target before; --test looks again"


def test_a_drop_of_a_fraction_is_a_percentage_or_small(finished: Path) -> None:
    for wrong, words in (("1", "--max-drop: 1 may mean 1% or 100%"), ("0.3", "0.3 may mean 0.3% or 30%")):
        for command in (("pick", RUN), ("run", "tiny.py"), ("report", RUN)):
            said = lcsweep(*command, "--max-drop", wrong)
            assert said.code == 2, said
            assert words in said.err
    assert not FOLDER.pick.exists()
    assert "0.02 of" not in lcsweep("pick", RUN, "--max-drop", "2 %").out
    assert json.loads(FOLDER.pick.read_text())["target"] == {"max_drop": 0.02}
    assert "expected a number, or a percentage such as 1%, got 'much'" in lcsweep("pick", RUN, "--at-least", "much").err


def test_the_command_that_a_pick_prints_confirms_the_model(
    finished: Path, without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs the further seeds of that model alone, and leaves the sweep's number of seeds as it is."""
    first = lcsweep("pick", RUN, "--at-least", "50%", "--json").json
    assert (first["state"], first["better"], first["mean_accuracy"]) == ("unconfirmed", None, first["val"]["accuracy"])
    command = shlex.split(first["confirm"])
    expected = f"lcsweep run tiny.py --out {RUN} --job {first['id']} --repeats 4 --at-least 0.5"
    assert command == expected.split()
    before, manifest = {record.id for record in read_records(RUN)}, FOLDER.manifest.read_text()
    said = lcsweep(*command[1:])
    assert said.code == 0, said
    assert re.search(rf"^{first['family']}: .*, mean of 3 fresh seeds .*; for accuracy 50.00%: \w+, ", said.out, re.M)
    new = [record for record in read_records(RUN) if record.id not in before]
    assert [(record.configuration, record.seed) for record in new] == [
        (first["configuration"], seed) for seed in (1, 2, 3)
    ]
    assert FOLDER.manifest.read_text() == manifest
    assert (
        "confirmed, enough fresh seeds clear the bound: an accuracy of at least 50.00%, on validation, in 4 seeds"
        in (lcsweep("status", RUN).out)
    )
    known = lcsweep("status", RUN, "--json").json["pick"]
    again = lcsweep("pick", RUN, "--at-least", "50%", "--json").json
    names = ("seeds", "accuracies", "mean_accuracy", "state", "confirm")
    assert known == first | {name: again[name] for name in names}
    assert again["configuration"] == first["configuration"]
    assert (again["state"], again["confirm"]) == ("confirmed", None)
    told = lcsweep("pick", RUN, "--at-least", "50%").out
    assert "mean of 3 fresh seeds (all seeds: " in told
    assert "; best of 4 on validation, which flatters" in told
    wrong = lcsweep("run", "tiny.py", "--job", "nothing")
    assert "expected one finished job whose id starts with 'nothing', found 0" in wrong.err


def test_every_line_names_a_configuration_with_its_method(finished: Path, without_ray: None) -> None:
    """The run's last line; of a pick itself and the models beside it; and status."""
    first = lcsweep("run", "tiny.py", "--method", "dc").out
    assert " (dc) " in lcsweep("run", "tiny.py", "--method", "dc", "--dry-run").out.splitlines()[1]
    records = {record.id: record for record in read_records(RUN)}
    seen = set()
    for options in ((), ("--by", "macs"), ("--at-least", "50%"), ("--at-least", "1")):
        said = lcsweep("pick", RUN, "--no-test", *options).out
        picked = json.loads(FOLDER.pick.read_text())
        beside = {name: picked[name]["id"] for name in ("better", "next_smaller", "runner_up") if picked[name]}
        for place, job in {"picked": picked["id"], **beside}.items():
            record = records[job]
            method = "" if record.method == "lc" else f" ({record.method})"
            name = f"{record.family}{method}: {record.label}, "
            assert name in said, (options, place)
            seen.add((place, record.method))
        name = said.split("picked", 1)[1].split(", by ")[0].strip()
        assert f"picked: {name}, " in lcsweep("status", RUN).out
        if not options:
            assert f"{name}, {picked['artifact_bytes']:,} bytes" in first
    assert {("picked", "dc"), ("next_smaller", "dc"), ("runner_up", "dc")} <= seen


def test_a_better_one_that_is_unconfirmed_comes_first_beside_the_picks_cost(finished: Path) -> None:
    """After a search by bytes, a pick by MACs names what it would have picked before, and how to confirm it."""
    before = lcsweep("pick", RUN, "--at-least", "50%", "--by", "macs", "--json").json
    done = [record for record in read_records(RUN) if isinstance(record, Done)]
    macs = next(record.macs for record in done if record.id == before["id"])
    dearer = next(record for record in done if record.macs > macs)
    for seed in (1, 2, 3):  # as a search for something else would have run them
        size = dearer.artifact_bytes + 1  # so that the first seed's file is picked
        copied = dearer.to_json() | {"id": f"{seed:016x}", "seed": seed, "artifact_bytes": size}
        target = FOLDER.record(copied["id"])
        target.parent.mkdir()
        target.write_text(json.dumps(copied))
    after = lcsweep("pick", RUN, "--at-least", "50%", "--by", "macs", "--json").json
    assert (after["state"], after["better"]["id"]) == ("confirmed", before["id"])
    said = lcsweep("pick", RUN, "--at-least", "50%", "--by", "macs").out.splitlines()
    found = next(k for k, line in enumerate(said) if line.startswith("unconfirmed"))
    assert said[found - 1].startswith("target")
    costs = f"{macs:,} MACs (the pick: {dearer.macs:,} MACs): meets the target so far, in 1 seed"
    assert f"{costs}; picked once it is confirmed" in said[found]
    assert said[found + 1].split(maxsplit=2)[2] == after["confirm"] == before["confirm"]


def test_a_pick_that_further_seeds_refute_is_missed_everywhere(finished: Path) -> None:
    """What status and export say of a pick is what its seeds show by now."""
    first = lcsweep("pick", RUN, "--at-least", "50%", "--json").json
    record = next(record for record in read_records(RUN) if record.id == first["id"]).to_json()
    for seed in (1, 2, 3):
        target = FOLDER.record(f"{seed:016x}")
        target.parent.mkdir()
        score = record["val"] | {"accuracy": 0.4}
        target.write_text(json.dumps(record | {"id": target.parent.name, "seed": seed, "val": score}))
    missed = "MISSED by 10.00 points: an accuracy of at least 50.00%, on validation, in 4 seeds"
    assert missed in lcsweep("status", RUN).out
    known = lcsweep("status", RUN, "--json").json["pick"]
    assert (known["state"], known["meets_target"], known["confirm"]) == ("missed", False, None)
    assert (known["shortfall"], known["mean_accuracy"]) == (pytest.approx(0.1), pytest.approx(0.4))
    said = lcsweep("export", RUN, "--out", "model.lcz")
    assert (said.code, missed in said.err) == (4, True)


def test_a_pick_at_the_target_itself_is_not_to_be_confirmed(finished: Path) -> None:
    """Whose mean over fresh seeds is what is asked for: no number of seeds is expected to confirm that."""
    first = lcsweep("pick", RUN, "--at-least", "50%", "--json").json
    record = next(record for record in read_records(RUN) if record.id == first["id"]).to_json()
    values = [record["val"]["accuracy"] - less for less in (0.001, 0.002, 0.003)]
    for seed, value in enumerate(values, start=1):
        score = record["val"] | {"accuracy": value}
        target = FOLDER.record(f"{seed:016x}")
        target.parent.mkdir()
        target.write_text(json.dumps(record | {"id": target.parent.name, "seed": seed, "val": score}))
    asked = ("pick", RUN, "--at-least", repr(sum(values) / 3))
    picked = lcsweep(*asked, "--json").json
    assert (picked["id"], picked["state"], picked["confirm"]) == (first["id"], "unconfirmed", None)
    said = lcsweep(*asked).out
    assert re.search(
        "^to confirm +none: it is so close to the target that further seeds are not expected to", said, re.M
    )
    assert "--repeats" not in said


def test_a_relative_drop_a_bound_and_the_knee(finished: Path) -> None:
    accuracy = json.loads(FOLDER.manifest.read_text())["reference"]["val"]["accuracy"]
    relative = lcsweep("pick", RUN, "--max-drop", "0.05", "--relative", "--json").json
    assert relative["id"] == lcsweep("pick", RUN, "--max-drop", str(0.05 * accuracy), "--json").json["id"]
    assert "5.00% of the reference's accuracy" in lcsweep("pick", RUN, "--max-drop", "0.05", "--relative").out
    assert (
        "unconfirmed, meets the target so far, with the 95 % bound of every seed"
        in lcsweep("pick", RUN, "--min-accuracy", "0.5", "--confident").out
    )
    knee = lcsweep("pick", RUN, "--knee")
    assert (knee.code, "the knee of the front, on validation, in 1 seed" in knee.out) == (0, True)
    assert "picked: " in lcsweep("status", RUN).out
    said = lcsweep("pick", RUN, "--max-drop", "0.05").out
    assert re.search(r"next smaller +.*: misses by [0-9.]+ points, in 1 seed\n", said)
    assert "runner-up" in said


# The installed command


def installed(*arguments: str) -> Said:
    command = Path(sys.executable).with_name("lcsweep")
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False, timeout=120)
    return Said(done.returncode, done.stdout, done.stderr)


def test_the_installed_command_helps() -> None:
    said = installed("--help")
    assert (said.code, said.err) == (0, "")
    assert "Usage: lcsweep" in said.out


@pytest.mark.slow
def test_the_installed_command_exits_with_the_code_and_one_line(finished: Path) -> None:
    assert_refused(installed("status", "nowhere"), console.ERROR, "nowhere: no such folder")
    assert_refused(installed("run"), console.USAGE, "Missing argument")
    Path("spoilt.lcz").write_bytes(artifact().read_bytes()[:-5])
    assert_refused(installed("verify", "spoilt.lcz"), console.NOT_VERIFIED, "spoilt.lcz: expected a whole packed model")


def test_the_shell_completes_commands() -> None:
    command = Path(sys.executable).with_name("lcsweep")
    asked = {"_LCSWEEP_COMPLETE": "complete_bash", "COMP_WORDS": "lcsweep sta", "COMP_CWORD": "1"}
    done = subprocess.run([command], env=os.environ | asked, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["status"], "")


def test_a_closed_pipe_is_no_traceback(finished: Path) -> None:
    """`lcsweep status DIR | head -1`, and a reader that has gone."""
    read, write_end = os.pipe()
    os.close(read)
    command = [Path(sys.executable).with_name("lcsweep"), "status", RUN]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(write_end)
    assert "Traceback" not in done.stderr


def test_standard_output_may_be_a_buffer(finished: Path) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert app.main(["status", str(RUN)]) == 0
    assert "7 jobs done" in out.getvalue()
