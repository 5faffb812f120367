"""The choice of one alternative for each item: as good as brute force, and its bound holds."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lc_core.numerics import knapsack
from lc_core.numerics.knapsack import allocate


def least(errors, costs, *, budget):
    """The least total error over all choices within the budget; None where there is none."""
    totals = [
        sum(item[j] for item, j in zip(errors, places, strict=True))
        for places in product(*[range(len(item)) for item in errors])
        if sum(item[j] for item, j in zip(costs, places, strict=True)) <= budget
    ]
    return min(totals, default=None)


ITEMS = st.lists(
    st.lists(st.tuples(st.integers(0, 40).map(float), st.integers(0, 12)), min_size=1, max_size=4),
    min_size=1,
    max_size=4,
)


def split(items):
    errors = [np.array([error for error, _ in item]) for item in items]
    return errors, [np.array([cost for _, cost in item]) for item in items]


@settings(max_examples=40)
@given(items=ITEMS, budget=st.integers(0, 48))
def test_the_choice_is_as_good_as_brute_force(items, budget):
    errors, costs = split(items)
    expected = least(errors, costs, budget=budget)
    if expected is None:
        with pytest.raises(ValueError, match="budget: expected at least"):
            allocate(errors, costs, budget=budget)
    else:
        found = allocate(errors, costs, budget=budget)
        picked = list(zip(errors, costs, found.chosen, strict=True))
        assert sum(cost[j] for _, cost, j in picked) <= budget
        assert found.error == found.bound == pytest.approx(sum(error[j] for error, _, j in picked))
        assert found.error == pytest.approx(expected)


@settings(max_examples=40)
@given(items=ITEMS, budget=st.integers(0, 48))
def test_with_few_states_the_bound_still_holds(items, budget):
    errors, costs = split(items)
    expected = least(errors, costs, budget=budget)
    if expected is not None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(knapsack, "MOST_STATES", 1)
            found = allocate(errors, costs, budget=budget)
        assert sum(cost[j] for cost, j in zip(costs, found.chosen, strict=True)) <= budget
        assert found.bound <= expected + 1e-9 <= found.error + 2e-9


def test_many_items_are_solved_to_the_proven_optimum():
    draw = np.random.default_rng(0)
    errors = [np.sort(draw.exponential(size=40))[::-1] for _ in range(30)]
    costs = [np.sort(draw.integers(1, 10**6, size=40)) for _ in range(30)]
    found = allocate(errors, costs, budget=5 * 10**6)
    assert found.error == found.bound


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_the_scale_of_the_errors_does_not_matter(scale):
    draw = np.random.default_rng(1)
    errors = [draw.exponential(size=9) for _ in range(7)]
    costs = [draw.integers(1, 100, size=9) for _ in range(7)]
    chosen = allocate(errors, costs, budget=300).chosen
    assert np.array_equal(allocate([scale * each for each in errors], costs, budget=300).chosen, chosen)
