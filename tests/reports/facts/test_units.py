"""Values, errors and differences in the words of an accuracy, a share, a regression's error and an aggregate."""

from typing import Any

import pytest

from reports.facts.numbers import figures, plain
from reports.facts.target import threshold_words
from reports.facts.units import Units
from sweep.store.metric import ACCURACY
from sweep.store.record import Score
from tests.reports.synthetic import MSE, R2, TOP_5

ALL = [Units(metric) for metric in (ACCURACY, TOP_5, MSE, R2)]


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (lambda units: units.error(0.0251), ["2.51 %", "97.49 %", "0.02510 mm2", "0.9749"]),
        (lambda units: units.value(0.9649), ["96.49 %", "96.49 %", "0.9649 mm2", "0.9649"]),
        (lambda units: units.errors([0.02, 0.03, 0.05]), ["4.00 % (2.00–5.00 %)", "96.00 % (95.00–98.00 %)"]),
        (lambda units: units.at_most(0.125), ["≤ 12.50 %", "≥ 87.50 %", "≤ 0.125 mm2", "≥ 0.875"]),
        (lambda units: units.tick(0.02), ["2", "98", "0.02", "0.98"]),
        (lambda units: units.change(0.0042), ["0.42 points", "0.42 points", "0.004200 mm2", "0.004200"]),
        (lambda units: units.title, ["validation error (%)", "validation top 5 (%)", "validation MSE (mm2)"]),
        (lambda units: units.better, ["lower error", "higher top 5", "lower MSE", "higher R2"]),
        (lambda units: units.bare.value(12.3), ["1230.00 %", "1230.00 %", "12.30", "12.30"]),
        (lambda units: units.head, ["Error", "Top 5", "MSE (mm2)", "R2"]),
    ],
)
def test_each_metric_is_told_in_its_own_units(of: Any, expected: list[str]) -> None:
    assert [of(units).replace("\u00a0", " ") for units in ALL][: len(expected)] == expected


def test_an_interval_is_of_what_is_shown() -> None:
    low, high, n = 0.9, 0.95, 100
    told = [units.interval(Score(value=0.92, low=low, high=high, n=n, metric=units.metric)) for units in ALL]
    assert [words.replace("\u00a0", " ") for words in told] == [
        "5.00–10.00 %",
        "90.00–95.00 %",
        "0.9000–0.9500 mm2",
        "0.9000–0.9500",
    ]


@pytest.mark.parametrize(
    ("units", "threshold", "words"),
    [
        (ALL[0], 0.9649, "accuracy of at least 96.49 %"),
        (ALL[2], -12.3, "MSE of at most 12.3 mm2"),
        (ALL[3], 0.85, "R2 of at least 0.85"),
    ],
)
def test_the_words_of_a_target_have_its_direction(units: Units, threshold: float, words: str) -> None:
    assert threshold_words(units, threshold).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("number", "four", "shortest"),
    [
        (0.0, "0", "0"),
        (12.3, "12.30", "12.3"),
        (1234.0, "1234", "1234"),
        (9999.7, "10,000", "10,000"),
        (-123456.7, "-123,457", "-123,457"),
        (0.000123, "0.0001230", "0.000123"),
        (1.5e-5, "1.500e-5", "1.5e-5"),
        (2e12, "2.000e12", "2e12"),
    ],
)
def test_numbers_without_a_fixed_range_have_four_figures(number: float, four: str, shortest: str) -> None:
    assert (figures(number), plain(number)) == (four, shortest)
