"""Intervals against published values, and how often they hold what they should."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.intervals import paired_drop, pooled, wilson


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
    ],
)
def test_wilson_gives_the_published_intervals(hits: int, n: int, low: float, high: float) -> None:
    assert wilson(hits / n, n=n) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 100_000), share=st.floats(0, 1))
def test_wilson_holds_the_mean_and_stays_within_fractions(n: int, share: float) -> None:
    low, high = wilson(share, n=n)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1
    mirrored = wilson(1 - share, n=n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


def test_wilson_narrows_as_the_root_of_n() -> None:
    few, many = wilson(0.9, n=100), wilson(0.9, n=10_000)
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.97])
def test_wilson_holds_the_truth_nineteen_times_in_twenty(truth: float) -> None:
    n = 360
    hits = np.random.default_rng(0).binomial(n, truth, size=4000)
    intervals = [wilson(count / n, n=n) for count in hits]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.02)


def test_a_drop_with_no_difference_is_about_nothing() -> None:
    low, high = paired_drop(0, 0, n=360)
    assert low == pytest.approx(-high)
    assert 0 < high < 0.01


@given(lost=st.integers(0, 40), won=st.integers(0, 40), n=st.integers(80, 1000))
def test_a_drop_is_held_and_turns_with_its_sign(lost: int, won: int, n: int) -> None:
    low, high = paired_drop(lost, won, n=n)
    assert -1 <= low <= (lost - won) / n <= high <= 1 or lost == won
    assert paired_drop(won, lost, n=n) == pytest.approx((-high, -low))


def test_a_drops_interval_is_the_normal_one_after_half_an_example_in_each_cell() -> None:
    """Of 98 examples 30 are lost and 10 won: the changes' own mean and variance, all cells being half larger."""
    changes, weights = np.array([1, -1, 0]), np.array([30.5, 10.5, 59.0])
    mean = np.average(changes, weights=weights)
    error = np.sqrt(np.average((changes - mean) ** 2, weights=weights) / 100)
    assert paired_drop(30, 10, n=98) == pytest.approx((mean - 1.959964 * error, mean + 1.959964 * error), abs=1e-7)


def test_the_noise_is_pooled_over_the_groups_with_several_results() -> None:
    """Squares of 2 around the mean of two results and of 6 around that of three: 8 over 3 degrees of freedom."""
    noise = pooled([[0.0, 2.0], [7.0], [1.0, 1.0, 4.0], [math.nan, 1.0]])
    assert (noise.sd, noise.dof) == (pytest.approx(math.sqrt(8 / 3)), 3)


def test_a_paired_interval_is_narrower_than_two_apart() -> None:
    """360 examples, 18 and 14 wrong, 10 of them the same: what is the same tells nothing."""
    low, high = paired_drop(8, 4, n=360)
    apart = 2 * 1.96 * np.sqrt(sum(wrong / 360 * (1 - wrong / 360) for wrong in (18, 14)) / 360)
    assert high - low < 0.7 * apart


@pytest.mark.parametrize(("lost", "won"), [(0.03, 0.01), (0.02, 0.02), (0.1, 0.03)])
def test_a_drops_interval_holds_the_truth_nineteen_times_in_twenty(lost: float, won: float) -> None:
    n = 360
    cells = np.random.default_rng(1).multinomial(n, [lost, won, 1 - lost - won], size=4000)
    intervals = [paired_drop(first, second, n=n) for first, second, _ in cells]
    assert np.mean([low <= lost - won <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.025)


def test_the_noise_is_the_same_to_the_last_bit_in_any_order_of_the_groups() -> None:
    draw = random.Random(3)
    for _ in range(200):
        groups = [[draw.gauss(0.9, 0.002) for _ in range(draw.randint(2, 6))] for _ in range(8)]
        assert pooled(draw.sample(groups, len(groups))) == pooled(groups)
