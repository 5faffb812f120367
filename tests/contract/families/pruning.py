"""Pruning: all supports are tried."""

from torch import Tensor

from lc_core import L0Pruning
from tests.contract.brute_force import flat, supports
from tests.contract.family import Family


def pruned(w: Tensor, compression: L0Pruning, mu: float) -> float:
    values = flat(w)
    return min(float((values[gone] ** 2).sum()) for _, gone in supports(values, round(compression.keep * values.size)))


FAMILIES = {
    "L0Pruning": Family(tuple(L0Pruning(keep=keep) for keep in (0.0, 0.02, 0.3, 0.5, 1.0)), pruned),
}
