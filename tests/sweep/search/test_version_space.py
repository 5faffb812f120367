"""The search for the smallest, against brute force, on random spaces whose accuracy falls as knobs tighten."""

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from types import FrameType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep import intervals
from sweep.intervals import least_mean, pooled
from sweep.search import ties, version_space
from sweep.search.space import Space, make_space
from sweep.search.version_space import Known, Status, View, next_open, skipped, view
from tests.sweep.search.test_space import digits_space, is_tighter, random_space, seeds, shapes


def play(
    space: Space,
    margins: np.ndarray,
    generator: np.random.Generator,
    *,
    workers: int = 1,
    noise: float = 0.0,
    repeats: int = 1,
    confirm: int = 0,
    failing: Sequence[int] = (),
) -> tuple[View, dict[int, list[float]]]:
    """What a search comes to, and its results; they arrive in a random order."""
    results: dict[int, list[float]] = {}
    running: list[int] = []
    failed: set[int] = set()
    while True:
        while True:
            counts = {number: running.count(number) for number in running}
            found = view(space, Known(results, counts, failed), repeats=repeats, confirm=confirm)
            number = found.again if found.again is not None else next_open(space, found)
            if number is None or len(running) >= workers:
                break
            assert found.status[number] not in (Status.FAILED, Status.RUNNING) or repeats > 1
            running.append(number)
        if not running:
            return found, results
        number = running.pop(int(generator.integers(len(running))))
        if number in failing:
            failed.add(number)
        else:
            results.setdefault(number, []).append(float(margins[number] + noise * generator.normal()))
        assert sum(map(len, results.values())) < 40 * len(space) + 40


def best_size(space: Space, meets: np.ndarray) -> float:
    return float(space.sizes[meets].min()) if meets.any() else np.inf


@given(shapes=shapes, seed=seeds)
def test_what_is_ruled_out_is_its_definition(shapes: list[tuple[int, ...]], seed: int) -> None:
    """On any results, contradictions included."""
    generator = np.random.default_rng(seed)
    space, _ = random_space(generator, shapes)
    n = len(space)
    known = {i: [float(generator.choice([-1.0, 1.0]))] for i in range(n) if generator.random() < 0.5}
    found = view(space, Known(known), repeats=1, confirm=0)
    meets = [i for i in known if known[i][0] > 0]
    misses = [i for i in known if known[i][0] < 0 and not any(is_tighter(space, j, i) for j in meets)]
    assert found.not_smaller.tolist() == [
        any(space.sizes[i] >= space.sizes[j] or is_tighter(space, j, i) for j in meets) for i in range(n)
    ]
    assert found.too_tight.tolist() == [any(is_tighter(space, i, j) for j in misses) for i in range(n)]


@given(shapes=shapes, seed=seeds, workers=st.sampled_from([1, 2, 8, 64]), confirm=st.sampled_from([0, 1, 3]))
def test_the_smallest_that_meets_the_target_is_found(
    shapes: list[tuple[int, ...]], seed: int, workers: int, confirm: int
) -> None:
    generator = np.random.default_rng(seed)
    space, margins = random_space(generator, shapes)
    found, results = play(space, margins, generator, workers=workers, confirm=confirm)
    optimum = best_size(space, margins >= 0)
    assert (np.inf if found.winner is None else space.sizes[found.winner]) == optimum
    if confirm and found.winner is not None:
        assert margins[found.winner] >= 0
        assert len(results[found.winner]) > confirm
    untouched = np.array([number not in results for number in range(len(space))])
    assert sum(skipped(found, untouched=untouched).values()) == untouched.sum()


@given(shapes=shapes, seed=seeds, workers=st.integers(1, 4), confirm=st.sampled_from([0, 3]), repeats=st.integers(1, 3))
def test_noise_and_contradictions_do_not_break_it(
    shapes: list[tuple[int, ...]], seed: int, workers: int, confirm: int, repeats: int
) -> None:
    """It ends, with a winner that its own results confirm, and nothing open."""
    generator = np.random.default_rng(seed)
    space, margins = random_space(generator, shapes, monotone=False)
    failing = [int(number) for number in generator.integers(len(space), size=2)]
    found, results = play(
        space, margins, generator, workers=workers, noise=0.3, repeats=repeats, confirm=confirm, failing=failing
    )
    assert not found.open.any()
    assert found.winner not in failing
    won = results[found.winner] if found.winner is not None else None
    if won is not None and confirm:
        assert len(won) > confirm
        assert least_mean(won[1:], pooled(results.values())) >= 0
    elif won is not None:
        assert min(won) >= 0
        assert len(won) >= repeats


@pytest.mark.parametrize(("workers", "most", "mean"), [(1, 22, 17), (4, 32, 23)])
def test_a_search_starts_few_of_the_configurations(workers: int, most: int, mean: float) -> None:
    """Of 315: at most `most` jobs in each of eight random spaces, at most `mean` on average."""
    counts = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        space, margins = digits_space(generator)
        found, results = play(space, margins, generator, workers=workers)
        assert found.winner is not None
        assert space.sizes[found.winner] == best_size(space, margins >= 0)
        counts.append(len(results))
    assert max(counts) <= most, counts
    assert np.mean(counts) <= mean, counts


