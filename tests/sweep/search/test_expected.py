"""Sizes that a search expects: learned from those seen, alike for what is alike, never surer than what was seen."""

import numpy as np
import pytest

from sweep.search.expected import ERRORS, expect
from sweep.search.space import Space, make_space
from sweep.search.version_space import Known, next_open, view

LADDERS = make_space(
    [0] * 5 + [1] * 4, [[n] for n in (0, 1, 2, 3, 4, 0, 1, 2, 3)], [900, 700, 500, 300, 100, 850, 650, 450, 250]
)


def test_with_nothing_seen_sizes_are_nominal() -> None:
    assert expect(LADDERS, {}) is LADDERS


def test_files_as_large_as_said_change_nothing() -> None:
    found = expect(LADDERS, {1: 700, 6: 650})
    assert found.sizes.tolist() == LADDERS.sizes.tolist()
    assert found.least is not None
    assert found.least.tolist() == LADDERS.sizes.tolist()


def test_what_is_near_tells_most_and_what_is_seen_is_known() -> None:
    found = expect(LADDERS, {0: 450, 4: 80})
    assert (found.sizes[0], found.sizes[4]) == (450, 80)
    ratios = found.sizes[:5] / LADDERS.sizes[:5]
    assert (np.diff(ratios) > 0).all()
    assert ratios[1] < 0.54
    assert found.least is not None
    assert found.least[[0, 4]].tolist() == [450, 80]
    assert np.allclose(found.least[1:4], (1 - ERRORS[1]) * found.sizes[1:4], atol=1.5)
    assert np.allclose(found.least[5:], (1 - ERRORS[1]) * found.sizes[5:], atol=1.5)
    assert np.allclose(found.sizes[5:], np.sqrt(0.5 * 0.8) * LADDERS.sizes[5:], atol=1)


@pytest.mark.parametrize(("shares", "error"), [((0.5, 0.5, 0.5), ERRORS[0]), ((0.5, 0.52, 0.5), 0.04)])
def test_the_error_is_that_of_expecting_each_result_by_the_others(shares: tuple[float, ...], error: float) -> None:
    space = make_space([0] * 4, [[0], [1], [2], [3]], [8000, 4000, 2000, 1000])
    found = expect(space, {0: 8000 * shares[0], 1: 4000 * shares[1], 2: 2000 * shares[2]})
    assert found.least is not None
    assert 1 - found.least[3] / found.sizes[3] == pytest.approx(error, abs=0.004)


def test_where_files_do_not_follow_the_knobs_the_error_has_a_bound() -> None:
    space = make_space([0] * 4, [[0], [1], [2], [3]], [8000, 4000, 2000, 1000])
    found = expect(space, {0: 8000, 1: 2200, 2: 2000})
    assert found.least is not None
    assert 1 - found.least[3] / found.sizes[3] == pytest.approx(ERRORS[1], abs=0.002)


def test_expected_sizes_fall_as_knobs_tighten() -> None:
    """The second one's file is small. Nothing looser was seen: it is expected no smaller than what is tighter."""
    space = make_space([0] * 4, [[0], [1], [2], [3]], [400, 390, 380, 370])
    found = expect(space, {1: 200, 3: 350})
    assert found.sizes.tolist()[1:] == [200, found.sizes[2], 350]
    assert found.sizes[0] >= found.sizes[2] > 350


def test_many_results_take_no_more_memory_than_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweep.search.expected.MOST", 10)
    found = expect(LADDERS, {number: 0.5 * size for number, size in enumerate(LADDERS.sizes.tolist()) if number < 8})
    assert found.sizes[:8].tolist() == [size // 2 for size in LADDERS.sizes[:8].tolist()]
    assert found.sizes[8] == 125


def search(space: Space, meets: list[bool], coded: list[float]) -> tuple[int | None, int]:
    """The winner of a search whose files have `coded` bytes, and how many jobs it took."""
    results: dict[int, list[float]] = {}
    while True:
        now = expect(space, {number: coded[number] for number in results})
        found = view(now, Known(results), repeats=1, confirm=0)
        number = found.again if found.again is not None else next_open(now, found)
        if number is None:
            return found.winner, len(results)
        results[number] = [1.0 if meets[number] else -1.0]


def test_a_family_whose_files_are_coded_better_than_said_wins() -> None:
    """Nominally the first family's best is smaller, 300 to 450; its files take 0.9 of that, the other's a half."""
    meets = [True, True, True, True, False, True, True, True, False]
    coded = [0.9 * size for size in LADDERS.sizes[:5]] + [0.5 * size for size in LADDERS.sizes[5:]]
    winner, jobs = search(LADDERS, meets, coded)
    assert winner == 7
    assert jobs <= 7


def test_two_results_do_not_rule_out_what_is_far_from_them() -> None:
    """Sizes of a small network: its best file has 412 bytes, and the tighter ones of the other family 357 to 415."""
    levels = [[0], [1], [0, 0], [0, 1], [0, 2], [2, 0], [2, 1], [2, 2]]
    space = make_space([0, 0, *[1] * 6], levels, [1484, 1108, 1184, 1124, 1072, 1094, 1069, 1052])
    found = expect(space, {0: 765, 1: 412, 2: 550, 3: 498})
    assert not view(found, Known({0: [1.0], 1: [1.0], 2: [1.0], 3: [1.0]}), repeats=1, confirm=0).not_smaller[5:].any()


def test_what_is_looser_than_the_best_is_ruled_out_whatever_is_expected_of_it() -> None:
    space = expect(make_space([0] * 3, [[0], [1], [2]], [300, 200, 100]), {0: 180, 1: 200})
    found = view(space, Known({1: [1.0]}), repeats=1, confirm=0)
    assert found.not_smaller.tolist() == [True, True, False]
