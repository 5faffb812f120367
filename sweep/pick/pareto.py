"""Pareto fronts of plain arrays. Every column is a cost: less is better."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]


def front(costs: Costs) -> npt.NDArray[np.bool_]:
    """True (n,) for each row of `costs` (n, d) that no other row dominates; equal rows are all kept.

    A row dominates another if it is no larger in every column and smaller in one. Rows with a NaN are not on the front.
    O(n log n) for two columns, O(n f) for more, f rows being on the front.
    """
    finite = ~np.isnan(costs).any(axis=1)
    distinct, inverse = np.unique(costs[finite], axis=0, return_inverse=True)
    chosen = np.zeros(len(distinct), dtype=bool)
    if costs.shape[1] == 2:
        best_before = np.minimum.accumulate(np.concatenate([[np.inf], distinct[:, 1]]))[:-1]
        chosen = distinct[:, 1] < best_before
        chosen[:1] = True  # also where its second cost is infinite
    else:
        kept = np.empty((0, costs.shape[1]))
        for row, costs_of_row in enumerate(distinct):
            if not (kept <= costs_of_row).all(axis=1).any():
                chosen[row] = True
                kept = np.vstack([kept, costs_of_row])
    mask = np.zeros(len(costs), dtype=bool)
    mask[finite] = chosen[inverse.reshape(-1)]
    return mask


def knee(rows: Sequence[tuple[float, float]]) -> int:
    """The index of the row at the knee (bend) of the front of `rows`, which are one or more pairs of costs.

    It is the row furthest below the line between the front's ends, where the logarithm of the first cost and the second
    cost are each scaled to [0, 1] (Satopaa et al. 2011). A first cost of 0 counts as 1, or as the least above 0 if that
    is smaller. Where no row lies below the line, it is the row with the least second cost.
    """
    costs = np.array(rows, dtype=np.float64)
    places = np.flatnonzero(front(costs))
    places = places[np.lexsort((places, costs[places, 0]))]
    sizes = costs[places, 0]  # 0 has no logarithm
    sizes = np.maximum(sizes, sizes[sizes > 0].min(initial=1.0) if (sizes <= 0).any() else 0.0)
    below = 1 - _scaled(np.log(sizes)) - _scaled(costs[places, 1])
    place = int(below.argmax())
    return int(places[place if below[place] > 1e-12 else -1])


def _scaled(values: Costs) -> Costs:
    width = np.ptp(values)
    return (values - values.min()) / width if width else np.full_like(values, 0.5)


def hypervolume(costs: Costs, reference: Costs) -> float:
    """The area that the rows of `costs` (n, 2) dominate below `reference` (2,). Rows beyond it add nothing."""
    if costs.shape[1] != 2:
        raise ValueError(f"hypervolume: expected two columns, got {costs.shape[1]}")
    inside = costs[(costs < reference).all(axis=1)]
    steps = inside[front(inside)]
    steps = np.unique(steps, axis=0)
    widths = np.diff(np.append(steps[:, 0], reference[0]))
    return float((widths * (reference[1] - steps[:, 1])).sum())
