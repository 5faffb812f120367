"""Loads compiled loops. An install without a C compiler has none, and callers have another way to the same result."""

import ctypes
from collections.abc import Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def library(beside: str, name: str, taken: Mapping[str, Sequence[Any]]) -> ctypes.CDLL | None:
    """The library `name` in the folder of the file `beside`; None where it was not built.

    `taken` holds the types of the arguments of each of its functions, which return nothing. ImportError where it lacks
    one of them.
    """
    for suffix in EXTENSION_SUFFIXES:
        path = Path(beside).with_name(f"{name}{suffix}")
        if path.is_file():
            found = ctypes.CDLL(str(path))
            for each, types in taken.items():
                function = getattr(found, each, None)
                if function is None:
                    raise ImportError(f"{path}: built of other sources than these; install lcsweep again")
                function.argtypes, function.restype = types, None
            return found
    return None


def address(array: npt.NDArray[np.generic]) -> int:
    """Where the values of a contiguous array lie."""
    assert array.flags.c_contiguous
    found: int = array.ctypes.data
    return found
