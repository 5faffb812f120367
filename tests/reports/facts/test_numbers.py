import pytest

from reports.facts import numbers


@pytest.mark.parametrize(
    "text, expected",
    [
        (numbers.count(64_000), "64,000"),
        (numbers.counted(1, "job"), "1 job"),
        (numbers.counted(1200, "job"), "1,200 jobs"),
        (numbers.percent(0.0251), "2.51\u00a0%"),
        (numbers.percent_range(0.0223, 0.0279), "2.23–2.79\u00a0%"),
        (numbers.points(0.0042), "0.42\u00a0points"),
        (numbers.points(0.000004), "0.0004\u00a0points"),
        (numbers.points(0.0), "0.00\u00a0points"),
        (numbers.ratio(4.069), "4.07×"),
        (numbers.ratio(9.996), "10.0×"),
        (numbers.ratio(130.2), "130×"),
        (numbers.ratio(0.5), "0.50×"),
        (numbers.smaller(4.069), "4.07× smaller"),
        (numbers.smaller(0.5), "2.00× larger"),
        (numbers.smaller(1.0), "no smaller"),
        (numbers.round_bytes(500), "500\u00a0B"),
        (numbers.round_bytes(1000), "1\u00a0kB"),
        (numbers.round_bytes(1_500_000), "1.5\u00a0MB"),
        (numbers.round_ratio(50), "50×"),
        (numbers.seconds(2.34), "2.3\u00a0s"),
        (numbers.seconds(75), "75\u00a0s"),
        (numbers.seconds(600), "10\u00a0min"),
        (numbers.seconds(9000), "2.5\u00a0h"),
    ],
)
def test_written_form(text: str, expected: str) -> None:
    assert text == expected