def test_running_jobs_are_not_asked_for_again_and_others_are_chosen_around_them() -> None:
    space = make_space([0] * 8, [[level] for level in range(8)], list(range(8, 0, -1)))
    first = next_open(space, view(space, Known({}), repeats=1, confirm=3))
    assert first in (3, 4)
    second = next_open(space, view(space, Known({}, {first: 1}), repeats=1, confirm=3))
    assert second not in (None, first)
    assert abs(second - first) > 1
    everything = dict.fromkeys(range(8), 1)
    assert next_open(space, view(space, Known({}, everything), repeats=1, confirm=3)) is None


def test_a_failed_job_rules_out_itself_alone() -> None:
    space = make_space([0] * 3, [[0], [1], [2]], [3, 2, 1])
    assert view(space, Known({}, {}, {1}), repeats=1, confirm=0).open.tolist() == [True, False, True]


# Noise

LINE = make_space([0] * 3, [[0], [1], [2]], [300, 200, 100])


def again(results: dict[int, list[float]], **running: int) -> tuple[int | None, int | None]:
    found = view(LINE, Known(results, {int(k[1:]): v for k, v in running.items()}), repeats=1, confirm=3)
    assert not found.open.any()
    return found.again, found.winner


def test_a_winner_is_run_again_before_it_is_announced() -> None:
    """Three fresh seeds at once; when they clear the target by far, it is the winner. The first does not count."""
    assert again({1: [0.02], 2: [-0.9]}) == (1, None)
    assert again({1: [0.02], 2: [-0.9]}, _1=2) == (1, None)
    assert again({1: [0.02], 2: [-0.9]}, _1=3) == (None, None)
    assert again({1: [0.02, 0.03, 0.02, 0.03], 2: [-0.9]}) == (None, 1)


def test_the_result_by_which_it_was_chosen_does_not_count() -> None:
    """The noise is 0.01: four seeds would clear the target by 0.05, the fresh ones do not."""
    calm = [[0.01 * (-1) ** number for number in range(2000)]]
    for first, over in ((0.2, False), (0.2, True)):
        fresh = [0.05, 0.05, 0.05] if over else [0.002, 0.001, 0.0]
        found = view(LINE, Known({1: [first, *fresh], 2: [-0.9]}, others=calm), repeats=1, confirm=3)
        assert (found.again, found.winner) == ((None, 1) if over else (1, None))


@pytest.mark.parametrize(("mean", "bounds"), [(0.0, (12, 32)), (0.002, (24, 47)), (0.0034, (36, 48))])
def test_a_near_tie_gets_more_seeds_while_these_may_confirm_it(mean: float, bounds: tuple[int, int]) -> None:
    """The noise is 0.01; 48 fresh seeds would confirm a mean of about 0.0031. `bounds` are of such seeds."""
    calm = [[0.01 * (-1) ** number for number in range(2000)]]

    def after(fresh: int) -> View:
        return view(LINE, Known({1: [0.02, *([mean] * fresh)], 2: [-9.0]}, others=calm), repeats=1, confirm=3)

    end = next(fresh for fresh in range(3, 99) if after(fresh).again != 1)
    assert bounds[0] <= end <= bounds[1]
    if mean > 0.003:
        assert after(end).winner == 1
    else:
        assert after(end).status[1] == Status.MISSES
        assert after(end).open.tolist() == [True, False, False]
        assert after(end).ties == {1: end + 1}


def test_the_next_candidate_takes_the_place_of_one_that_fails() -> None:
    found = view(LINE, Known({1: [0.01, -0.1, -0.12, -0.11], 2: [-0.9]}), repeats=1, confirm=3)
    assert found.open.tolist() == [True, False, False]


def test_a_miss_that_may_be_noise_is_run_again_where_something_smaller_is_at_stake() -> None:
    """The noise is 0.1: -0.05 may be noise, -0.9 is not."""
    won = [0.3, 0.4, 0.5, 0.6]
    assert again({0: won, 1: [-0.05], 2: [-0.9]}) == (1, None)
    assert again({0: won, 1: [-0.9], 2: [-0.9]}) == (None, 0)
    assert again({0: won, 1: [-0.05], 2: [-0.9]}, _1=1) == (None, None)
    close = make_space([0, 0], [[0], [1]], [100, 95])
    assert view(close, Known({0: won, 1: [-0.05]}), repeats=1, confirm=3).winner == 0


