"""Each compiled loop gives NumPy's results, bit for bit where the order of sums allows it."""

import numpy as np
import pytest

from lc_core.numerics import kernels, kmeans
from lc_core.numerics.kernels import Grid

pytestmark = pytest.mark.skipif(not kernels.built(), reason="they were not built, of which test_lookup.py complains")

GRID = Grid(-1.0, 16.0, 32)
OUTSIDE = np.array([-np.inf, -3e38, -1.0, -0.0, 0.0, 1e-45, 1.0, 3e38, np.inf], np.float32)


def values(n):
    drawn = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    drawn[: len(OUTSIDE)] = OUTSIDE[:n]
    return drawn


@pytest.mark.parametrize("n", [0, 1, 5, 511, 512, 513, 3000])
def test_places_are_the_bins_rounded_down_and_never_fall(n):
    drawn = np.sort(values(n))
    places = kernels.bin_places(drawn, GRID)
    assert places.tolist() == [int(min(max((float(x) + 1) * 16, 0), 31)) for x in drawn]


@pytest.mark.parametrize("n", [0, 513, 3000])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_sums_and_members_are_those_of_the_places(n, shift):
    drawn = np.random.default_rng(n).standard_normal(n).astype(np.float32)
    places = kernels.bin_places(drawn, GRID)
    counts, sums = kernels.bin_sums(drawn, GRID, shift=shift)
    assert np.array_equal(counts, np.bincount(places, minlength=32))
    np.testing.assert_allclose(sums, np.bincount(places, drawn.astype(np.float64) - shift, 32), atol=1e-12)
    opened = np.arange(32) % 3 == 0
    inside = drawn[opened[places]]
    assert np.array_equal(kernels.bin_members(drawn, GRID, opened, count=inside.size), inside)


@pytest.mark.parametrize("bins, size", [(1, 1), (2, 2), (7, 7), (40, 3), (90, 16)])
def test_the_best_parts_are_those_of_the_dynamic_programme(bins, size):
    data = kmeans.summed(np.sort(np.random.default_rng(size).standard_t(2, size=3000)))
    edges = np.linspace(0, 3000, bins + 1).astype(np.int64)
    parts = kernels.best_parts(edges.astype(np.float64), data.before(edges)[0], size=size)
    assert np.array_equal(edges[parts], kmeans.partition(data, edges, size, longest=bins))


@pytest.mark.parametrize("offsets, runs", [(1, 1), (3, 2), (19, 16), (39, 64)])
def test_the_runs_of_least_distortion_are_the_same_as_without_them(offsets, runs, monkeypatch):
    """Bit for bit, also where places of a row overlap the next row's, are equal or descend."""
    generator = np.random.default_rng(runs)
    data = kmeans.summed(np.sort(generator.standard_t(2, size=5000).astype(np.float32)))
    rows = np.linspace(0, 5000, runs + 1)[1:-1, None] + generator.integers(-300, 300, size=(runs - 1, offsets))
    places = np.clip(np.vstack([np.zeros((1, offsets)), rows, np.full((1, offsets), 5000)]), 0, 5000).astype(np.int64)
    compiled = kmeans._least_way(places, *data.before(places))
    monkeypatch.setattr(kernels, "LIBRARY", None)
    assert np.array_equal(compiled, kmeans._least_way(places, *data.before(places)))


@pytest.mark.parametrize("size, left_out", [(1, 1), (2, 40), (3, 299), (9, 120), (40, 280)])
def test_the_outermost_go_as_where_all_are_sorted(size, left_out):
    """Of single values to the place; of entries of many, some of the last may stay."""
    generator = np.random.default_rng(size)
    data = kmeans.summed(np.sort(generator.standard_t(2, size=300)))
    centres = np.sort(generator.choice(data.values, size) + generator.normal(size=size))
    borders = np.concatenate([[0], data.below((centres[1:] + centres[:-1]) / 2), [300]])
    counts = np.arange(301.0)
    found = kernels.outermost_gone(data.values, counts, borders, centres, left_out=left_out)
    left, sorted_left = (runs[:, runs[0] < runs[1]] for runs in (found, data.staying(centres, left_out)))
    assert np.array_equal(left, sorted_left)
    assert np.array_equal(
        7 * found, kernels.outermost_gone(data.values, 7 * counts, borders, centres, left_out=7 * left_out)
    )
    more = kernels.outermost_gone(data.values, 7 * counts, borders, centres, left_out=7 * left_out - 5)
    assert (7 * found != more).sum() == 1
    assert np.abs(7 * found - more).sum() == 5
