"""The compiled loop of symbols.c. An install without a C compiler has none, and `model.py` does the same."""

import ctypes
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lc_core.coding.layout import Layout, Symbols
from lc_core.coding.model import INPUTS, UNSEEN, WEIGHT
from lc_core.coding.streams import Stream
from lc_core.coding.tables import RATE, SQUASH, STRETCH

_ARRAY, _SIZE, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_STREAM, _SYMBOLS = (_INT, _ARRAY, _ARRAY, _SIZE), (_ARRAY, _SIZE, _ARRAY, _SIZE)
_TAKEN = (*_STREAM, *_SYMBOLS, _INT, _SIZE, _SIZE, *(_ARRAY,) * 4, _SIZE, *(_ARRAY,) * 3)


def _library() -> ctypes.CDLL | None:
    for suffix in EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_symbols{suffix}")
        if path.is_file():
            library = ctypes.CDLL(str(path))
            function = library.code_symbols
            function.argtypes, function.restype = _TAKEN, None
            return library
    return None


LIBRARY = _library()


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
        *(int(writing), _address(state), _address(data), data.size, _address(mine), mine.size),
        *(None if places is None else _address(places[first:end]), first),
        *(layout.width, layout.columns, layout.pitch, None if known is None else _address(known)),
        *(_address(table) for table in (STRETCH, SQUASH, RATE)),
        *(layout.slots, _address(slots), _address(weights), _address(history)),
    )
    stream.low, stream.range, stream.place = state.tolist()


def _address(array: npt.NDArray[np.generic]) -> int:
    assert array.flags.c_contiguous
    address: int = array.ctypes.data
    return address
