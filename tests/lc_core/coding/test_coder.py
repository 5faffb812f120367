"""The adaptive coder: what is written is read again, the loop in C and both in Python give the same bytes."""

import os
import random
import shutil
import sysconfig
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lc_core.coding import coder, layout, loop
from lc_core.coding.coder import Reader, Writer
from lc_core.coding.layout import WIDEST, Layout, layout_of
from lc_core.coding.streams import Stream
from lc_core.coding.tables import LARGEST, RATE, SQUASH, STRETCH


@st.composite
def arrays(draw, most=120):
    """Symbols with structure, and their layout."""
    width, columns = draw(st.integers(1, WIDEST)), draw(st.integers(1, 12))
    noise = np.random.default_rng(draw(st.integers(0, 9)))
    size = draw(st.integers(0, most))
    places = draw(st.sampled_from([None, np.flatnonzero(noise.random(3 * size) < 0.3)]))
    count = size if places is None else places.size
    known = draw(st.sampled_from([None, noise.integers(0, 64, columns).astype(np.uint8)]))
    likely = noise.integers(0, 1 << width, 2)
    symbols = np.where(noise.random(count) < 0.9, likely[0], likely[1]).astype(np.uint8)
    return symbols, Layout(count, width, columns, draw(st.integers(1, columns)), places, known)


def written(items):
    writer = Writer()
    for symbols, where in items:
        writer.write(symbols, where)
    return writer.finished()


def by_each_way(monkeypatch, action):
    """What `action` gives with the loop in C (where it was built), with plain Python, and side by side."""
    found = [action()] if loop.built() else []
    with monkeypatch.context() as patch:
        patch.setattr(loop, "LIBRARY", None)
        patch.setattr(coder, "SIDE_BY_SIDE", 1000)
        found.append(action())
        patch.setattr(coder, "SIDE_BY_SIDE", 2)
        found.append(action())
    return found


@settings(max_examples=60)
@given(st.lists(arrays(), max_size=3))
def test_what_is_written_is_read_again(items):
    streams = written(items)
    reader = Reader(streams)
    for symbols, where in items:
        assert reader.read(where).tolist() == symbols.tolist()
    assert reader.unread == 0


def test_every_way_gives_the_same_bytes_and_symbols(monkeypatch):
    """Lanes are a few symbols long here, and some are shorter."""
    monkeypatch.setattr(layout, "LANE", 16)
    noise = np.random.default_rng(0)
    items = []
    for width, count in ((1, 40), (1, 333), (3, 151), (8, 35)):
        symbols = (noise.random(count) ** 3 * (1 << width)).astype(np.uint8)
        places = np.sort(noise.choice(3 * count, count, replace=False))
        items.append((symbols, Layout(count, width, 11, 3, places if width == 3 else None)))
    assert [where.lanes for _, where in items] == [1, 20, 28, 17]
    first, *others = by_each_way(monkeypatch, lambda: written(items))
    assert len(first) == 28
    assert all(other == first for other in others)

    def read():
        reader = Reader(first)
        return [reader.read(where).tolist() for _, where in items], reader.unread

    assert all(found == ([symbols.tolist() for symbols, _ in items], 0) for found in by_each_way(monkeypatch, read))


@settings(max_examples=15)
@given(items=st.lists(arrays(most=40), min_size=1, max_size=2))
def test_the_loop_in_c_writes_pythons_bytes(items):
    streams = written(items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LIBRARY", None)
        assert written(items) == streams


@settings(max_examples=15)
@given(st.binary(max_size=40), arrays(most=40))
def test_any_bytes_are_read_as_some_symbols(data, item):
    """The same ones in C and in Python; a damaged stream is found by what it holds, not here."""
    where = item[1]
    found = Reader([data]).read(where).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "LIBRARY", None)
        assert Reader([data]).read(where).tolist() == found
    assert all(symbol < 1 << where.width for symbol in found)


