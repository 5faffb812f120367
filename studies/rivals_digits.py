"""LC beside the methods of the literature, on the digits and the network of `digits_mlp`: a few minutes on two cores.

    python benchmarks/rivals.py studies.rivals_digits
    python benchmarks/rivals.py studies.rivals_digits:grids --methods lc dc ptq qat

Every method has the same reference, batches, epochs and optimizer. `grids` has eight and four bits in every kind of
uniform grid, as post-training quantization has it. docs/rivals.md says what came out.
"""

from dataclasses import replace

from torch import nn

from lc_core import GroupPruning, Plan, Recipe, Schedule, UniformQuantization
from lc_core.compressions.uniform import Granularity
from studies.digits_mlp import build_model, load_data, low_rank
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


GRIDS = (Family("grid", {"bits": (8, 4), "scales": ("channel", "tensor"), "range": ("asymmetric", "symmetric")}, grid),)
"""Of weights in eight and four bits."""

study = Study(
    name="rivals_digits",
    build_model=build_model,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=60, lr=0.1, batch_size=64),
    schedule=Schedule(epochs=30, lr=0.1, batch_size=64),
    families=(
        Family("prune", {"keep": (0.1, 0.05, 0.02)}, prune),
        Family("quantize", {"size": (4, 3, 2)}, quantize),
        Family("uniform", {"bits": (3, 2, 1)}, uniform),
        Family("width", {"keep": (0.5, 0.25, 0.125)}, width),
        Family("low rank", {"rank": (8, 4, 2)}, low_rank),
    ),
)

grids = replace(study, name="rivals_digits_grids", families=GRIDS)
