"""`lcsweep init`: writes a study to begin with."""

import os
import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.console import DONE, UsageError, check_file, say

NO_CHECKPOINT = "a checkpoint, a file with trained weights (leave empty to train one here)"


class DatasetName(StrEnum):
    """What a new study compresses on."""

    digits = "digits"
    mnist = "mnist"
    cifar10 = "cifar10"
    none = "none"


DATA = {
    DatasetName.digits: """\
from studies.digits_mlp import load_data  # 1,797 digits of 8 x 8, as (n, 64); scikit-learn brings them along
""",
    DatasetName.mnist: """\
from studies.mnist import load_splits  # (n, 1, 28, 28); the files are found by --data DIR or LCSWEEP_DATA
""",
    DatasetName.cifar10: """\
from studies.cifar10 import load_splits as load_data  # (n, 3, 32, 32); found by --data DIR or LCSWEEP_DATA
""",
    DatasetName.none: "",
}
"""What brings the data along."""

LOADING = {
    DatasetName.mnist: '''\
def load_data():
    """The three splits: train, validation, test."""
    return load_splits(1, 28, 28)


''',
    DatasetName.none: '''\
def load_data():
    """The three splits: train, validation, test. TODO: these are made-up numbers; load your own inputs and targets."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(1200) % 10
    inputs = torch.randn(1200, 64, generator=generator) + 3 * torch.eye(64)[targets]
    parts = torch.arange(1200).split([800, 200, 200])
    return Data(*(Split(inputs[part], targets[part]) for part in parts))


''',
}

MLP = """\
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
"""
MODELS = {
    DatasetName.digits: MLP,
    DatasetName.none: MLP,
    DatasetName.mnist: """\
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )
""",
    DatasetName.cifar10: """\
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(2048, 10),
    )
""",
}
BUDGETS = {
    DatasetName.digits: "epochs=30, lr=0.05, batch_size=64",
    DatasetName.mnist: "epochs=10, lr=0.05, batch_size=256",
    DatasetName.cifar10: "epochs=20, lr=0.02, batch_size=128",
    DatasetName.none: "epochs=20, lr=0.05, batch_size=50",
}

STUDY = '''\
"""What lcsweep compresses, on which data, and in which ways.

    lcsweep run {file} --dry-run            the jobs, their sizes, the time
    lcsweep run {file}                      the grid
    lcsweep run {file} --search smallest    the smallest model that meets the target
"""

{torch}from torch import nn

from lc_core import {core}
{data}from sweep.study import {names}


{loading}def build_model():
    """The network{model}."""
{network}

study = Study(
    name="{name}",  # results go to runs/{name}
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,  # (outputs, targets) -> the mean over the batch
    reference={reference}
    schedule=Schedule({budget}),  # of each job; begin with what trained the reference
    target=Target(max_drop=0.01),  # at most one point less validation accuracy than the reference
    # families=(...): which compressions to try; without them, the standard ones (docs/families.md)
    # metrics={{"r2": r2()}}: of sweep.study.metrics (mse, f1, ...) or your own (docs/study.md); without it, accuracy
)
'''


def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write, such as my_study.py.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Trained weights: a state_dict of torch.save, or .safetensors."),
    ] = None,
    dataset: Annotated[
        DatasetName | None, typer.Option(help="What to compress on; none: made-up numbers, to replace by your data.")
    ] = None,
) -> int:
    """Write a study to begin with into FILE.

    It runs as it stands. Its comments say what to change. On a terminal, asks for what the options do not say.
    """
    if file.suffix != ".py" or not re.fullmatch(r"[A-Za-z_]\w*", file.stem):
        raise UsageError(f"{file}: expected a name of letters, digits and _ that ends in .py, such as my_study.py")
    if file.exists():
        raise UsageError(f"{file}: is there already, and stays as it is; name another file")
    if dataset is None and checkpoint is None and sys.stdin.isatty():
        answer = typer.prompt(NO_CHECKPOINT, default="", show_default=False).strip()
        checkpoint = Path(answer) if answer else None
    if dataset is None and sys.stdin.isatty():
        dataset = typer.prompt("the data", default=DatasetName.digits, type=DatasetName)
    dataset = dataset or (DatasetName.digits if checkpoint is None else DatasetName.none)
    if checkpoint is not None:
        check_file(checkpoint, expected="one with trained weights")
    text = written(file, checkpoint=checkpoint, dataset=dataset)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as new:
        new.write(text)
    say(f"{file}: a study to begin with. Read it, change what is yours, then: lcsweep run {file} --dry-run")
    return DONE


def written(file: Path, *, checkpoint: Path | None, dataset: DatasetName) -> str:
    """The text of the study in `file`."""
    own = dataset is DatasetName.none
    budget = BUDGETS[dataset]
    names = ["Checkpoint"] * (checkpoint is not None) + ["Data", "Split"] * own + ["Study", "Target"]
    if checkpoint is None:
        reference = f"Recipe({budget}),  # trained here, or: Checkpoint('best.pt')"
    else:
        reference = f"Checkpoint({os.path.relpath(checkpoint, file.parent)!r}),  # relative to this file's folder"
    return STUDY.format(
        file=file,
        name=file.stem,
        torch="import torch\n" * own,
        core="Schedule" if checkpoint else "Recipe, Schedule",
        data=DATA[dataset],
        names=", ".join(names),
        loading=LOADING.get(dataset, ""),
        model=", without its weights. TODO: build the one of the checkpoint" if checkpoint else ", with fresh weights",
        network=MODELS[dataset],
        reference=reference,
        budget=budget,
    )
