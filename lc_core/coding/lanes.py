"""The model of `model.py` for many lanes at once, in NumPy: each step codes one bit of every lane."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lc_core.coding.layout import Layout, Symbols
from lc_core.coding.model import INPUTS, UNSEEN, WEIGHT
from lc_core.coding.streams import SHORT, WHOLE, Stream
from lc_core.coding.tables import LARGEST, LIMIT, RATE, SQUASH, STRETCH

Numbers = npt.NDArray[np.int64]
Stand = tuple[int, int, int]
"""The low end, the range and the place of a stream."""


def code(streams: Sequence[Stream], symbols: Symbols, layout: Layout, *, writing: bool) -> None:
    """Writes the lanes of `symbols` to `streams`, one each, or reads them from there into `symbols`."""
    parts = layout.parts()
    lengths = [end - first for first, end in parts]
    length, shortest = lengths[0], lengths[-1]
    coder = _Writers(streams, length * layout.width) if writing else _Readers(streams)
    model = _Model(layout, coder, len(streams))
    starts = np.array([first for first, _ in parts])
    for t in range(length):
        if t == shortest:  # some of the lanes end one step before the others
            left = lengths.count(length)
            model.keep(left)
            starts = starts[:left]
        places = starts + t if layout.places is None else layout.places[starts + t]
        symbols[starts + t] = model.code_symbols(symbols[starts + t].astype(np.int64), places)
    coder.settle(streams)


class _Model:
    """The slots, weights and histories of all lanes."""

    def __init__(self, layout: Layout, coder: "_Writers | _Readers", lanes: int) -> None:
        self.layout, self.coder, self.lanes = layout, coder, lanes
        self.slots = np.full(lanes * INPUTS * layout.slots, UNSEEN, np.uint32)
        self.weights = np.full((layout.width, lanes, INPUTS), WEIGHT, np.int64)
        self.history = np.zeros((lanes, layout.columns + 2 * layout.pitch + 2), np.uint16)
        self.before = np.zeros(lanes, np.int64)
        self.tables = np.arange(lanes * INPUTS).reshape(lanes, INPUTS) * layout.slots
        self.lane, self.mask = np.arange(lanes), layout.slots - 1
        self.known = np.zeros(layout.columns, np.int64) if layout.known is None else layout.known.astype(np.int64)
        self.distances = np.array([-1, 1, -layout.pitch, layout.pitch])

    def keep(self, lanes: int) -> None:
        """Leaves all but the first `lanes` as they are from here on."""
        self.lanes = lanes
        self.weights, self.before = self.weights[:, :lanes], self.before[:lanes]
        self.tables, self.lane = self.tables[:lanes], self.lane[:lanes]
        self.coder.at.keep(lanes)

    def code_symbols(self, symbols: Numbers, places: Numbers) -> Numbers:
        """Codes the next symbol of each lane."""
        width, columns, last = self.layout.width, self.layout.columns, (1 << self.layout.width) - 1
        row, column = np.divmod(places, columns)
        contexts, around = self._contexts(row, column) << width, (column[:, None] + self.distances) << width
        node = np.ones(self.lanes, np.int64)
        for depth in range(width):
            bit = self._code_bit(symbols >> width - 1 - depth & 1, node, contexts, around, self.weights[depth])
            node = node * 2 + bit
        symbols = node & last
        self.before = (self.before << width | symbols) & 0xFFFF
        at = (self.lane, column + self.layout.pitch + 1)
        self.history[at] = self.history[at] << width | symbols.astype(np.uint16)
        return symbols

    def _contexts(self, row: Numbers, column: Numbers) -> Numbers:
        """(lanes, INPUTS), as in `model.py`."""
        width, pitch = self.layout.width, self.layout.pitch
        last, kept = (1 << width) - 1, (1 << 8 // width * width) - 1
        at = column + pitch + 1
        own, left, right, far, above_right, above_far = (
            self.history[self.lane, at + distance].astype(np.int64) for distance in (0, -1, 1, -pitch, pitch, 1 - pitch)
        )
        if width == 1:
            near = own & 1 | (left & 1) << 1 | (right & 1) << 2 | (far & 1) << 3 | (own >> 1 & 1) << 4
            near |= (left >> 1 & 1) << 5 | (above_right & 1) << 6 | (above_far & 1) << 7
        else:
            coarse = max(width - 2, 0)
            near = (own & last) >> coarse | (left & last) >> coarse << 2
            near |= (far & last) >> coarse << 4 | (right & last) >> coarse << 6
        left, far = left & last, far & last
        block = (row * 131 + column // pitch) * 4 + (self.before & last != 0) + 2 * (left != 0)
        pattern = (left * 2 + far) * 64 + column % pitch
        none = np.zeros_like(row)
        return np.stack([self.known[column], self.before & kept, column, row, near, none, block, pattern], axis=1)

    def _code_bit(self, bit: Numbers, node: Numbers, contexts: Numbers, around: Numbers, weights: Numbers) -> Numbers:
        chosen = (contexts + node[:, None]) & self.mask
        columns = self.tables[:, 2:3] + (around + node[:, None] & self.mask)
        likely = STRETCH[self.slots[columns] >> 16].sum(axis=1, dtype=np.int64) + 4 * LARGEST
        itself = STRETCH[self.slots[self.tables[:, 2] + chosen[:, 2]] >> 16].astype(np.int64) + LARGEST
        chosen[:, 5] = (((likely >> 9) * 32 + (itself >> 8) << self.layout.width) + node) & self.mask
        chosen += self.tables
        values = self.slots[chosen].astype(np.int64)
        logits = STRETCH[values >> 16].astype(np.int64)
        dot = (logits * weights).sum(axis=1) >> 16
        probability = SQUASH[np.clip(dot, -LARGEST, LARGEST) + LARGEST].astype(np.int64)
        bit = self.coder.code(bit, probability)
        error = 3 * ((bit << 16) - probability)
        weights += logits * error[:, None] >> 18
        visits, chance = values & LIMIT, values >> 10
        chance += ((bit * 0x3FFFFF)[:, None] - chance) * RATE[visits] >> 16
        self.slots[chosen] = chance << 10 | np.minimum(visits + 1, LIMIT)
        return bit


class _Stands:
    """Where the streams of all lanes stand: the low ends, the ranges and the places of those that go on."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        stands = [(each.low, each.range, each.place) for each in streams]
        low, length, place = np.array(stands, np.int64).T.copy()
        self.low: Numbers = low
        self.range: Numbers = length
        self.place: Numbers = place
        self._left: list[Stand] = []

    def keep(self, lanes: int) -> None:
        """Leaves all streams but the first `lanes` where they are."""
        self._left = self.all()[lanes:]
        self.low, self.range, self.place = self.low[:lanes], self.range[:lanes], self.place[:lanes]

    def all(self) -> list[Stand]:
        """Of all lanes, those that were left too."""
        return [*zip(self.low.tolist(), self.range.tolist(), self.place.tolist(), strict=True), *self._left]


