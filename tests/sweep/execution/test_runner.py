"""The runner on the real Ray, with a study that takes a fraction of a second a job."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.exceptions import OutOfMemoryError

from lc_core.file.artifact import encode
from sweep.execution import dispatch, runner
from sweep.execution.cluster import Capacity
from sweep.execution.context import RunContext
from sweep.execution.progress import Step
from sweep.execution.tune_events import TuneEvents
from sweep.job import checkpoint
from sweep.job.compress import run_job
from sweep.job.context import open_context, split_arrays
from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.record import Record
from sweep.study.loading import load_study
from tests.sweep.tiny import done_record

pytestmark = pytest.mark.slow

STUDY = """
    import os
    import signal
    import time
    from pathlib import Path

    import torch
    from torch import nn

    from lc_core import L0Pruning, Recipe, Schedule
    from sweep.study import Data, Family, Split, Study

    HERE = Path(__file__).parent


    def build_model():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


    def load_data():
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(120, 4, generator=generator)
        targets = inputs[:, :3].argmax(dim=1)
        return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in torch.arange(120).split(40)))


    def plan(configuration):
        with (HERE / "places").open("a") as places:
            places.write(f"{os.getpid()} {torch.get_num_threads()} {os.environ.get('OMP_NUM_THREADS')}\\n")
        if configuration.get("kill") == "always" or (configuration.get("kill") == "once" and not once("killed")):
            os.kill(os.getpid(), signal.SIGKILL)
        if configuration.get("wait"):
            print("a worker's own words", flush=True)
            time.sleep(configuration["wait"])
        if configuration.get("error"):
            raise RuntimeError("no such luck")
        return {"*": L0Pruning(keep=configuration["keep"])}


    def once(name):
        '''Whether this has been called before, by any process.'''
        known = (HERE / name).exists()
        (HERE / name).touch()
        return known


    study = Study(
        name="tiny",
        build_model=build_model,
        load_data=load_data,
        loss=nn.functional.cross_entropy,
        reference=Recipe(epochs=1, lr=0.1, batch_size=20),
        schedule=Schedule(epochs=1, lr=0.1, batch_size=20),
        families=(Family("prune", {"keep": (0.5,)}, plan),),
    )
"""


class Listed:
    """A search that asks for the jobs of a list, one after the other."""

    def __init__(self, jobs: list[Job]) -> None:
        self.waiting = list(jobs)
        self.running: dict[str, Job] = {}
        self.told: dict[str, Record | None] = {}
        self.most_at_once = 0

    def next(self) -> Job | None:
        if not self.waiting:
            return None
        job = self.waiting.pop(0)
        self.running[job.id] = job
        self.most_at_once = max(self.most_at_once, len(self.running))
        return job

    def finished(self) -> bool:
        return not self.waiting and not self.running

    def tell(self, job: Job, record: Record | None) -> None:
        del self.running[job.id]
        self.told[job.id] = record


class Heard:
    """A watch that keeps what it is told."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.steps: list[Step] = []
        self.finished: list[str] = []

    def on_start(self, job: Job) -> None:
        self.started.append(job.id)

    def on_progress(self, job: Job, step: Step) -> None:
        self.steps.append(step)

    def on_finish(self, job: Job, record: Record) -> None:
        self.finished.append(job.id)


def job(seed: int, **configuration: Any) -> Job:
    schedule = {"epochs": 1, "lr": 0.1, "batch_size": 20}
    return Job("0" * 16, "prune", {"keep": 0.5} | configuration, "lc", seed, schedule)


def make_sweep(folder: Path) -> tuple[str, dict[str, np.ndarray]]:
    """A study's file and a reference in `folder`; the study's reference and its splits."""
    (folder / "tiny.py").write_text(textwrap.dedent(STUDY))
    study = load_study("tiny.py", user_folder=str(folder))
    model = study.seeded_model()
    write_whole(SweepFolder(folder / "out").reference, encode((), (), model.state_dict(), info={}))
    return "tiny.py", split_arrays(study.load_data())


def run(search: Any, folder: Path, *, watch: Any, workers: int = 2, address: str | None = None) -> None:
    reference, splits = make_sweep(folder)
    context = RunContext(SweepFolder(folder / "out"), reference, str(folder), splits, workers, address)
    runner.run(search, context, watch=watch)


