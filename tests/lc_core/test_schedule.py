"""The default schedule: a pure function of the budget."""

import dataclasses
import math
import re
from itertools import pairwise

import pytest

from lc_core import Schedule
from lc_core.schedule import CLOSED_GAP

SCHEDULE = Schedule(epochs=40, lr=0.1, batch_size=64)


@pytest.mark.parametrize("epochs, steps", [(0.5, 20), (3, 20), (10, 20), (10.5, 40), (40, 40), (400, 40)])
def test_forty_steps_and_twenty_for_up_to_ten_epochs(epochs, steps):
    schedule = dataclasses.replace(SCHEDULE, epochs=epochs)
    plan = schedule.plan(1000)
    assert schedule.steps == len(plan) == steps
    assert [step.number for step in plan] == list(range(1, steps + 1))


def test_a_step_is_an_epoch_at_forty_epochs():
    for number, step in enumerate(SCHEDULE.plan(1000), start=1):
        assert len(step.lrs) == 16
        assert step.epochs == number


@pytest.mark.parametrize(
    "lr, momentum, epochs, iterations", [(0.1, 0.9, 40, 16), (0.02, 0.95, 80, 32), (0.1, 0.0, 10, 8)]
)
def test_mu_starts_where_an_l_step_moves_w_a_fifth_of_its_way(lr, momentum, epochs, iterations):
    plan = Schedule(epochs=epochs, lr=lr, batch_size=64, momentum=momentum).plan(1000)
    assert {len(step.lrs) for step in plan} == {iterations}
    assert plan[0].mu == pytest.approx(0.23 * (1 - momentum) / (lr * iterations), rel=1e-12)


@pytest.mark.parametrize("growth", [100.0, 300.0])
@pytest.mark.parametrize("epochs", [5, 40])
def test_mu_grows_geometrically_to_its_end(growth, epochs):
    mus = [step.mu for step in Schedule(epochs=epochs, lr=0.1, batch_size=64, mu_growth=growth).plan(1000)]
    assert mus[-1] / mus[0] == pytest.approx(growth)
    ratios = [later / earlier for earlier, later in pairwise(mus)]
    assert ratios == pytest.approx([growth ** (1 / (len(mus) - 1))] * len(ratios))


def test_mu_ends_at_a_hundred_times_its_start_when_nothing_is_said():
    plan = SCHEDULE.plan(1000)
    assert plan[-1].mu / plan[0].mu == pytest.approx(100)


@pytest.mark.parametrize("epochs", [7, 33.3, 40])
def test_the_learning_rate_falls_linearly_to_two_percent_over_the_whole_run(epochs):
    lrs = [lr for step in dataclasses.replace(SCHEDULE, epochs=epochs).plan(1000) for lr in step.lrs]
    assert lrs[0] == 0.1
    assert lrs[-1] == pytest.approx(0.002)
    falls = [earlier - later for earlier, later in pairwise(lrs)]
    assert falls == pytest.approx([0.098 / (len(lrs) - 1)] * len(falls))


