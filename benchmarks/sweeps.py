"""Sweeps for the benchmark of orchestration: a study in a folder of its own, whose jobs do almost nothing."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sweep.prepare.options import Options
from sweep.prepare.prepared import PreparedSweep, prepare

STUDY = '''
import time

import torch
from torch import nn

from lc_core import L0Pruning, Recipe, Schedule
from sweep.study import Data, Family, Split, Study


def load_data():
    inputs = torch.randn(120, 64, generator=torch.Generator().manual_seed(0))
    targets = inputs[:, :3].argmax(dim=1)
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in torch.arange(120).split(40)))


def plan(configuration):
    return {{"*": L0Pruning(keep=configuration["kept"] / 2048)}}


def shown(inputs):
    """Once a job, and only there."""
    time.sleep({seconds})
    return inputs


study = Study(
    name="trivial",
    build_model=lambda: nn.Linear(64, 32),
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=1, lr=0.1, batch_size=20),
    schedule=Schedule(epochs=1, lr=0.1, batch_size=20),
    families=(Family("prune", {{"kept": tuple(range(2000, 1000, -100)), "turn": tuple(range(1000, {turns}))}}, plan),),
    augment=shown,
)
'''


@contextlib.contextmanager
def study_in(folder: Path, *, configurations: int, seconds: float = 0.0) -> Iterator[Path]:
    """Writes a study into `folder`, with so many configurations (rounded up to tens), whose jobs sleep for so long."""
    folder.mkdir(parents=True)
    path = folder / "trivial.py"
    path.write_text(STUDY.format(turns=1000 + -(-configurations // 10), seconds=seconds))
    with contextlib.chdir(folder):
        yield path


def prepared(study: Path, *, workers: int, **others: Any) -> PreparedSweep:
    """A prepared sweep of direct compressions beside the study, with no finished job; `others` are further options."""
    folder = study.parent / f"sweep-{len(os.listdir(study.parent))}"
    given: dict[str, Any] = {"method": "dc", "confirm": 0, **others}
    options = Options(str(study), str(study.parent), workers, folder, **given)
    return prepare(options, say=lambda _: None)