def session_members(session: int, *, field: int = 3) -> list[str]:
    """Command lines of the processes of a session, its leader left out; by field 2, of its process group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        if int(fields[field]) == session and process.name != str(session) and fields[0] != "Z":
            found.append(command)
    return found


def process_state() -> tuple[Any, ...]:
    """What a run must leave as it was."""
    files = [(os.fstat(number).st_dev, os.fstat(number).st_ino) for number in (1, 2)]
    return files, signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), os.getcwd()


ENDLESS = job(6, wait=600.0)


class Refusing(Listed):
    """Raises when all jobs but `ENDLESS` have ended, which still runs."""

    def next(self) -> Job | None:
        if not self.waiting and list(self.running) == [ENDLESS.id]:
            raise OSError("the store is full")
        return super().next()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Job], Listed, Heard]:
    """A run with two workers: good jobs, one that raises, workers that are killed; at last the search raises."""
    folder = tmp_path_factory.mktemp("finished")
    killed = [job(0, kill="once"), job(1, kill="always")]  # first, so that their workers start again together
    jobs = [*killed, job(2, wait=2.0), job(3), job(3, keep=0.3), job(4, error=1), job(5)]
    search, heard = Refusing([*jobs, ENDLESS]), Heard()
    before, started = process_state(), time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch, "ATTEMPTS", 2)
        with pytest.raises(OSError, match="the store is full"):
            run(search, folder, watch=heard)
    assert process_state() == before
    assert time.monotonic() - started < 300
    return folder, jobs, search, heard


def test_every_job_is_told_with_the_record_that_it_published(finished: Any) -> None:
    folder, jobs, search, heard = finished
    assert set(search.told) == {ENDLESS.id} | {job.id for job in jobs}
    assert sorted({*heard.started} - {ENDLESS.id}) == sorted(heard.finished) == sorted(job.id for job in jobs)
    for job in jobs:
        assert search.told[job.id].to_json() == json.loads(SweepFolder(folder / "out").record(job.id).read_text())
    assert search.most_at_once == 2


def test_a_job_that_raises_fails_alone(finished: Any) -> None:
    _, jobs, search, _ = finished
    statuses = [search.told[job.id].status for job in jobs]
    assert statuses == ["done", "failed", "done", "done", "done", "failed", "done"]
    assert search.told[jobs[5].id].error.message.endswith("error=1: RuntimeError: no such luck")


def test_a_job_whose_worker_always_dies_is_given_up_with_the_cause(finished: Any) -> None:
    _, jobs, search, _ = finished
    error = search.told[jobs[1].id].error
    assert error.message.startswith("failed after 2 attempts, the last: its worker's process ended")
    assert "worker process has died" in error.traceback


def test_the_numbers_are_those_of_one_process(finished: Any, tmp_path: Path) -> None:
    _, jobs, search, _ = finished
    reference, splits = make_sweep(tmp_path)
    context = open_context(reference, user_folder=str(tmp_path), splits=splits, folder=SweepFolder(tmp_path / "out"))
    for done in (jobs[3], jobs[4]):
        alone = run_job(done, context, report=lambda _: None)
        assert alone.error is None
        for name in ("val", "direct", "artifact_sha256", "gap", "epochs"):
            assert getattr(search.told[done.id], name) == getattr(alone, name)


def test_reports_come_through_while_a_job_runs(finished: Any) -> None:
    _, _, _, heard = finished
    assert heard.steps
    assert all(0 <= step.step <= step.steps and 0 <= step.val_error <= 1 for step in heard.steps)


def test_a_worker_has_one_thread_and_a_process_does_many_jobs(finished: Any) -> None:
    folder, jobs, _, _ = finished
    places = [line.split() for line in (folder / "places").read_text().splitlines()]
    assert {(threads, openmp) for _, threads, openmp in places} == {("1", "1")}
    assert (
        len({pid for pid, _, _ in places}) <= 2 + 3 < len(jobs)
    )  # two workers, and one in place of each that was killed


def test_tune_leaves_no_files(finished: Any) -> None:
    folder, _, _, _ = finished
    assert [path.name for path in (folder / "out" / "logs").iterdir()] == ["ray.log"]


def test_a_finished_search_starts_no_ray(tmp_path: Path) -> None:
    run(Listed([]), tmp_path, watch=Heard())
    assert not (tmp_path / "out" / "logs").exists()


def test_what_the_search_raises_comes_out_and_the_jobs_that_run_are_told_as_lost(finished: Any) -> None:
    """The run itself checks that it raises, in time."""
    _, _, search, _ = finished
    assert search.told[ENDLESS.id] is None
    assert search.running == {}


def test_without_rays_private_name_an_error_of_rays_counts_as_the_death_of_all_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tune leaves its loop with it each time, here as soon as two jobs run; a new Tuner goes on."""
    tuners: list[list[int]] = []

    def run_tuner(events: TuneEvents, *_: Any, **__: Any) -> None:
        slots = {name: events.on_suggest(name) for name in "ab"}
        tuners.append([each.seed for each in slots.values() if each is not None])
        if len(tuners) <= 3:
            raise RuntimeError("Caught unexpected exception") from OutOfMemoryError("no memory left")
        for slot, given in slots.items():
            if given is not None:
                record = done_record(given)
                events.on_report(slot, {"record": json.dumps(record.to_json())})
        events.on_suggest("c")

    monkeypatch.setattr(runner, "connected", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(runner, "capacity", lambda _: Capacity(2, 2, token=True))
    monkeypatch.setattr(ray, "put", lambda context: context)
    monkeypatch.setattr(runner, "run_tuner", run_tuner)
    search = Listed([job(seed) for seed in range(4)])
    run(search, tmp_path, watch=Heard())
    assert tuners == [[0, 1], [0, 1], [0, 1], [2, 3]]
    told = [search.told[job(seed).id] or {} for seed in range(4)]
    assert [record.status for record in told] == ["failed", "failed", "done", "done"]
    assert told[0].error.message.startswith("failed after 3 attempts, the last: OutOfMemoryError: no memory left")


def test_another_error_in_tunes_loop_comes_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_tuner(events: TuneEvents, *_: Any, **__: Any) -> None:
        events.on_suggest("a")
        raise RuntimeError("of Tune's own")

    monkeypatch.setattr(runner, "connected", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(runner, "capacity", lambda _: Capacity(2, 2, token=True))
    monkeypatch.setattr(ray, "put", lambda context: context)
    monkeypatch.setattr(runner, "run_tuner", run_tuner)
    search = Listed([job(0)])
    with pytest.raises(RuntimeError, match="of Tune's own"):
        run(search, tmp_path, watch=Heard())
    assert search.told == {job(0).id: None}


@pytest.mark.parametrize("address", ["ray://127.0.0.1:10001", "http://127.0.0.1:8265"])
def test_ray_client_is_refused_with_the_reason(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match=f"got '{address}': Ray Tune cannot be driven through Ray Client"):
        run(Listed([job(0)]), tmp_path, watch=Heard(), address=address)


def test_an_address_where_nobody_listens_is_refused_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    search = Listed([job(0)])
    with pytest.raises(ValueError, match=f"expected a Ray cluster at the address '{address}', found none"):
        run(search, tmp_path, watch=Heard(), address=address)
    assert search.running == {}


def test_no_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers=0"):
        run(Listed([job(0)]), tmp_path, watch=Heard(), workers=0)


INTERRUPTED = """
    import contextlib
    import sys
    import time
    from pathlib import Path

    from sweep.execution.process import own_stream
    from tests.sweep.execution import test_runner as here

    streams = contextlib.ExitStack()
    out = streams.enter_context(own_stream(sys.stdout))
    log = Path(sys.argv[1], "out", "logs", "ray.log")

    class Said(here.Heard):
        def on_start(self, job):
            print("started", file=out)
            while "a worker's own words" not in log.read_text():
                time.sleep(0.1)

    search = here.Listed([here.job(seed, wait=300.0) for seed in range(4)])
    try:
        here.run(search, Path(sys.argv[1]), watch=Said())
    except KeyboardInterrupt:
        print("interrupted", list(search.told.values()), len(search.waiting), len(search.running))
        raise SystemExit(130)
"""


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill), (signal.SIGTERM, os.killpg)],
    ids=["Ctrl-C, to the whole process group", "SIGTERM, to the driver", "SIGTERM, to the whole process group"],
)
def test_an_interrupt_stops_at_once_and_leaves_no_process(
    tmp_path: Path, number: int, send: Callable[[int, int], None]
) -> None:
    """Nor a temporary folder; and nothing that Ray prints is seen."""
    temporary = Path(tempfile.mkdtemp(prefix="k", dir="/tmp"))  # short enough for Ray's sockets
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(INTERRUPTED))
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "TMPDIR": str(temporary)},
    )
    assert process.stdout is not None
    with process.stdout as out:
        try:
            assert [out.readline(), out.readline()] == ["started\n", "started\n"]
            assert len(session_members(process.pid)) > 2  # Ray's
            assert session_members(process.pid, field=2) == []  # which only the driver ends
            sent = time.monotonic()
            send(process.pid, number)
            rest = out.read()
            assert process.wait(timeout=30) == 130, rest
            assert time.monotonic() - sent < 60  # of 300
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    assert rest == "interrupted [None, None] 2 0\n"
    end = time.monotonic() + 60
    while (left := session_members(process.pid)) and time.monotonic() < end:  # told to end, and about to
        time.sleep(0.1)
    assert left == []
    assert not list(temporary.glob("*lcs-*"))
    shutil.rmtree(temporary)
    log = (tmp_path / "out" / "logs" / "ray.log").read_text()
    assert "Started a local Ray instance" in log
    assert "a worker's own words" in log


