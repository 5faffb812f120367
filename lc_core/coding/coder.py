"""Codes arrays of symbols into streams, and back, with the fastest loop that there is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lc_core.coding import lanes, loop, model
from lc_core.coding.layout import Layout, Symbols
from lc_core.coding.streams import Stream

SIDE_BY_SIDE = 16
"""From this many lanes on, Python codes them side by side."""


class Writer:
    """Writes arrays one after the other. The first stream has them all; the others have lanes of large ones."""

    def __init__(self) -> None:
        self.streams = [Stream()]

    def write(self, symbols: Symbols, layout: Layout) -> None:
        """Writes symbols (count,), each below 2^width."""
        assert symbols.shape == (layout.count,)
        if not layout.count:
            return
        while len(self.streams) < layout.lanes:
            self.streams.append(Stream())
        for stream, (first, end) in zip(self.streams, layout.parts(), strict=False):
            stream.make_room((end - first) * layout.width)
        _code(self.streams, symbols, layout, writing=True)

    def mark(self) -> list[Stream]:
        """Where the streams stand now, for `undo` and `bytes_since`."""
        return [replace(stream, data=stream.data[: stream.place]) for stream in self.streams]

    def undo(self, mark: Sequence[Stream]) -> None:
        """Takes back what was written since `mark`."""
        self.streams = list(mark)

    def bytes_since(self, mark: Sequence[Stream]) -> int:
        """How many bytes were written since `mark`; a new stream's length and end count as well."""
        added = len(self.streams) - len(mark)
        return sum(each.place for each in self.streams) - sum(each.place for each in mark) + 8 * added + 1

    def finished(self) -> list[bytes]:
        """What each stream holds; nothing where nothing was written."""
        return [data for stream in self.streams if (data := stream.finished()) or len(self.streams) > 1]


class Reader:
    """Reads arrays in the order in which a `Writer` wrote them."""

    def __init__(self, written: Sequence[bytes]) -> None:
        self.streams = [Stream.of(data) for data in written]

    def read(self, layout: Layout) -> Symbols:
        """The next symbols (count,)."""
        symbols = np.zeros(layout.count, np.uint8)
        if not layout.count:
            return symbols
        while len(self.streams) < layout.lanes:
            self.streams.append(Stream.of(b""))
        _code(self.streams, symbols, layout, writing=False)
        return symbols

    @property
    def size(self) -> int:
        """How many bytes the streams have."""
        return sum(len(stream.data) for stream in self.streams)

    @property
    def bytes_read(self) -> int:
        """How many bytes the symbols so far took, to within one or two of each stream."""
        return sum(min(max(stream.place - 4, 0), len(stream.data)) for stream in self.streams)

    @property
    def unread(self) -> int:
        """How many bytes no symbol was read from."""
        return sum(stream.unread for stream in self.streams)


def _code(streams: Sequence[Stream], symbols: Symbols, layout: Layout, *, writing: bool) -> None:
    if layout.lanes >= SIDE_BY_SIDE and not loop.built():
        lanes.code(streams[: layout.lanes], symbols, layout, writing=writing)
        return
    code_part = loop.code_part if loop.built() else model.code_part
    for stream, part in zip(streams, layout.parts(), strict=False):
        code_part(stream, symbols, layout, part, writing=writing)
