"""The multiple-choice knapsack: one alternative for each item, of least total error within a budget."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lc_core.numerics.kernels import Floats, Indices

MOST_STATES = 20_000
"""With more partial choices than this, those of least bound stay, and the result may miss the optimum."""


@dataclass(frozen=True, eq=False)
class Allocation:
    """A choice for each item.

    Attributes:
        chosen: (items,) the number of the alternative of each.
        error: their total error.
        bound: no choice within the budget has a smaller total error. It equals `error` where that is proven the least.
    """

    chosen: Indices
    error: float
    bound: float


@dataclass(frozen=True, eq=False)
class _Front:
    """The alternatives of one item that no other beats in both cost and error: costs rise, errors fall."""

    numbers: Indices
    costs: Indices
    errors: Floats

    def where(self, stays: np.ndarray) -> "_Front":
        return _Front(self.numbers[stays], self.costs[stays], self.errors[stays])


def allocate(errors: Sequence[Floats], costs: Sequence[Indices], *, budget: int) -> Allocation:
    """min over j_1, j_2, ... of sum_l errors[l][j_l] subject to sum_l costs[l][j_l] <= budget.

    The Lagrangian relaxation has the bound B(t) = sum_l min_j (errors[l][j] + t costs[l][j]) - t budget for each price
    t >= 0. Its largest value is that of the linear relaxation, which follows each item's lower convex hull: the steps
    of all hulls are taken in order of fall of error per cost until the budget is spent, and the price t is that of the
    step that no longer fits (Sinha and Zoltners, "The multiple-choice knapsack problem", Operations Research 1979). The
    steps that fit are a first choice. An alternative j of item l adds errors[l][j] + t costs[l][j], less the least of
    these, to the bound; one that takes the bound above the first choice is in no better choice. The few that are left
    go through a dynamic programme over partial choices, which drops each that costs no less than another and has no
    less error, and each whose bound is not below the best choice so far. It is exact unless more than MOST_STATES
    partial choices stay; `bound` then is that of the relaxation.

    Args:
        errors: for each item, the error of each alternative (alternatives,), at least 0.
        costs: for each item, the cost of each, whole numbers of at least 0.
        budget: the largest total cost.

    Raises:
        ValueError: even the cheapest alternatives cost more than the budget.
    """
    fronts = [_front(*each) for each in zip(errors, costs, strict=True)]
    least = sum(int(front.costs[0]) for front in fronts)
    if least > budget:
        raise ValueError(f"budget: expected at least {least}, what the cheapest alternatives cost, got {budget}")
    price, first = _relaxed(fronts, budget - least)
    prices = [front.errors + price * front.costs for front in fronts]
    bound = sum(float(each.min()) for each in prices) - price * budget
    error = _total(fronts, first)
    gap = max(error - bound, 0.0)
    excess = [each - each.min() for each in prices]
    stays = [each <= gap for each in excess]
    found, proven = _best_states(
        [front.where(kept) for front, kept in zip(fronts, stays, strict=True)],
        [each[kept] for each, kept in zip(excess, stays, strict=True)],
        budget=budget,
        gap=gap,
    )
    if found is not None:
        chosen = np.array([np.flatnonzero(kept)[place] for kept, place in zip(stays, found, strict=True)], np.int64)
        if (better := _total(fronts, chosen)) < error:
            first, error = chosen, better
    numbers = np.array([front.numbers[place] for front, place in zip(fronts, first, strict=True)], np.int64)
    return Allocation(numbers, error, error if proven else min(max(bound, 0.0), error))


def _total(fronts: Sequence[_Front], places: Indices) -> float:
    return sum(float(front.errors[place]) for front, place in zip(fronts, places, strict=True))


def _front(errors: Floats, costs: Indices) -> _Front:
    order = np.lexsort((errors, costs))
    least = np.minimum.accumulate(errors[order])
    falls = np.append(True, least[1:] < least[:-1])
    return _Front(order[falls], costs[order][falls].astype(np.int64), errors[order][falls].astype(np.float64))


def _relaxed(fronts: Sequence[_Front], left: int) -> tuple[float, Indices]:
    """The price of the linear relaxation when `left` can be spent above the cheapest, and the choice that its steps
    reach. Steps that do not fit are left out, and with them all later ones of their item."""
    steps: list[tuple[float, int, int, int]] = []  # minus the fall of error per cost, item, place, cost
    for item, front in enumerate(fronts):
        hull = _hull(front)
        for start, end in itertools.pairwise(hull):
            cost = int(front.costs[end] - front.costs[start])
            steps.append((-float(front.errors[start] - front.errors[end]) / cost, item, end, cost))
    places, price = np.zeros(len(fronts), np.int64), 0.0
    stopped: set[int] = set()
    for slope, item, end, cost in sorted(steps):
        if item in stopped:
            continue
        if cost > left:
            price = price if stopped else -slope
            stopped.add(item)
        else:
            places[item], left = end, left - cost
    return price, places


def _hull(front: _Front) -> list[int]:
    """The places on the lower convex hull of (cost, error)."""
    hull: list[int] = []
    for place in range(len(front.costs)):
        while len(hull) > 1 and _above(front, hull[-2], hull[-1], place):
            hull.pop()
        hull.append(place)
    return hull


def _above(front: _Front, a: int, b: int, c: int) -> bool:
    """Whether b lies on or above the line from a to c."""
    ab, ac = front.costs[b] - front.costs[a], front.costs[c] - front.costs[a]
    return bool((front.errors[a] - front.errors[b]) * ac <= (front.errors[a] - front.errors[c]) * ab)


def _best_states(
    fronts: Sequence[_Front], excess: Sequence[Floats], *, budget: int, gap: float
) -> tuple[list[int] | None, bool]:
    """The places of the choice of least error within the budget, or None where none is left, and whether it is proven.

    A partial choice whose excess is above `gap` is dropped.
    """
    rest = np.cumsum([int(front.costs[0]) for front in fronts][::-1])[::-1]  # what this item and the later ones take
    after = np.append(rest[1:], 0)
    costs, errors, above = np.zeros(1, np.int64), np.zeros(1), np.zeros(1)
    came: list[tuple[Indices, Indices]] = []
    proven = True
    for front, more, later in zip(fronts, excess, after, strict=True):
        wide = len(front.costs)
        total = (costs[:, None] + front.costs).reshape(-1)
        over = (above[:, None] + more).reshape(-1)
        error = (errors[:, None] + front.errors).reshape(-1)
        states = np.flatnonzero((total + later <= budget) & (over <= gap * (1 + 1e-9)))
        states = states[np.lexsort((error[states], total[states]))]
        least = np.minimum.accumulate(error[states])
        states = states[np.append(True, least[1:] < least[:-1])[: len(states)]]
        if len(states) > MOST_STATES:
            proven = False
            states = np.sort(states[np.argsort(over[states], kind="stable")[:MOST_STATES]])
        costs, errors, above = total[states], error[states], over[states]
        came.append((states // wide, states % wide))
    if not costs.size:
        return None, proven
    state, path = int(errors.argmin()), []
    for parents, places in reversed(came):
        path.append(int(places[state]))
        state = int(parents[state])
    return path[::-1], proven
