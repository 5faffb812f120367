"""A job that is cut off goes on from its checkpoint to the same bits; what is no checkpoint of it is ignored."""

import json
import logging
import os
import pickle
import random
import sys
import types
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lc_core.algorithm import LCState
from lc_core.task import CompressionTask, Governed
from sweep.job import checkpoint, compress
from sweep.job.checkpoint import Checkpoints
from sweep.job.compress import run_job
from sweep.prepare.prepared import PreparedSweep
from sweep.store.job import Job
from sweep.store.record import Score
from tests.contract.test_compressions import FAMILIES
from tests.contract.weights import draw
from tests.sweep.tiny import STUDY, changed, prepared, write_study

SCORE = Score(value=1 / 3, metrics={"hits": 0.5}, n=3, low=0.1, high=0.8)
HERS = '''
@dataclass(frozen=True, eq=False)
class HerTheta:
    """A class of the study's own."""

    inner: object
    note: str = "hers"

    def __getattr__(self, name):
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)



@dataclass(frozen=True)
class Hers:
    """L0Pruning, its Theta in a class of hers."""

    keep: float

    def compress(self, w, *, mu, previous=None):
        assert previous is None or previous.note == "hers"
        return HerTheta(L0Pruning(keep=self.keep).compress(w, mu=mu, previous=previous and previous.inner))

    def check(self, shape):
        pass

    def outline(self, shape):
        return L0Pruning(keep=self.keep).outline(shape)


def build_model():'''

STUDIES = {
    "as it is": STUDY,
    "random layers": changed("nn.Tanh(), nn", "nn.Tanh(), nn.Dropout(0.3), nn"),
    "a loss that draws": "import random\nimport numpy as np\n"
    + changed("return nn.functional", "return (1 + random.random()) * (1 + np.random.rand()) * nn.functional"),
    "Adam": changed("Schedule(epochs=2, lr=0.1", 'Schedule(epochs=2, optimizer="adam", lr=0.01'),
    "a Theta of the study's own": "from dataclasses import dataclass\n"
    + changed("def build_model():", HERS.strip(), text=changed("Joint(L0Pruning(keep=", "Joint(Hers(keep=")),
}


@pytest.fixture(autouse=True)
def _at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", 0)


def begin(folder: Path, text: str = STUDY) -> PreparedSweep:
    folder.mkdir(parents=True)
    random.seed(0)  # the reference's loss may draw too
    np.random.seed(0)  # noqa: NPY002
    return prepared(write_study(folder, text=text), folder / "out")


def cut_off(job: Job, sweep: PreparedSweep, *, at: int) -> None:
    """The job's process ends in LC step `at`, before the step has a checkpoint."""

    def interrupt(report: dict[str, Any]) -> None:
        if report["step"] == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_job(job, sweep.context, report=interrupt)


def steps_of(job: Job, sweep: PreparedSweep) -> list[int]:
    """The LC steps that are made now, until there is a record."""
    steps: list[int] = []
    assert run_job(job, sweep.context, report=lambda report: steps.append(report["step"])).error is None
    return steps


def files(job: Job, sweep: PreparedSweep) -> dict[str, Any]:
    """What the job left, but for the time that it took."""
    own = dict.fromkeys(("seconds", "finished"))
    record = json.loads(sweep.folder.record(job.id).read_text()) | own
    return {"record": record} | {
        path.name: path.read_bytes() for path in (sweep.folder.artifact(job.id), sweep.folder.diagnostics(job.id))
    }


@pytest.mark.parametrize("what", STUDIES)
def test_a_job_that_is_cut_off_again_and_again_ends_with_the_same_files(tmp_path: Path, what: str) -> None:
    whole, cut = begin(tmp_path / "whole", STUDIES[what]), begin(tmp_path / "cut", STUDIES[what])
    jobs = [entry.jobs[0] for entry in whole.entries]
    for job in jobs[::3] if what == "as it is" else jobs[:1]:
        assert run_job(job, whole.context, report=lambda _: None).error is None
        for at in (2, 9, 17):
            cut_off(job, cut, at=at)
            torch.rand(3)
        assert steps_of(job, cut) == [17, 18, 19, 20]
        assert files(job, cut) == files(job, whole)
        assert not list(cut.folder.checkpoints.iterdir())


def test_direct_compression_and_the_last_step_have_no_checkpoint(tmp_path: Path) -> None:
    sweep = begin(tmp_path / "sweep")
    job = sweep.entries[0].jobs[0]
    cut_off(job, sweep, at=1)
    assert not sweep.folder.checkpoints.exists()
    run_job(replace(job, method="dc"), sweep.context, report=lambda _: None)
    assert not sweep.folder.checkpoints.exists()


def test_a_failed_record_ends_the_checkpoint_too(tmp_path: Path) -> None:
    sweep = begin(tmp_path / "sweep")
    job = sweep.entries[0].jobs[0]
    cut_off(job, sweep, at=5)
    assert json.loads(sweep.folder.checkpoint(job.id).read_bytes().partition(b"\n")[0])["step"] == 4
    compress.publish_failure(compress.failure(job, message="no", traceback=""), sweep.folder)
    assert not list(sweep.folder.checkpoints.iterdir())


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mknod, (str(self.path),)


