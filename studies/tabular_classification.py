"""Breast cancer (569 tumours, 30 measurements each, from scikit-learn), an MLP 30-64-32-2: a minute's sweep.

The data are split once, at random with a fixed seed: 341 tumours to train, 114 to validate, 114 to test. One of 114 is
0.9 points, so small differences between models mean nothing here. Always answering "benign" is right for 63 %.

    lcsweep run studies.tabular_classification:quick
    lcsweep report runs/tabular_classification_quick
"""

from dataclasses import replace

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target

TRAIN, VAL = 341, 114


def load_data() -> Data:
    """Measurements (n, 30) of mean 0 and deviation 1 over the training split, classes (n,): 0 malignant, 1 benign."""
    tumours = load_breast_cancer()
    inputs = torch.tensor(tumours.data, dtype=torch.float32)
    targets = torch.tensor(tumours.target, dtype=torch.int64)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    seen = inputs[order[:TRAIN]]
    inputs = (inputs - seen.mean(dim=0)) / seen.std(dim=0)
    train, val, test = (Split(inputs[part], targets[part]) for part in order.tensor_split([TRAIN, TRAIN + VAL]))
    return Data(train, val, test)


def build_model() -> nn.Module:
    """30-64-32-2 with rectifiers: 4,130 parameters."""
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))


def low_rank(configuration: Configuration) -> Plan:
    """Each hidden layer at low rank; the output layer, of rank 2 at most, stays as it is."""
    return {"[02]": LowRank(rank=int(configuration["rank"]))}


study = Study(
    name="tabular_classification",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=40, lr=0.02, batch_size=32, weight_decay=1e-3),
    schedule=Schedule(epochs=40, lr=0.02, batch_size=32, weight_decay=1e-3),
    families=(
        Family("prune", {"keep": (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003, 0.002, 0.0015)}, prune),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (12, 8, 4, 2, 1)}, low_rank),
        Family(
            "prune, quantize", {"keep": (0.1, 0.03, 0.01, 0.005, 0.003, 0.002, 0.0015), "size": (4, 2)}, prune_quantize
        ),
    ),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="tabular_classification_quick",
    families=(
        Family("prune", {"keep": (0.1, 0.01, 0.003, 0.0015)}, prune),
        Family("quantize", {"size": (8, 2)}, quantize),
        Family("low rank", {"rank": (8, 2, 1)}, low_rank),
        Family("prune, quantize", {"keep": (0.01, 0.003, 0.002, 0.0015), "size": (2,)}, prune_quantize),
    ),
)
