"""What the benchmark of C steps holds them against: the least distortion, as a plain dynamic programme finds it."""

import pytest

from tests.lc_core.numerics.test_kmeans import least_by_dynamic_programme, sample


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 100, 101])
def test_it_is_the_least(size, count):
    from optimum import optimum

    w = sample("heavy tails", count, seed=count)
    least = least_by_dynamic_programme(w, size)
    assert optimum(w, size=size, stride=1) == pytest.approx(least, rel=1e-9, abs=1e-12)


def test_borders_at_every_eighth_value_lose_next_to_nothing():
    from optimum import optimum

    w = sample("heavy tails", 1200, seed=1)
    least = optimum(w, size=8, stride=1)
    assert least * (1 - 1e-12) <= optimum(w, size=8, ends=50) <= 1.0002 * least
