"""Format 2 of the packed file: codes and supports by adaptive arithmetic coding, the rest as bytes under zstd.

MAGIC, 8 bytes of the SHA-256 of all that follows, 4 bytes of the CRC-32 of the arrays, then: the header, the bytes of
the arrays that are not coded, and the coder's streams. Numbers are of 7 bits a byte, lowest first. docs/artifact.md
has the details.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from lc_core.coding.coder import Reader, Writer
from lc_core.coding.layout import LANES, Symbols
from lc_core.compression import FormError, numel, outline_tensor
from lc_core.file.coded import Coded, Layers, Walk
from lc_core.file.content import ORDER, Content, dumps
from lc_core.file.frames import compressed, decompressed, deflated, inflated, least_size
from lc_core.file.limits import LARGEST_HEADER, check_sizes, is_shape, most
from lc_core.file.metadata import check_metadata, json_of
from lc_core.file.plain import bytes_of, plain_bytes, plain_size, read_plain, write_highest

FORMAT = 2
NAME = b"LCZ"
MAGIC = NAME + bytes([FORMAT])
SEALED = len(MAGIC) + 12
DEFLATED = 16
"""Beside the bits of which highest bytes are coded: the JSON is under deflate."""
_TYPES = {name: dtype for dtype, (_, name) in ORDER.items()}


@dataclass(frozen=True)
class Sizes:
    """The bytes of a file's parts.

    Attributes:
        header: what identifies and seals the file, and the JSON.
        plain: arrays that are not coded.
        highest: the highest bytes of floating-point numbers, coded.
        supports: coded ones.
        codes: coded ones.
    """

    header: int
    plain: int
    highest: int
    supports: int
    codes: int


def encode(content: Content) -> bytes:
    """The bytes of a file. ValueError where the JSON holds a number that is not finite, or is too long."""
    writer = Writer()
    written = write_highest([array for _, array in content.sorted_arrays], writer)
    writing = _Writing(dict(content.arrays), writer)
    _walk(writing, content.metadata["tasks"])
    rest = Content({}, writing.arrays).sorted_arrays
    plain = plain_bytes([array for _, array in rest], written=written)
    table = {name: [ORDER[array.dtype][1], list(array.shape)] for name, array in rest}
    described = {name: value for name, value in content.metadata.items() if name != "info"}
    text = dumps(described | {"arrays": table, "info": content.metadata["info"]}).encode()
    if len(text) > LARGEST_HEADER:
        raise ValueError(f"expected a header of at most {LARGEST_HEADER} bytes, got {len(text)}")
    return sealed(check(content.arrays) + body(text, plain, writer.finished(), written=written))


def sealed(data: bytes) -> bytes:
    """A file of `data`, the CRC-32 of the arrays and `body`."""
    return MAGIC + hashlib.sha256(data).digest()[:8] + data


def body(text: bytes, plain: bytes, streams: Sequence[bytes], *, written: int = 0) -> bytes:
    """The header `text`, the bytes `plain` of arrays, and the streams, which may have the arrays' highest bytes."""
    short, packed = deflated(text), compressed(plain)
    header = min(compressed(text, words=True), short, key=len)
    kept = min(plain, packed, key=len)
    flags = written | (DEFLATED if header is short else 0)
    numbers = [len(text), len(header), 2 * len(kept) + (kept is not plain), flags, len(streams)]
    return b"".join([*map(_number, [*numbers, *map(len, streams[:-1])]), header, kept, *streams])


def sizes(data: bytes) -> Sizes:
    """The sizes of the parts of a file that `decode` reads."""
    return _read(data)[1]


def decode(data: bytes) -> Content:
    """The content of a file. FormError, DamagedError or ZstdError where it is not as `encode` writes it."""
    return _read(data)[0]


def _read(data: bytes) -> tuple[Content, Sizes]:
    if data[len(NAME) : len(MAGIC)] != MAGIC[-1:]:
        number = data[len(NAME)] if len(data) > len(NAME) else None
        raise FormError(f"expected format {FORMAT}, got format {number}; a later lcsweep may read it")
    if len(data) < SEALED or hashlib.sha256(data[SEALED - 4 :]).digest()[:8] != data[len(MAGIC) : SEALED - 4]:
        raise FormError("its bytes do not match their SHA-256")
    parts = _Parts(data)
    length, packed, kept, flags, count = (parts.number() for _ in range(5))
    if length > LARGEST_HEADER or count > LANES:
        raise FormError(f"expected at most {LARGEST_HEADER} bytes of header and {LANES} streams, got {length}, {count}")
    lengths = [parts.number() for _ in range(count - 1)]
    written, short = flags & ~DEFLATED, parts.take(packed)
    text = inflated(short, size=length) if flags & DEFLATED else decompressed(short, size=length, words=True)
    metadata = check_metadata({"format": FORMAT} | _object(json_of(text)), ("arrays",), format=FORMAT)
    del metadata["format"]
    if dumps(metadata).encode() != text:
        raise FormError("its metadata are not written as this format's")
    check_sizes(metadata["tasks"], len(data))
    outlines, kept_bytes = _outlines(metadata.pop("arrays"), allowed=most(len(data))), parts.take(kept >> 1)
    reader = Reader([*map(parts.take, lengths), parts.left()] if count else [])
    size = plain_size(outlines, written=written)
    plain = decompressed(kept_bytes, size=size) if kept & 1 else kept_bytes
    if len(plain) != size:
        raise FormError(f"expected {size} bytes of arrays, got {len(plain)}")
    arrays, highest = read_plain(outlines, plain, reader, written=written), reader.bytes_read
    reading = _Reading(arrays, reader, allowed=most(len(data)))
    _walk(reading, metadata["tasks"])
    if reader.unread or parts.left():
        raise FormError("it ends with bytes that nothing is read from")
    if check(reading.arrays) != data[SEALED - 4 : SEALED]:
        raise FormError("its arrays do not match their CRC-32")
    codes = reader.size - highest - reading.supports
    header = len(data) - len(kept_bytes) - reader.size
    return Content(metadata, reading.arrays), Sizes(header, len(kept_bytes), highest, reading.supports, codes)


