"""Dataclasses as JSON: each field says what it holds, and pydantic checks it when it is read back."""

import dataclasses
import functools
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, SchemaValidator, core_schema

from sweep.store.files import StoreError
from sweep.store.printable import CONTROL

T = TypeVar("T")
LARGEST = (1 << 63) - 1
"""The largest whole number: what follows computes with 64 bits."""


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
        named_by: the field whose `name` is this field's name in the JSON.
        free: its text may have several lines, or any characters. Others have no control characters.
    """

    meaning: str
    unit: str = ""
    null: str = "never"
    older: bool = False
    others: bool = False
    elsewhere: bool = False
    named_by: str = ""
    free: bool = False


class Unfit(ValueError):
    """A value does not fit its field; one line that names the field."""


@dataclass(frozen=True)
class Field:
    """A field of a dataclass, as its annotation has it.

    Attributes:
        name: as in the JSON.
        says: what it holds; None where the annotation does not say.
        kind: its type but for None.
        default: what it has by default; MISSING where there is none.
    """

    name: str
    says: Says | None
    kind: Any
    default: object


@functools.cache
def fields(kind: Any) -> tuple[Field, ...]:
    """The fields of the dataclass `kind`, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_field(each.name, hints[each.name], each.default) for each in dataclasses.fields(kind))


def _field(name: str, annotation: Any, default: object) -> Field:
    says = None
    if get_origin(annotation) is Annotated:
        annotation, says = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = get_args(annotation)[0]
    kind = str if get_origin(annotation) is Literal else get_origin(annotation) or annotation
    return Field(name, says, kind, default)


def from_json(kind: type[T], data: Mapping[str, Any]) -> T:
    """The object of the dataclass `kind` that JSON data hold. Unfit names the first field that does not fit.

    Names that are no fields are passed over, since a later release may have written them.
    """
    try:
        made: T = _validator(kind).validate_python(dict(data))  # type: ignore[arg-type]  # classes are hashable
    except ValidationError as error:
        raise Unfit(_in_a_line(error.errors(include_url=False), data, kind)) from None
    return made


def from_file(kind: type[T], data: Mapping[str, Any], path: Path) -> T:
    """As `from_json`, of what the file at `path` holds. StoreError, which names `path` and the field."""
    try:
        return from_json(kind, data)
    except Unfit as error:
        raise StoreError(f"{path}: {error}; restore it or remove it") from None


def to_json(value: Any) -> dict[str, Any]:
    """An object of a dataclass as JSON data, in the order of its fields; `from_json` is its inverse.

    A field that says nothing of itself is left out where it has its default.
    """
    data: dict[str, Any] = {}
    for field in fields(type(value)):  # type: ignore[arg-type]
        held = getattr(value, field.name)
        if (field.says is None and held == field.default) or (field.says is not None and field.says.elsewhere):
            continue
        if field.says is not None and field.says.others:
            data |= held
        else:
            name = getattr(value, field.says.named_by).name if field.says and field.says.named_by else field.name
            data[name] = _plain(held)
    return data


def _plain(held: Any) -> Any:
    """The same with dataclasses as JSON data."""
    match held:
        case dict():
            return {name: _plain(each) for name, each in held.items()}
        case list():
            return [_plain(each) for each in held]
    return to_json(held) if dataclasses.is_dataclass(held) else held


@functools.cache
def _validator(kind: Any) -> SchemaValidator:
    return SchemaValidator(_adapted(TypeAdapter(kind).core_schema))


