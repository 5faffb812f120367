"""Disks and squares on noise, and a small U-Net that classifies each pixel: transposed convolutions, batch norm.

An image has 32 x 32 pixels and shows one to three shapes, brighter or darker than the noise around them. The score is
the mean IoU: for each of background, disk and square, the pixels that both answer and truth give it over the pixels
that either does, averaged over the three. Answering "background" everywhere gets 28 %.

    lcsweep run studies.segmentation_unet:quick
    lcsweep report runs/segmentation_unet_quick
"""

from dataclasses import replace

import torch
from torch import nn

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target
from sweep.study.metrics import mean_iou

SIDE, CLASSES, NOISE = 32, 3, 0.3
TRAIN, VAL, TEST = 600, 150, 150


def image(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """An image (1, 32, 32), and the class of each pixel (32, 32): 0 background, 1 disk, 2 square."""
    pixels = NOISE * torch.randn(1, SIDE, SIDE, generator=generator)
    truth = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    for _ in range(int(torch.randint(1, 4, (), generator=generator))):
        row, column, radius, sign = (torch.rand(4, generator=generator) - 0.5).tolist()
        down, right, radius = (rows - 16 - 20 * row).abs(), (columns - 16 - 20 * column).abs(), 5 + 4 * radius
        kind = int(torch.randint(1, CLASSES, (), generator=generator))
        inside = down**2 + right**2 <= radius**2 if kind == 1 else torch.maximum(down, right) <= 0.9 * radius
        truth[inside] = kind
        pixels[0, inside] += 1 if sign > 0 else -1
    return pixels, truth


def load_data() -> Data:
    """Images (n, 1, 32, 32), and the classes of their pixels (n, 32, 32)."""
    generator = torch.Generator().manual_seed(0)
    images, truths = zip(*(image(generator) for _ in range(TRAIN + VAL + TEST)), strict=True)
    inputs, targets = torch.stack(images), torch.stack(truths)
    parts = torch.arange(len(inputs)).split([TRAIN, VAL, TEST])
    return Data(*(Split(inputs[part], targets[part]) for part in parts))


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3 x 3 convolutions with batch norm and rectifiers."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class UNet(nn.Module):
    """(n, 1, 32, 32) -> (n, 3, 32, 32) logits: halved twice, doubled twice, each size joined with itself."""

    def __init__(self) -> None:
        super().__init__()
        self.high, self.middle, self.low = double(1, 8), double(8, 16), double(16, 32)
        self.pool = nn.MaxPool2d(2)
        self.up_middle = nn.ConvTranspose2d(32, 16, 2, stride=2)
        self.from_middle = double(32, 16)
        self.up_high = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.from_high = double(16, 8)
        self.output = nn.Conv2d(8, CLASSES, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of the classes at each pixel."""
        high = self.high(x)
        middle = self.middle(self.pool(high))
        low = self.low(self.pool(middle))
        middle = self.from_middle(torch.cat([middle, self.up_middle(low)], dim=1))
        high = self.from_high(torch.cat([high, self.up_high(middle)], dim=1))
        logits: torch.Tensor = self.output(high)
        return logits


def low_rank(configuration: Configuration) -> Plan:
    """The wider convolutions at low rank, two layers each."""
    compression = LowRank(rank=int(configuration["rank"]))
    return {"low.*": compression, "*middle*": compression}


study = Study(
    name="segmentation_unet",
    build_model=UNet,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=20, lr=0.01, batch_size=20, optimizer="adam"),
    schedule=Schedule(epochs=20, lr=0.01, batch_size=20, optimizer="adam"),
    families=(
        Family("prune", {"keep": (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)}, prune),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (12, 10, 8, 6, 4, 3, 2)}, low_rank),
        Family("prune, quantize", {"keep": (0.3, 0.2, 0.1, 0.05), "size": (16, 8, 4)}, prune_quantize),
    ),
    metrics={"mean_iou": mean_iou()},
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="segmentation_unet_quick",
    schedule=replace(study.schedule, epochs=5),
    families=(
        Family("prune", {"keep": (0.3, 0.1)}, prune),
        Family("quantize", {"size": (16, 4)}, quantize),
        Family("low rank", {"rank": (8, 4)}, low_rank),
        Family("prune, quantize", {"keep": (0.2, 0.1), "size": (8,)}, prune_quantize),
    ),
)
