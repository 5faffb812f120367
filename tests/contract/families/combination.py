"""Combined compressions: all supports or sets of groups are tried; on each, the parts' own brute force is used."""

from itertools import combinations

import numpy as np
from torch import Tensor

from lc_core import (
    Cast,
    Chain,
    Codebook,
    GroupPruning,
    L0Pruning,
    LowRank,
    NMPruning,
    Sum,
    Tucker2,
    UniformQuantization,
)
from tests.contract.brute_force import Floats, flat, least_assignment, supports
from tests.contract.families.low_rank import energies
from tests.contract.families.tensors import KERNELS, TINY_KERNELS
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def pruned_quantized(w: Tensor, compression: Chain, mu: float) -> float:
    values = flat(w)
    count, size = round(compression.first.keep * values.size), compression.then.size
    return min(
        float((values[gone] ** 2).sum()) + least_assignment(values[kept], size)
        for kept, gone in supports(values, count)
    )


def grouped(w: Tensor, compression: Chain) -> list[tuple[Floats, Floats]]:
    """(groups that stay, groups that go) for all sets of groups along the first dimension."""
    rows = np.moveaxis(w.double().numpy(), 0 if compression.first.axis == "output" else 1, 0)
    count = round(compression.first.keep * len(rows))
    found = []
    for kept in combinations(range(len(rows)), count):
        stays = np.isin(np.arange(len(rows)), kept)
        found.append((rows[stays], rows[~stays]))
    return found


def grouped_quantized(w: Tensor, compression: Chain, mu: float) -> float:
    size = compression.then.size
    return min(
        float((gone**2).sum()) + least_assignment(kept.reshape(-1), size) for kept, gone in grouped(w, compression)
    )


def grouped_low_rank(w: Tensor, compression: Chain, mu: float) -> float:
    rank, axis = compression.then.rank, compression.first.axis
    return min(
        float((gone**2).sum()) + float(energies(_matrix(kept, axis))[rank:].sum())
        for kept, gone in grouped(w, compression)
    )


def _matrix(kept: Floats, axis: str) -> Floats:
    """The layer's matrix of the groups that stay: outputs by the rest."""
    weight = kept if axis == "output" else np.moveaxis(kept, 0, 1)
    return weight.reshape(weight.shape[0], int(np.prod(weight.shape[1:])))


def pruned_cast(w: Tensor, compression: Chain, mu: float) -> float:
    values = flat(w)
    rounded = values.astype(np.float32).astype(np.float16).astype(np.float64)
    count = round(compression.first.keep * values.size)
    return min(
        float((values[gone] ** 2).sum() + ((values - rounded)[kept] ** 2).sum())
        for kept, gone in supports(values, count)
    )


def corrected_quantized(w: Tensor, compression: Sum, mu: float) -> float:
    """Weights that the sparse term corrects have no error; the others are quantized."""
    values = flat(w)
    pruning, codebook = compression.terms
    count = round(pruning.keep * values.size)
    return min(least_assignment(values[rest], codebook.size) for _, rest in supports(values, count))


def nothing(w: Tensor, compression: object, mu: float) -> float:
    """Zero, a lower bound, for pairs with too many solutions to try."""
    return 0.0


CHAINS = ((0.0, 2), (0.02, 1), (0.3, 2), (0.6, 3), (1.0, 4))
GROUP_CHAINS = ((0.02, 1), (0.3, 2), (0.6, 3), (1.0, 4))

FAMILIES = {
    "Chain of L0Pruning and Codebook": Family(
        tuple(Chain(L0Pruning(keep=keep), Codebook(size=size)) for keep, size in CHAINS),
        pruned_quantized,
        exact=False,
        relatives=("Chain of NMPruning and Codebook",),
    ),
    "Chain of L0Pruning and Cast": Family(
        tuple(Chain(L0Pruning(keep=keep), Cast("float16")) for keep in (0.02, 0.3, 0.6, 1.0)), pruned_cast, scales=False
    ),
    "Chain of L0Pruning and UniformQuantization": Family(
        tuple(
            Chain(L0Pruning(keep=keep), UniformQuantization(bits=bits, symmetric=bits > 2))
            for keep, bits in ((0.02, 2), (0.3, 3), (0.6, 1), (1.0, 8))
        ),
        nothing,
        exact=False,
        rounding=1e-2,
        relatives=("Chain of NMPruning and UniformQuantization",),
    ),
    "Chain of NMPruning and Codebook": Family(
        tuple(Chain(NMPruning(n=n, m=m), Codebook(size=size)) for n, m, size in ((2, 4, 2), (1, 3, 1), (1, 1, 4))),
        nothing,
        exact=False,
        relatives=("Chain of L0Pruning and Codebook",),
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "Chain of NMPruning and UniformQuantization": Family(
        (
            Chain(NMPruning(n=2, m=4), UniformQuantization(bits=4)),
            Chain(NMPruning(n=1, m=2), UniformQuantization(bits=1)),
        ),
        nothing,
        exact=False,
        rounding=1e-2,
        relatives=("Chain of L0Pruning and UniformQuantization",),
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "Chain of LowRank and Codebook": Family(
        tuple(Chain(LowRank(rank=rank), Codebook(size=size)) for rank, size in ((1, 2), (2, 4))),
        nothing,
        exact=False,
        lossless=False,
        rounding=0.3,
        scales=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "Chain of LowRank and UniformQuantization": Family(
        (
            Chain(LowRank(rank=2), UniformQuantization(bits=4, symmetric=True)),
            Chain(LowRank(rank=1), UniformQuantization(bits=6, granularity="channel")),
        ),
        nothing,
        exact=False,
        lossless=False,
        rounding=1e-2,
        scales=False,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "Chain of Tucker2 and Cast": Family(
        (Chain(Tucker2((2, 2)), Cast("float16")),),
        nothing,
        exact=False,
        lossless=False,
        rounding=1e-2,
        scales=False,
        shapes=KERNELS,
        tiny_shapes=TINY_KERNELS,
        usual=(6, 5, 3, 3),
        large=(12, 10, 3, 3),
        ordinary=((16, 8, 3, 3), (8, 16, 5)),
    ),
    "Sum of L0Pruning and Codebook": Family(
        tuple(Sum(L0Pruning(keep=keep), Codebook(size=size)) for keep, size in ((0.02, 2), (0.3, 2), (0.0, 1))),
        corrected_quantized,
        exact=False,
        lossless=False,
        rounding=1e-3,
    ),
    "Sum of LowRank and L0Pruning": Family(
        tuple(Sum(LowRank(rank=rank), L0Pruning(keep=keep)) for rank, keep in ((1, 0.1), (2, 0.3), (50, 0.0))),
        nothing,
        exact=False,
        lossless=False,
        scales=False,  # twenty rounds of rounding errors add up
        rounding=1e-2,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
} | {
    f"Chain of GroupPruning of {axis} groups and {name}": Family(
        tuple(Chain(GroupPruning(keep=keep, axis=axis), then(level)) for keep, level in GROUP_CHAINS),
        least,
        exact=False,
        lossless=name != "LowRank",
        rounding=1e-6 if least is not nothing else 1e-2,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    )
    for axis in ("output", "input")
    for name, then, least in (
        ("Codebook", Codebook, grouped_quantized),
        ("LowRank", LowRank, grouped_low_rank),
        ("UniformQuantization", lambda level: UniformQuantization(bits=level + 1, symmetric=True), nothing),
    )
}
