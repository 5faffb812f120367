"""What the fields of a dataclass must hold: one line for the first that holds something else."""

import dataclasses
import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Union, get_args, get_origin

import numpy as np

NUMBERS = {int: (Integral, "a whole number", "whole numbers"), float: (Real, "a number", "numbers")}
"""Of a field's type: what its value must be, in words, and several of it. NumPy's numbers are such numbers too."""


def expect(holds: bool, name: str, value: object, what: str) -> None:  # noqa: FBT001 - a statement, not a switch
    """Raises ValueError, "name: expected what, got value", where the condition does not hold."""
    if not holds:
        raise ValueError(f"{name}: expected {what}, got {value!r}")


def check_numbers(made: Any) -> None:
    """ValueError where a field of the dataclass `made` is to hold numbers, by its type, and holds something else.

    A number of NumPy's becomes Python's own, which JSON takes. To be called before numbers are compared, which Python
    refuses in its own words.
    """
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        check_number(field.name, value, field.type)
        if isinstance(value, np.generic):
            object.__setattr__(made, field.name, value.item())


def check_number(name: str, value: object, kind: Any) -> None:
    """The same for a value of the type `kind`: int or float, with or without None, or a tuple or mapping of these."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (types.UnionType, Union) and types.NoneType in arguments:
        if value is not None and (within := [each for each in arguments if each in NUMBERS]):
            expect(_is(value, within[0]), name, value, f"{NUMBERS[within[0]][1]}, or None")
    elif kind in NUMBERS:
        expect(_is(value, kind), name, value, NUMBERS[kind][1])
    elif origin is tuple and arguments[0] in NUMBERS:
        holds = isinstance(value, Sequence) and all(_is(each, arguments[0]) for each in value)
        expect(holds, name, value, NUMBERS[arguments[0]][2])
    elif origin is Mapping and arguments[1] in NUMBERS:
        holds = isinstance(value, Mapping) and all(_is(each, arguments[1]) for each in value.values())
        expect(holds, name, value, f"{NUMBERS[arguments[1]][2]} by name")


def _is(value: object, kind: type) -> bool:
    return isinstance(value, NUMBERS[kind][0]) and not isinstance(value, bool)
