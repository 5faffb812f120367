"""LC beside the methods of the literature, on CIFAR-10 and a published ResNet20, two epochs of 2,000 images a job.

    python benchmarks/rivals.py studies.rivals_resnet20:quick
    python benchmarks/rivals.py studies.rivals_resnet20

Every method has the same reference, batches, epochs and optimizer. The reference has seen all training images of
CIFAR-10, so images of the original test split validate here, and others of that split test. The budget is short: what
training from scratch (`direct`) gives in it says little. Files are tidied, so that removed channels take no room. The
compact layers are those of the family `separable`.

A job takes about 25 seconds of one core; all methods on three seeds are 552 jobs, four hours. The quick form trains on
1,000 images.
"""

from dataclasses import replace

from torch.nn import functional as F

from lc_core import Plan, Schedule, Separable
from studies.cifar10 import load_cifar10, scaled
from studies.cifar10_resnet20 import ResNet20
from studies.cifar10_resnet20 import study as published
from sweep.study import Configuration, Data, Family, Split, Study
from sweep.study.families import standard


def load_data(*, train: int = 2000, others: int = 500) -> Data:
    """The first `train` training images; of the original test images the first `others` validate, the next ones
    test."""
    images, classes, test, test_classes = load_cifar10()
    return Data(
        Split(scaled(images[:train]), classes[:train]),
        Split(scaled(test[:others]), test_classes[:others]),
        Split(scaled(test[others : 2 * others]), test_classes[others : 2 * others]),
    )


def load_some_data() -> Data:
    """1,000 images to train, 500 to validate, 500 to test."""
    return load_data(train=1000)


def separable(configuration: Configuration) -> Plan:
    """The convolutions of the blocks as depthwise and 1 x 1 convolutions."""
    return {"layer*": Separable(multiplier=int(configuration["multiplier"]))}


GRIDS: dict[str, dict[str, tuple[float, ...]]] = {
    "prune": {"keep": (0.3, 0.2, 0.1)},
    "quantize": {"size": (8, 4, 2)},
    "uniform": {"bits": (4, 3, 2)},
    "low rank": {"share": (0.75, 0.5, 0.35)},
    "prune channels": {"channels": (0.65, 0.5, 0.35)},
}
QUICK: dict[str, dict[str, tuple[float, ...]]] = {
    "prune": {"keep": (0.5, 0.3)},
    "quantize": {"size": (4,)},
    "uniform": {"bits": (3,)},
    "low rank": {"share": (0.5,)},
    "prune channels": {"channels": (0.5,)},
}
FAMILIES = {family.name: family for family in standard(ResNet20(), small=None)}
"""With biases and norms in float32: the methods that train a fixed structure take no rounded values."""

study = Study(
    name="rivals_resnet20",
    build_model=ResNet20,
    load_data=load_data,
    loss=F.cross_entropy,
    reference=published.reference,
    schedule=Schedule(epochs=2, lr=0.01, batch_size=32),
    tidy=True,
    families=(
        *(replace(FAMILIES[name], grid=grid) for name, grid in GRIDS.items()),
        Family("separable", {"multiplier": (3, 2, 1)}, separable),
    ),
)

quick = replace(
    study,
    name="rivals_resnet20_quick",
    load_data=load_some_data,
    schedule=replace(study.schedule, lr=0.003),
    families=tuple(replace(FAMILIES[name], grid=grid) for name, grid in QUICK.items()),
)