def _adapted(node: Any) -> Any:
    """A schema of pydantic's in which dataclasses, at any depth, are read from mappings and as their fields say."""
    if isinstance(node, list):
        return [_adapted(each) for each in node]
    if not isinstance(node, dict):
        return node
    node = {name: _adapted(each) for name, each in node.items()}
    if node.get("type") == "str":
        return node | {"pattern": rf"^[^{CONTROL}]*\z"}
    if node.get("type") == "int":
        return node | {"ge": -LARGEST, "le": LARGEST}
    if node.get("type") == "float":  # 1 stays 1: what is read is written again as it was
        whole, words = core_schema.int_schema(ge=-LARGEST, le=LARGEST), "Input should be a finite number"
        return core_schema.union_schema([node, whole], custom_error_type="number", custom_error_message=words)
    if node.get("type") != "dataclass":
        return node
    says = {field.name: field.says for field in fields(node["cls"]) if field.says is not None}
    others = [name for name, said in says.items() if said.others]
    elsewhere = [name for name, said in says.items() if said.elsewhere]
    named = [name for name, said in says.items() if said.named_by]
    optional = {*others, *elsewhere, *(name for name, said in says.items() if said.older)}
    for each in node["schema"]["fields"]:
        if each["name"] in says and says[each["name"]].free:
            each["schema"] = _of_any_text(each["schema"])
        if each["name"].rpartition("_")[2] == "bytes":
            each["schema"] = _of_a_size(each["schema"])
        if each["schema"]["type"] == "default" and each["name"] in says.keys() - optional:
            each["schema"] = each["schema"]["schema"]
    node["config"] = core_schema.CoreConfig(strict=True, allow_inf_nan=False)
    node["strict"] = False  # of the dataclass alone: else pydantic takes no mapping for it
    if not others and not elsewhere and not named:
        return node

    def gather(data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        found = {name: data[name] for name in data if name not in elsewhere}
        taken = {key: name for name in named if (key := _key(node["cls"], name, data)) in data}
        found |= {name: data[key] for key, name in taken.items()}
        for name in others:
            rest = (each for each in data if each == name or (each not in node["fields"] and each not in taken))
            found[name] = {each: data[each] for each in rest}
        return found

    ref = {"ref": node.pop("ref")} if "ref" in node else {}
    return core_schema.no_info_before_validator_function(gather, node) | ref


def _of_any_text(schema: Any) -> Any:
    """The schema of a text, or of a text or None, with any characters."""
    if not isinstance(schema, dict):
        return schema
    return {name: _of_any_text(each) for name, each in schema.items() if name != "pattern"}


def _of_a_size(schema: Any) -> Any:
    """The schema of a file's size, or of one or None: at least one byte, since sizes are divided by each other."""
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "int":
        return schema | {"ge": 1}
    return {name: _of_a_size(each) for name, each in schema.items()}


def _key(kind: Any, name: str, data: Mapping[str, Any]) -> str:
    """The name that a field of the dataclass `kind` has in the JSON object `data`."""
    by = next((field.says.named_by for field in fields(kind) if field.name == name and field.says), "")
    if not by:
        return name
    namer = data.get(by)
    usual = next(field.default for field in fields(kind) if field.name == by)
    return str(namer.get("name") if isinstance(namer, dict) else getattr(usual, "name", name))


def _in_a_line(errors: list[ErrorDetails], data: Mapping[str, Any], kind: Any) -> str:
    """The first field that does not fit: its name, what it may be, and what it is."""
    first = errors[0]
    same = [each for each in errors if _name(each, data, kind) == _name(first, data, kind)]  # one a union's member
    expected = " or ".join(dict.fromkeys(_expected(each) for each in same))
    got = "nothing" if first["type"] == "missing" else repr(first["input"])
    return f"{_name(first, data, kind)}: expected {expected}, got {got if len(got) <= 60 else got[:57] + '...'}"


def _name(error: ErrorDetails, data: Any, kind: Any) -> str:
    """Where the error is, as the JSON has it: pydantic names members of unions, and the field that has the others."""
    parts = []
    for place, part in enumerate(error["loc"], 1):
        key = part
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and isinstance(data, dict):
            key = _key(kind, str(part), data)
            kind = next((field.kind for field in fields(kind) if field.name == part), kind)
        last = error["type"] == "missing" and place == len(error["loc"])
        if last or (isinstance(data, dict) and key in data):
            data = data[key] if not last else None
            parts.append(str(key))
    return ".".join(parts)


def _expected(error: ErrorDetails) -> str:
    match error["type"]:
        case "missing":
            return "a value"
        case "dataclass_type" | "dict_type":
            return "an object"
        case "string_pattern_mismatch":
            return "text without control characters"
        case "value_error":
            return f"values that make sense ({error['ctx']['error']})"
    return error["msg"].removeprefix("Input should be ")