@pytest.mark.parametrize("seed", range(5))
def test_bits_of_any_probability_come_back_in_about_their_information(seed):
    draw = random.Random(seed)
    chances = [draw.choice([1, 2, 300, 32768, 65000, 65534, 65535]) for _ in range(3000)]
    bits = [int(draw.random() < chance / 65536) if draw.random() < 0.98 else draw.randrange(2) for chance in chances]
    stream = Stream()
    stream.make_room(len(bits))
    for bit, chance in zip(bits, chances, strict=True):
        stream.write(bit, chance)
    data = stream.finished()
    read = Stream.of(data)
    assert [read.read(0, chance) for chance in chances] == bits
    shares = [chance if bit else 65536 - chance for bit, chance in zip(bits, chances, strict=True)]
    information = -np.log2(np.array(shares) / 65536).sum() / 8
    assert 0.9 * information < len(data) < 1.1 * information + 2  # the range's 32 bits blur the rarest bits


def test_a_carry_runs_through_many_bytes():
    """Bits that keep the interval around a number of many ones, until the last decides."""
    for last in (0, 1):
        stream = Stream()
        stream.make_room(400)
        bits = [1, *[0] * 300, last]
        for bit in bits:
            stream.write(bit, 32768)
        read = Stream.of(stream.finished())
        assert [read.read(0, 32768) for _ in bits] == bits


def test_structure_is_found(monkeypatch):
    """Columns that are seldom used cost little: far under one bit a place, and under the order-0 entropy."""
    noise = np.random.default_rng(1)
    dense = noise.random(40) < 0.1
    symbols = (noise.random((100, 40)) < np.where(dense, 0.5, 0.002)).astype(np.uint8).reshape(-1)
    share = symbols.mean()
    entropy = -symbols.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share)) / 8
    assert len(written([(symbols, layout_of((100, 40), width=1))])[0]) < 0.6 * entropy


@pytest.mark.parametrize(
    ("shape", "columns", "pitch"),
    [((300, 784), 784, 28), ((16, 3, 3, 3), 27, 9), ((8, 5, 1, 1), 5, 2), ((7,), 1, 1), ((), 1, 1), ((4, 0), 1, 1)],
)
def test_a_layers_weights_lie_in_rows_of_inputs(shape, columns, pitch):
    found = layout_of(shape, width=2)
    assert (found.count, found.columns, found.pitch) == (int(np.prod(shape)), columns, pitch)


@pytest.mark.parametrize("count", [1, 1 << 20, (1 << 20) + 1, 10**7 + 7, 10**9])
def test_lanes_cover_the_symbols(count):
    where = Layout(count, 1, 1, 1)
    parts = where.parts()
    assert [first for first, _ in parts] == [0, *(end for _, end in parts[:-1])]
    assert parts[-1][1] == count
    lengths = [end - first for first, end in parts]
    assert lengths == sorted(lengths, reverse=True)
    assert 0 < lengths[0] <= lengths[-1] + 1


def test_the_tables_never_change():
    assert (SQUASH[0], SQUASH[LARGEST], SQUASH[-1]) == (2, 32768, 65534)
    assert (np.diff(SQUASH) >= 0).all()
    logits = np.arange(-LARGEST, LARGEST + 1) / 256
    assert np.abs(SQUASH - 65536 / (1 + np.exp(-logits))).max() <= 1.5
    assert STRETCH[32768] == 0
    assert [zlib.crc32(table.astype("<i4").tobytes()) for table in (SQUASH, STRETCH, RATE)] == CHECKS


CHECKS = [4017312626, 3066241747, 3716794005]


COMPILER = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]


@pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no C compiler: there is no {COMPILER}")
def test_the_loop_in_c_was_built_where_there_is_a_compiler():
    assert loop.built(), "lc_core/coding/_symbols*.so is missing: make setup builds it from symbols.c"
