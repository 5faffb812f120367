"""The compiled loop of symbols.c. An install without a C compiler has none, and `model.py` does the same."""

import ctypes

import numpy as np

from lc_core.coding.layout import Layout, Symbols
from lc_core.coding.model import INPUTS, UNSEEN, WEIGHT
from lc_core.coding.streams import Stream
from lc_core.coding.tables import RATE, SQUASH, STRETCH
from lc_core.compiled import address, library

_ARRAY, _SIZE, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_STREAM, _SYMBOLS = (_INT, _ARRAY, _ARRAY, _SIZE), (_ARRAY, _SIZE, _ARRAY, _SIZE)
_TAKEN = (*_STREAM, *_SYMBOLS, _INT, _SIZE, _SIZE, *(_ARRAY,) * 4, _SIZE, *(_ARRAY,) * 3)


LIBRARY = library(__file__, "_symbols", {"code_symbols": _TAKEN})


def built() -> bool:
    """Whether the compiled loop is there."""
    return LIBRARY is not None


def code_part(stream: Stream, symbols: Symbols, layout: Layout, part: tuple[int, int], *, writing: bool) -> None:
    """As `model.code_part`."""
    assert LIBRARY is not None
    first, end = part
    data = np.frombuffer(stream.data, np.uint8)
    state = np.array([stream.low, stream.range, stream.place])
    slots = np.full((INPUTS, layout.slots), UNSEEN, np.uint32)
    weights = np.full((layout.width, INPUTS), WEIGHT, np.int64)
    history = np.zeros(layout.columns + 2 * layout.pitch + 2, np.uint16)
    places, known = layout.places, layout.known
    mine = symbols[first:end]
    LIBRARY.code_symbols(
        *(int(writing), address(state), address(data), data.size, address(mine), mine.size),
        *(None if places is None else address(places[first:end]), first),
        *(layout.width, layout.columns, layout.pitch, None if known is None else address(known)),
        *(address(table) for table in (STRETCH, SQUASH, RATE)),
        *(layout.slots, address(slots), address(weights), address(history)),
    )
    stream.low, stream.range, stream.place = state.tolist()
