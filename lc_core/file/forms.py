"""Turns packed arrays back into Theta. There is a fixed set of forms: loading runs no code from a file."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args

from torch import Tensor

from lc_core.compression import Compressed, Dense, Form, FormError, unprefixed
from lc_core.compressions.allotted import Allotted
from lc_core.compressions.cast import DTYPES, WEIGHTS, Rounded
from lc_core.compressions.circulant import Circulated
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored, Scheme
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.compressions.separable import Separated
from lc_core.compressions.structured import Grouped
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.compressions.uniform import Uniform
from lc_core.file.limits import LARGEST_SIZE, is_shape

DEEPEST = 32
"""The deepest nesting of forms that a reader accepts."""


def unpack(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    """Theta from its `form()` and the arrays of its `pack()`.

    Raises:
        FormError: the form is unknown, a field is missing or of another type, or the arrays do not fit it.
        DamagedError: packed bits are not what any pack function writes.
    """
    check_form(form)
    return _unpack(form, arrays)


def check_form(form: Any, *, depth: int = 0) -> None:
    """FormError where `form` is not one that lc_core writes: unknown, or with a field missing or of another type."""
    known = isinstance(form, dict) and isinstance(form.get("form"), str) and form["form"] in FIELDS
    if not known or depth > DEEPEST:
        raise FormError(f"form: expected one that lc_core knows, got {str(form)[:80]}")
    fields = FIELDS[form["form"]]
    for name in fields.keys() - OPTIONAL:
        if name not in form:
            raise FormError(f"the form {form['form']}: expected {name}, got {sorted(form)[:9]}")
    for name, value in form.items():
        if name in fields and not fields[name](value):
            raise FormError(f"the form {form['form']}: expected {name} as lc_core writes it, got {str(value)[:80]}")
        for child in _children(name, value):
            check_form(child, depth=depth + 1)


def _children(name: str, value: Any) -> list[Any]:
    """The forms in a field of a form that was checked."""
    match name:
        case "values" | "left" | "right" | "core" | "vectors":
            return [value]
        case "terms" | "factors" | "layers":
            return list(value)
        case "parts":
            return [part["values"] for part in value]
    return []


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST_SIZE


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0


def _are_parts(value: Any) -> bool:
    return _is_list(value) and all(isinstance(part, dict) and _is_part(part) for part in value)


def _is_part(part: dict[str, Any]) -> bool:
    numbers = _is_count(part.get("axis")) and _is_count(part.get("first"))
    return numbers and is_shape(part.get("shape")) and "values" in part


def _is_pattern(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_count, value))


def _one_of(names: Collection[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in names


def _is_form(value: Any) -> bool:
    return isinstance(value, dict)  # check_form has the rest


FIELDS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "dense": {"shape": is_shape},
    "sparse": {"shape": is_shape, "count": _is_count, "values": _is_form, "pattern": _is_pattern},
    "codebook": {"shape": is_shape},
    "uniform": {"shape": is_shape, "bits": _is_count, "symmetric": lambda value: isinstance(value, bool)},
    "cast": {"shape": is_shape, "stored": _one_of(DTYPES), "dtype": _one_of(WEIGHTS)},
    "groups": {"shape": is_shape, "count": _is_count, "parts": _are_parts},
    "sum": {"shape": is_shape, "terms": _is_list},
    "factors": {"shape": is_shape, "left": _is_form, "right": _is_form, "scheme": _one_of(get_args(Scheme))},
    "tucker": {"shape": is_shape, "core": _is_form, "left": _is_form, "right": _is_form},
    "cp": {"shape": is_shape, "factors": _is_list},
    "separable": {"shape": is_shape, "depthwise": _is_form, "pointwise": _is_form},
    "circulant": {"shape": is_shape, "block": _is_count, "vectors": _is_form},
    "layers": {"shape": is_shape, "layers": _is_list},
}
"""Form -> field -> whether a value is one that lc_core writes."""
OPTIONAL = {"pattern", "scheme"}


def _unpack(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    def child(name: str) -> Compressed:
        return _unpack(form[name], unprefixed(name, arrays))

    def numbered(forms: Sequence[Form]) -> list[Compressed]:
        return _of_one_type([_unpack(each, unprefixed(str(i), arrays)) for i, each in enumerate(forms)])

    match form["form"]:
        case "dense":
            return Dense.unpack(form, arrays)
        case "sparse":
            return Sparse.unpack(form, arrays, values=child("values"))
        case "codebook":
            return Quantized.unpack(form, arrays)
        case "uniform":
            return Uniform.unpack(form, arrays)
        case "cast":
            return Rounded.unpack(form, arrays)
        case "groups":
            values = numbered([part["values"] for part in form["parts"]])
            return Grouped.unpack(form, arrays, values=values)
        case "sum":
            return Summed.unpack(form, terms=numbered(form["terms"]))
        case "factors":
            left, right = _of_one_type([child("left"), child("right")])
            return Factored.unpack(form, arrays, left=left, right=right)
        case "tucker":
            core, left, right = _of_one_type([child("core"), child("left"), child("right")])
            return Tucker.unpack(form, core=core, left=left, right=right)
        case "cp":
            return Kruskal.unpack(form, factors=numbered(form["factors"]))
        case "separable":
            depthwise, pointwise = _of_one_type([child("depthwise"), child("pointwise")])
            return Separated.unpack(form, depthwise=depthwise, pointwise=pointwise)
        case "circulant":
            return Circulated.unpack(form, vectors=child("vectors"))
        case "layers":
            return Allotted.unpack(form, thetas=numbered(form["layers"]))
    raise AssertionError(f"{form['form']} is checked but cannot be read")


def _of_one_type(parts: list[Compressed]) -> list[Compressed]:
    """`parts`, which go into one Theta. FormError where their types differ."""
    found = {part.dtype for part in parts}
    if len(found) > 1:
        raise FormError(f"expected parts of one type, got {sorted(map(str, found))}")
    return parts
