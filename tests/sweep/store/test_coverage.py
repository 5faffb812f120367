"""What is said of the share of the parameters that families govern."""

import pytest

from sweep.store.coverage import DenseParameter, FamilyCoverage, shares, uncovered


def covered(share: float, *names: str, others: int = 0) -> FamilyCoverage:
    dense = [DenseParameter(name=name, share=0.25, why="no pattern") for name in names]
    return FamilyCoverage(share=share, dense=dense, others=others)


def test_a_family_under_nine_tenths_has_a_line_and_the_others_none() -> None:
    found = {"prune": covered(0.96, "0.bias"), "rank": covered(0.8999, "lstm.weight", "head.weight", others=2)}
    expected = (
        "rank governs 90.0% of the parameters; the rest stays dense: lstm.weight (25.0%, no pattern), "
        "head.weight (25.0%, no pattern) and 2 more"
    )
    assert uncovered(found) == shares(found) == [expected]


def test_families_that_leave_the_same_share_a_line() -> None:
    found = {name: covered(0.01, "lstm") for name in ("prune", "quantize", "uniform")} | {"rank": covered(0.5, "a")}
    assert [line.partition(" of ")[0] for line in shares(found)] == [
        "prune, quantize and uniform govern 1.0%",
        "rank governs 50.0%",
    ]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({}, []),
        ({"a": covered(0.9)}, ["the family governs 90.0% of the parameters"]),
        ({"a": covered(0.95), "b": covered(0.95)}, ["the families govern 95.0% of the parameters"]),
        ({"a": covered(0.95), "b": covered(0.99)}, ["the families govern 95.0% to 99.0% of the parameters"]),
    ],
)
def test_where_most_is_governed_there_is_one_line(found: dict[str, FamilyCoverage], expected: list[str]) -> None:
    assert shares(found) == expected
    assert uncovered(found) == []
