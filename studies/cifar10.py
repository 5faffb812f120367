"""CIFAR-10 from its binary files, in the folder `cifar-10-batches-bin` of LCSWEEP_DATA (or of --data)."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sweep.study import Data, Split

SIDE, CHANNELS = 32, 3
BYTES = 1 + CHANNELS * SIDE * SIDE
"""Of an image: its class, then red, green and blue, row by row."""
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By channel; what the published ResNets were trained with."""
VALIDATE = 0.2
"""Of the training images, the part that validates: the last ones."""


def data_folder() -> Path:
    """The folder that holds the data of studies."""
    return Path(os.environ.get("LCSWEEP_DATA", "data"))


def load_cifar10() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (n, 3, 32, 32) uint8 and classes (n,) int64, then those to test; all batches that are there.

    Raises:
        ValueError: a file is missing or is not what it should be; the message says where they are to be had.
    """
    folder = data_folder() / "cifar-10-batches-bin"
    found = [path for number in range(1, 6) if (path := folder / f"data_batch_{number}.bin").is_file()]
    if not found or not (folder / "test_batch.bin").is_file():
        raise ValueError(
            f"{folder}: expected data_batch_1.bin to data_batch_5.bin (one is enough) and test_batch.bin, found "
            f"{', '.join(sorted(path.name for path in folder.glob('*.bin'))) or 'none'}. Unpack the binary version "
            "from https://www.cs.toronto.edu/~kriz/cifar.html, and name the folder that holds it by --data DIR or "
            "LCSWEEP_DATA"
        )
    parts = [_batch(path) for path in found]
    images, classes = (torch.cat(each) for each in zip(*parts, strict=True))
    return images, classes, *_batch(folder / "test_batch.bin")


def load_splits(*, train: int = 40_000, others: int = 10_000) -> Data:
    """Images (n, 3, 32, 32), scaled as for the published ResNets: the first `train` of the first four fifths of the
    training images, the first `others` of the last fifth to validate, and the first `others` of those to test.
    """
    images, classes, test, test_classes = load_cifar10()
    rest = round((1 - VALIDATE) * len(classes))
    return Data(
        Split(scaled(images[:rest][:train]), classes[:rest][:train]),
        Split(scaled(images[rest:][:others]), classes[rest:][:others]),
        Split(scaled(test[:others]), test_classes[:others]),
    )


def scaled(images: Tensor) -> Tensor:
    """Images uint8 (n, 3, 32, 32) as float32, in [0, 1] less the mean, over the deviation of each channel."""
    mean, deviation = (torch.tensor(each).view(-1, 1, 1) for each in (MEAN, DEVIATION))
    return images.float().div_(255).sub_(mean).div_(deviation)


def _batch(path: Path) -> tuple[Tensor, Tensor]:
    """The images and classes of one file."""
    content = np.fromfile(path, np.uint8)
    if not len(content) or len(content) % BYTES:
        raise ValueError(f"{path}: expected images of {BYTES} bytes each, got {len(content)} bytes")
    rows = torch.from_numpy(content.reshape(-1, BYTES))
    return rows[:, 1:].reshape(-1, CHANNELS, SIDE, SIDE), rows[:, 0].long()
