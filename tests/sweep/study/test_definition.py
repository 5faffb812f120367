"""What a study must say, and levels that make no sense."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, Recipe, Schedule
from sweep.store.metric import ACCURACY, Metric
from sweep.study import Data, Family, Level, Split, Study, Target, accuracy, check_levels
from sweep.study.fingerprint import study_parts
from sweep.study.metrics import mse, r2


def make_study(*families: Family, **others: Any) -> Study:
    empty = Split(torch.empty(0), torch.empty(0))
    usual: dict[str, Any] = {
        "name": "s",
        "build_model": lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)),
        "load_data": lambda: Data(empty, empty, empty),
        "loss": nn.functional.cross_entropy,
        "reference": Recipe(epochs=1, lr=0.1, batch_size=1),
        "schedule": Schedule(epochs=1, lr=0.1, batch_size=1),
    }
    return Study(families=families, **(usual | others))


def family(kind: str, levels: Mapping[str, tuple[Level, ...]], grid: Mapping[str, tuple[Level, ...]]) -> Family:
    plans = {
        "prune": lambda c: {"*": Joint(L0Pruning(keep=c["keep"]))},
        "prune each": lambda c: {"*": L0Pruning(keep=c["keep"])},
        "quantize": lambda c: {"*": Codebook(size=c["size"])},
        "low rank": lambda c: {"0": LowRank(rank=c["rank"])},
        "chain": lambda c: {"*": Joint(Chain(L0Pruning(keep=c["keep"]), Codebook(size=c["size"])))},
        "nobody": lambda c: {"7": Codebook(size=c["size"])},
    }
    return Family(kind, levels, plans[kind], grid=grid)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "levels", "words"),
    [
        ("prune", {"keep": (0.5, 0.0)}, ["family prune, keep=0.0", "expected above 0", "got 0.0"]),
        ("prune", {"keep": (0.5, -0.1)}, ["family prune, keep=-0.1", "expected a fraction of weights", "got -0.1"]),
        ("prune", {"keep": (1.5, 0.5)}, ["family prune, keep=1.5", "expected a fraction of weights", "got 1.5"]),
        ("prune", {"keep": (float("nan"),)}, ["family prune, keep=nan"]),
        ("prune", {"keep": (0.5, 0.01)}, ["family prune, keep=0.01", "of 20 stays"]),
        ("prune each", {"keep": (0.5, 0.05)}, ["keep=0.05", "1.weight", "of 8 stays"]),
        ("quantize", {"size": (2, 0)}, ["family quantize, size=0", "at least 1 value, got 0"]),
        ("quantize", {"size": (2, -3)}, ["family quantize, size=-3", "got -3"]),
        ("quantize", {"size": (13, 2)}, ["family quantize, size=13", "0.weight: size: expected at most 12", "got 13"]),
        ("low rank", {"rank": (1, 0)}, ["family low rank, rank=0", "expected at least 1, got 0"]),
        ("chain", {"keep": (0.5,), "size": (4, 11)}, ["keep=0.5, size=11", "expected at most 10", "got 11"]),
        ("chain", {"keep": (0.5, 0.0), "size": (4,)}, ["keep=0.0, size=4", "expected above 0"]),
        ("nobody", {"size": (2,)}, ["family nobody, size=2", "'7' matches no remaining layer", "['0', '1']"]),
    ],
)
def test_a_level_outside_its_range_is_named(kind: str, levels: dict[str, tuple[Level, ...]], words: list[str]) -> None:
    """Also where the grid has no use for the level: a search would come to it."""
    study = make_study(family(kind, levels, {knob: few[:1] for knob, few in levels.items()}))
    with pytest.raises(ValueError, match=r"^study s, family ") as caught:
        check_levels(study, study.seeded_model())
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"keep": (0.5, 0.3)}, r"family prune: the grid's keep 0.3 is not one of the knob's levels \[0.5, 0.2\]"),
        (
            {"keep": (0.5, 0.5)},
            r"family prune: expected distinct numbers or strings as levels of keep, got \[0.5, 0.5\]",
        ),
        ({"size": (2,)}, r"family prune: the grid names no knob 'size'; the knobs are \['keep'\]"),
    ],
)
def test_a_wrong_grid_is_named(grid: dict[str, tuple[Level, ...]], message: str) -> None:
    study = make_study(family("prune", {"keep": (0.5, 0.2)}, grid))
    with pytest.raises(ValueError, match=message):
        check_levels(study, study.seeded_model())


def test_levels_in_their_range_pass() -> None:
    study = make_study(
        family("prune", {"keep": (1.0, 0.03)}, {}),
        family("quantize", {"size": (8, 1)}, {"size": (1,)}),
        family("low rank", {"rank": (9, 1)}, {}),
        family("chain", {"keep": (1, 0.1), "size": (2, 1)}, {}),
    )
    model = study.seeded_model()
    check_levels(study, model)
    for each in study.families:
        assert all(study.tasks(model, family=each.name, configuration=one) for one in each.configurations())


def test_a_plan_that_raises_is_named() -> None:
    study = make_study(Family("mine", {"keep": (0.5,)}, lambda configuration: configuration["kep"]))  # type: ignore[arg-type, return-value]
    with pytest.raises(ValueError, match=r"family mine, keep=0\.5"):
        check_levels(study, study.seeded_model())


def test_configurations_come_loosest_first_and_a_grid_takes_the_levels_it_names() -> None:
    two = family("chain", {"keep": (0.5, 0.2), "size": (4, 2)}, {"keep": (0.2,)})
    assert list(two.configurations()) == [
        {"keep": 0.5, "size": 4},
        {"keep": 0.5, "size": 2},
        {"keep": 0.2, "size": 4},
        {"keep": 0.2, "size": 2},
    ]
    assert list(two.grid_configurations()) == [{"keep": 0.2, "size": 4}, {"keep": 0.2, "size": 2}]


@pytest.mark.parametrize(
    ("others", "families", "message"),
    [
        ({}, ["prune", "prune"], r"families: .* got \['prune', 'prune'\]"),
        ({"metrics": {}}, ["prune"], "metrics: expected one at least, got none"),
        ({"metrics": {"n": accuracy}}, ["prune"], "metrics: expected another name than 'n'"),
        (
            {"metrics": {"mse": mse()}, "target": Target(at_least=0.9)},
            ["prune"],
            "target: expected at_most or max_drop, since a lower MSE is better",
        ),
        ({"name": ""}, ["prune"], "name: expected letters"),
        ({"metrics": {"drop": accuracy}}, ["prune"], "metrics: expected another name than 'drop', which records use"),
        ({"name": 3}, ["prune"], "name: expected a text, got an int"),
        ({"target": 0.01}, ["prune"], "target: expected a Target or None, got a float"),
        ({"distillation": 0.5}, ["prune"], "distillation: expected a Distillation or None, got a float"),
        ({"augment": 2}, ["prune"], "augment: expected a function or None, got an int"),
        ({"tidy": "no"}, ["prune"], "tidy: expected True or False, got a str"),
        ({"build_model": nn.Linear(2, 2)}, ["prune"], "build_model: expected a function, got a Linear"),
        ({"loss": "cross_entropy"}, ["prune"], "loss: expected a function, got a str"),
        ({"reference": None}, ["prune"], "reference: expected a Recipe or a Checkpoint, got None"),
        ({"schedule": Schedule}, ["prune"], "schedule: expected a Schedule, got the class Schedule"),
        ({"metrics": ["accuracy"]}, ["prune"], "metrics: expected a mapping, name -> metric, got a list"),
        ({"metrics": {"mine": 3}}, ["prune"], "metrics: expected a function or a Measure for 'mine', got an int"),
        (
            {"metrics": {"mse": mse}},
            ["prune"],
            r"metrics: expected a metric for 'mse', got the function that makes one: mse\(\)",
        ),
        ({"name": "../up"}, ["prune"], r"name: .* got '../up'"),
    ],
)
def test_a_study_that_lacks_something_says_what(others: dict[str, Any], families: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_study(*(family(name, {"keep": (0.5,)}, {}) for name in families), **others)


def test_families_are_families_and_levels_stand_in_a_tuple() -> None:
    one = family("prune", {"keep": (0.5,)}, {})
    with pytest.raises(ValueError, match="families: expected a tuple of Family objects, got a Family"):
        replace(make_study(one), families=one)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="families: expected a Family, got a tuple"):
        replace(make_study(one), families=[(one,)])  # type: ignore[list-item, arg-type]
    for levels in (0.5, "0.5"):
        with pytest.raises(ValueError, match="family prune: expected a tuple of levels for keep, got a "):
            family("prune", {"keep": levels}, {})  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="family prune: expected a tuple of levels for keep, got a "):
            Family("prune", {"keep": (0.5,)}, lambda _: {}, grid={"keep": levels})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="family prune: expected a mapping, knob -> levels, got a tuple"):
        Family("prune", ("keep", (0.5,)), lambda _: {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="family: expected a text as its name, got an int"):
        Family(7, {"keep": (0.5,)}, lambda _: {})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"max_drop: expected a number, such as 0.01 for 1%, got '1%'"):
        Target(max_drop="1%")  # type: ignore[arg-type]


def test_a_seeded_model_is_the_same_each_time() -> None:
    study = make_study(family("prune", {"keep": (0.5,)}, {}))
    torch.manual_seed(99)
    first, second = study.seeded_model().state_dict(), study.seeded_model().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_accuracy_scores_each_example() -> None:
    outputs = torch.tensor([[0.0, 1.0], [2.0, 1.0], [0.0, 0.5]])
    assert accuracy(outputs, torch.tensor([1, 1, 0])).tolist() == [1, 0, 0]


def test_the_first_metric_decides() -> None:
    study = make_study(family("prune", {"keep": (0.5,)}, {}), metrics={"mse": mse("m2"), "accuracy": accuracy})
    assert study.metric == Metric("mse", higher_is_better=False, unit="m2", best=0.0)
    assert make_study(family("prune", {"keep": (0.5,)}, {})).metric == ACCURACY


def test_the_metrics_and_which_is_first_are_part_of_the_studys_hash() -> None:
    split = Split(torch.zeros(3, 3), torch.zeros(3))
    data = Data(split, split, split)
    ways: list[dict[str, Any]] = [
        {"mse": mse("m2"), "accuracy": accuracy},
        {"accuracy": accuracy, "mse": mse("m2")},
        {"accuracy": accuracy, "mse": mse("cm2")},
        {"accuracy": accuracy, "mse": r2()},
        {"accuracy": accuracy},
    ]
    studies = [make_study(family("prune", {"keep": (0.5,)}, {}), metrics=metrics) for metrics in ways]
    assert len({study_parts(study, data)["loss"] for study in studies}) == len(ways)
    assert study_parts(make_study(), data) == study_parts(studies[-1], data)


@pytest.mark.parametrize("bad", ["a\nb", "\x1b[31m", "\x85"])
def test_a_name_that_no_record_can_hold_is_refused(bad: str) -> None:
    for name, knobs in ((bad, {"size": (2,)}), ("q", {bad: (2,)}), ("q", {"size": (bad,)})):
        with pytest.raises(ValueError, match="families: expected names and levels without control characters, got "):
            family("quantize", {}, {}).__class__(name, knobs, lambda _: {})
    with pytest.raises(ValueError, match="metrics: expected names"):
        make_study(metrics={bad: accuracy})
