"""The rule that stops hopeless jobs, on made-up curves."""

import numpy as np
import pytest

from sweep.search.stopping import BEHIND, BETTER, NEVER, SHORT, Bars, Finished, bars, needed_beside

STEPS = 8


def job(final: float, *, start: float, sizes: tuple[int, ...] = (1000,)) -> Finished:
    """From `start`, in a straight line."""
    return Finished(sizes, tuple(float(accuracy) for accuracy in np.linspace(start, final, STEPS + 1)))


MISSED = [job(0.80, start=0.5), job(0.82, start=0.4), job(0.84, start=0.3), job(0.86, start=0.2)]
MADE_IT = job(0.95, start=0.6)


def test_the_bar_is_what_the_third_best_of_those_that_missed_had_at_the_step() -> None:
    found = bars([*MISSED, MADE_IT], needed=0.9).least
    columns = np.array([job.curve for job in MISSED])
    for step in range(STEPS // 2, STEPS):
        assert found[step] == sorted(columns[:, step])[-BETTER]
    assert (columns[:, STEPS // 2] > found[STEPS // 2]).sum() == BETTER - 1


def test_nothing_is_stopped_in_the_first_half_or_at_the_end() -> None:
    found = bars([*MISSED, MADE_IT], needed=0.9).least
    assert found[: STEPS // 2] == (NEVER,) * (STEPS // 2)
    assert found[STEPS] == NEVER
    assert min(found[STEPS // 2 : STEPS]) > 0


def test_too_few_that_missed_stop_nothing() -> None:
    assert bars([], needed=0.9) == Bars()
    assert bars([*MISSED[: BETTER - 1], MADE_IT], needed=0.9) == Bars()
    assert max(bars(MISSED[:BETTER], needed=0.9).least) > 0


def test_a_near_miss_is_none() -> None:
    near = [job(0.9 - SHORT + 1e-9, start=0.5) for _ in range(BETTER)]
    assert bars(near, needed=0.9) == Bars()


@pytest.mark.parametrize("low", [0.05, 0.35])
def test_one_that_was_as_low_and_made_it_lowers_the_bar_for_all(low: float) -> None:
    late = Finished((1000,), (*[low] * STEPS, 0.95))
    found = bars([*MISSED, MADE_IT, late], needed=0.9).least
    for step in range(STEPS // 2, STEPS):
        assert found[step] <= low - BEHIND


def test_what_is_needed_is_the_best_of_those_that_are_no_larger() -> None:
    finished = [
        job(0.9, start=0.5, sizes=(100, 7)),
        job(0.95, start=0.5, sizes=(100, 9)),
        job(1.0, start=0.5, sizes=(300, 5)),
    ]
    assert needed_beside(finished, (100, 9)) == 0.95
    assert needed_beside(finished, (200, 8)) == 0.9
    assert needed_beside(finished, (400, 9)) == 1.0
    assert needed_beside(finished, (99, 9)) is None
    assert bars(MISSED, needed=None) == Bars()


def test_a_job_at_its_bar_is_hopeless_and_one_above_it_is_not() -> None:
    found = bars([*MISSED, MADE_IT], needed=0.9)
    step = STEPS - 1
    assert found.hopeless(step, found.least[step])
    assert not found.hopeless(step, found.least[step] + 1e-9)
    assert not found.hopeless(0, 0.0)
    assert not Bars().hopeless(step, 0.0)
    assert found.below == 0.9 - SHORT
