"""LC beside the methods of the literature, on the digits and the network of `digits_mlp`: a few minutes on two cores.

    for method in lc dc retrain idc gradual qat direct distill label_free adam_masks lc_distill lc_label_free; do
        lcsweep run studies.rivals_digits --method $method --repeats 3
    done
    lcsweep compare runs/rivals_digits

Every method has the same reference, batches, epochs and optimizer. docs/rivals.md says what came out.
"""

from torch import nn

from lc_core import GroupPruning, Plan, Recipe, Schedule, UniformQuantization
from studies.digits_mlp import build_model, load_data, low_rank, prune, quantize
from sweep.study import Configuration, Family, Study


def uniform(configuration: Configuration) -> Plan:
    """Uniform steps for each layer."""
    return {"*": UniformQuantization(bits=int(configuration["bits"]))}


def width(configuration: Configuration) -> Plan:
    """The units of each hidden layer: what `direct` trains is a narrower net from scratch."""
    return {"[02]": GroupPruning(keep=float(configuration["keep"]))}


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
