"""The number of borders below each value is that of a plain count, for all bit patterns."""

import os
import shutil
import sysconfig

import numpy as np
import pytest
import torch

from lc_core.numerics import kernels
from lc_core.numerics.lookup import BITS, FEW_BORDERS, between, borders_below, not_above

BUILT = kernels.built()
AWKWARD = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 1.0, np.nextafter(np.float32(1), np.float32(2)), -1.0, 3e38, -3e38, 0.1]


@pytest.fixture(autouse=True)
def denormals():
    """Jobs flush denormal numbers to zero, and so does this process where a test before has run one here."""
    torch.set_flush_denormal(False)


@pytest.fixture(autouse=True, params=["compiled", "NumPy"])
def way(request, monkeypatch):
    if request.param == "NumPy":
        monkeypatch.setattr(kernels, "LIBRARY", None)
    return request.param


def plain(values, borders):
    return np.searchsorted(borders, values.astype(np.float64), side="left")


COMPILER = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C compiler: there is no {COMPILER}")
def test_the_compiled_loops_were_built_where_there_is_a_compiler():
    assert BUILT, "lc_core/_kernels*.so is missing: make setup builds it from kernels.c"


@pytest.mark.parametrize("size", [0, 1, 2, FEW_BORDERS, FEW_BORDERS + 1, 255, 1000])
@pytest.mark.parametrize("count", [0, 7, 20_000, 1 << BITS])
def test_it_is_the_count_of_smaller_borders(size, count):
    generator = np.random.default_rng(size)
    values = generator.standard_t(2, size=count).astype(np.float32)
    values[: len(AWKWARD)] = AWKWARD[:count]
    borders = np.sort(generator.standard_t(2, size=size))
    below = borders_below(values, borders)
    assert below.dtype == np.int32
    assert np.array_equal(below, plain(values, borders))


@pytest.mark.parametrize("repeats", [1, 30])
def test_values_on_a_border_and_next_to_it_are_told_apart(repeats):
    """Also zeros of both signs, borders that float32 does not hold, and equal borders."""
    points = np.sort(np.array(AWKWARD * repeats, dtype=np.float32))
    values = np.concatenate([points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(-9e9))])
    values = np.tile(values, (1 << BITS) // values.size + 1)
    for shift in (0.0, 1e-12, -1e-12, 1e-50):
        borders = points.astype(np.float64) + shift
        assert np.array_equal(borders_below(values, borders), plain(values, borders)), shift


def test_between_is_an_odd_count_of_smaller_borders():
    values = np.random.default_rng(0).standard_t(2, size=3000).astype(np.float32)
    values[: len(AWKWARD)] = AWKWARD
    for size in (1, 2, 5, 16):
        borders = np.sort(values[:size].astype(np.float64))
        assert np.array_equal(between(values, borders), plain(values, borders) % 2 == 1)


def test_borders_crowded_in_a_cell_or_without_end():
    """As far as a table of cells of equal widths cannot tell them apart."""
    values = np.append(np.random.default_rng(0).standard_normal(5000), [np.inf, -np.inf, 3e38]).astype(np.float32)
    for borders in (
        np.append(np.linspace(-1, 1, 300), 1e30),
        np.array([-np.inf, -0.5, 0.5, np.inf]),
        np.array([0.1, 0.1]),
        np.array([-3e38, 0.0, 3e38]),
        np.array([1e-45, 2e-45, 3e-45]),
    ):
        assert np.array_equal(borders_below(values, borders), plain(values, borders)), borders


def test_a_negative_zero_as_a_border_is_not_below_a_positive_one():
    values = np.tile(np.float32([0.0, -0.0, 1e-45, -1e-45]), 1 << 16)
    assert borders_below(values, np.array([-1.0, -0.0, 1.0]))[:4].tolist() == [1, 1, 2, 1]


def test_a_point_is_rounded_down():
    points = np.array([0.1, -0.1, 1.0, 1e-60, -1e-60])
    held = not_above(points, np.dtype(np.float32))
    assert held.dtype == np.float32
    assert (held <= points).all()
    assert (np.nextafter(held, np.float32(np.inf)).astype(np.float64) > points).all()


def test_the_least_number_is_not_above_itself_and_nothing_overflows() -> None:
    """Warnings are errors here."""
    least = float(np.finfo(np.float32).min)
    assert not_above(np.array([least]), np.dtype(np.float32)).tolist() == [least]
