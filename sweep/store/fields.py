"""Dataclasses as JSON: each field says what it holds, and is read back with its type checked."""

import dataclasses
import functools
import math
import operator
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Convert = Callable[[Any], Any]
"""A value of a right type -> what the field holds. Unfit where the value cannot be."""


@dataclass(frozen=True)
class Says:
    """What a field holds; it stands in the field's annotation: `seconds: Annotated[float, Says("...", unit="s")]`.

    Attributes:
        meaning: a phrase, for the documentation.
        unit: of the number.
        null: when it is None.
        older: files of older releases may lack it; it then has its default.
        others: it holds all that the JSON object has beside the other fields, by name.
        elsewhere: it lies in another file, and is not part of this JSON.
    """

    meaning: str
    unit: str = ""
    null: str = "never"
    older: bool = False
    others: bool = False
    elsewhere: bool = False


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


class Unfit(ValueError):
    """A value does not fit its field."""

    def __init__(self, field: str, expected: str, got: object) -> None:
        super().__init__(field, expected, got)
        self.field, self.expected, self.got = field, expected, got

    def __str__(self) -> str:
        got = repr(self.got)
        return f"{self.field}: expected {self.expected}, got {got if len(got) <= 60 else got[:57] + '...'}"


@dataclass(frozen=True)
class Field:
    """A field of a dataclass, as its annotation has it.

    Attributes:
        name: as in the JSON.
        says: what it holds; None where the annotation does not say.
        kind: its type but for None.
        types: what its value in the JSON may be.
        expected: the same in words.
        convert: what is made of such a value; None where it is kept as it is.
        default: what it is where the JSON lacks it; NOTHING where it must be there.
    """

    name: str
    says: Says | None
    kind: Any
    types: frozenset[type]
    expected: str
    convert: Convert | None
    default: object


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """The object of the dataclass `kind` that JSON data hold. Unfit names the first field that does not fit.

    Names that are no fields are passed over, since a later release may have written them.
    """
    made: T = _reader(kind)(data)  # type: ignore[arg-type]  # classes are hashable
    return made


def to_json(value: Any) -> dict[str, Any]:
    """An object of a dataclass as JSON data, in the order of its fields; `from_json` is its inverse.

    A field that says nothing of itself is left out where it has its default.
    """
    data: dict[str, Any] = {}
    for field in fields(type(value)):  # type: ignore[arg-type]
        if field.says is not None and field.says.elsewhere:
            continue
        held = getattr(value, field.name)
        if field.says is not None and field.says.others:
            data |= held
        elif field.says is not None or held != field.default:
            data[field.name] = to_json(held) if dataclasses.is_dataclass(field.kind) and held is not None else held
    return data


@functools.cache
def fields(kind: Any) -> tuple[Field, ...]:
    """The fields of the dataclass `kind`, in their order."""
    narrowed = get_type_hints(kind, include_extras=True)
    return tuple(_field(kind, each, narrowed[each.name]) for each in dataclasses.fields(kind))


@functools.cache
def _reader(kind: Any) -> Convert:
    """`from_json` of one dataclass. Sweeps have 100,000 records, so what is the same for all of them is done here."""
    own = [each for each in fields(kind) if each.says is None or not (each.says.others or each.says.elsewhere)]
    names = {field.name for field in own}
    others = [field for field in fields(kind) if field.says is not None and field.says.others]
    elsewhere = [field.name for field in fields(kind) if field.says is not None and field.says.elsewhere]
    order, unread = [*(field.name for field in (*own, *others)), *elsewhere], (None,) * len(elsewhere)
    get = operator.itemgetter(*(field.name for field in own))
    finite = [place for place, field in enumerate(own) if field.kind is float]
    converts = [(place, field.convert) for place, field in enumerate(own) if field.convert is not None]
    signatures: set[tuple[type, ...]] = set()  # the types of an object's values, where they were found to be right
    new = _in_slots(kind, order) if hasattr(kind, "__slots__") else _by_init(kind, order)

    def read(data: Mapping[str, Any]) -> Any:
        try:
            values = list(get(data))
        except KeyError:  # a field that older releases do not write, or one that is missing
            values = [data.get(field.name, field.default) for field in own]
        signature = tuple(map(type, values))
        if signature not in signatures:
            for field, value in zip(own, values, strict=True):
                if type(value) not in field.types and (value is not field.default or value is NOTHING):
                    raise Unfit(field.name, field.expected, value)
            signatures.add(signature)
        for place in finite:
            value = values[place]
            if value is not None and value - value != 0:  # NaN and infinity
                raise Unfit(own[place].name, own[place].expected, value)
        try:
            for place, convert in converts:
                if values[place] is not None:
                    values[place] = convert(values[place])
        except Unfit as error:
            name = own[place].name
            raise Unfit(f"{name}.{error.field}" if error.field else name, error.expected, error.got) from None
        for field in others:
            rest = {name: data[name] for name in data if name not in names} if len(data) > len(values) else {}
            values.append(field.convert(rest) if rest and field.convert else rest)
        values += unread
        return new(values)

    return read


