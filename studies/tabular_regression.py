"""Diabetes (442 patients, 10 measurements each, from scikit-learn), an MLP 10-64-32-1: a regression of a minute.

What is predicted is a measure of how the disease went on within a year. The data are split once, at random with a
fixed seed: 266 patients to train, 88 to validate, 88 to test. R2 decides; the mean squared error stands beside it. Such
few examples leave wide intervals.

    lcsweep run studies.tabular_regression:quick
    lcsweep report runs/tabular_regression_quick
"""

from dataclasses import replace

import torch
from sklearn.datasets import load_diabetes
from torch import nn

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target
from sweep.study.metrics import mse, r2

TRAIN, VAL = 266, 88


def load_data() -> Data:
    """Measurements (n, 10) and targets (n,), of mean 0 and deviation 1 over the training split."""
    patients = load_diabetes()
    order = torch.randperm(len(patients.target), generator=torch.Generator().manual_seed(0))
    parts = order.tensor_split([TRAIN, TRAIN + VAL])
    inputs, targets = (torch.tensor(each, dtype=torch.float32) for each in (patients.data, patients.target))
    inputs, targets = ((each - each[parts[0]].mean(dim=0)) / each[parts[0]].std(dim=0) for each in (inputs, targets))
    train, val, test = (Split(inputs[part], targets[part]) for part in parts)
    return Data(train, val, test)


def build_model() -> nn.Module:
    """10-64-32-1 with rectifiers: 2,817 parameters."""
    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean squared error; outputs are a column, targets are not."""
    return nn.functional.mse_loss(outputs[:, 0], targets)


def low_rank(configuration: Configuration) -> Plan:
    """Each hidden layer at low rank; the output layer, of rank 1, stays as it is."""
    return {"[02]": LowRank(rank=int(configuration["rank"]))}


study = Study(
    name="tabular_regression",
    build_model=build_model,
    load_data=load_data,
    loss=loss,
    metrics={"r2": r2(), "mse": mse()},
    reference=Recipe(epochs=20, lr=0.01, batch_size=32, weight_decay=1e-2),
    schedule=Schedule(epochs=30, lr=0.01, batch_size=32, weight_decay=1e-2),
    families=(
        Family("prune", {"keep": (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)}, prune),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (8, 4, 2, 1)}, low_rank),
    ),
    target=Target(max_drop=0.02),
)

quick = replace(
    study,
    name="tabular_regression_quick",
    families=(
        Family("prune", {"keep": (0.2, 0.05, 0.01, 0.002)}, prune),
        Family("quantize", {"size": (8, 2)}, quantize),
        Family("low rank", {"rank": (4, 1)}, low_rank),
    ),
)
