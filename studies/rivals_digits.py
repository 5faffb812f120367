"""LC beside the methods of the literature, on the digits and the network of `digits_mlp`: a few minutes on two cores.

    python benchmarks/rivals.py studies.rivals_digits
    python benchmarks/rivals.py studies.rivals_digits:hints --methods lc retrain
    python benchmarks/rivals.py studies.rivals_digits:attention --methods lc retrain
    python benchmarks/rivals.py studies.rivals_digits:grids --methods lc dc ptq qat
    python benchmarks/rivals.py studies.rivals_digits:activations --methods lc retrain qat distill

Every method has the same reference, batches, epochs and optimizer. `grids` has eight and four bits in every kind of
uniform grid, as post-training quantization has it. `hints` has soft targets, and hints from both hidden layers;
`attention` soft targets, and the attention maps of the convolutions of `digits_zoo`; `maps` that network without them.
`activations` has activations of two bits with learned steps, `asymmetric` with learned offsets too.
docs/rivals.md says what came out.
"""

from dataclasses import replace
from functools import partial

from torch import nn

from lc_core import ActivationSteps, Distillation, GroupPruning, Plan, Recipe, Schedule, Separable, UniformQuantization
from lc_core.compressions.uniform import Granularity
from studies.digits_mlp import build_model, load_data, low_rank
from studies.digits_zoo import CONVOLUTION
from studies.digits_zoo import study as zoo
from studies.plans import prune, quantize
from sweep.study import Configuration, Family, Study


def uniform(configuration: Configuration) -> Plan:
    """Uniform steps for each layer."""
    return {"*": UniformQuantization(bits=int(configuration["bits"]))}


def width(configuration: Configuration) -> Plan:
    """The units of each hidden layer: what `direct` trains is a narrower net from scratch."""
    return {"[02]": GroupPruning(keep=float(configuration["keep"]))}


def grid(configuration: Configuration) -> Plan:
    """Uniform steps for each layer, or for each of its units."""
    scales: Granularity = "channel" if configuration["scales"] == "channel" else "tensor"
    symmetric = configuration["range"] == "symmetric"
    return {"*": UniformQuantization(int(configuration["bits"]), symmetric=symmetric, granularity=scales)}


def separable(configuration: Configuration) -> Plan:
    """The second convolution of `digits_zoo` as depthwise and 1 x 1 convolutions."""
    return {CONVOLUTION: Separable(multiplier=int(configuration["multiplier"]))}


def quantized(*, asymmetric: bool) -> nn.Module:
    """The network of `digits_mlp` whose activations take two bits."""
    steps = partial(ActivationSteps, 2, low=-1, high=1, asymmetric=asymmetric)
    layers = [*build_model().children()]
    return nn.Sequential(*layers[:2], steps(), *layers[2:4], steps(), *layers[4:])


def two_bits() -> nn.Module:
    """With the values -1, 0 and 1 at the start."""
    return quantized(asymmetric=False)


def two_bits_asymmetric() -> nn.Module:
    """With the values -1, -1/3, 1/3 and 1 at the start."""
    return quantized(asymmetric=True)


GRIDS = (Family("grid", {"bits": (8, 4), "scales": ("channel", "tensor"), "range": ("asymmetric", "symmetric")}, grid),)
"""Of weights in eight and four bits."""

SOFT = Distillation(temperature=4.0, labels=0.5)
"""The soft targets of the methods `distill` and `lc_distill`."""

study = Study(
    name="rivals_digits",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=60, lr=0.1, batch_size=64),
    schedule=Schedule(epochs=30, lr=0.1, batch_size=64),
    tidy=True,
    families=(
        Family("prune", {"keep": (0.1, 0.05, 0.02)}, prune),
        Family("quantize", {"size": (4, 3, 2)}, quantize),
        Family("uniform", {"bits": (3, 2, 1)}, uniform),
        Family("width", {"keep": (0.5, 0.25, 0.125)}, width),
        Family("low rank", {"rank": (8, 4, 2)}, low_rank),
    ),
)

grids = replace(study, name="rivals_digits_grids", families=GRIDS)

activations = replace(
    study,
    name="rivals_digits_activations",
    build_model=two_bits,
    families=(
        Family("prune", {"keep": (0.1, 0.05)}, prune),
        Family("quantize", {"size": (4, 2)}, quantize),
        Family("uniform", {"bits": (3, 2)}, uniform),
    ),
)

asymmetric = replace(activations, name="rivals_digits_asymmetric", build_model=two_bits_asymmetric)

hints = replace(
    study,
    name="rivals_digits_hints",
    distillation=replace(SOFT, hints={"1": 0.1, "3": 0.1}),
    families=tuple(family for family in study.families if family.name != "width"),
)

maps = replace(
    zoo,
    name="rivals_digits_maps",
    distillation=SOFT,
    families=(
        Family("prune", {"keep": (0.02,)}, prune),
        Family("quantize", {"size": (2,)}, quantize),
        Family("separable", {"multiplier": (1,)}, separable),
    ),
)

attention = replace(
    maps,
    name="rivals_digits_attention",
    distillation=replace(SOFT, attention={"features.2": 1.0, "features.5": 1.0}),
)
