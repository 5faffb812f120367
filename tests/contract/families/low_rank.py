"""Low rank: the singular values come from the eigenvalues of the Gram matrix; all ranks are tried."""

import numpy as np
from torch import Tensor

from lc_core import LowRank, RankSelection
from lc_core.compression import Use
from tests.contract.brute_force import Floats
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES, Shape

KERNELS: tuple[Shape, ...] = ((1, 1, 1, 1), (2, 1, 2, 2), (3, 2, 3, 3), (8, 3, 1, 1), (6, 5, 3, 3))
TINY_KERNELS: tuple[Shape, ...] = ((1, 1, 1, 1), (1, 1, 2, 3), (3, 1, 1, 2), (1, 3, 2, 1), (2, 3, 1, 1))
ORDINARY_KERNELS: tuple[Shape, ...] = ((16, 8, 3, 3), (10, 64, 1, 1), (7, 3, 5, 5))


def energies(matrix: Floats) -> Floats:
    """The squared singular values, largest first."""
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    return np.linalg.eigvalsh(matrix @ matrix.T)[::-1].clip(min=0)


def seen(w: Tensor, scheme: str) -> Floats:
    """The matrix of a scheme."""
    values = w.double().numpy()
    if scheme == "spatial":
        n, m, height, width = values.shape
        return np.block([[values[i, j] for j in range(m)] for i in range(n)]).reshape(n * height, m * width)
    return values.reshape(values.shape[0], -1)


def truncated(w: Tensor, compression: LowRank, mu: float) -> float:
    return float(energies(seen(w, compression.scheme))[compression.rank :].sum())


def selected(w: Tensor, compression: RankSelection, mu: float) -> float:
    matrix = seen(w, compression.scheme)
    caught = energies(matrix)
    (rows, columns), positions = matrix.shape, int(np.prod(compression.use.outputs))
    if compression.criterion == "storage":
        each, dense = rows + columns, rows * columns
    else:
        before = compression.use.inputs[:1] + compression.use.outputs[1:]
        first = int(np.prod(before)) if compression.scheme == "spatial" else positions
        each, dense = columns * first + rows * positions, rows * columns * positions
    uncompressed = 2 / mu * compression.alpha * dense
    return min(
        uncompressed,
        *[caught[r:].sum() + 2 / mu * compression.alpha * min(r * each, dense) for r in range(caught.size + 1)],
    )


USE = Use((5, 5), (3, 4))
ROUNDED = 1e-7
"""A float32 product is only nearly of low rank: rounding may bring it nearer to the weights, to first order."""

FAMILIES = {
    "LowRank": Family(
        tuple(LowRank(rank=rank) for rank in (1, 2, 50)),
        truncated,
        rounding=ROUNDED,
        lossless=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "LowRank, spatial": Family(
        tuple(LowRank(rank=rank, scheme="spatial") for rank in (1, 2, 50)),
        truncated,
        rounding=ROUNDED,
        lossless=False,
        shapes=KERNELS,
        tiny_shapes=TINY_KERNELS,
        usual=(6, 5, 3, 3),
        large=(8, 6, 3, 3),
        ordinary=ORDINARY_KERNELS,
    ),
    "RankSelection": Family(
        tuple(RankSelection(alpha=alpha) for alpha in (0.0, 1e-3, 0.1, 1e4)),
        selected,
        rounding=ROUNDED,
        lossless=False,
        penalized=True,
        scales=False,
        fixed_size=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "RankSelection, spatial": Family(
        tuple(
            RankSelection(alpha=alpha, criterion=criterion, scheme="spatial", use=USE)
            for alpha, criterion in ((0.0, "macs"), (1e-2, "macs"), (1e-2, "storage"), (1e3, "macs"))
        ),
        selected,
        rounding=ROUNDED,
        lossless=False,
        penalized=True,
        scales=False,
        fixed_size=False,
        shapes=KERNELS,
        tiny_shapes=TINY_KERNELS,
        usual=(6, 5, 3, 3),
        large=(8, 6, 3, 3),
        ordinary=ORDINARY_KERNELS,
    ),
}
