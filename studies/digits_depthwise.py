"""Handwritten digits (8 x 8, from scikit-learn), a small MobileNet: depthwise and pointwise convolutions, batch norm.

Nearly all weights are those of the pointwise convolutions. The depthwise ones hold 9 a channel. The splits are those of
`digits_mlp`. It takes minutes; the quick form takes one.

    lcsweep run studies.digits_depthwise:quick
    lcsweep report runs/digits_depthwise_quick
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from lc_core import GroupPruning, LowRank, Plan, Recipe, Schedule
from studies import digits_mlp
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target

BLOCKS = ((16, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2))
"""Input channels, output channels and stride of each block."""


def load_data() -> Data:
    """The splits of `digits_mlp` as images (n, 1, 8, 8)."""
    images = [Split(split.inputs.reshape(-1, 1, 8, 8), split.targets) for _, split in digits_mlp.load_data().items()]
    return Data(*images)


def convolution(inputs: int, outputs: int, *, size: int, stride: int = 1, groups: int = 1) -> Iterator[nn.Module]:
    """A convolution without bias, batch norm, and a rectifier that stops at 6."""
    yield nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    yield nn.BatchNorm2d(outputs)
    yield nn.ReLU6()


class Block(nn.Module):
    """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride): depthwise 3 x 3, then pointwise."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(*convolution(inputs, inputs, size=3, stride=stride, groups=inputs))
        self.pointwise = nn.Sequential(*convolution(inputs, outputs, size=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of features."""
        features: torch.Tensor = self.pointwise(self.depthwise(x))
        return features


class MobileNet(nn.Module):
    """(n, 1, 8, 8) -> (n, 10): a convolution, four blocks, the mean over space, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*convolution(1, 16, size=3))
        self.blocks = nn.Sequential(*(Block(*block) for block in BLOCKS))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.output = nn.Linear(128, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of images (n, 1, 8, 8)."""
        features = self.pool(self.blocks(self.stem(x))).flatten(1)
        logits: torch.Tensor = self.output(features)
        return logits


def low_rank(configuration: Configuration) -> Plan:
    """Each pointwise convolution but the first, of 16 inputs, as two thinner ones."""
    return {"blocks.[123].pointwise.0": LowRank(rank=int(configuration["rank"]))}


def channels(configuration: Configuration) -> Plan:
    """The pointwise convolutions lose whole channels, and with them the depthwise layers that follow."""
    return {"blocks.*.pointwise.0": GroupPruning(keep=float(configuration["channels"]))}


study = Study(
    name="digits_depthwise",
    build_model=MobileNet,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=20, lr=0.05, batch_size=64, weight_decay=5e-4),
    schedule=Schedule(epochs=20, lr=0.05, batch_size=64, weight_decay=5e-4),
    families=(
        Family("prune", {"keep": (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)}, prune),
        Family("quantize", {"size": (32, 16, 8, 4, 3, 2)}, quantize),
        Family("prune, quantize", {"keep": (0.3, 0.2, 0.1, 0.05), "size": (16, 8, 4)}, prune_quantize),
        Family("low rank", {"rank": (24, 16, 12, 8, 6, 4)}, low_rank),
        Family("prune channels", {"channels": (0.8, 0.65, 0.5, 0.35, 0.25)}, channels),
    ),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="digits_depthwise_quick",
    schedule=Schedule(epochs=8, lr=0.05, batch_size=64, weight_decay=5e-4),
    families=(
        Family("prune", {"keep": (0.3, 0.1)}, prune),
        Family("quantize", {"size": (16, 4)}, quantize),
        Family("prune, quantize", {"keep": (0.3, 0.1), "size": (8,)}, prune_quantize),
        Family("prune channels", {"channels": (0.5, 0.25)}, channels),
    ),
)
