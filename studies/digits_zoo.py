"""Every compression once, on a small convolutional network for the 8 x 8 digits of scikit-learn.

    lcsweep run studies.digits_zoo
    lcsweep report runs/digits_zoo

It shows what each compression costs and saves. The levels are round numbers and not tuned.
"""

from collections.abc import Callable

import torch
from torch import nn

from lc_core import (
    CP,
    Binary,
    Cast,
    Chain,
    Circulant,
    Codebook,
    FixedCodebook,
    GroupPruning,
    Joint,
    L0Penalty,
    L0Pruning,
    L1Penalty,
    L1Pruning,
    LowRank,
    NMPruning,
    Plan,
    PowersOfTwo,
    RankSelection,
    Recipe,
    ScaledBinary,
    ScaledTernary,
    Schedule,
    Separable,
    Sum,
    Ternary,
    Tucker2,
    UniformQuantization,
    Use,
)
from studies import digits_mlp
from sweep.study import Configuration, Data, Family, Level, Split, Study

INNER, CONVOLUTION = "[fh]*", "features.3"
"""All layers but the output layer (features.0, features.3, hidden); the one convolution with many channels."""


class DigitsNet(nn.Module):
    """(n, 1, 8, 8) -> (n, 10): two 3 x 3 convolutions with batch norm, pooling, a hidden layer; 38,234 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Linear(512, 64)
        self.output = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, 10) of images (n, 1, 8, 8)."""
        features = self.features(x).flatten(1)
        logits: torch.Tensor = self.output(torch.relu(self.hidden(features)))
        return logits


def load_data() -> Data:
    """The splits of `digits_mlp` as images (n, 1, 8, 8)."""
    data = digits_mlp.load_data()
    images = [Split(split.inputs.reshape(-1, 1, 8, 8), split.targets) for split in (data.train, data.val, data.test)]
    return Data(*images)


def one(name: str, level: Level, plan: Callable[..., Plan]) -> Family:
    """A family of one configuration: `plan` takes `level`."""

    def planned(configuration: Configuration) -> Plan:
        return plan(configuration["level"])

    return Family(name, {"level": (level,)}, planned)


ROWS: dict[str, tuple[Level, Callable[..., Plan]]] = {
    "L0Pruning": (0.05, lambda keep: {"*": Joint(L0Pruning(keep))}),
    "L1Pruning": (100.0, lambda radius: {"*": Joint(L1Pruning(radius))}),
    "L0Penalty": (3e-4, lambda alpha: {"*": L0Penalty(alpha)}),
    "L1Penalty": (3e-3, lambda alpha: {"*": L1Penalty(alpha)}),
    "NMPruning 1:m": (4, lambda m: {CONVOLUTION: NMPruning(1, m), "hidden": NMPruning(1, m)}),
    "GroupPruning, outputs": (0.5, lambda keep: {INNER: GroupPruning(keep)}),
    "GroupPruning, inputs": (0.5, lambda keep: {CONVOLUTION: GroupPruning(keep, axis="input")}),
    "GroupPruning, jointly": (0.5, lambda keep: {INNER: Joint(GroupPruning(keep))}),
    "Codebook": (4, lambda size: {"*": Codebook(size)}),
    "FixedCodebook": (0.1, lambda step: {"*": FixedCodebook((-3 * step, -step, 0.0, step, 3 * step))}),
    "Binary": (1, lambda _: {CONVOLUTION: Binary()}),
    "ScaledBinary": (1, lambda _: {"*": ScaledBinary()}),
    "Ternary": (1, lambda _: {CONVOLUTION: Ternary()}),
    "ScaledTernary": (1, lambda _: {"*": ScaledTernary()}),
    "PowersOfTwo": (-8, lambda least: {"*": PowersOfTwo(tuple(range(least, 0)))}),
    "UniformQuantization": (3, lambda bits: {"*": UniformQuantization(bits)}),
    "UniformQuantization, symmetric, by channel": (
        3,
        lambda bits: {"*": UniformQuantization(bits, symmetric=True, granularity="channel")},
    ),
    "Cast": ("float8_e4m3fn", lambda dtype: {"*": Cast(dtype)}),
    "LowRank": (8, lambda rank: {CONVOLUTION: LowRank(rank), "hidden": LowRank(rank)}),
    "LowRank, spatial": (8, lambda rank: {CONVOLUTION: LowRank(rank, scheme="spatial"), "hidden": LowRank(rank)}),
    "RankSelection": (1e-4, lambda alpha: {CONVOLUTION: RankSelection(alpha), "hidden": RankSelection(alpha)}),
    "RankSelection by MACs": (
        2e-4,
        lambda alpha: {CONVOLUTION: RankSelection(alpha, criterion="macs", use=Use((8, 8), (8, 8)))},
    ),
    "Tucker2": (8, lambda rank: {CONVOLUTION: Tucker2((rank, rank))}),
    "CP": (16, lambda rank: {CONVOLUTION: CP(rank)}),
    "Separable": (1, lambda multiplier: {CONVOLUTION: Separable(multiplier)}),
    "Circulant": (8, lambda block: {CONVOLUTION: Circulant(block), "hidden": Circulant(block)}),
    "Sum of L0Pruning and Codebook": (0.01, lambda keep: {"*": Joint(Sum(L0Pruning(keep), Codebook(2)))}),
    "Sum of LowRank and L0Pruning": (4, lambda rank: {"hidden": Sum(LowRank(rank), L0Pruning(0.02))}),
    "Chain of L0Pruning and Codebook": (0.1, lambda keep: {"*": Joint(Chain(L0Pruning(keep), Codebook(4)))}),
    "Chain of NMPruning and UniformQuantization": (
        4,
        lambda m: {"hidden": Chain(NMPruning(1, m), UniformQuantization(4, symmetric=True))},
    ),
    "Chain of GroupPruning and Cast": (0.5, lambda keep: {INNER: Chain(GroupPruning(keep), Cast("float16"))}),
    "Chain of GroupPruning and LowRank": (0.5, lambda keep: {"hidden": Chain(GroupPruning(keep), LowRank(8))}),
    "Chain of LowRank and Codebook": (8, lambda rank: {"hidden": Chain(LowRank(rank), Codebook(16))}),
    "Chain of Tucker2 and UniformQuantization": (
        8,
        lambda rank: {CONVOLUTION: Chain(Tucker2((rank, rank)), UniformQuantization(6, symmetric=True))},
    ),
}
"""Name -> a level, and the plan for this level. Other layers stay in float32."""

study = Study(
    name="digits_zoo",
    build_model=DigitsNet,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=30, lr=0.05, batch_size=64),
    schedule=Schedule(epochs=30, lr=0.05, batch_size=64),
    families=tuple(one(name, level, plan) for name, (level, plan) in ROWS.items()),
)