class _Writing:
    """Writes symbols to streams, and takes their arrays out of `arrays`, where that is smaller than zstd's coding."""

    def __init__(self, arrays: dict[str, Tensor], writer: Writer) -> None:
        self.arrays, self._writer = arrays, writer

    def symbols(self, coded: Coded) -> Symbols:
        symbols, before = coded.to_symbols(self.arrays), self._writer.mark()
        parts: list[Symbols] = []
        for part, layout in zip(_split(symbols, coded), coded.layouts, strict=True):
            self._writer.write(part, replace(layout, known=coded.known(parts)))
            parts.append(part)
        packed = b"".join(bytes_of(self.arrays[name]) for name in coded.names)
        if self._writer.bytes_since(before) < least_size(packed):
            for name in coded.names:
                del self.arrays[name]
        else:
            self._writer.undo(before)
        return symbols


class _Reading:
    """Reads the symbols of arrays that are not among `arrays`, and adds their arrays to them."""

    def __init__(self, arrays: dict[str, Tensor], reader: Reader, *, allowed: int) -> None:
        self.arrays, self._reader, self._allowed = arrays, reader, allowed
        self.supports = 0  # bytes

    def symbols(self, coded: Coded) -> Symbols:
        self._allowed -= sum(layout.count for layout in coded.layouts)
        if self._allowed < 0:
            raise FormError("it declares more symbols than a file of its size may have")
        if self.arrays.keys() >= set(coded.names):
            return coded.to_symbols(self.arrays)
        parts: list[Symbols] = []
        before = self._reader.bytes_read
        for layout in coded.layouts:
            parts.append(self._reader.read(replace(layout, known=coded.known(parts))))
        if not coded.names[0].endswith("codes"):
            self.supports += self._reader.bytes_read - before
        symbols = np.concatenate(parts) if parts else np.zeros(0, np.uint8)
        self.arrays |= coded.to_arrays(symbols)
        return symbols


class _Parts:
    """The parts of a file, one after the other. FormError where it ends before one does."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place = data, SEALED

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise FormError("expected numbers below 2^63 in its header, got a larger one")

    def take(self, size: int) -> bytes:
        self._place += size
        if self._place > len(self._data):
            raise FormError("it ends before its parts do")
        return self._data[self._place - size : self._place]

    def left(self) -> bytes:
        return self.take(len(self._data) - self._place)


def _walk(exchange: _Writing | _Reading, tasks: Sequence[Mapping[str, Any]]) -> None:
    walk = Walk(exchange)
    for number, task in enumerate(tasks):
        shapes = [tuple(shape) for shape in task["shapes"]]
        if all(len(shape) <= 1 for shape in shapes):  # biases, norms: too short to be coded each by itself
            shapes = [(sum(map(numel, shapes)),)]
        walk.over(task["theta"], f"{number}:", Layers(shapes))


def _split(symbols: Symbols, coded: Coded) -> list[Symbols]:
    ends = np.cumsum([layout.count for layout in coded.layouts])[:-1]
    return [np.ascontiguousarray(part) for part in np.split(symbols, ends)] if coded.layouts else []


def _outlines(table: Any, *, allowed: int) -> dict[str, Tensor]:
    """The arrays of `table`, name -> [type, shape], without values. FormError where it has others, or too many."""
    if not isinstance(table, dict):
        raise FormError(f"expected a table of arrays, got {str(table)[:80]}")
    total = 0
    for name, entry in table.items():
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] not in _TYPES or not is_shape(entry[1]):
            raise FormError(f"{name}: expected the type and the shape of an array, got {str(entry)[:80]}")
        total += prod(entry[1]) * _TYPES[entry[0]].itemsize
    if total > allowed:
        raise FormError(f"it declares {total} bytes of arrays")
    return {name: outline_tensor(*shape, dtype=_TYPES[dtype]) for name, (dtype, shape) in table.items()}


def check(arrays: Mapping[str, Tensor]) -> bytes:
    """The CRC-32 of the arrays, by name."""
    check = 0
    for name in sorted(arrays):
        check = zlib.crc32(bytes_of(arrays[name]), zlib.crc32(name.encode(), check))
    return check.to_bytes(4, "little")


def _number(value: int) -> bytes:
    """A number in 7 bits a byte, lowest first; the highest bit of a byte says that another follows."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _object(data: Any) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise FormError(f"expected a JSON object in its header, got {str(data)[:80]}")
    return data
