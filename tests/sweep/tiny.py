"""A study whose jobs take milliseconds, sweeps of it made in this process, and the command line called in it."""

import contextlib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer.main

from sweep.cli import app
from sweep.execution.context import RunContext
from sweep.execution.progress import Watch
from sweep.job.compress import run_job, stamped
from sweep.job.context import open_context
from sweep.prepare.options import Options
from sweep.prepare.prepared import PreparedSweep, prepare
from sweep.search.protocol import Search
from sweep.store.job import Job
from sweep.store.manifest import Manifest, Reference
from sweep.store.record import Done, Record, Score

STUDY = '''
"""Three blobs of points and a network that tells them apart."""

import torch
from torch import nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, Recipe, Schedule
from sweep.study import Data, Family, Split, Study, Target


def build_model():
    """704 weights."""
    return nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 3))


def load_data():
    """120 points to train, 90 to validate, 90 to test."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(300) % 3
    inputs = torch.randn(300, 8, generator=generator) + 2.0 * torch.eye(8)[targets]
    parts = torch.arange(300).split([120, 90, 90])
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))


def loss(outputs, targets):
    """Cross-entropy."""
    return nn.functional.cross_entropy(outputs, targets)


def prune(configuration):
    return {"*": Joint(L0Pruning(keep=configuration["keep"]))}


def quantize(configuration):
    return {"*": Codebook(size=configuration["size"])}


def low_rank(configuration):
    return {"0": LowRank(rank=configuration["rank"])}


def both(configuration):
    return {"*": Joint(Chain(L0Pruning(keep=configuration["keep"]), Codebook(size=configuration["size"])))}


study = Study(
    name="tiny",
    build_model=build_model,
    load_data=load_data,
    loss=loss,
    reference=Recipe(epochs=20, lr=0.1, batch_size=20),
    schedule=Schedule(epochs=2, lr=0.1, batch_size=20),
    families=(
        Family("prune", {"keep": (0.8, 0.5, 0.3, 0.2, 0.1, 0.05, 0.01)}, prune, grid={"keep": (0.5, 0.1, 0.01)}),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize, grid={"size": (4, 2)}),
        Family("low rank", {"rank": (6, 4, 2, 1)}, low_rank, grid={"rank": (2,)}),
        Family("both", {"keep": (0.5, 0.3, 0.1), "size": (8, 4, 2)}, both, grid={"keep": (0.3,), "size": (4,)}),
    ),
    target=Target(max_drop=0.05),
)
'''


MANIFEST = Manifest(
    study="tiny",
    reference_study="tiny.py",
    study_hash="0" * 16,
    study_parts={},
    user_folder=".",
    sweep="0" * 32,
    repeats=1,
    target=None,
    splits={"train": 10, "val": 10, "test": 10},
    reference=Reference(bytes=1_000, parameters=5, macs=7, val=Score(value=0.93, low=0.8, high=0.95, n=10)),
    versions={},
)


@dataclass(frozen=True)
class Said:
    """What a command came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        data = json.loads(self.out)
        assert isinstance(data, dict)
        return data


def write_study(folder: Path, *, text: str = STUDY, name: str = "tiny.py") -> Path:
    """A study's file in `folder`."""
    path = folder / name
    path.write_text(text)
    return path


def changed(old: str, new: str, *, text: str = STUDY) -> str:
    """`text` with `new` in place of `old`, which it holds."""
    assert old in text
    return text.replace(old, new)


def lcsweep(*arguments: str | Path) -> Said:
    """`lcsweep` with `arguments`, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = app.main([str(argument) for argument in arguments])
    return Said(code, out.getvalue(), err.getvalue())


def help_examples() -> Iterator[tuple[str, str]]:
    """(command, line) of each command line that the --help of a command shows, in their order."""
    for name in typer.main.get_command(app.app).commands:  # type: ignore[attr-defined]
        shown = lcsweep(name, "--help").out
        yield from ((name, line.strip()) for line in re.findall(r"^ *(lcsweep .+)$", shown, re.MULTILINE))


def options(study: Path, out: Path, **others: Any) -> Options:
    """Options of a grid, but for `others`."""
    return Options(str(study), str(study.parent), out=out, **({"confirm": 0} | others))


def prepared(study: Path, out: Path, **others: Any) -> PreparedSweep:
    """A sweep with its reference, none of its jobs run."""
    return prepare(options(study, out, **others), say=lambda _: None)


def run_all(sweep: PreparedSweep) -> list[Record]:
    """The records of all jobs of `sweep`, run in this process."""
    return [run_job(job, sweep.context, report=lambda _: None) for entry in sweep.entries for job in entry.jobs]


def run_here(search: Search, context: RunContext, *, watch: Watch, check: Callable[[], None]) -> None:
    """Stands in for `runner.run` where a test is not about Ray: the jobs one after the other, in this process."""
    opened = open_context(
        context.study_reference, user_folder=context.user_folder, splits=context.splits, folder=context.folder
    )
    while (job := search.next()) is not None:
        watch.on_start(job)
        record = run_job(job, opened, report=lambda _: None)
        search.tell(job, record)
        watch.on_finish(job, record)
        check()


def done_record(job: Job, **others: Any) -> Done:
    """The record of `job` as if it were done, but for `others`."""
    score = Score(value=0.9, n=50, low=0.79, high=0.96)
    usual: dict[str, Any] = {
        "status": "done",
        "reference_bytes": 6400,
        "reference_macs": 170,
        "seconds": 1.5,
        "device": "cpu",
        "plan": "0" * 16,
        "nominal_bytes": 440,
        "artifact_bytes": 400,
        "artifact_sha256": "0" * 64,
        "macs": 170,
        "val": score,
        "direct": score,
        "gap": 0.004,
        "epochs": 2.0,
    }
    return Done(**stamped(job) | usual | others)


def edit(path: Path, **values: Any) -> None:
    """Sets `values` in the JSON object in `path`."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def tree(folder: Path) -> dict[str, str]:
    """Relative path -> hash of each file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def folders_and_files(folder: Path) -> Iterator[str]:
    """Relative paths of all below `folder`."""
    return (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")))