class _Readers:
    """The streams of all lanes, to read from."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.at = _Stands(streams)
        self.data = np.zeros((len(streams), max(len(stream.data) for stream in streams) + 1), np.uint8)
        for row, stream in zip(self.data, streams, strict=True):
            row[: len(stream.data)] = stream.data
        self.end = self.data.shape[1] - 1

    def code(self, _: Numbers, probability: Numbers) -> Numbers:
        """The next bit of each stream."""
        at = self.at
        bound = (at.range >> 16) * probability
        ones = at.low < bound
        at.low = np.where(ones, at.low, at.low - bound)
        at.range = np.where(ones, bound, at.range - bound)
        while (short := at.range < SHORT).any():
            moved = np.flatnonzero(short)
            byte = self.data[moved, np.minimum(at.place[moved], self.end)]
            at.low[moved] = at.low[moved] << 8 | byte
            at.place[moved] += 1
            at.range[moved] <<= 8
        return ones.astype(np.int64)

    def settle(self, streams: Sequence[Stream]) -> None:
        """Notes in `streams` where they stand now."""
        for stream, (low, length, place) in zip(streams, self.at.all(), strict=True):
            stream.low, stream.range, stream.place = low, length, place


class _Writers:
    """The streams of all lanes, to write to. A carry is noted beside the byte that it raises, and added at the end."""

    def __init__(self, streams: Sequence[Stream], bits: int) -> None:
        self.at = _Stands(streams)
        self.at.place[:] = 1  # the first byte is for a carry into what was there before
        self.data = np.zeros((len(streams), 2 * bits + 16), np.uint16)

    def code(self, bit: Numbers, probability: Numbers) -> Numbers:
        """Writes a bit to each stream."""
        at = self.at
        bound = (at.range >> 16) * probability
        at.low = np.where(bit, at.low, at.low + bound)
        at.range = np.where(bit, bound, at.range - bound)
        carried = np.flatnonzero(at.low >= WHOLE)
        self.data[carried, at.place[carried] - 1] += 1
        at.low[carried] -= WHOLE
        while (short := at.range < SHORT).any():
            moved = np.flatnonzero(short)
            self.data[moved, at.place[moved]] = at.low[moved] >> 24
            at.place[moved] += 1
            at.low[moved] = at.low[moved] << 8 & WHOLE - 1
            at.range[moved] <<= 8
        return bit

    def settle(self, streams: Sequence[Stream]) -> None:
        """Writes the bytes to `streams`, and notes where they stand now."""
        for digits, stream, (low, length, end) in zip(self.data, streams, self.at.all(), strict=True):
            written = digits[:end]
            added = int.from_bytes((written >> 8).astype(np.uint8).tobytes(), "big") << 8
            value = int.from_bytes((written & 255).astype(np.uint8).tobytes(), "big") + added
            value += int.from_bytes(stream.data[: stream.place], "big") << 8 * (end - 1)
            stream.place += end - 1
            stream.data = bytearray(value.to_bytes(stream.place, "big"))
            stream.low, stream.range = low, length
