"""Giving up configurations that cannot be told from the target, and going on with larger ones."""

import math

import numpy as np
import pytest

from sweep.criteria import MOST_SEEDS, Criteria
from sweep.intervals import Noise, half_width
from sweep.search.protocol import Entries, Entry, SearchPlan
from sweep.search.smallest import Smallest
from sweep.search.space import make_space
from sweep.search.summary import Ties
from sweep.search.ties import FEW, WORTH, hopeless, too_close
from sweep.search.version_space import CLOSE, Known, Status, skipped, view
from sweep.store.job import Job
from tests.sweep.search.searches import done

NOISE = Noise(1.0, 10_000)
MOST = MOST_SEEDS * 3
SIZES = np.arange(100, 1100, 10)
ALL = np.ones(len(SIZES), dtype=bool)


def number(size: int) -> int:
    return (size - 100) // 10


def smallest_left(sizes: list[int], *, confirmed: int | None = None, left: np.ndarray = ALL) -> int:
    """The size of the smallest that is not left out beside ties of `sizes`."""
    out = too_close(SIZES, [number(size) for size in sizes], confirmed=confirmed, left=left)
    assert not out[out.argmin() :].any()
    return int(SIZES[out.argmin()])


@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("n", [3, 6, 12, 24, 40])
def test_it_is_hopeless_where_few_draws_of_the_further_seeds_reach_the_bound(mean: float, n: int) -> None:
    """Against draws of the true mean, from a flat prior, and of the seeds that follow."""
    generator = np.random.default_rng(0)
    truth = mean + generator.normal(size=100_000) / math.sqrt(n)
    further = truth + generator.normal(size=100_000) / math.sqrt(MOST - n)
    chance = ((n * mean + (MOST - n) * further) / MOST >= half_width(NOISE, n=MOST)).mean()
    if abs(chance - 0.01) > 0.003:
        assert hopeless([mean] * n, NOISE, most=MOST) == (chance < 0.01), chance


def test_a_candidate_with_all_its_seeds_is_hopeless_and_one_of_unknown_noise_is_not() -> None:
    assert hopeless([0.1] * MOST, NOISE, most=MOST)
    assert not hopeless([0.1] * 3, Noise(0.0, 0), most=MOST)


def test_few_ties_leave_nothing_out_and_each_further_one_twice_as_much_more() -> None:
    assert smallest_left([400] * FEW) == 100
    assert smallest_left([300, 380, 380, 390, 390, 400]) == pytest.approx(400 * (1 + WORTH) ** 2, abs=10)
    assert smallest_left([300, 300, 380, 380, 390, 390, 400]) == pytest.approx(400 * (1 + WORTH) ** 4, abs=10)
    assert smallest_left([300] * 999 + [400]) == 1090, "the largest is tried at last"
    assert smallest_left([300] * 999 + [400], left=SIZES == 350) == 350, "though it is smaller than a tie"
    assert smallest_left([300] * 999 + [400], left=~ALL) == 100, "nothing is left to be left out"


def test_once_one_is_confirmed_the_search_goes_half_the_way_back() -> None:
    ties = [300, 320, 340, 380, 390, 400]
    assert smallest_left(ties, confirmed=900) == 600
    assert smallest_left([*ties, 600], confirmed=900) == pytest.approx(math.sqrt(600 * 900), abs=10)
    assert smallest_left([*ties, 840], confirmed=900) == 900, "what is between is not worth jobs"
    assert smallest_left([*ties, 950], confirmed=390) == 100, "fewer ties are smaller than that"


LINE = make_space([0] * 60, [[level] for level in range(60)], [int(100_000 * 0.96**level) for level in range(60)])
FLAT = np.where(np.arange(60) < 20, 0.3, np.where(np.arange(60) < 45, 0.0, -0.5))


@pytest.mark.parametrize("seed", range(6))
def test_a_front_that_is_flat_at_the_target_costs_a_bounded_effort(seed: int) -> None:
    """25 sizes are just at the target, 2.8 times from the smallest to the largest; seeds vary by 0.15."""
    generator = np.random.default_rng(seed)
    results: dict[int, list[float]] = {}
    while True:
        found = view(LINE, Known(results), repeats=1, confirm=3)
        again = found.again if found.again is not None else (int(found.open.argmax()) if found.open.any() else None)
        if again is None:
            break
        results.setdefault(again, []).append(float(FLAT[again] + 0.15 * generator.normal()))
    assert sum(map(len, results.values())) < 200
    assert found.winner is not None
    assert FLAT[found.winner] >= 0
    assert all(LINE.sizes[tie] < LINE.sizes[found.winner] for tie in found.ties)
    assert all(found.status[tie] == Status.MISSES and found.ties[tie] == len(results[tie]) for tie in found.ties)


def test_what_is_left_out_beside_ties_is_counted() -> None:
    """Six families with ties; those of a seventh that are smaller or hardly larger need not run."""
    space = make_space([0, 1, 2, 3, 4, 5, 6, 6], [[0]] * 7 + [[1]], [400, 401, 402, 403, 404, 405, 450, 300])
    calm = [[0.01 * (-1) ** draw for draw in range(2000)]]
    known = {tie: [0.02, *([0.0] * 40)] for tie in range(6)} | {6: [0.02]}
    found = view(space, Known(known, others=calm), repeats=1, confirm=3)
    assert found.ties == dict.fromkeys(range(6), 41)
    assert found.again == 6
    assert skipped(found, untouched=np.arange(8) == 7) == {CLOSE: 1}


@pytest.mark.parametrize(("by", "sizes"), [("bytes", (200, 300)), ("macs", (20, 30))])
def test_a_search_says_what_it_could_not_tell_from_the_target(by: str, sizes: tuple[int, int]) -> None:
    """Keep 0.3 and 0.2 have the target's accuracy, up to noise; 0.5 is above it."""
    entries = []
    for keep, macs in ((0.5, 50), (0.3, 30), (0.2, 20)):
        job = Job("f" * 16, "one", {"keep": keep}, "lc", 0, {"epochs": 1})
        entries.append(Entry("one", {"keep": keep}, 10 * macs, macs, True, "0", (job,)))
    plan = SearchPlan(
        "smallest",
        Entries(entries),
        {"one": {"keep": (0.5, 0.3, 0.2)}},
        Criteria(0.9, confirm=3),
        by=by,
        sizes="nominal",
    )  # type: ignore[arg-type]
    search = Smallest(plan, [])
    assert search.ties() is None
    asked = []
    while (job := search.next()) is not None:
        asked.append(job)
        mean = 0.95 if job.configuration["keep"] == 0.5 else 0.9
        search.tell(job, done(job, mean + (0.011 if job.seed % 2 == 0 else -0.01)))
    counts = [sum(job.configuration["keep"] == keep for job in asked) for keep in (0.3, 0.2)]
    assert max(counts) < MOST
    assert search.ties() == Ties(2, *sizes, by, max(counts), 3)  # type: ignore[arg-type]
