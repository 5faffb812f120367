import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from reports.figures.scales import Window, error_window, round_values, size_window, small_values

ERRORS = st.just(0.0) | st.floats(min_value=1e-9, max_value=1.0)
"""Of a validation split: none, or at least one in a billion."""


@given(
    errors=st.lists(ERRORS, max_size=30), landmarks=st.lists(ERRORS, min_size=1, max_size=3), extras=st.lists(ERRORS)
)
@example(errors=[], landmarks=[1.0000000000000003e-09, 1e-09], extras=[])
def test_error_window_shows_everything_at_a_finite_place(
    errors: list[float], landmarks: list[float], extras: list[float]
) -> None:
    window = error_window(errors, landmarks=landmarks, extras=extras)
    shown = np.array([*errors, *landmarks, *extras])
    low, high = window.forward(np.array([window.low, window.high]))
    places = window.forward(shown)
    assert low < high
    assert ((low <= places) & (places <= high)).all()
    assert not window.log or shown.min() > 1e-12
    ticks = round_values(window, most=9)
    assert all(window.low <= tick <= window.high for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(
    values=st.lists(st.floats(min_value=1e-4, max_value=1.0), min_size=2, max_size=10),
    bend=st.floats(min_value=0.05, max_value=0.5),
    log=st.booleans(),
)
def test_compressed_scale_is_monotone_and_inverts(values: list[float], bend: float, log: bool) -> None:
    window = Window(1e-4, 1.0, log, bend)
    ordered = np.sort(np.array(values))
    places = window.forward(ordered)
    assert (np.diff(places) >= 0).all()
    np.testing.assert_allclose(window.inverse(places), ordered, rtol=1e-9)


def test_models_that_lost_everything_do_not_squeeze_the_decision() -> None:
    window = error_window([0.026, 0.03, 0.035, 0.04, 0.9], landmarks=[0.025, 0.035], extras=[0.89])
    assert window.log
    assert window.bend is not None
    low, target, high = window.forward(np.array([window.low, 3 * 0.035, window.high]))
    assert (target - low) / (high - low) > 0.7


def test_a_zero_error_gives_a_linear_axis_from_zero() -> None:
    window = error_window([0.0, 0.01, 0.02], landmarks=[0.01], extras=[])
    assert not window.log
    assert window.low < 0 < window.high


VALUES = st.floats(min_value=-1e9, max_value=1e9)
"""Of a metric without limits."""


@given(errors=st.lists(VALUES, max_size=30), landmarks=st.lists(VALUES, min_size=1, max_size=3))
@example(errors=[], landmarks=[5e-324])
@example(errors=[-5e-324], landmarks=[0.0])
def test_errors_without_limits_are_shown_too(errors: list[float], landmarks: list[float]) -> None:
    window = error_window(errors, landmarks=landmarks, extras=[])
    places = window.forward(np.array([*errors, *landmarks]))
    low, high = window.forward(np.array([window.low, window.high]))
    assert np.isfinite([low, high]).all()
    assert ((low <= places) & (places <= high)).all()
    ticks = round_values(window, most=9)
    assert all(window.low <= tick <= window.high for tick in ticks)
    assert ticks == sorted(set(ticks))


@given(scale=st.sampled_from([1e-6, 0.01, 3.0, 400.0, 1e7]))
def test_an_axis_does_not_depend_on_the_unit(scale: float) -> None:
    errors, landmarks = np.array([0.026, 0.03, 0.04, 0.05, 0.9]), np.array([0.025, 0.035])
    one = error_window(list(errors), landmarks=list(landmarks), extras=[])
    other = error_window(list(scale * errors), landmarks=list(scale * landmarks), extras=[])
    assert (one.log, one.bend is None) == (other.log, other.bend is None) == (True, False)
    np.testing.assert_allclose([other.low, other.high], [scale * one.low, scale * one.high])


def test_majority_is_never_in_the_compressed_part() -> None:
    errors = [0.02, 0.03, *[0.3] * 8]
    window = error_window(errors, landmarks=[0.02], extras=[0.9])
    assert window.bend is None or window.bend > 0.3


def test_ticks_of_sizes_are_round_and_as_many_as_fit() -> None:
    window = size_window([700, 64_000])
    ticks = round_values(window, most=9)
    assert 5 <= len(ticks) <= 9
    assert all(math.log10(tick / 10 ** math.floor(math.log10(tick))) < 1 for tick in ticks)
    assert {1000.0, 10_000.0} <= set(ticks)
    assert set(ticks) <= {round(value, 6) for value in small_values(window)} | {1500.0, 15_000.0, 2500.0}


def test_one_size_still_has_an_axis() -> None:
    window = size_window([64_000])
    assert window.low < 64_000 < window.high
    assert len(round_values(window, most=9)) >= 2
