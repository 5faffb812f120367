"""Fronts and hypervolumes against their definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sweep.pick.pareto import Costs, front, hypervolume, knee

# Few values, so that ties and equal rows are common.
LEVELS = st.sampled_from([-1.0, 0.0, 0.25, 1.0, 2.0, 3.0, float("inf"), float("nan")])


def tables(*, columns: int) -> st.SearchStrategy[Costs]:
    return st.integers(0, 12).flatmap(lambda n: arrays(np.float64, (n, columns), elements=LEVELS))


def dominates(first: Costs, second: Costs) -> bool:
    return bool((first <= second).all() and (first < second).any())


def brute_force_front(costs: Costs) -> list[bool]:
    whole = [not np.isnan(row).any() for row in costs]
    return [
        whole[number] and not any(whole[other] and dominates(costs[other], row) for other in range(len(costs)))
        for number, row in enumerate(costs)
    ]


@given(costs=st.one_of(tables(columns=1), tables(columns=2), tables(columns=3)))
def test_a_front_is_what_nothing_dominates(costs: Costs) -> None:
    before = costs.copy()
    assert front(costs).tolist() == brute_force_front(costs)
    np.testing.assert_array_equal(costs, before)


@given(
    costs=st.integers(0, 30).flatmap(
        lambda n: arrays(np.float64, (n, 2), elements=st.floats(-1e6, 1e6, allow_nan=False))
    )
)
def test_a_front_of_any_numbers(costs: Costs) -> None:
    assert front(costs).tolist() == brute_force_front(costs)


@given(costs=tables(columns=2), seed=st.integers(0, 99))
def test_a_front_does_not_depend_on_the_order(costs: Costs, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(costs))
    assert front(costs[order]).tolist() == front(costs)[order].tolist()


def test_equal_rows_are_all_kept() -> None:
    assert front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 2.0]])).tolist() == [True, True, False]


def test_a_nan_is_on_no_front_and_keeps_nothing_off_it() -> None:
    assert front(np.array([[np.nan, 0.0], [1.0, 1.0]])).tolist() == [False, True]


def area_by_inclusion_and_exclusion(costs: Costs, reference: Costs) -> float:
    """The union of the boxes between each row and `reference`."""
    rows = [row for row in costs if (row < reference).all()]
    total = 0.0
    for count in range(1, len(rows) + 1):
        for some in itertools.combinations(rows, count):
            total += (-1) ** (count + 1) * float((reference - np.max(some, axis=0)).prod())
    return total


@given(
    costs=st.integers(0, 7).flatmap(
        lambda n: arrays(np.float64, (n, 2), elements=st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 4.0, float("nan")]))
    )
)
def test_a_hypervolume_is_the_area_of_the_union(costs: Costs) -> None:
    reference = np.array([2.0, 3.0])
    assert hypervolume(costs, reference) == pytest.approx(area_by_inclusion_and_exclusion(costs, reference))


def test_a_hypervolume_is_the_share_of_points_that_are_dominated() -> None:
    generator = np.random.default_rng(0)
    costs, points = generator.random((30, 2)), generator.random((200_000, 2)) * 1.2
    share = np.logical_or.reduce([(row <= points).all(axis=1) for row in costs]).mean()
    assert hypervolume(costs, np.array([1.2, 1.2])) == pytest.approx(share * 1.2**2, abs=0.01)


def test_rows_beyond_the_reference_add_nothing() -> None:
    assert hypervolume(np.array([[2.0, 0.0], [0.0, 2.0], [3.0, 3.0]]), np.array([2.0, 2.0])) == 0.0
    assert hypervolume(np.empty((0, 2)), np.array([1.0, 1.0])) == 0.0


def test_a_hypervolume_of_three_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="expected two columns, got 3"):
        hypervolume(np.zeros((1, 3)), np.ones(3))


def test_a_knee_is_where_the_front_bends_on_a_logarithmic_axis() -> None:
    """Four decades: the error falls by 0.8 in the first, by 0.1 in each of the others."""
    rows = [(1e1, 1.0), (1e2, 0.2), (1e3, 0.1), (1e4, 0.0), (5e3, 0.05), (9e3, 0.9)]
    assert knee(rows) == 1
    assert knee(rows[::-1]) == len(rows) - 2
    assert knee([(first**2, 10 * second) for first, second in rows]) == 1


@pytest.mark.parametrize(
    "rows",
    [[(5.0, 0.3)], [(10.0, 0.5), (100.0, 0.1)], [(1.0, 0.3), (10.0, 0.2), (100.0, 0.1)], [(9.0, 1.0), (9.0, 0.1)]],
)
def test_a_front_without_a_bend_gives_its_most_accurate(rows: list[tuple[float, float]]) -> None:
    assert knee(rows) == len(rows) - 1


def test_a_front_that_bends_the_other_way_gives_its_most_accurate() -> None:
    assert knee([(1e1, 1.0), (1e2, 0.9), (1e3, 0.8), (1e4, 0.0)]) == 3


def test_a_knee_knows_costs_of_nothing() -> None:
    """A model without multiply-accumulates is as one with a single one."""
    rows = [(0.0, 0.9), (1000.0, 0.1), (2000.0, 0.02), (100_000.0, 0.01)]
    assert knee(rows) == knee([(1.0, 0.9), *rows[1:]]) == 2
    assert knee([(0.0, 0.5)]) == 0
