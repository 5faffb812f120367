"""Pareto fronts on plain arrays; every column is a cost, to be minimised."""

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]


def front(costs: Costs) -> npt.NDArray[np.bool_]:
    """True (n,) for each row of `costs` (n, d) that no other row dominates; equal rows are all kept.

    A row dominates another that is nowhere smaller and somewhere larger. Rows with a NaN are on no front.
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


def hypervolume(costs: Costs, reference: Costs) -> float:
    """The area that rows of `costs` (n, 2) dominate below `reference` (2,); rows beyond it add nothing."""
    if costs.shape[1] != 2:
        raise ValueError(f"hypervolume: expected two columns, got {costs.shape[1]}")
    inside = costs[(costs < reference).all(axis=1)]
    steps = inside[front(inside)]
    steps = np.unique(steps, axis=0)
    widths = np.diff(np.append(steps[:, 0], reference[0]))
    return float((widths * (reference[1] - steps[:, 1])).sum())