def _in_slots(kind: type, order: Sequence[str]) -> Callable[[list[Any]], Any]:
    """Makes an object from the values of its fields: into its slots, in a third of the time of its `__init__`."""
    setters = [getattr(kind, name).__set__ for name in order]

    def new(values: list[Any]) -> Any:
        made: Any = object.__new__(kind)
        for setter, value in zip(setters, values, strict=False):
            setter(made, value)
        return made

    return new


def _by_init(kind: type, order: Sequence[str]) -> Callable[[list[Any]], Any]:
    """As `_in_slots` for a class that checks its values itself, by a ValueError."""

    def new(values: list[Any]) -> Any:
        try:
            return kind(**dict(zip(order, values, strict=True)))
        except ValueError as error:
            raise Unfit("", f"values that make sense ({error})", dict(zip(order, values, strict=True))) from error

    return new


def _field(kind: type, field: "dataclasses.Field[Any]", annotation: Any) -> Field:
    says = None
    for home in kind.__mro__:  # a subclass may narrow the type, and says no more than that
        written = home.__annotations__.get(field.name) if "__annotations__" in vars(home) else None
        if get_origin(written) is Annotated:
            says = next(each for each in get_args(written)[1:] if isinstance(each, Says))
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    default: Any = field.default
    if default is dataclasses.MISSING or (says is not None and not says.older):
        default = NOTHING
    allowed, expected, convert, plain = _type(annotation)
    if says is not None and says.others:
        allowed = frozenset()  # whatever has this name is one of them
    return Field(field.name, says, plain, allowed, expected, convert, default)


def _type(annotation: Any) -> tuple[frozenset[type], str, Convert | None, Any]:
    """The types of JSON values that `annotation` allows, the same in words, the conversion, the type but for None."""
    if get_origin(annotation) in (Union, types.UnionType):
        members = [_type(each) for each in get_args(annotation)]
        allowed = frozenset[type]().union(*(member[0] for member in members))
        named = [member[1] for member in members]
        converts = [member[2] for member in members if member[2] is not None]
        assert len(set(converts)) <= 1, f"{annotation}: two of its types need checks of their own"
        plain = [member[3] for member in members if member[3] is not type(None)]
        return allowed, " or ".join(named), converts[0] if converts else None, plain[0]
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return frozenset({str}), " or ".join(choices), functools.partial(_one_of, choices), str
    if get_origin(annotation) is dict:
        values = get_args(annotation)[1]
        convert = None if values is Any else functools.partial(_mapping, *_type(values)[:2])
        return frozenset({dict}), "an object", convert, dict
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return frozenset({dict}), "an object", _reader(annotation), annotation
    return _PLAIN[annotation]


def _one_of(choices: tuple[str, ...], value: str) -> str:
    if value not in choices:
        raise Unfit("", " or ".join(choices), value)
    return value


def _mapping(allowed: frozenset[type], expected: str, data: dict[str, Any]) -> dict[str, Any]:
    found = set(map(type, data.values()))
    if not found <= allowed or float in found:
        for name, value in data.items():
            if type(value) not in allowed or (type(value) is float and not math.isfinite(value)):
                raise Unfit(name, expected, value)
    return data


_PLAIN: dict[Any, tuple[frozenset[type], str, Convert | None, Any]] = {
    int: (frozenset({int}), "a whole number", None, int),
    float: (frozenset({int, float}), "a finite number", None, float),
    str: (frozenset({str}), "text", None, str),
    bool: (frozenset({bool}), "true or false", None, bool),
    type(None): (frozenset({type(None)}), "null", None, type(None)),
}