@pytest.mark.parametrize(
    "what", ["cut", "turned", "empty", "other job", "other plan", "other version", "a moved class", "a bomb"]
)
def test_what_is_no_whole_checkpoint_of_the_job_is_ignored(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = begin(tmp_path / "sweep")
    first, second = sweep.entries[0].jobs[0], sweep.entries[1].jobs[0]
    if what == "a moved class":
        elsewhere = types.ModuleType("lc_core.before_it_moved")
        elsewhere.LCState = LCState
        monkeypatch.setitem(sys.modules, elsewhere.__name__, elsewhere)
        monkeypatch.setattr(LCState, "__module__", elsewhere.__name__)
    for job in (first, second):
        cut_off(job, sweep, at=9)
    path = sweep.folder.checkpoint(first.id)
    data = path.read_bytes()
    match what:
        case "cut":
            path.write_bytes(data[:-1])
        case "turned":
            path.write_bytes(data[:-100] + bytes([data[-100] ^ 1]) + data[-99:])
        case "empty":
            path.write_bytes(b"")
        case "other job":
            path.write_bytes(sweep.folder.checkpoint(second.id).read_bytes())
        case "other plan":
            monkeypatch.setattr(compress, "_plan_hash", lambda tasks: "0" * 16)
        case "other version":
            monkeypatch.setattr(compress, "versions", lambda: {"torch": "0"})
        case "a moved class":
            assert b"lc_core.before_it_moved" in data
            monkeypatch.undo()
            monkeypatch.delitem(sys.modules, "lc_core.before_it_moved", raising=False)
        case "a bomb":
            torch.save({"state": Bomb(tmp_path / "boom")}, tmp_path / "bomb", pickle_module=pickle)
            content = (tmp_path / "bomb").read_bytes()
            header = json.loads(data.partition(b"\n")[0]) | {"sha256": checkpoint.hashlib.sha256(content).hexdigest()}
            path.write_bytes(json.dumps(header).encode() + b"\n" + content)
    with caplog.at_level(logging.WARNING):
        assert steps_of(first, sweep) == list(range(21))
    assert "checkpoint ignored, the job starts again" in caplog.text
    assert not (tmp_path / "boom").exists()


def test_a_checkpoint_that_cannot_be_written_costs_the_job_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not its record, and not the checkpoint before it."""
    sweep = begin(tmp_path / "sweep")
    job = sweep.entries[0].jobs[0]
    cut_off(job, sweep, at=9)
    before = sweep.folder.checkpoint(job.id).read_bytes()
    save = torch.save

    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    cut_off(job, sweep, at=15)
    assert "checkpoint not written: [Errno 28] No space left on device" in caplog.text
    assert sweep.folder.checkpoint(job.id).read_bytes() == before
    assert steps_of(job, sweep) == list(range(9, 21))
    monkeypatch.setattr(torch, "save", save)


def test_checkpoints_take_a_twentieth_of_the_time_at_most(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Steps of 0.1 s: one every two seconds; where writing takes a second, one in 20."""
    monkeypatch.undo()
    now, cost, written = [0.0], [0.001], []
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(self: Checkpoints, held: checkpoint.Checkpoint) -> None:
        now[0] += cost[0]
        written.append(held.state.step)

    monkeypatch.setattr(Checkpoints, "_write", write)
    kept = Checkpoints(tmp_path / "checkpoint", identity={}, tasks=())
    state = state_of(torch.zeros(2), ())
    for step in range(100):
        now[0] += 0.1
        kept.offer(replace(state, step=step, steps=1000), [], [])
    assert len(written) in (4, 5)
    assert min(written) >= 19
    cost[0] = 1.0
    for step in range(100, 1000):
        now[0] += 0.1
        kept.offer(replace(state, step=step, steps=1000), [], [])
    assert sum(step >= 100 for step in written) in (4, 5)


# What a state may hold


def state_of(w: Tensor, thetas: tuple[Any, ...]) -> LCState:
    numbers = {"step": 3, "steps": 7, "mu": 0.1, "mu_unit": 1.0, "boost": 1.0, "loss": 1 / 3, "epochs": 0.7}
    tensors = {
        "weights": {"w": w},
        "multipliers": (w.transpose(0, -1),),
        "optimizer": {"w": {"momentum": w}},
        "batches": {"o": w},
    }
    return LCState(gaps=(0.5, 0.1), thetas=thetas, **numbers, **tensors)  # type: ignore[arg-type]


def bits(tensor: Tensor) -> bytes:
    return bytes(tensor.clone(memory_format=torch.contiguous_format).untyped_storage())


def same(mine: Any, theirs: Any) -> bool:
    """Equal to the last bit, in the same classes, laid out in memory alike."""
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, Tensor):
        laid = (mine.dtype, mine.shape, mine.stride()) == (theirs.dtype, theirs.shape, theirs.stride())
        return laid and bits(mine) == bits(theirs)
    if is_dataclass(mine):
        return all(same(getattr(mine, field.name), getattr(theirs, field.name)) for field in fields(mine))
    if isinstance(mine, dict):
        return mine.keys() == theirs.keys() and all(same(mine[key], theirs[key]) for key in mine)
    if isinstance(mine, tuple | list):
        return len(mine) == len(theirs) and all(map(same, mine, theirs))
    return bool(mine == theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_theta_comes_back_as_it_was(tmp_path: Path, family: str) -> None:
    for number, compression in enumerate(FAMILIES[family].compressions):
        w = draw(FAMILIES[family].usual, kind="normal", seed=number)
        theta = compression.compress(w, mu=1.0, previous=compression.compress(w + 0.01, mu=1.0))
        tasks = (CompressionTask(Governed(("w",), (tuple(w.shape),)), compression),)
        kept = Checkpoints(tmp_path / str(number), identity={"job": family}, tasks=tasks)
        kept.offer(state_of(w, (theta,)), [{"loss": None, "gap": 0.1}], [SCORE])
        found = kept.last()
        assert found is not None
        assert same(found.state, state_of(w, (theta,)))
        assert (found.steps, found.measured) == ([{"loss": None, "gap": 0.1}], [SCORE])
