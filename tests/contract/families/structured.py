"""Structured matrices and groups: all sets of groups are tried; circulant blocks are filled entry by entry."""

from collections import defaultdict
from itertools import combinations

import numpy as np
from torch import Tensor

from lc_core import Circulant, GroupPruning
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def grouped(w: Tensor, compression: GroupPruning, mu: float) -> float:
    energies = np.moveaxis(w.double().numpy() ** 2, 0 if compression.axis == "output" else 1, 0)
    each = energies.reshape(energies.shape[0], -1).sum(axis=1)
    return min(float(each[list(gone)].sum()) for gone in combinations(range(each.size), _gone(each.size, compression)))


def _gone(groups: int, compression: GroupPruning) -> int:
    return groups - round(compression.keep * groups)


KEEPS = (0.0, 0.02, 0.3, 0.5, 1.0)

FAMILIES: dict[str, Family] = {
    f"GroupPruning of {axis} groups": Family(
        tuple(GroupPruning(keep=keep, axis=axis) for keep in KEEPS), grouped, shapes=MATRICES, tiny_shapes=TINY_MATRICES
    )
    for axis in ("output", "input")
}


def circulated(w: Tensor, compression: Circulant, mu: float) -> float:
    block, tied = compression.block, defaultdict(list)
    for (i, j, *position), value in np.ndenumerate(w.double().numpy()):
        tied[i // block, j // block, (i - j) % block, *position].append(value)
    return sum(float(np.var(values)) * len(values) for values in tied.values())


FAMILIES["Circulant"] = Family(
    tuple(Circulant(block=block) for block in (1, 2, 3, 4, 30)), circulated, shapes=MATRICES, tiny_shapes=TINY_MATRICES
)
