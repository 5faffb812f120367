"""MNIST from the files that its authors publish, in the folder `mnist` of LCSWEEP_DATA (or of --data)."""

import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sweep.study import Data, Split

VAL = 5000
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SHAPES = ((60000, 28, 28), (60000,), (10000, 28, 28), (10000,))


def load_mnist() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (60000, 28, 28) uint8 and classes (60000,) int64, then 10,000 of each to test.

    Raises:
        ValueError: a file is missing or damaged; the message says where to get it.
    """
    train, train_classes, test, test_classes = map(_idx, FILES, SHAPES)
    return train, train_classes.long(), test, test_classes.long()


def centred(train: Tensor, val: Tensor, test: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images uint8 (n, 28, 28) as float32 in [0, 1], minus the mean of `train` at each pixel."""
    scaled = [images.float().div_(255) for images in (train, val, test)]
    mean = scaled[0].mean(dim=0)
    return tuple(images.sub_(mean) for images in scaled)  # type: ignore[return-value]


def load_splits(*shape: int, train: int = 55_000) -> Data:
    """The first `train` training images to train, the last 5,000 to validate; images of `shape`, minus the mean."""
    images, classes, test, test_classes = load_mnist()
    first = images[:-VAL][:train]
    inputs = centred(first, images[-VAL:], test)
    targets = (classes[: len(first)], classes[-VAL:], test_classes)
    return Data(*(Split(part.reshape(-1, *shape), known) for part, known in zip(inputs, targets, strict=True)))


def _idx(name: str, shape: tuple[int, ...]) -> Tensor:
    """The bytes of an idx file (four of magic, four for each dimension, then a byte for each number)."""
    folder = Path(os.environ.get("LCSWEEP_DATA", "data"), "mnist")
    packed, plain = folder / f"{name}.gz", folder / name
    if not packed.is_file() and not plain.is_file():
        raise ValueError(
            f"{packed}: no such file. Put MNIST's four .gz files ({', '.join(FILES)}; from "
            f"https://ossci-datasets.s3.amazonaws.com/mnist/) in a folder mnist, and name the folder that holds it by "
            f"--data DIR or LCSWEEP_DATA"
        )
    path = packed if packed.is_file() else plain
    try:
        content = gzip.decompress(path.read_bytes()) if path is packed else path.read_bytes()
    except (OSError, EOFError) as error:
        raise ValueError(f"{path}: expected a gzip file, got one that does not unpack: {error}") from error
    header = b"\0\0\x08" + bytes([len(shape)]) + np.array(shape, dtype=">u4").tobytes()
    if content[: len(header)] != header or len(content) != len(header) + int(np.prod(shape)):
        raise ValueError(f"{path}: expected an idx file of {shape} bytes, got {len(content)} bytes that are not one")
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape).copy())
