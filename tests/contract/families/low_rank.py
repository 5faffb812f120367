"""Low rank: the singular values come from the eigenvalues of the Gram matrix."""

import numpy as np
from torch import Tensor

from lc_core import LowRank
from tests.contract.brute_force import Floats
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def energies(matrix: Floats) -> Floats:
    """The squared singular values, largest first."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return np.linalg.eigvalsh(matrix @ matrix.T)[::-1].clip(min=0)


def truncated(w: Tensor, compression: LowRank, mu: float) -> float:
    return float(energies(w.double().numpy().reshape(w.shape[0], -1))[compression.rank :].sum())


FAMILIES = {
    "LowRank": Family(
        tuple(LowRank(rank=rank) for rank in (1, 2, 50)),
        truncated,
        lossless=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
}
