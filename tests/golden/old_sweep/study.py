"""Images of 6 x 6 pixels in three classes, and a small network: every number of the data is exact on any machine."""

import functools

import torch
from torch import nn

from lc_core import Codebook, Distillation, Joint, L0Pruning, PixelShifts, Recipe, Schedule
from sweep.study import Data, Family, Split, Study, Target, accuracy


class Network(nn.Module):
    """36-64-3 with tanh: 2,563 parameters."""

    def __init__(self):
        super(Network, self).__init__()  # noqa: UP008 - a class that names itself
        self.layers = nn.Sequential(nn.Linear(36, 64), nn.Tanh(), nn.Linear(64, 3))

    def forward(self, inputs):
        return self.layers(inputs)


def load_data():
    """120 images to train, 90 to validate, 90 to test; one third of each is brighter, which one tells the class."""
    images = torch.randint(0, 256, (300, 6, 6), generator=torch.Generator().manual_seed(0))
    targets = torch.arange(300) % 3
    brighter = torch.arange(6)[None, :, None] // 2 == targets[:, None, None]
    inputs = torch.where(brighter, images // 2 + 128, images).reshape(300, 36).float() / 256 - 0.5
    parts = torch.arange(300).split([120, 90, 90])
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))


def hits(outputs, targets):
    """The hits of the library's metric."""
    return accuracy(outputs, targets)


def prune(configuration):
    return {"*": Joint(L0Pruning(keep=configuration["keep"]))}


def quantize(configuration):
    return {"*": Codebook(size=configuration["size"])}


study = Study(
    name="old",
    build_model=Network,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=20, lr=0.1, batch_size=20),
    schedule=Schedule(epochs=4, lr=0.1, batch_size=20),
    metrics={"accuracy": accuracy, "hits": hits},
    augment=functools.partial(PixelShifts, height=6, width=6),
    distillation=Distillation(temperature=2),
    families=(
        Family("prune", {"keep": (0.3, 0.1)}, prune),
        Family("quantize", {"size": (4, 2)}, quantize),
    ),
    target=Target(max_drop=0.05),
)
