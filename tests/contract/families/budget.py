"""A budget over one layer: each compression that fits is solved by brute force."""

import math

from torch import Tensor

from lc_core import Budget, Chain, Codebook, L0Pruning, LowRank
from tests.contract.brute_force import flat, least_assignment, supports
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def within(w: Tensor, compression: Budget, mu: float) -> float:
    shape, found = tuple(w.shape), [0.0] if 4 * w.numel() <= compression.limit else []
    for each in compression.of:
        outline = each.outline(shape)
        if outline is not None and outline.storage_bits() <= 8 * compression.limit:
            found.append(_least(w, each))
    return min(found)


def _least(w: Tensor, compression: object) -> float:
    values = flat(w)
    if isinstance(compression, Codebook):
        return least_assignment(values, compression.size) if compression.size <= values.size else math.inf
    assert isinstance(compression, L0Pruning)
    return min(float((values[gone] ** 2).sum()) for _, gone in supports(values, compression.count(tuple(w.shape))))


OF = (Codebook(1), Codebook(2), L0Pruning(0.3), L0Pruning(0.7))
MORE = (*OF, Chain(L0Pruning(0.5), Codebook(2)), LowRank(1), LowRank(2))

FAMILIES: dict[str, Family] = {
    "Budget": Family(tuple(Budget(bytes=number, of=OF) for number in (4, 14, 80, 700)), within),
    "Budget, chosen once": Family((Budget(bytes=14, of=OF, choose="once"),), within),
    "Budget with chains and ranks": Family(
        (Budget(bytes=44, of=MORE), Budget(bytes=400, of=MORE)),
        lambda w, compression, mu: 0.0,
        exact=False,
        lossless=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
}
for _name, _family in FAMILIES.items():
    FAMILIES[_name] = Family(**vars(_family) | {"fixed_size": False})