@pytest.mark.parametrize("epochs", [3, 7.5, 10, 33, 57, 100])
@pytest.mark.parametrize("examples", [100, 1078, 5000])
def test_the_steps_spend_the_budget_and_no_more_in_equal_parts(epochs, examples):
    plan = dataclasses.replace(SCHEDULE, epochs=epochs).plan(examples)
    per_epoch = -(-examples // 64)
    lengths = [len(step.lrs) for step in plan]
    assert sum(lengths) == max(round(epochs * per_epoch), len(plan))
    assert max(lengths) - min(lengths) <= 1
    assert plan[-1].epochs == sum(lengths) / per_epoch
    assert [step.epochs for step in plan] == sorted(step.epochs for step in plan)


def test_a_budget_of_a_few_batches_gives_every_step_one():
    plan = dataclasses.replace(SCHEDULE, epochs=0.1).plan(100)
    assert [len(step.lrs) for step in plan] == [1] * 20


def test_a_plan_is_the_same_every_time_and_reads_nothing_but_the_budget():
    assert SCHEDULE.plan(1000) == SCHEDULE.plan(1000) == dataclasses.replace(SCHEDULE).plan(1000)


@pytest.mark.parametrize(
    "step, gaps, factor",
    [
        (5, (0.5,), 1.0),  # the first half: nothing
        (20, (0.5, 0.6), 1.0),
        (21, (0.5, 0.6), 1.5),  # it did not fall
        (21, (0.5, 0.5), 1.5),
        (21, (0.5, 0.49), 1.0),  # it fell
        (36, (0.5, 0.6), 1.5),
        (37, (0.5, 0.4), 2.0),  # the last tenth: falling is not enough
        (40, (0.02, CLOSED_GAP * 1.01), 2.0),
        (40, (0.02, CLOSED_GAP), 1.0),  # closed
        (30, (0.001, 0.002), 1.0),  # closed, though it rose
    ],
)
def test_mu_is_raised_only_late_and_only_where_the_gap_does_not_close(step, gaps, factor):
    assert SCHEDULE.boost(1.0, step=step, steps=SCHEDULE.steps, gaps=gaps) == factor
    assert SCHEDULE.boost(3.0, step=step, steps=SCHEDULE.steps, gaps=gaps) == 3 * factor


def test_in_a_short_run_the_last_two_steps_are_the_last_tenth():
    short = dataclasses.replace(SCHEDULE, epochs=5)
    assert [short.boost(1.0, step=step, steps=short.steps, gaps=(0.5, 0.4)) for step in (10, 18, 19, 20)] == [
        1.0,
        1.0,
        2.0,
        2.0,
    ]


# Adam, and what both share.

ADAM = dataclasses.replace(SCHEDULE, lr=0.002, optimizer="adam")


def test_mu_of_adam_starts_by_its_own_rate_whatever_the_momentum():
    """The penalty takes no part in the momentum."""
    for momentum in (0.0, 0.9):
        plan = dataclasses.replace(ADAM, momentum=momentum).plan(1000)
        assert plan[0].mu == pytest.approx(0.07 / (0.002 * 16), rel=1e-12)
        assert plan[-1].mu / plan[0].mu == pytest.approx(1000)
    plan = dataclasses.replace(ADAM, mu_growth=70.0).plan(1000)
    assert plan[-1].mu / plan[0].mu == pytest.approx(70)


def test_mu_of_sgd_is_the_plans_boosted_and_never_more_than_one_over_the_learning_rate():
    step = SCHEDULE.plan(1000)[5]
    assert SCHEDULE.mu(step, boost=2.0, unit=1.0, previous=1e9) == 2 * step.mu
    assert SCHEDULE.mu(step, boost=1e9, unit=1.0, previous=0.0) == 1 / step.lrs[0]


def test_mu_of_adam_is_in_units_of_the_gradient_and_never_falls():
    step = ADAM.plan(1000)[5]
    assert ADAM.mu(step, boost=2.0, unit=0.01, previous=0.0) == pytest.approx(2 * step.mu * 0.01)
    assert ADAM.mu(step, boost=2.0, unit=1e9, previous=0.0) == pytest.approx(2 * step.mu * 1e9)
    assert ADAM.mu(step, boost=2.0, unit=0.01, previous=7.0) == 7.0


def test_the_learning_rates_are_those_of_the_recipe():
    for decay in ("linear", "cosine", "constant"):
        schedule = dataclasses.replace(SCHEDULE, lr_decay=decay)
        lrs = [lr for step in schedule.plan(1000) for lr in step.lrs]
        assert lrs == schedule.recipe.lrs(len(lrs))


def test_a_schedules_recipe_says_what_the_schedule_says():
    schedule = Schedule(3, 0.2, 7, 0.8, 50.0, optimizer="adam", clip_norm=2.0, lr_decay="cosine", weight_decay=0.01)
    recipe = dataclasses.asdict(schedule.recipe)
    shared = {name: value for name, value in dataclasses.asdict(schedule).items() if name != "mu_growth"}
    assert {name: recipe.pop(name) for name in shared} == shared
    assert recipe == {"seed": 0}


def test_a_schedule_is_read_back_and_without_decay_says_what_earlier_releases_said():
    decayed = dataclasses.replace(SCHEDULE, weight_decay=0.01)
    for schedule in (SCHEDULE, decayed):
        assert Schedule(**schedule.as_dict()) == schedule
    assert decayed.as_dict() == SCHEDULE.as_dict() | {"weight_decay": 0.01}
    assert SCHEDULE.as_dict().keys() == {
        "epochs", "lr", "batch_size", "momentum", "mu_growth", "optimizer", "clip_norm", "lr_decay"
    }  # fmt: skip


@pytest.mark.parametrize(
    "value, message",
    [
        ({"epochs": 0}, "epochs: expected a positive number, got 0"),
        ({"mu_growth": 0.5}, "mu_growth: expected a number, 1 or more, or None, got 0.5"),
        ({"mu_growth": math.inf}, "mu_growth: expected a number, 1 or more, or None, got inf"),
        ({"lr": -0.1}, "lr: expected a positive number, got -0.1"),
        ({"optimizer": "lion"}, "optimizer: expected one of sgd, adam, got 'lion'"),
        ({"clip_norm": -1.0}, "clip_norm: expected a positive number, or None, got -1.0"),
        ({"lr_decay": None}, "lr_decay: expected one of linear, cosine, constant, got None"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_refused_in_a_line(value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(SCHEDULE, **value)


def test_steps_that_begin_anew_have_the_rates_and_the_mu_of_a_whole_run():
    whole = SCHEDULE.plan(1000)
    assert SCHEDULE.anew(whole) == whole
    part = SCHEDULE.anew(whole[:8])
    assert [step.number for step in part] == list(range(1, 9))
    assert [len(step.lrs) for step in part] == [16] * 8
    assert (part[0].lrs[0], part[-1].lrs[-1]) == (whole[0].lrs[0], whole[-1].lrs[-1])
    assert part[0].mu == whole[0].mu
    assert part[-1].mu == pytest.approx(100 * whole[0].mu)
