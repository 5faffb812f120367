"""The driver is killed again and again at random moments: nothing is lost, done twice or left behind."""

import contextlib
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.processes import BUSY
from sweep.search.index import index_url
from sweep.store.folder import SweepFolder
from sweep.store.records import read_records
from tests.sweep.tiny import STUDY, folders_and_files, write_study

KILLS, SEED = 20, 5
LC_STEP, APART = 0.25, 0.5  # seconds: a job takes some and is hit by kills, and has checkpoints

TRACED = (
    STUDY
    + f'''

import time
import uuid
from pathlib import Path

from sweep.job import checkpoint

checkpoint.SECONDS = {APART}
offer, worker = checkpoint.Checkpoints.offer, uuid.uuid4().hex


def traced(checkpoints, state, *others):
    """`Checkpoints.offer`, called after each LC step, which is noted and slowed down."""
    with Path(__file__).with_name("trace").open("a") as trace:
        trace.write(f"{{time.time()}} {{worker}} {{checkpoints._identity['job']}} {{state.step}}\\n")
    time.sleep({LC_STEP})
    offer(checkpoints, state, *others)


checkpoint.Checkpoints.offer = traced
'''
)


@dataclass(frozen=True)
class Step:
    """An LC step that a worker made."""

    at: float
    worker: str
    job: str
    number: int


def steps(folder: Path) -> list[Step]:
    path = folder / "trace"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Step(float(at), worker, job, int(step)) for at, worker, job, step in map(str.split, lines)]


def starts(trace: list[Step]) -> list[list[Step]]:
    """The steps of each start of a job, in the order of the starts."""
    found: dict[tuple[str, str], list[Step]] = {}
    for step in trace:
        found.setdefault((step.worker, step.job), []).append(step)
    return sorted(found.values(), key=lambda made: made[0].at)


def start(folder: Path, *, temporary: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("lcsweep")), "run", "tiny.py", "--repeats", "2", "--workers", "2"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | BUSY | {"TMPDIR": str(temporary)},
    )


def until(ready: Any, process: subprocess.Popen[str], *, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not ready() and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.02)


def checkpoints(folder: SweepFolder) -> dict[str, int]:
    """Job -> the LC step that it would go on from."""
    found = {}
    for path in sorted(folder.checkpoints.glob("[!.]*")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            found[path.name] = int(json.loads(file.readline())["step"])
    return found


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short path for temporary folders."""
    path = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def wait_for(kind: str, moment: float, process: subprocess.Popen[str], place: Path, folder: SweepFolder) -> None:
    """Returns at the moment of a kill. Does not wait for a last step by workers of a killed driver."""
    gone, records = {step.worker for step in steps(place)}, len(list(folder.artifacts.glob("*/record.json")))
    match kind:
        case "starting":
            time.sleep(2 * moment)
            return
        case "at a record":
            until(lambda: len(list(folder.artifacts.glob("*/record.json"))) > records, process)
            time.sleep(moment / 30)
        case _:
            until(lambda: {step.worker for step in steps(place)} - gone, process)
            time.sleep(moment)


@pytest.mark.slow
def test_a_driver_that_is_killed_twenty_times_loses_nothing(tmp_path: Path, temporary: Path) -> None:
    draw, sessions, kills = random.Random(SEED), list[int](), list[tuple[float, dict[str, int]]]()
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for place in (killed, whole):
        place.mkdir()
        write_study(place, text=TRACED)
    folder = SweepFolder(killed / "runs" / "tiny")
    try:
        while len(kills) < KILLS:
            number = len(kills)
            process = start(killed, temporary=temporary)
            sessions.append(process.pid)
            kind = ("starting", "running", "running", "at a record", "running")[number % 5]
            wait_for(kind, draw.uniform(0, 3), process, killed, folder)
            assert process.poll() is None, process.communicate()
            process.send_signal(signal.SIGKILL)
            process.communicate()
            done = len(list(folder.artifacts.glob("*/record.json")))
            kills.append((time.time(), checkpoints(folder)))
            say(f"kill {number + 1}, {kind}: {done} records; checkpoints at LC steps {list(kills[-1][1].values())}")
        said: list[str] = []
        for place in (killed, killed, whole):  # what is left, then nothing, and all at once
            last = start(place, temporary=temporary)
            sessions.append(last.pid)
            out, _ = last.communicate(timeout=600)
            assert last.returncode == 0, out
            said.append(out)
    finally:
        for session in sessions:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(session, signal.SIGKILL)
    assert [bool(re.search(r"\b0 jobs started", each)) for each in said] == [False, True, False]
    made = starts(steps(killed))
    check_steps(made, kills, folder)
    check_results(folder, SweepFolder(whole / "runs" / "tiny"))
    assert not [str(path) for path in temporary.rglob("*") if "lcs-" in str(path)]


def check_steps(made: list[list[Step]], kills: list[tuple[float, dict[str, int]]], folder: SweepFolder) -> None:
    """Each start continues from the last checkpoint, and no job with a record starts again."""
    redone, resumed = [], []
    known: dict[str, int] = {}  # job -> the last LC step that was made
    for begun in made:
        job, first = begun[0].job, begun[0].number
        assert begun[0].at < folder.record(job).stat().st_mtime, "a job with a record was run again"
        assert [step.number for step in begun] == list(range(first, begun[-1].number + 1))
        if job in known:
            held = [checkpoints.get(job, -1) for at, checkpoints in kills if at < begun[0].at][-1]
            assert held < first <= known[job] + 1, "a start did not continue from the checkpoint"
            resumed.append(first)
            redone.append(known[job] + 1 - first)
        known[job] = max(known.get(job, 0), begun[-1].number)
    say(f"{len(made)} starts of {len(known)} jobs; resumed at LC steps {resumed}; LC steps made again: {redone}")
    assert len(resumed) >= KILLS / 2
    assert sum(step > 0 for step in resumed) >= KILLS / 4
    assert set(known.values()) == {20}


def check_results(folder: SweepFolder, whole: SweepFolder) -> None:
    """The same files with the same content, except times. The index must be closed."""
    assert sorted(folders_and_files(folder.root)) == sorted(folders_and_files(whole.root))
    own = dict.fromkeys(("seconds", "finished"))
    records = [[dataclasses.replace(record, **own) for record in read_records(each.root)] for each in (folder, whole)]
    assert records[0] == records[1]
    assert len(records[0]) == 14
    assert {record.status for record in records[0]} == {"done"}
    for record in records[0]:
        for name in ("model.lcz", "diagnostics.json"):
            mine, theirs = (each.artifacts / record.id / name for each in (folder, whole))
            assert mine.read_bytes() == theirs.read_bytes()
    (index,) = optuna.get_all_study_summaries(index_url(folder.index))
    trials = optuna.load_study(study_name=index.study_name, storage=index_url(folder.index)).get_trials()
    complete = [trial.user_attrs["job"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert sorted(complete) == sorted(record.id for record in records[0])
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.FAIL}
