"""k-means without sorting: exact near the borders, and no worse than on sorted values."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lc_core.numerics import kernels
from lc_core.numerics.binned_values import MANY, binned
from lc_core.numerics.kmeans import EXACT, MOST_BINNED, _centres_of_many, centres_of_sorted, optimal_centres
from lc_core.numerics.sorted_values import SAMPLE
from tests.contract.weights import PROPERTY

pytestmark = pytest.mark.skipif(not kernels.built(), reason="not built, of which test_lookup.py complains")

N = MANY + 5000
STEP = N // SAMPLE
DRAWS = {
    "normal": lambda draw: draw.standard_normal(N),
    "laplace": lambda draw: draw.laplace(size=N),
    "heavy tails": lambda draw: draw.standard_t(3, size=N),
    "far from zero": lambda draw: 1e3 + draw.standard_normal(N),
    "by the last bits": lambda draw: 1e3 + 0.01 * draw.standard_normal(N),
    "in lumps": lambda draw: draw.standard_normal(N) * 0.02 + draw.integers(-8, 8, size=N),
    "tiny": lambda draw: draw.standard_normal(N) * 1e-30,
}
UNFIT = {
    "all equal": lambda draw: np.full(N, 0.3),
    "few values": lambda draw: draw.integers(0, EXACT, size=N).astype(float),
    "lumps narrower than a bin": lambda draw: draw.integers(0, 20, size=N) + 1e-5 * draw.standard_normal(N),
    "wide but where it is sampled": lambda draw: draw.standard_normal(N) * np.where(np.arange(N) % STEP, 100.0, 1.0),
}


def drawn(kinds, kind):
    return kinds[kind](np.random.default_rng(0)).astype(np.float32)


def distortion(w, centres):
    exact = w.astype(np.float64)
    return float(((exact - centres[np.searchsorted((centres[1:] + centres[:-1]) / 2, exact)]) ** 2).sum())


single = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(single, min_size=2, max_size=40), st.lists(single, min_size=1, max_size=5), st.integers(1, 9))
@PROPERTY
def test_borders_part_the_values_exactly_where_their_bins_are_opened(values, points, bins):
    """Of equal values, zeros of both signs, denormal and huge numbers: as counted one by one."""
    values, points = np.array(values, np.float32), np.sort(np.array(points))
    held = binned(values, bins=bins, distinct=1)
    assume(held is not None)
    opened = held.holding(points - held.shift) | held.endless
    data = held.opened(opened)
    assume(data is not None)  # it is None where most are in opened bins, and then they are sorted
    below = data.below(points - held.shift)
    shifted = points if held.shift == 0 else (points - held.shift) + held.shift
    assert below.tolist() == [int((values <= point).sum()) for point in shifted]
    for edge, total in zip(below, data.before(below)[0], strict=True):
        least = np.sort(values.astype(np.float64))[:edge] - held.shift
        assert total == pytest.approx(least.sum(), rel=1e-9, abs=1e-12 * float(np.abs(least).sum()))


@pytest.mark.parametrize("size", [3, 16, MOST_BINNED])
@pytest.mark.parametrize("kind", DRAWS)
def test_they_end_as_near_the_optimum_as_sorted_values_cold_and_warm(kind, size):
    w = drawn(DRAWS, kind)
    least = distortion(w, centres_of_sorted(np.sort(w), size=size))
    for start in (None, np.sort(w[:size]).astype(np.float64)):
        found = _centres_of_many(w, size, start)
        assert found is not None
        assert distortion(w, found) <= 1.001 * least


@pytest.mark.parametrize("kind", DRAWS)
def test_a_start_at_rest_stays_there(kind):
    """The centres are the exact means of the values nearest to them, and so they stay."""
    w = drawn(DRAWS, kind)
    found = _centres_of_many(w, 4, None)
    for _ in range(20):
        found = _centres_of_many(w, 4, found)
    cells = np.searchsorted((found[1:] + found[:-1]) / 2, w.astype(np.float64))
    np.testing.assert_allclose(found, [w[cells == i].astype(np.float64).mean() for i in range(4)], rtol=1e-11)
    assert np.array_equal(_centres_of_many(w, 4, found), found)


@pytest.mark.parametrize("kind", UNFIT)
def test_what_bins_are_no_use_for_is_sorted(kind):
    w = drawn(UNFIT, kind)
    assert _centres_of_many(w, 16, None) is None
    assert np.array_equal(optimal_centres(w, size=16), centres_of_sorted(np.sort(w), size=16))


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_left_to_sorting(odd):
    w = drawn(DRAWS, "normal")
    w[77] = odd
    assert _centres_of_many(w, 16, None) is None


@pytest.mark.parametrize("far", [50.0, -50.0, 1e30])
def test_one_far_value_costs_the_others_nothing(far):
    w = drawn(DRAWS, "normal")
    w[77] = far
    centres = _centres_of_many(w, 16, None)
    assert centres is not None
    assert distortion(w, centres) <= 1.001 * distortion(w, centres_of_sorted(np.sort(w), size=16))


def test_many_values_go_by_bins_and_few_are_sorted(monkeypatch):
    """Also without the compiled loops all are sorted."""
    w = drawn(DRAWS, "normal")
    few = w[: MANY - 1]
    assert np.array_equal(optimal_centres(w, size=16), _centres_of_many(w, 16, None))
    assert np.array_equal(optimal_centres(few, size=16), centres_of_sorted(np.sort(few), size=16))
    by_sorting = centres_of_sorted(np.sort(w), size=16)
    assert not np.array_equal(optimal_centres(w, size=16), by_sorting)
    monkeypatch.setattr(kernels, "LIBRARY", None)
    assert np.array_equal(optimal_centres(w, size=16), by_sorting)
