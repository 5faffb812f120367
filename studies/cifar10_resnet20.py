"""CIFAR-10, a published ResNet20: 269,722 parameters, batch norm, shortcuts that subsample and pad (option A).

The weights are resnet20_cifar10.safetensors in LCSWEEP_DATA, from github.com/akamaster/pytorch_resnet_cifar10: 91.7 %
on the original test images. An epoch of an LC job on 8,000 images takes about a minute on a core. The quick form takes
1,000 images to train, and 500 each to validate and to test. `hour` has a front of six epochs a job: with one of
CIFAR-10's five training files (8,000 images to train) about an hour on two cores.

    lcsweep run studies.cifar10_resnet20:quick
    lcsweep report runs/cifar10_resnet20_quick
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lc_core import Schedule
from studies.cifar10 import data_folder, load_splits
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Checkpoint, Data, Family, Study, Target
from sweep.study.families import standard


def load_some_data() -> Data:
    """1,000 images to train, 500 to validate, 500 to test."""
    return load_splits(train=1000, others=500)


class Block(nn.Module):
    """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride): two 3 x 3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:  # the shortcut takes every second pixel, and zeros for the new channels
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more // 2, self.more // 2))
        return F.relu(inner + x)


class ResNet20(nn.Module):
    """(n, 3, 32, 32) -> (n, 10): a convolution, three stages of 16, 32 and 64 channels, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = stage(16, 16)
        self.layer2 = stage(16, 32)
        self.layer3 = stage(32, 64)
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        logits: Tensor = self.linear(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits


def stage(inputs: int, outputs: int) -> nn.Sequential:
    """Three blocks; the first one changes the channels and, where it does, halves the sides."""
    blocks = [Block(inputs if first else outputs, outputs, stride=1 + (first and inputs != outputs)) for first in FIRST]
    return nn.Sequential(*blocks)


FIRST = (True, False, False)

study = Study(
    name="cifar10_resnet20",
    build_model=ResNet20,
    load_data=load_splits,
    loss=F.cross_entropy,
    reference=Checkpoint(data_folder() / "resnet20_cifar10.safetensors"),
    schedule=Schedule(epochs=20, lr=0.01, batch_size=128),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="cifar10_resnet20_quick",
    load_data=load_some_data,
    schedule=Schedule(epochs=2, lr=0.003, batch_size=32),
    families=(
        Family("prune", {"keep": (0.5, 0.3)}, prune),
        Family("quantize", {"size": (16,)}, quantize),
        Family("prune, quantize", {"keep": (0.5,), "size": (16,)}, prune_quantize),
    ),
)

GRIDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "prune": {"keep": (0.5, 0.3, 0.2, 0.1)},
    "quantize": {"size": (16, 4)},
    "uniform": {"bits": (8, 4, 3)},
    "low rank": {"share": (0.75, 0.5)},
    "prune channels": {"channels": (0.8, 0.5)},
    "prune, quantize": {"keep": (0.3, 0.2, 0.1), "size": (16,)},
}

hour = replace(
    study,
    name="cifar10_resnet20_hour",
    schedule=Schedule(epochs=6, lr=0.01, batch_size=32),
    families=tuple(replace(family, grid=GRIDS[family.name]) for family in standard(ResNet20())),
)