def test_results_that_contradict_the_order_loosen_it() -> None:
    """Of a miss and a tighter one that meets, the one with more seeds is believed; of equals the one that meets."""
    found = view(LINE, Known({0: [-0.1], 1: [0.1]}), repeats=1, confirm=3)
    assert found.status.tolist() == [Status.MISSES, Status.MEETS, Status.OPEN]
    assert found.open.tolist() == [False, False, True]
    found = view(LINE, Known({0: [-0.1, -0.1, -0.1], 1: [0.1]}), repeats=1, confirm=3)
    assert found.status.tolist() == [Status.MISSES, Status.MISSES, Status.OPEN]
    assert not found.open.any()


# What the order rules out wrongly


def pair(best_alone: int) -> Space:
    """Four levels by three, the second knob saving most, and another family of one configuration."""
    sizes = [1000 - 60 * first - 250 * second for first in range(4) for second in range(3)]
    levels = [[first, second] for first in range(4) for second in range(3)]
    return make_space([0] * 12 + [1], [*levels, [0, 0]], [*sizes, best_alone])


def test_before_the_end_a_step_and_a_leap_are_tried_though_the_order_rules_them_out() -> None:
    """As pruned digits: a codebook of 8 misses where one of 2 meets. The step is the first that can be the answer."""
    space = pair(best_alone=430)
    known = {
        12: [0.1],
        2: [0.1],
        4: [-0.1],
    }  # [0, 2], of 500 bytes, meets; [1, 1], which misses, rules out [1, 2] and on
    found = view(space, Known(known), repeats=1, confirm=0)
    assert not found.open.any()
    assert (found.again, found.winner) == (8, None)  # [2, 2], of 380 bytes; [1, 2], of 440, could not be the answer
    assert view(space, Known(known, {8: 1}), repeats=1, confirm=0).again == 11  # the tightest
    waiting = view(space, Known(known, {8: 1, 11: 1}), repeats=1, confirm=0)
    assert (waiting.again, waiting.winner) == (None, None)
    assert view(space, Known(known, {}, {8}), repeats=1, confirm=0).again == 11
    assert view(space, Known(known | {8: [-0.1], 11: [-0.1]}), repeats=1, confirm=0).winner == 12
    met = view(space, Known(known | {8: [0.1]}), repeats=1, confirm=0)
    assert np.flatnonzero(met.open).tolist() == [11]
    assert view(space, Known(known | {8: [0.1], 11: [-0.1]}), repeats=1, confirm=0).winner == 8


def test_past_a_miss_on_the_way_the_tightest_alone_is_tried() -> None:
    space = pair(best_alone=390)
    known = {12: [0.1], 2: [0.1], 5: [-0.1]}  # [1, 2] misses on the way from [0, 2] to [2, 2]
    assert view(space, Known(known), repeats=1, confirm=0).again == 11
    assert view(space, Known(known | {11: [-0.1]}), repeats=1, confirm=0).winner == 12


@given(seed=seeds, workers=st.sampled_from([1, 4]), loosest=st.booleans())
def test_a_level_that_is_bad_does_not_hide_what_is_beyond(seed: int, workers: int, loosest: bool) -> None:
    """One level of the second knob misses, unless `loosest` beside the loosest of the first; the optimum is beyond."""
    generator = np.random.default_rng(seed)
    first, second, bad = 6, 5, int(generator.integers(1, 4))
    levels = [[i, j] for i in range(first) for j in range(second)]
    deepest = int(generator.integers(1, first))
    margins = np.array([-0.1 if (j == bad and (i or not loosest)) or i > deepest else 0.1 for i, j in levels])
    space = make_space([0] * len(levels), levels, [5000 - 500 * j - 20 * i for i, j in levels])
    found, _ = play(space, margins, generator, workers=workers)
    assert found.winner is not None
    assert space.sizes[found.winner] == best_size(space, margins >= 0)


def test_a_choice_among_thousands_compares_not_each_with_each() -> None:
    """4,680 configurations, where that took 0.4 s a job: neither pair by pair nor in a table of all pairs."""
    space, margins = random_space(np.random.default_rng(0), [(40, 39, 3)])
    assert len(space) == 4680
    known = Known({number: [float(margins[number])] for number in range(0, 4680, 117)}, dict.fromkeys(range(7), 1))
    calls, most = cost(lambda: next_open(space, view(space, known, repeats=1, confirm=3)))
    assert calls < 10 * 4680
    assert most < 4680**2 / 10


def cost(run: Callable[[], object]) -> tuple[int, int]:
    """Calls that it makes, of NumPy's functions too, and bytes that it holds at most."""
    calls, before = 0, sys.getprofile()

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    tracemalloc.start()
    sys.setprofile(count)
    try:
        run()
        return calls, tracemalloc.get_traced_memory()[1]
    finally:
        sys.setprofile(before)
        tracemalloc.stop()


def test_the_bounds_are_those_of_the_documentation() -> None:
    assert (version_space.MOST_SEEDS, version_space.GIVE_UP, version_space.DOUBT) == (16, 1.0, 0.9)
    assert (ties.HOPE, ties.FEW, ties.PATIENCE, ties.WORTH) == (0.01, 5, 4, 0.08)
    assert intervals.CONFIDENCE == 0.985
