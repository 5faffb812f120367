"""Limits of the memory that a packed file may take to read, by the size of the file."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import zstandard

from lc_core.compression import FormError, numel

LARGEST_RATIO = 2048
SLACK = 64 << 20
"""A file of n bytes may declare at most LARGEST_RATIO n + SLACK bytes before zstd, and as many numbers. A larger one is
refused."""
LARGEST_SIZE = 1 << 63
"""Sizes, and the product of a shape's sizes, are below this: they fit an int64."""
LARGEST_HEADER = 8 << 20
"""The largest header in bytes. Once read, JSON takes up to about 25 times as much memory."""


def decompressed(data: bytes) -> bytes:
    """The payload of a zstd frame. FormError or ZstdError where it is cut, is followed by data or declares too much.

    It never makes more bytes than the frame declares.
    """
    if data[:4] != zstandard.FRAME_HEADER:
        raise FormError("it does not begin as a zstd frame")
    declared = zstandard.get_frame_parameters(data).content_size
    if not 0 < declared <= most(len(data)):
        raise FormError(f"it declares {declared} bytes in a frame of {len(data)}")
    payload: bytes = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    return payload


def header_of(payload: bytes) -> bytes:
    """The JSON at the payload's beginning. FormError where it is cut or too long."""
    length = int.from_bytes(payload[:8], "little")
    if length > len(payload) - 8:
        raise FormError("its header is cut")
    if length > LARGEST_HEADER:
        raise FormError(f"expected a header of at most {LARGEST_HEADER} bytes, got {length}")
    return payload[8 : 8 + length]


def check_sizes(described: Sequence[Mapping[str, Any]], file_bytes: int) -> None:
    """FormError where a file of these tasks would take more memory than its size allows.

    A code takes no bits where the codebook has one entry, and an index none where nothing is kept. Without this check
    the shapes in a small file could fill any memory.
    """
    total = 0
    for task in described:
        names, shapes = task["names"], task["shapes"]
        if not shapes or len(set(names)) != len(shapes):
            raise FormError(f"expected a shape for each of {names}, got {shapes}")
        total += _declared(task["theta"], shapes[0] if len(shapes) == 1 else [sum(map(numel, shapes))])
    if total > most(file_bytes):
        raise FormError(f"it declares {total} numbers in {file_bytes} bytes")


def most(file_bytes: int) -> int:
    """The most bytes, or numbers, that a file of this size may declare."""
    return LARGEST_RATIO * file_bytes + SLACK


def is_shape(shape: Any) -> bool:
    """Whether JSON data is a shape that a tensor can have: a list of whole numbers, 0 or more."""
    if not isinstance(shape, list) or not all(type(size) is int and size >= 0 for size in shape):
        return False
    product: int = math.prod(max(size, 1) for size in shape)
    return product < LARGEST_SIZE


def _declared(form: Mapping[str, Any], shape: list[int]) -> int:
    """How many numbers a form makes for `shape`, intermediate ones included. FormError where it has another shape."""
    if form["shape"] != shape:
        raise FormError(f"expected the shape {shape}, got {form['shape']}")
    listed = [value if isinstance(value, list) else [value] for value in form.values()]
    children = [child for values in listed for child in values if isinstance(child, dict)]
    return numel(tuple(shape)) + _on_the_way(form) + sum(_declared(child, child["shape"]) for child in children)


def _on_the_way(form: Mapping[str, Any]) -> int:
    """The number of intermediate numbers when a form is decompressed, besides those of its shape and its children."""
    match form:
        case {"form": "circulant", "shape": [n, m, *kernel], "block": int(block)} if block > 0:
            rows, columns = -(-n // block) * block, -(-m // block) * block
            whole: int = rows * columns * numel(tuple(kernel)) + block**2
            return whole
        case {"form": "cp", "shape": [_, *others], "factors": [{"shape": [_, int(rank)]}, *_]}:
            return numel(tuple(others)) * rank
    return 0
