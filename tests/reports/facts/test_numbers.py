import pytest

from reports.facts import numerals


@pytest.mark.parametrize(
    "text, expected",
    [
        (numerals.count(64_000), "64,000"),
        (numerals.counted(1, "job"), "1 job"),
        (numerals.counted(1200, "job"), "1,200 jobs"),
        (numerals.percent(0.0251), "2.51\u00a0%"),
        (numerals.percent_range(0.0223, 0.0279), "2.23–2.79\u00a0%"),
        (numerals.points(0.0042), "0.42\u00a0points"),
        (numerals.points(0.000004), "0.0004\u00a0points"),
        (numerals.points(0.0), "0.00\u00a0points"),
        (numerals.ratio(4.069), "4.07×"),
        (numerals.ratio(9.996), "10.0×"),
        (numerals.ratio(130.2), "130×"),
        (numerals.ratio(0.5), "0.50×"),
        (numerals.round_bytes(500), "500\u00a0B"),
        (numerals.round_bytes(1000), "1\u00a0kB"),
        (numerals.round_bytes(1_500_000), "1.5\u00a0MB"),
        (numerals.round_ratio(50), "50×"),
        (numerals.seconds(2.34), "2.3\u00a0s"),
        (numerals.seconds(75), "75\u00a0s"),
        (numerals.seconds(600), "10\u00a0min"),
        (numerals.seconds(9000), "2.5\u00a0h"),
    ],
)
def test_written_form(text: str, expected: str) -> None:
    assert text == expected
