"""Plans that several studies share."""

from lc_core import Chain, Codebook, Joint, L0Pruning, Plan
from sweep.study import Configuration


def prune(configuration: Configuration) -> Plan:
    """The largest weights of the whole network stay."""
    return {"*": Joint(L0Pruning(keep=float(configuration["keep"])))}


def quantize(configuration: Configuration) -> Plan:
    """A codebook for each layer."""
    return {"*": Codebook(size=int(configuration["size"]))}


def prune_quantize(configuration: Configuration) -> Plan:
    """The largest weights of the whole network stay and share one codebook."""
    pruning, codebook = L0Pruning(keep=float(configuration["keep"])), Codebook(size=int(configuration["size"]))
    return {"*": Joint(Chain(pruning, codebook))}
