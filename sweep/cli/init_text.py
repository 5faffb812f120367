"""The text of the study that `lcsweep init` writes."""

import os
import shlex
from enum import StrEnum
from pathlib import Path


class DatasetName(StrEnum):
    """What a new study compresses on."""

    digits = "digits"
    mnist = "mnist"
    cifar10 = "cifar10"
    none = "none"


class MetricName(StrEnum):
    """What a new study measures."""

    accuracy = "accuracy"
    top_k = "top_k"
    f1 = "f1"
    auroc = "auroc"
    mean_iou = "mean_iou"
    mse = "mse"
    r2 = "r2"


class Kind(StrEnum):
    """What a metric compares outputs with."""

    classes = "classes"
    numbers = "numbers"
    places = "the class of every place"


KINDS = dict.fromkeys(MetricName, Kind.classes) | {
    MetricName.mean_iou: Kind.places,
    MetricName.mse: Kind.numbers,
    MetricName.r2: Kind.numbers,
}
TARGETS = {
    MetricName.accuracy: "max_drop=0.01),  # at most one point less validation accuracy than the reference",
    MetricName.top_k: "max_drop=0.01),  # at most one point less than the reference on validation",
    MetricName.mean_iou: "max_drop=0.01),  # at most one point less than the reference on validation",
    MetricName.mse: "max_drop=0.05, relative=True),  # on validation at most 5 % more than the reference",
}
LEAST = "max_drop=0.01),  # on validation at most 0.01 less than the reference"
LOSSES = {Kind.classes: "cross_entropy", Kind.places: "cross_entropy", Kind.numbers: "mse_loss"}

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
}

MADE_UP = {
    Kind.classes: """\
    targets = torch.arange(1200) % 10
    inputs = torch.randn(1200, 64, generator=generator) + 3 * torch.eye(64)[targets]
""",
    Kind.numbers: """\
    inputs = torch.randn(1200, 64, generator=generator)
    targets = inputs[:, :8].sum(dim=1, keepdim=True) + torch.randn(1200, 1, generator=generator)  # (n, 1)
""",
    Kind.places: """\
    targets = torch.nn.functional.interpolate(torch.randn(1200, 1, 4, 4, generator=generator), scale_factor=4) > 0
    inputs = targets + torch.randn(1200, 1, 16, 16, generator=generator)
    targets = targets[:, 0].long()  # (n, 16, 16)
""",
}
OWN_DATA = '''\
def load_data():
    """The three splits: train, validation, test. TODO: these are made-up numbers; load your own inputs and targets."""
    generator = torch.Generator().manual_seed(0)
{made_up}\
    parts = torch.arange(1200).split([800, 200, 200])
    return Data(*(Split(inputs[part], targets[part]) for part in parts))


'''

MLP = """\
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
"""
MODELS = {
    DatasetName.digits: MLP,
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
OWN_MODELS = {
    Kind.classes: MLP,
    Kind.numbers: """\
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 1))
""",
    Kind.places: """\
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 16, 5, padding=2), nn.ReLU(), nn.Conv2d(16, 2, 1)
    )
""",
}
BUDGETS = {
    DatasetName.digits: "epochs=30, lr=0.05, batch_size=64",
    DatasetName.mnist: "epochs=10, lr=0.05, batch_size=256",
    DatasetName.cifar10: "epochs=20, lr=0.02, batch_size=128",
}
OWN_BUDGETS = dict.fromkeys(Kind, "epochs=20, lr=0.05, batch_size=50") | {
    Kind.numbers: "epochs=20, lr=0.01, batch_size=50"
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
{measure}

{loading}def build_model():
    """The network{model}."""
{network}

study = Study(
    name="{name}",  # results go to runs/{name}
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.{loss},  # (outputs, targets) -> the mean over the batch
    reference={reference}
    schedule=Schedule({budget}),  # of each job; begin with what trained the reference
    target=Target({target}
    # families=(...): which compressions to try; without them, the standard ones (docs/families.md)
{metrics})
'''
ACCURACY = """\
    # metrics={"r2": r2()}: of sweep.study.metrics (mse, f1, ...) or your own (docs/study.md); without it, accuracy
"""


def written(file: Path, *, checkpoint: Path | None, dataset: DatasetName, metric: MetricName) -> str:
    """The text of the study in `file`. Another dataset than `none` needs a metric of classes."""
    own, kind = dataset is DatasetName.none, KINDS[metric]
    budget = OWN_BUDGETS[kind] if own else BUDGETS[dataset]
    names = ["Checkpoint"] * (checkpoint is not None) + ["Data", "Split"] * own + ["Study", "Target"]
    if checkpoint is None:
        reference = f"Recipe({budget}),  # trained here, or: Checkpoint('best.pt')"
    else:
        reference = f"Checkpoint({os.path.relpath(checkpoint, file.parent)!r}),  # relative to this file's folder"
    return STUDY.format(
        file=shlex.quote(str(file)),
        name=file.stem,
        torch="import torch\n" * own,
        core="Schedule" if checkpoint else "Recipe, Schedule",
        data=DATA[dataset],
        names=", ".join(names),
        measure="" if metric is MetricName.accuracy else f"from sweep.study.metrics import {metric.value}\n",
        loading=OWN_DATA.format(made_up=MADE_UP[kind]) if own else LOADING.get(dataset, ""),
        model=", without its weights. TODO: build the one of the checkpoint" if checkpoint else ", with fresh weights",
        network=OWN_MODELS[kind] if own else MODELS[dataset],
        loss=LOSSES[kind],
        reference=reference,
        budget=budget,
        target=TARGETS.get(metric, LEAST),
        metrics=ACCURACY if metric is MetricName.accuracy else _metrics(metric),
    )


def _metrics(metric: MetricName) -> str:
    name, call = ("top_5", "top_k(5)") if metric is MetricName.top_k else (metric.value, f"{metric.value}()")
    unit = ' mse("mm2") states a unit;' if metric is MetricName.mse else ""
    return f'    metrics={{"{name}": {call}}},  # the first decides;{unit} docs/study.md has more\n'
