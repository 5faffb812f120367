"""What results rule out, against brute force, on random spaces whose accuracy falls as knobs tighten."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.space import (
    Space,
    Status,
    make_space,
    next_in_order,
    next_smallest,
    not_smaller,
    open_configurations,
    skipped,
    too_tight,
)

THRESHOLD = 0.5


def random_space(
    generator: np.random.Generator, shapes: Sequence[tuple[int, ...]], *, monotone: bool = True
) -> tuple[Space, np.ndarray]:
    """A space of one family a shape, and each configuration's accuracy, which falls in every knob where `monotone`.

    Sizes have ties and need not fall as knobs tighten.
    """
    families, levels, sizes, accuracies = [], [], [], []
    for family, shape in enumerate(shapes):
        accuracy = generator.random(shape)
        if monotone:
            for axis in range(len(shape)):
                accuracy = np.minimum.accumulate(accuracy, axis=axis)
            accuracy = accuracy ** generator.uniform(0.05, 1)
        for place in np.ndindex(*shape):
            families.append(family)
            levels.append(place)
            sizes.append(int(generator.integers(1, 12)))
            accuracies.append(accuracy[place])
    return make_space(families, levels, sizes), np.array(accuracies)


def digits_space(generator: np.random.Generator) -> tuple[Space, np.ndarray]:
    """315 configurations as the digits study has them: sizes fall as knobs tighten, accuracy drops at some place."""
    families, levels, sizes, accuracies = [], [], [], []
    for family, shape in enumerate([(24,), (13,), (31,), (19, 13)]):
        corner, steepness = generator.uniform(0.3, 1.0, len(shape)), generator.uniform(4, 20)
        for place in np.ndindex(*shape):
            tightness = (np.array(place) + 1) / np.array(shape)
            families.append(family)
            levels.append(place)
            sizes.append(int(60_000 * np.prod(1.05 - tightness)) + 500 + 37 * family)
            accuracies.append(1 / (1 + np.exp(steepness * (tightness / corner).sum() - steepness * len(shape))))
    return make_space(families, levels, sizes), np.array(accuracies)


shapes = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)


def play(
    space: Space, accuracies: np.ndarray, generator: np.random.Generator, *, workers: int
) -> tuple[np.ndarray, int]:
    """The statuses at the end of a search, and how many jobs it started; results come in a random order."""
    status = np.full(len(space.sizes), Status.OPEN, dtype=np.int64)
    running: list[int] = []
    started = 0
    while True:
        while len(running) < workers and (number := next_smallest(space, status)) is not None:
            assert status[number] == Status.OPEN
            status[number] = Status.RUNNING
            running.append(number)
            started += 1
        if not running:
            return status, started
        number = running.pop(int(generator.integers(len(running))))
        status[number] = Status.MEETS if accuracies[number] >= THRESHOLD else Status.MISSES


def best_size(space: Space, meets: np.ndarray) -> float:
    return float(space.sizes[meets].min()) if meets.any() else np.inf


# The rules


@given(shapes=shapes, seed=seeds)
def test_the_rules_are_their_definitions(shapes: list[tuple[int, ...]], seed: int) -> None:
    """On any statuses, contradictions included."""
    generator = np.random.default_rng(seed)
    space, _ = random_space(generator, shapes)
    n = len(space.sizes)
    status = generator.integers(0, len(Status), n)

    def is_tighter(one: int, other: int) -> bool:
        return bool(space.families[one] == space.families[other]) and all(space.levels[one] >= space.levels[other])

    meets, misses = (np.flatnonzero(status == which) for which in (Status.MEETS, Status.MISSES))
    true_misses = [i for i in misses if not any(is_tighter(j, i) for j in meets)]
    assert not_smaller(space, status).tolist() == [
        any(space.sizes[i] >= space.sizes[j] for j in meets) for i in range(n)
    ]
    assert too_tight(space, status).tolist() == [any(is_tighter(i, j) for j in true_misses) for i in range(n)]
    assert [space.tighter(i).tolist() for i in range(n)] == [[is_tighter(j, i) for j in range(n)] for i in range(n)]


@given(shapes=shapes, seed=seeds, share=st.floats(0, 1))
def test_the_optimum_is_never_ruled_out(shapes: list[tuple[int, ...]], seed: int, share: float) -> None:
    """Whichever results are known, failures and running jobs among them."""
    generator = np.random.default_rng(seed)
    space, accuracies = random_space(generator, shapes)
    meets = accuracies >= THRESHOLD
    status = np.where(meets, Status.MEETS, Status.MISSES)
    status[generator.random(len(meets)) < 0.1] = Status.RUNNING
    status[generator.random(len(meets)) > share] = Status.OPEN
    known = status == Status.MEETS
    optimum = meets & (space.sizes == best_size(space, meets))
    assert not (too_tight(space, status) & meets).any()
    if best_size(space, known) > best_size(space, meets):
        alive = open_configurations(space, status) | (status == Status.RUNNING)
        assert (alive & optimum).any()


# The search


@given(shapes=shapes, seed=seeds, workers=st.integers(1, 4))
def test_the_smallest_that_meets_the_target_is_found(shapes: list[tuple[int, ...]], seed: int, workers: int) -> None:
    generator = np.random.default_rng(seed)
    space, accuracies = random_space(generator, shapes)
    status, started = play(space, accuracies, generator, workers=workers)
    assert best_size(space, status == Status.MEETS) == best_size(space, accuracies >= THRESHOLD)
    assert started == np.isin(status, [Status.MEETS, Status.MISSES]).sum() <= len(space.sizes)


@given(shapes=shapes, seed=seeds, workers=st.integers(1, 4))
def test_results_that_contradict_the_order_do_not_break_it(
    shapes: list[tuple[int, ...]], seed: int, workers: int
) -> None:
    """It ends, starts nothing twice, and leaves nothing smaller open than what it found."""
    generator = np.random.default_rng(seed)
    space, accuracies = random_space(generator, shapes, monotone=False)
    status, started = play(space, accuracies, generator, workers=workers)
    assert not open_configurations(space, status).any()
    assert started <= len(space.sizes)


@pytest.mark.parametrize(("workers", "most", "mean"), [(1, 20, 15), (4, 30, 20)])
def test_a_search_starts_few_of_the_configurations(workers: int, most: int, mean: float) -> None:
    """Of 315: at most `most` jobs in each of eight random spaces, at most `mean` on average."""
    counts = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        space, accuracies = digits_space(generator)
        status, started = play(space, accuracies, generator, workers=workers)
        assert best_size(space, status == Status.MEETS) == best_size(space, accuracies >= THRESHOLD)
        counts.append(started)
    assert max(counts) <= most, counts
    assert np.mean(counts) <= mean, counts


def test_running_jobs_are_not_asked_for_again_and_others_are_chosen_around_them() -> None:
    """Eight levels, the middle ones running: neither half of what is left is the best guess alone."""
    space = make_space([0] * 8, [[level] for level in range(8)], list(range(8, 0, -1)))
    status = np.full(8, Status.OPEN)
    first = next_smallest(space, status)
    assert first in (3, 4)
    status[first] = Status.RUNNING
    second = next_smallest(space, status)
    assert second not in (None, first)
    assert abs(second - first) > 1
    status[:] = Status.RUNNING
    assert next_smallest(space, status) is None


def test_a_failed_job_rules_out_itself_alone() -> None:
    space = make_space([0] * 3, [[0], [1], [2]], [3, 2, 1])
    status = np.array([Status.OPEN, Status.FAILED, Status.OPEN])
    assert open_configurations(space, status).tolist() == [True, False, True]


def test_a_grid_goes_in_order() -> None:
    space = make_space([0] * 3, [[0], [1], [2]], [3, 2, 1])
    assert next_in_order(space, np.array([Status.MEETS, Status.OPEN, Status.OPEN])) == 1
    assert next_in_order(space, np.array([Status.MEETS, Status.RUNNING, Status.FAILED])) is None


@given(shapes=shapes, seed=seeds)
def test_what_is_skipped_sums_up(shapes: list[tuple[int, ...]], seed: int) -> None:
    """What nothing is known of is either ruled out, for one reason, or still open."""
    generator = np.random.default_rng(seed)
    space, _ = random_space(generator, shapes)
    status = generator.integers(0, len(Status), len(space.sizes))
    unknown = int((status == Status.OPEN).sum())
    counts = skipped(space, status, untouched=status == Status.OPEN)
    assert all(counts.values())
    assert sum(counts.values()) + int(open_configurations(space, status).sum()) == unknown


@given(shapes=shapes, seed=seeds)
def test_at_the_end_of_a_search_all_that_never_ran_was_ruled_out(shapes: list[tuple[int, ...]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    space, accuracies = random_space(generator, shapes)
    status, started = play(space, accuracies, generator, workers=2)
    assert started + sum(skipped(space, status, untouched=status == Status.OPEN).values()) == len(space.sizes)


def test_families_may_have_different_numbers_of_knobs() -> None:
    space = make_space([0, 1, 1], [[2], [0, 1], [1, 1]], [5, 6, 7])
    assert space.levels.tolist() == [[2, 0], [0, 1], [1, 1]]
    assert space.tighter(1).tolist() == [False, True, True]
    empty = make_space([], [], [])
    assert next_smallest(empty, np.array([], dtype=np.int64)) is None