STUMBLING = """
    import os
    import signal
    import time

    from sweep.job import checkpoint

    checkpoint.SECONDS, checkpoint.SHARE = 0.0, 0
    now = {}


    def noting(configuration):
        now.clear()
        now.update(configuration)
        return plan(configuration)


    def loss(outputs, targets):
        '''Cross-entropy; for some jobs something goes wrong in their 15th LC step.'''
        what = now.get("stumble")
        if what:
            with (HERE / what).open("a") as calls:
                calls.write(".")
            calls = (HERE / what).stat().st_size
            if what == "killed" and calls == 15:
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "full for a while" and calls in (15, 16):
                raise OSError(28, "No space left on device")
            if what == "full for good" and calls >= 15:
                raise OSError(28, "No space left on device")
            held = []
            while what == "hungry" and calls >= 15 and len(held) < 64:
                held.append(b"x" * (1 << 28))
                time.sleep(0.05)
        return nn.functional.cross_entropy(outputs, targets)


    study = Study(
        name="tiny",
        build_model=build_model,
        load_data=load_data,
        loss=loss,
        reference=Recipe(epochs=1, lr=0.1, batch_size=20),
        schedule=Schedule(epochs=1, lr=0.1, batch_size=20),
        families=(Family("prune", {"keep": (0.5,)}, noting),),
    )
"""


