"""The order of a space, against brute force; and random spaces for other tests."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sweep.search.space import Space, make_space, spread


def random_space(
    generator: np.random.Generator, shapes: Sequence[tuple[int, ...]], *, monotone: bool = True
) -> tuple[Space, np.ndarray]:
    """A space of one family a shape, and the margin of each, which falls in every knob where `monotone`.

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
    return make_space(families, levels, sizes), np.array(accuracies) - 0.5


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
    return make_space(families, levels, sizes), np.array(accuracies) - 0.5


shapes = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple), min_size=1, max_size=3)
seeds = st.integers(0, 2**32 - 1)


def is_tighter(space: Space, one: int, other: int) -> bool:
    """Or equal."""
    return bool(space.families[one] == space.families[other] and (space.levels[one] >= space.levels[other]).all())


@given(shapes=shapes, seed=seeds, share=st.floats(0, 1))
def test_sums_along_the_order_are_their_definitions(shapes: list[tuple[int, ...]], seed: int, share: float) -> None:
    """Also where some places of a family's box are empty."""
    generator = np.random.default_rng(seed)
    whole, _ = random_space(generator, shapes)
    kept = generator.random(len(whole)) <= share
    space = Space(whole.families[kept], whole.levels[kept], whole.sizes[kept])
    n = len(space)
    values = generator.integers(0, 5, n).astype(float)
    order = np.array([[is_tighter(space, i, j) for j in range(n)] for i in range(n)]).reshape(n, n)
    assert space.sum_looser(values).tolist() == (order @ values).tolist()
    assert space.sum_tighter(values).tolist() == (order.T @ values).tolist()
    assert space.sum_no_smaller(values).tolist() == [values[space.sizes >= size].sum() for size in space.sizes]
    assert space.tighter(values > 2).tolist() == (order @ (values > 2) > 0).tolist()


def test_families_may_have_different_numbers_of_knobs() -> None:
    space = make_space([0, 1, 1], [[2], [0, 1], [1, 1]], [5, 6, 7])
    assert space.levels.tolist() == [[2, 0], [0, 1], [1, 1]]
    assert space.tighter(np.array([False, True, False])).tolist() == [False, True, True]
    assert len(make_space([], [], [])) == 0


@given(shapes=shapes)
def test_what_is_spread_begins_with_the_ends_of_every_family(shapes: list[tuple[int, ...]]) -> None:
    levels = [place for shape in shapes for place in np.ndindex(*shape)]
    families = [family for family, shape in enumerate(shapes) for _ in np.ndindex(*shape)]
    order = spread(families, levels)
    assert sorted(order) == list(range(len(levels)))
    ends = {
        number
        for number, (family, place) in enumerate(zip(families, levels, strict=True))
        if all(level in (0, count - 1) for level, count in zip(place, shapes[family], strict=True))
    }
    assert set(order[: len(ends)]) == ends
    assert {families[number] for number in order[: len(shapes)]} == set(range(len(shapes)))


def test_what_is_spread_comes_nearer_by_halves() -> None:
    assert spread([0] * 9, [[level] for level in range(9)]) == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    grid = [(i, j) for i in range(3) for j in range(3)]
    assert [grid[number] for number in spread([0] * 9, grid)][-1] == (1, 1)


def test_sizes_that_rise_by_a_few_bytes_as_a_knob_tightens_are_raised_before_it():
    """Then what meets the target never rules out what is tighter, of one knob or of two."""
    assert make_space([0] * 4, [[0], [1], [2], [3]], [900, 701, 710, 500]).sizes.tolist() == [900, 711, 710, 500]
    levels = [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert make_space([0] * 4, levels, [30, 30, 20, 35]).sizes.tolist() == [36, 36, 36, 35]
    assert make_space([0, 0, 1], [[0], [2], [0]], [10, 10, 3]).sizes.tolist() == [10, 10, 3]


def test_sizes_in_order_stay_as_they_are():
    sizes = [9000, 800, 700, 60]
    assert make_space([0] * 4, [[0, 0], [0, 1], [1, 0], [1, 1]], sizes).sizes.tolist() == sizes
