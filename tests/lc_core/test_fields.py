"""Numbers in the fields of dataclasses: what is none is one line of ours, and never an error in Python's own words."""

import dataclasses
import json
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin

import numpy as np
import pytest

import lc_core
from lc_core import (
    CP,
    ActivationSteps,
    Budget,
    Circulant,
    Codebook,
    Distillation,
    GroupPruning,
    L0Penalty,
    L0Pruning,
    L1Penalty,
    L1Pruning,
    LowRank,
    NMPruning,
    RankSelection,
    Recipe,
    Schedule,
    Separable,
    Tucker2,
    UniformQuantization,
)
from lc_core.compressions.fixed_codebooks import FixedCodebook, PowersOfTwo
from lc_core.methods.adam_masks import AdamMasks
from lc_core.methods.gradual import Gradual
from lc_core.methods.known import METHODS
from lc_core.methods.lc_retrain import LCThenRetrain
from sweep.study import Checkpoint, Measure, Target
from sweep.target import TargetError

MADE = (
    *(CP(2), Circulant(2), Codebook(2), FixedCodebook((-1.0, 1.0)), GroupPruning(0.5), L0Penalty(0.1), L0Pruning(0.5)),
    *(L1Penalty(0.1), L1Pruning(2.0), LowRank(2), NMPruning(2, 4), PowersOfTwo((-1, 0)), RankSelection(0.1)),
    *(Separable(2), Tucker2((2, 2)), UniformQuantization(4), Budget(bytes=9, of=(Codebook(2),))),
    Budget(macs=9, of=(LowRank(2),), sensitivity={"a": 1.0}),
    *(Recipe(epochs=1, lr=0.1, batch_size=2), Schedule(epochs=1, lr=0.1, batch_size=2)),
    *(Distillation(1.0, hints={"a": 1.0}), AdamMasks(), Gradual(), LCThenRetrain()),
    *(Checkpoint("a.pt"), Measure(lambda outputs, targets: targets)),
)
WRONG = ("2", None, ["a"], {"a": "1"}, True, 1j)


def numbers(kind: Any) -> set[type]:
    """int or float where a field of the type `kind` holds such numbers, and NoneType where it may hold none."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in (int, float):
        return {kind}
    if origin in (tuple, Mapping, types.UnionType):
        return {int, float, types.NoneType}.intersection(arguments) if {int, float}.intersection(arguments) else set()
    return set()


def fields() -> list[Any]:
    found = ((made, each.name, numbers(each.type)) for made in MADE for each in dataclasses.fields(made) if each.init)
    return [pytest.param(*each, id=f"{type(each[0]).__name__}.{each[1]}") for each in found if each[2]]


@pytest.mark.parametrize(("made", "name", "kinds"), fields())
def test_what_is_no_number_is_one_line_that_names_the_field(made: Any, name: str, kinds: set[type]) -> None:
    wrong = [each for each in WRONG if each is not None or types.NoneType not in kinds]
    if float not in kinds:
        wrong += [20.5, (1, 2.5)]
    for value in wrong:
        with pytest.raises(ValueError, match=rf"^{name}: expected .*, got ") as caught:
            dataclasses.replace(made, **{name: value})
        assert "\n" not in str(caught.value)


def test_every_public_dataclass_with_numbers_is_among_them() -> None:
    public = {
        each for each in map(vars(lc_core).get, lc_core.__all__)
        if dataclasses.is_dataclass(each) and (hasattr(each, "outline") or each in (Recipe, Schedule, Distillation))
    }  # fmt: skip
    public |= {type(method) for method in METHODS.values()}
    with_numbers = {each for each in public if any(numbers(field.type) for field in dataclasses.fields(each))}
    assert with_numbers <= {type(made) for made in MADE}


@pytest.mark.parametrize("name", ["max_drop", "min_accuracy", "at_least", "at_most"])
@pytest.mark.parametrize("value", ["2", ["a"], True, 1j])
def test_a_target_is_a_number(name: str, value: Any) -> None:
    with pytest.raises(TargetError, match=rf"^{name}: expected a number, such as 0.01 for 1%, got "):
        Target(**{name: value})


def test_numbers_of_numpy_become_pythons_own() -> None:
    made = [Circulant(np.int64(2)).block, UniformQuantization(np.int64(4)).bits, L0Pruning(np.float32(0.5)).keep]
    assert (made, [*map(type, made)]) == ([2, 4, 0.5], [int, int, float])
    assert FixedCodebook((np.float32(1), np.float32(-1))).values == (1.0, -1.0)
    assert PowersOfTwo((np.int64(-1), np.int64(0))).exponents == (-1, 0)
    schedule = Schedule(epochs=np.int64(3), lr=np.float64(0.1), batch_size=np.int32(4))
    assert json.loads(json.dumps(schedule.as_dict())) == Schedule(epochs=3, lr=0.1, batch_size=4).as_dict()


@pytest.mark.parametrize(("name", "value"), [("bits", "4"), ("bits", 4.5), ("low", "0"), ("high", None)])
def test_a_range_of_activations_is_of_numbers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name}: expected a (whole )?number, got"):
        ActivationSteps(**({"bits": 4, "low": 0.0, "high": 1.0} | {name: value}))


@pytest.mark.parametrize(
    "field", [{"ramp": 0.0}, {"ramp": 1.0}, {"ramp": float("nan")}, {"rate": 0.0}, {"price": -1.0}]
)
def test_masks_take_a_part_of_the_steps(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(field))}: expected "):
        AdamMasks(**field)


@pytest.mark.parametrize("ramp", [0.0, 1.5])
def test_pruning_ends_within_the_steps(ramp: float) -> None:
    with pytest.raises(ValueError, match=r"^ramp: expected a part of the steps, above 0, at most 1, got"):
        Gradual(ramp)
