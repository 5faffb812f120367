"""Random changes of files, for `benchmarks/fuzz.py`: of bytes, of JSON data, of packed models and of ONNX files."""

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import zstandard

from lc_core.file import format_1, format_2
from lc_core.file.content import Content

Mutation = Callable[[bytes, random.Random], bytes]

DEEP: Any = []
for _ in range(400):
    DEEP = [DEEP]
STRANGE: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, 1e308, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf"), "", "x", "=1+1", "a\nb", "\x1b[31mred", "\u202eab", "\ud800", "\x00"),
    *("../../x", "/etc/passwd", "a" * 10_000, [], {}, [[]], [1], {"": 0}, [None] * 1000, DEEP, "done", "failed"),
)
"""What takes the place of a value."""


def of_bytes(data: bytes, draw: random.Random) -> bytes:
    """The data with a few bytes changed, put in, left out, repeated, or cut off."""
    made = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        at, length = draw.randrange(len(made) + 1), draw.choice((1, 2, 8, 64))
        match draw.randrange(6):
            case 0 if made:
                made[min(at, len(made) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                made[at:at] = draw.randbytes(length)
            case 2:
                del made[at : at + length]
            case 3:
                made[at:at] = made[at : at + length]
            case 4:
                del made[at:]
            case _:
                made[at : at + length] = draw.choice((b"\0", b"\xff", b"9", b'"', b"[")) * length
    return bytes(made)


def of_json(data: bytes, draw: random.Random) -> bytes:
    """The JSON with a few values or names changed, left out or exchanged; now and then its text."""
    if draw.random() < 0.2:
        return of_bytes(data, draw)
    found = json.loads(data)
    try:
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            found = _changed(found, draw)
        return json.dumps(found).encode()
    except RecursionError:  # one deep value in another
        return of_bytes(data, draw)


def _changed(found: Any, draw: random.Random) -> Any:
    """JSON data with one change."""
    found = copy.deepcopy(found)
    places = list(_places(found))
    if not places or draw.random() < 0.005:
        return copy.deepcopy(draw.choice(STRANGE))
    holder, key = draw.choice(places)
    match draw.randrange(8):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[draw.choice([text for text in STRANGE if isinstance(text, str)])] = holder.pop(key)
        case 2:
            other, there = draw.choice(places)
            holder[key] = copy.deepcopy(other[there])
        case 3 if type(holder[key]) in (int, float):
            factor, more = draw.choice((-1, 0, 2, 1e9, 1e-9, 1e300)), draw.choice((0, 1, -1, 0.5))
            with contextlib.suppress(OverflowError):  # a whole number beyond all floats stays
                holder[key] = holder[key] * factor + more
        case 4 if isinstance(holder[key], str) and holder[key]:
            holder[key] = of_bytes(holder[key].encode(errors="replace"), draw).decode(errors="replace")
        case _:
            holder[key] = copy.deepcopy(draw.choice(STRANGE))
    return found


def _places(found: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in JSON data, as its holder and its key or number there."""
    keys = found if isinstance(found, dict) else range(len(found)) if isinstance(found, list) else ()
    for key in keys:
        yield found, key
        if found[key] is not DEEP:
            yield from _places(found[key])


def of_packed(data: bytes, draw: random.Random) -> bytes:
    """A packed model, of format 2, with changed bytes; or with its hash right, in either format, all else changed."""
    kind = draw.randrange(4)
    if kind == 0:
        return of_bytes(data, draw)
    if kind == 1:
        return format_2.sealed(of_bytes(data[format_2.SEALED - 4 :], draw))
    content = format_2.decode(data)
    if kind == 2:
        payload = zstandard.ZstdDecompressor().decompress(format_1.encode(content))
        return zstandard.ZstdCompressor(level=1, write_checksum=True).compress(of_bytes(payload, draw))
    changed = _changed(content.metadata, draw)
    for form in (draw.choice((format_1, format_2)), format_1):
        with contextlib.suppress(Exception):  # some changes cannot be written
            made: bytes = form.encode(Content(changed, content.arrays))
            return made
    return of_bytes(data, draw)


def of_onnx(data: bytes, draw: random.Random) -> bytes:
    """An ONNX file with changed bytes; or a changed graph or changed claims, their hash right."""
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    from lc_core.onnx.file import KEY, seal

    if draw.random() < 0.2:
        return of_bytes(data, draw)
    model = ModelProto.FromString(data)
    claims = json.loads(next(entry.value for entry in model.metadata_props if entry.key == KEY))["claims"]
    try:
        if draw.random() < 0.3:
            return seal(model, _changed(claims, draw))
        _change_graph(model, draw)
        return seal(model, claims)
    except (DecodeError, ValueError, TypeError, RecursionError, UnicodeError):  # no ONNX file, or no JSON
        return of_bytes(data, draw)


def _change_graph(model: Any, draw: random.Random) -> None:
    """One change somewhere in the model: a number, a text, a field left out or twice, or bytes of a message."""
    messages = list(_messages(model))
    message = draw.choice(messages)
    if draw.random() < 0.3:
        changed = of_bytes(message.SerializeToString(), draw)
        message.ParseFromString(changed)
        return
    held = message.ListFields()
    if not held:
        return
    field, value = draw.choice(held)
    if hasattr(value, "append") or hasattr(value, "add"):
        if draw.random() < 0.5:
            del value[draw.randrange(len(value))]
        else:
            value.append(copy.deepcopy(value[draw.randrange(len(value))]))
    elif isinstance(value, str):
        names = [text for each in messages for _, text in each.ListFields() if isinstance(text, str)]
        setattr(message, field.name, draw.choice([*names, *OPERATORS, "", "x" * 1000]))
    elif isinstance(value, bytes):
        setattr(message, field.name, of_bytes(value, draw))
    elif isinstance(value, int):
        setattr(message, field.name, draw.choice((0, 1, -1, 2, value + 1, 2**20, 2**31 - 1, 2**40, 2**62)))
    elif isinstance(value, float):
        setattr(message, field.name, draw.choice((0.0, -1.0, 1e38, float("nan"), float("inf"))))


OPERATORS = ("Loop", "If", "Scan", "Expand", "Tile", "Resize", "ConstantOfShape", "Range", "Reshape", "Pad", "Gather")


def _messages(message: Any) -> Iterator[Any]:
    """A message and all messages in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(each)