def set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the test's end: what `STUMBLING` sets in this process too."""
    for name in ("SECONDS", "SHARE"):
        monkeypatch.setattr(checkpoint, name, getattr(checkpoint, name))


def test_a_job_that_stumbles_goes_on_from_its_checkpoint_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is killed, a disk that is full. A job has 20 LC steps of an iteration each."""
    monkeypatch.setitem(globals(), "STUDY", STUDY + STUMBLING)
    set_back(monkeypatch)
    jobs = [job(seed, stumble=what) for seed, what in enumerate(["killed", "full for a while", "full for good", "no"])]
    search = Listed(jobs)
    run(search, tmp_path, watch=Heard())
    told = [search.told[each.id] or {} for each in jobs]
    assert [record.status for record in told] == ["done", "done", "failed", "done"]
    assert told[2].error.message == ("failed after 3 attempts, the last: OSError: [Errno 28] No space left on device")
    made = {each.configuration["stumble"]: (tmp_path / each.configuration["stumble"]).stat().st_size for each in jobs}
    assert made == {"killed": 21, "full for a while": 22, "full for good": 17, "no": 20}
    assert not (tmp_path / "out" / "checkpoints").exists() or not list((tmp_path / "out" / "checkpoints").iterdir())


@pytest.mark.cluster
def test_a_job_that_takes_all_memory_is_given_up_with_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's memory monitor kills its worker, here before the machine is short; the sweep goes on."""
    lines = [line.split() for line in Path("/proc/meminfo").read_text().splitlines()]
    kilobytes = {name: int(amount) for name, amount, *_ in lines}
    left = kilobytes["MemAvailable:"] / 2 / kilobytes["MemTotal:"]
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{1 - left:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    monkeypatch.setitem(globals(), "STUDY", STUDY + STUMBLING)
    set_back(monkeypatch)
    jobs = [job(0, stumble="hungry"), job(1)]
    search = Listed(jobs)
    run(search, tmp_path, watch=Heard(), workers=1)
    hungry, other = (search.told[each.id] or {} for each in jobs)
    assert other.status == "done"
    assert hungry.status == "failed"
    assert hungry.error.message.startswith("failed after 3 attempts, the last: ")
    assert "memory" in hungry.error.message
    assert (tmp_path / "hungry").stat().st_size == 17
