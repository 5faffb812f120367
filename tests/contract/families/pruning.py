"""Pruning: all supports are tried."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from lc_core import L0Penalty, L0Pruning, L1Penalty, L1Pruning, NMPruning
from tests.contract.brute_force import Floats, flat, supports
from tests.contract.family import Family
from tests.contract.weights import MATRICES, TINY_MATRICES


def all_supports(values: Floats) -> Iterator[tuple[list[int], list[int]]]:
    """All subsets of `values`: (indices that stay, indices that go)."""
    for count in range(values.size + 1):
        yield from supports(values, count)


def pruned(w: Tensor, compression: L0Pruning, mu: float) -> float:
    values = flat(w)
    return min(float((values[gone] ** 2).sum()) for _, gone in supports(values, round(compression.keep * values.size)))


def pruned_by_groups(w: Tensor, compression: NMPruning, mu: float) -> float:
    values, (n, m) = flat(w), (compression.n, compression.m)
    places = np.stack(np.unravel_index(np.arange(values.size), w.shape), axis=1).tolist()
    groups = [(out, group_in // m, *position) for out, group_in, *position in places]
    allowed = {group: -(-n * size // m) for group, size in Counter(groups).items()}
    return min(
        float((values[gone] ** 2).sum())
        for kept, gone in all_supports(values)
        if all(size <= allowed[group] for group, size in Counter(groups[i] for i in kept).items())
    )


def projected(w: Tensor, compression: L1Pruning, mu: float) -> float:
    """For a given support its weights shrink by one threshold, in w's dtype."""
    values, radius = np.abs(flat(w)), compression.radius
    if values.sum() <= radius:
        return 0.0
    found = [(float((values**2).sum()), np.zeros_like(values))]
    for kept, gone in all_supports(values):
        if not kept:
            continue
        theta = values - (values[kept].sum() - radius) / len(kept)
        theta[gone] = 0
        if theta.min() >= 0:
            found.append((float(((values - theta) ** 2).sum()), theta))
    theta = min(found, key=lambda pair: pair[0])[1]
    rounded = theta.astype(w.numpy().dtype)
    below = np.where(rounded > theta, np.nextafter(rounded, 0), rounded)
    return float(((values - below) ** 2).sum())


def hard(w: Tensor, compression: L0Penalty, mu: float) -> float:
    values, price = flat(w), 2 * compression.alpha / mu
    return min(float((values[gone] ** 2).sum()) + price * len(kept) for kept, gone in all_supports(values))


def soft(w: Tensor, compression: L1Penalty, mu: float) -> float:
    """Weights that stay move by alpha / mu. A support on which one crosses zero is not the best."""
    values, shift = np.abs(flat(w)), compression.alpha / mu
    return min(
        float((values[gone] ** 2).sum()) + len(kept) * shift**2 + 2 * shift * float(np.abs(values[kept] - shift).sum())
        for kept, gone in all_supports(values)
    )


ALPHAS = (0.0, 1e-3, 0.5, 30.0)

FAMILIES = {
    "L0Pruning": Family(tuple(L0Pruning(keep=keep) for keep in (0.0, 0.02, 0.3, 0.5, 1.0)), pruned),
    "L1Pruning": Family(
        tuple(L1Pruning(radius=radius) for radius in (0.0, 0.5, 3.0, 1e4)), projected, scales=False, fixed_size=False
    ),
    "NMPruning": Family(
        tuple(NMPruning(n=n, m=m) for n, m in ((1, 1), (1, 2), (2, 4), (3, 4), (1, 5), (7, 16), (4, 100))),
        pruned_by_groups,
        shapes=MATRICES,
        tiny_shapes=TINY_MATRICES,
    ),
    "L0Penalty": Family(
        tuple(L0Penalty(alpha=alpha) for alpha in ALPHAS), hard, penalized=True, scales=False, fixed_size=False
    ),
    "L1Penalty": Family(
        tuple(L1Penalty(alpha=alpha) for alpha in ALPHAS), soft, penalized=True, scales=False, fixed_size=False
    ),
}
