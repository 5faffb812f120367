"""MNIST and the convolutional network LeNet5 (20 and 50 kernels of 5 x 5, then 800-500-10): 431,080 parameters.

LC trains on images moved by up to one pixel, at the reference's learning rate. Three times that rate, as for LeNet300,
diverges here with a codebook of two values (docs/LOG.md). An LC job of 20 epochs takes about five minutes.
The quick form trains on 5,000 images. The long one has 40 epochs a job, for the smallest files.

    lcsweep run studies.mnist_lenet5:quick
    lcsweep report runs/mnist_lenet5_quick
    lcsweep run studies.mnist_lenet5:long --repeats 5
"""

from dataclasses import replace

from torch import Tensor, nn

from lc_core import (
    SMALL,
    Chain,
    Codebook,
    Examples,
    GroupPruning,
    Joint,
    L0Pruning,
    LowRank,
    PixelShifts,
    Plan,
    Recipe,
    Schedule,
    UniformQuantization,
)
from studies.mnist import load_splits
from studies.plans import prune, quantize
from sweep.study import Configuration, Data, Family, Study, Target


def load_data() -> Data:
    """Images (n, 1, 28, 28) in [0, 1] minus the training mean, classes (n,)."""
    return load_splits(1, 28, 28)


def load_some_data() -> Data:
    """The same with the first 5,000 training images."""
    return load_splits(1, 28, 28, train=5_000)


def build_model() -> nn.Module:
    """Two convolutions with rectifiers and 2 x 2 pooling, then 800-500-10 with a rectifier."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, 10),
    )  # fmt: skip


def augment(inputs: Tensor) -> Examples:
    """Images moved by up to one pixel."""
    return PixelShifts(inputs, height=28, width=28)


def low_rank(configuration: Configuration) -> Plan:
    """The second convolution and the hidden layer at low rank."""
    return {"[37]": LowRank(rank=int(configuration["rank"]))}


def prune_channels(configuration: Configuration) -> Plan:
    """The channels of both convolutions and the hidden units of largest norm stay; the others are removed."""
    return {"[037]": GroupPruning(keep=float(configuration["keep"]))}


def prune_quantize(configuration: Configuration) -> Plan:
    """The largest weights of the whole network stay and share one codebook. The biases take five bits."""
    return {"*": Joint(_kept(configuration)), SMALL: BIASES}


def prune_quantize_by_layer(configuration: Configuration) -> Plan:
    """The same in each layer. Small layers keep a larger share."""
    return {layer: _kept(configuration, times=times) for layer, times in SHARES.items()} | {SMALL: BIASES}


def prune_channels_quantize(configuration: Configuration) -> Plan:
    """Channels and hidden units are removed, and the weights of the others quantized."""
    channels, codebook = GroupPruning(keep=float(configuration["keep"])), Codebook(size=int(configuration["size"]))
    return {"[037]": Chain(channels, codebook), "9": codebook}


def _kept(configuration: Configuration, *, times: int = 1) -> Chain:
    keep = min(times * float(configuration["keep"]), 1.0)
    return Chain(L0Pruning(keep=keep), Codebook(size=int(configuration["size"])))


SHARES = {"0": 20, "3": 5, "7": 1, "9": 6}
"""What a layer keeps, in shares of what the large one keeps."""
BIASES = Joint(UniformQuantization(bits=5))
KEEP, SIZE = (0.1, 0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005), (16, 8, 4, 3, 2)

study = Study(
    name="mnist_lenet5",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=10, lr=0.05, batch_size=256),
    schedule=Schedule(epochs=20, lr=0.05, batch_size=256),
    augment=augment,
    families=(
        Family("prune", {"keep": (0.2, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005)}, prune),
        Family("quantize", {"size": (16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (40, 30, 20, 15, 10, 7, 5)}, low_rank),
        Family("prune channels", {"keep": (0.8, 0.6, 0.5, 0.4, 0.3, 0.2)}, prune_channels),
        Family(
            "prune, quantize",
            {"keep": KEEP, "size": SIZE},
            prune_quantize,
            grid={"keep": (0.02, 0.015, 0.01), "size": (8, 4)},
        ),
        Family(
            "prune, quantize by layer",
            {"keep": KEEP, "size": SIZE},
            prune_quantize_by_layer,
            grid={"keep": (0.015, 0.01, 0.007), "size": (8, 4)},
        ),
        Family(
            "prune channels, quantize",
            {"keep": (0.8, 0.6, 0.5, 0.4, 0.3, 0.2), "size": SIZE},
            prune_channels_quantize,
            grid={"keep": (0.5, 0.3), "size": (4, 2)},
        ),
    ),
    target=Target(max_drop=0.003),
)

long = replace(
    study,
    name="mnist_lenet5_long",
    schedule=replace(study.schedule, epochs=40),
    families=(Family("prune, quantize by layer", {"keep": (0.0115,), "size": (8,)}, prune_quantize_by_layer),),
)

quick = replace(
    study,
    name="mnist_lenet5_quick",
    load_data=load_some_data,
    schedule=replace(study.schedule, epochs=5),
    families=(
        Family("prune", {"keep": (0.05, 0.02)}, prune),
        Family("quantize", {"size": (4, 2)}, quantize),
        Family("prune channels", {"keep": (0.5, 0.3)}, prune_channels),
    ),
)
