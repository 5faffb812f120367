"""The handwritten digits of scikit-learn (1,797 images of 8 x 8) and a tanh MLP 64-128-64-10. The sweep takes a minute.

The data are split once, at random with a fixed seed: 1,078 images to train, 359 to validate, 360 to test.
`budget` has one knob, the bytes of the weights.

    lcsweep run studies.digits_mlp:budget --search smallest
"""

from dataclasses import replace

import torch
from sklearn.datasets import load_digits
from torch import nn

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target
from sweep.study.families import budget as bytes_budget

TRAIN, VAL = 1078, 359


def load_data() -> Data:
    """Images (n, 64) in [0, 1] minus the training mean, classes (n,)."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16
    targets = torch.tensor(digits.target, dtype=torch.int64)
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(0))
    inputs = inputs - inputs[order[:TRAIN]].mean(dim=0)
    train, val, test = (Split(inputs[part], targets[part]) for part in order.tensor_split([TRAIN, TRAIN + VAL]))
    return Data(train, val, test)


def build_model() -> nn.Module:
    """64-128-64-10 with tanh: 17,226 parameters."""
    return nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 10))


def low_rank(configuration: Configuration) -> Plan:
    """Each hidden layer at low rank. The output layer, of rank 10 at most, is not compressed."""
    return {"[02]": LowRank(rank=int(configuration["rank"]))}


KEEP = (0.5, 0.4, 0.3, 0.25, 0.2, 0.17, 0.15, 0.135, 0.12, 0.11, 0.1, 0.09, 0.08, 0.07, 0.06, 0.05, 0.045, 0.04, 0.035)
TIGHT_KEEP = (*KEEP, 0.03, 0.025, 0.02, 0.015, 0.01)
SIZE = (32, 24, 20, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2)

study = Study(
    name="digits_mlp",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=60, lr=0.1, batch_size=64),
    schedule=Schedule(epochs=60, lr=0.1, batch_size=64),
    families=(
        Family("prune", {"keep": TIGHT_KEEP}, prune, grid={"keep": (0.5, 0.3, 0.2, 0.1, 0.05, 0.03, 0.02)}),
        Family("quantize", {"size": SIZE}, quantize, grid={"size": (32, 16, 8, 4, 3, 2)}),
        Family("low rank", {"rank": tuple(range(32, 1, -1))}, low_rank, grid={"rank": (24, 16, 12, 8, 6, 4)}),
        Family(
            "prune, quantize",
            {"keep": KEEP, "size": SIZE},
            prune_quantize,
            grid={"keep": (0.3, 0.15, 0.1, 0.05), "size": (16, 4, 2)},
        ),
    ),
    target=Target(max_drop=0.01),
)

budget = replace(study, name="digits_mlp_budget", families=(bytes_budget(build_model()),))
