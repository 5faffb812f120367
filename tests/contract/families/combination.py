"""Compressions of compressions: all supports, and all assignments of the weights on each."""

from torch import Tensor

from lc_core import Chain, Codebook, L0Pruning
from tests.contract.brute_force import flat, least_assignment, supports
from tests.contract.family import Family


def pruned_quantized(w: Tensor, compression: Chain, mu: float) -> float:
    values = flat(w)
    count, size = round(compression.first.keep * values.size), compression.then.size
    return min(
        float((values[gone] ** 2).sum()) + least_assignment(values[kept], size)
        for kept, gone in supports(values, count)
    )


CHAINS = ((0.0, 2), (0.02, 1), (0.3, 2), (0.6, 3), (1.0, 4))

FAMILIES = {
    "Chain of L0Pruning and Codebook": Family(
        tuple(Chain(L0Pruning(keep=keep), Codebook(size=size)) for keep, size in CHAINS), pruned_quantized, exact=False
    ),
}
