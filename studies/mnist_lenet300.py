"""MNIST and the tanh network LeNet300 (784-300-100-10), a standard benchmark of compression: 266,610 parameters.

LC and the reference train on images moved by up to one pixel, LC at three times the reference's learning rate. Both
were chosen on held-out training images (docs/LOG.md). An LC job of 20 epochs takes about 25 seconds of a core.
The quick form trains on 10,000 images. The long one has 60 epochs a job and weight decay, for the smallest files.

    lcsweep run studies.mnist_lenet300:quick
    lcsweep report runs/mnist_lenet300_quick
    lcsweep run studies.mnist_lenet300:long --repeats 5
"""

from dataclasses import replace

from torch import Tensor, nn

from lc_core import (
    SMALL,
    Codebook,
    Examples,
    Joint,
    L0Pruning,
    LowRank,
    PixelShifts,
    Plan,
    Recipe,
    Schedule,
    Sum,
    UniformQuantization,
)
from studies.mnist import load_splits
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Study, Target


def load_data() -> Data:
    """Images (n, 784) in [0, 1] minus the training mean, classes (n,)."""
    return load_splits(784)


def load_some_data() -> Data:
    """The same with the first 10,000 training images."""
    return load_splits(784, train=10_000)


def build_model() -> nn.Module:
    """784-300-100-10 with tanh."""
    return nn.Sequential(nn.Linear(784, 300), nn.Tanh(), nn.Linear(300, 100), nn.Tanh(), nn.Linear(100, 10))


def augment(inputs: Tensor) -> Examples:
    """Images moved by up to one pixel."""
    return PixelShifts(inputs, height=28, width=28)


def low_rank(configuration: Configuration) -> Plan:
    """Both hidden layers at low rank. The output layer is not compressed."""
    return {"[02]": LowRank(rank=int(configuration["rank"]))}


def prune_quantize_all(configuration: Configuration) -> Plan:
    """The largest weights of the whole network stay and share one codebook, and the biases take five bits."""
    return {**prune_quantize(configuration), SMALL: Joint(UniformQuantization(bits=5))}


def corrected(configuration: Configuration) -> Plan:
    """One codebook for the whole network, and corrections to the weights that it fits worst."""
    codebook, corrections = Codebook(size=int(configuration["size"])), L0Pruning(keep=float(configuration["keep"]))
    return {"*": Joint(Sum(codebook, corrections))}


KEEP = (0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.04, 0.03, 0.025, 0.02, 0.015, 0.01)
SIZE = (64, 32, 16, 8, 4, 3, 2)
RANK = (80, 60, 50, 40, 30, 25, 20, 15, 12, 10, 8, 6)

RECIPE = Recipe(epochs=40, lr=0.1, batch_size=256)
"""Of the reference."""

study = Study(
    name="mnist_lenet300",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=RECIPE,
    schedule=Schedule(epochs=20, lr=0.3, batch_size=256),
    augment=augment,
    families=(
        Family("prune", {"keep": KEEP}, prune),
        Family("quantize", {"size": SIZE}, quantize),
        Family("low rank", {"rank": RANK}, low_rank),
        Family(
            "prune, quantize",
            {"keep": KEEP, "size": SIZE},
            prune_quantize,
            grid={"keep": (0.1, 0.05, 0.03, 0.02, 0.01), "size": (16, 8, 4, 2)},
        ),
        Family(
            "prune, quantize, biases in 5 bits",
            {"keep": KEEP, "size": SIZE},
            prune_quantize_all,
            grid={"keep": (0.03, 0.02, 0.015, 0.01), "size": (8, 4)},
        ),
        Family(
            "codebook, corrected",
            {"size": (4, 3, 2), "keep": (0.05, 0.02, 0.01, 0.005)},
            corrected,
        ),
    ),
    target=Target(max_drop=0.005),
)

long = replace(
    study,
    name="mnist_lenet300_long",
    reference=replace(RECIPE, weight_decay=1e-4),
    schedule=replace(study.schedule, epochs=60, weight_decay=1e-4),
    families=(
        Family(
            "prune, quantize, biases in 5 bits",
            {"keep": (0.0185, 0.014, 0.0125, 0.01), "size": (8,)},
            prune_quantize_all,
        ),
    ),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="mnist_lenet300_quick",
    load_data=load_some_data,
    reference=replace(RECIPE, epochs=20),
    schedule=replace(study.schedule, epochs=10),
    families=(
        Family("prune", {"keep": (0.1, 0.03)}, prune),
        Family("quantize", {"size": (8, 2)}, quantize),
        Family("low rank", {"rank": (20, 10)}, low_rank),
        Family("prune, quantize", {"keep": (0.1, 0.03), "size": (4,)}, prune_quantize),
    ),
)
