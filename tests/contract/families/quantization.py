"""Quantization: all assignments are tried."""

from torch import Tensor

from lc_core import Codebook
from tests.contract.brute_force import flat, least_assignment
from tests.contract.family import Family


def quantized(w: Tensor, compression: Codebook, mu: float) -> float:
    return least_assignment(flat(w), compression.size)


FAMILIES = {
    "Codebook": Family(tuple(Codebook(size=size) for size in (1, 2, 3, 5, 40)), quantized),
}
