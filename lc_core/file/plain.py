"""The bytes of arrays that hold no symbols.

The highest bytes of floating-point numbers, with the sign and the exponent, are coded adaptively where that is smaller:
the exponents of weights are alike, their fractions are not. All arrays of a type are coded together.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from lc_core.coding.coder import Reader, Writer
from lc_core.coding.layout import WIDEST, Layout, Symbols
from lc_core.compression import FormError
from lc_core.file.frames import least_size

FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
MOST = 1 << 20
"""The most numbers of a type whose highest bytes are coded. More would take seconds to read."""


def write_highest(arrays: Sequence[Tensor], writer: Writer) -> int:
    """Writes the highest bytes of all arrays of a type, for some of FLOATS: the bits of the result say which."""
    written = 0
    for bit, dtype in ((1 << place, dtype) for place, dtype in enumerate(FLOATS)):
        rows = [_rows(array) for array in arrays if array.dtype == dtype]
        count, mark = sum(map(len, rows)), writer.mark()
        if not 0 < count <= MOST:
            continue
        writer.write(np.concatenate([each[:, -1] for each in rows]), _layout(count))
        rest, whole = (b"".join(each.tobytes() for each in parts) for parts in ([r[:, :-1] for r in rows], rows))
        if writer.bytes_since(mark) + least_size(rest) < least_size(whole):
            written |= bit
        else:
            writer.undo(mark)
    return written


def plain_bytes(arrays: Sequence[Tensor], *, written: int) -> bytes:
    """The bytes of the arrays, one after the other, without the highest ones that are `written` elsewhere."""
    return b"".join(_rows(array)[:, : _width(array.dtype, written)].tobytes() for array in arrays)


def plain_size(outlines: Mapping[str, Tensor], *, written: int) -> int:
    """The length of `plain_bytes` of such arrays."""
    return sum(outline.numel() * _width(outline.dtype, written) for outline in outlines.values())


def read_plain(outlines: Mapping[str, Tensor], data: bytes, reader: Reader, *, written: int) -> dict[str, Tensor]:
    """The inverse of `plain_bytes` and `write_highest`. `outlines` are arrays without values, on the meta device."""
    highest: dict[torch.dtype, Symbols] = {}
    for place, dtype in enumerate(FLOATS):
        if written >> place & 1:
            count = sum(outline.numel() for outline in outlines.values() if outline.dtype == dtype)
            if count > MOST:
                raise FormError(f"expected the highest bytes of at most {MOST} numbers, got {count}")
            highest[dtype] = reader.read(_layout(count))
    arrays, place = {}, 0
    for name, outline in outlines.items():
        count, width = outline.numel(), _width(outline.dtype, written)
        rows = np.zeros((count, outline.dtype.itemsize), np.uint8)
        rows[:, :width] = np.frombuffer(data, np.uint8, count * width, place).reshape(count, width)
        place += count * width
        if outline.dtype in highest:
            rows[:, -1], highest[outline.dtype] = highest[outline.dtype][:count], highest[outline.dtype][count:]
        flat = torch.from_numpy(rows.reshape(-1)).view(outline.dtype) if count else torch.empty(0, dtype=outline.dtype)
        arrays[name] = flat.reshape(outline.shape)
    return arrays


def bytes_of(array: Tensor) -> bytes:
    """The bytes of an array's values."""
    return _rows(array).tobytes()


def _rows(array: Tensor) -> Symbols:
    """The bytes of an array (numbers, bytes of a number), lowest first."""
    flat = array.reshape(-1)
    return flat.view(torch.uint8).numpy().reshape(flat.numel(), array.element_size())


def _width(dtype: torch.dtype, written: int) -> int:
    """How many bytes of a number are not written elsewhere."""
    return dtype.itemsize - (dtype in FLOATS and written >> FLOATS.index(dtype) & 1)


def _layout(count: int) -> Layout:
    return Layout(count, WIDEST, 1, 1)
