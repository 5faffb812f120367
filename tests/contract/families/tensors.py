"""Tensor decompositions of convolution kernels. Of Tucker and CP the error is at least that of the best low rank over
any single dimension. This bound is not always reached. At full ranks the error is zero. Of separable kernels each input
channel has a best rank of its own."""

import numpy as np
from torch import Tensor

from lc_core import CP, Separable, Tucker2
from tests.contract.families.low_rank import ROUNDED, energies
from tests.contract.family import Family
from tests.contract.weights import Shape

KERNELS: tuple[Shape, ...] = ((1, 1, 1), (4, 1, 3), (3, 2, 3, 3), (8, 3, 1, 1), (1, 9, 1), (6, 5, 3, 3))
TINY_KERNELS: tuple[Shape, ...] = ((1, 1, 1), (3, 1, 2), (1, 2, 3), (2, 3, 1, 1), (1, 1, 2, 3), (2, 1, 1, 3))


def lost_over(w: Tensor, *, place: int, rank: int) -> float:
    """The least error of a tensor whose dimension `place` has the given rank."""
    values = np.moveaxis(w.double().numpy(), place, 0)
    return float(energies(values.reshape(values.shape[0], -1))[rank:].sum())


def lost_by_tucker(w: Tensor, compression: Tucker2, mu: float) -> float:
    return max(lost_over(w, place=place, rank=rank) for place, rank in enumerate(compression.ranks))


def lost_by_cp(w: Tensor, compression: CP, mu: float) -> float:
    return max(lost_over(w, place=place, rank=compression.rank) for place in range(w.dim()))


def lost_by_separating(w: Tensor, compression: Separable, mu: float) -> float:
    slices = np.moveaxis(w.double().numpy(), 1, 0)
    return float(sum(energies(each.reshape(len(each), -1))[compression.multiplier :].sum() for each in slices))


FAMILIES: dict[str, Family] = {
    name: Family(
        compressions,
        least,
        exact=False,
        lossless=False,
        shapes=KERNELS,
        tiny_shapes=TINY_KERNELS,
        usual=(6, 5, 3, 3),
        large=(8, 6, 3, 3),
        ordinary=((16, 8, 3, 3), (12, 6, 5), (10, 64, 1, 1)),
        rounding=1e-4,  # an alternation may end anywhere within its tolerance
    )
    for name, compressions, least in (
        ("Tucker2", tuple(map(Tucker2, ((1, 1), (2, 3), (3, 1), (50, 50)))), lost_by_tucker),
        ("CP", tuple(map(CP, (1, 2, 7, 500))), lost_by_cp),
    )
} | {
    "Separable": Family(
        tuple(map(Separable, (1, 2, 50))),
        lost_by_separating,
        lossless=False,
        shapes=KERNELS,
        tiny_shapes=TINY_KERNELS,
        usual=(6, 5, 3, 3),
        large=(8, 6, 3, 3),
        ordinary=((16, 8, 3, 3), (12, 6, 5), (10, 64, 1, 1)),
        rounding=ROUNDED,
    ),
}
