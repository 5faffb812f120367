"""Where the symbols of an array stand: the shape that gives each one its neighbours."""

from dataclasses import dataclass
from math import isqrt, prod

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

WIDEST = 8
"""The most bits of a symbol."""
LANE, LANES = 1 << 17, 64
"""An array of many binary decisions is cut into lanes of about LANE decisions, at most LANES of them."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Symbols of `width` bits at places of a matrix, row by row.

    Attributes:
        count: how many symbols there are.
        width: bits of a symbol, 1 to WIDEST.
        columns: of the matrix, at least 1.
        pitch: the distance of columns that belong together: the positions of a kernel, the width of an image.
        places: ascending flat places (count,) of the symbols; None where every place has one.
        known: (columns,) a number below 64 that is known of each column beforehand; None where nothing is.
    """

    count: int
    width: int
    columns: int
    pitch: int
    places: Places | None = None
    known: Symbols | None = None

    @property
    def lanes(self) -> int:
        """How many independent streams code these symbols."""
        decisions = self.count * self.width
        return min(decisions // LANE, LANES) if decisions >= 8 * LANE else 1

    @property
    def slots(self) -> int:
        """How many slots each input of the model has: a power of two, several for each decision of a small array."""
        decisions = self.count * self.width
        return 1 << min(decisions.bit_length() + 2, 16)

    def parts(self) -> list[tuple[int, int]]:
        """The first symbol of each lane, and the end of it. The first lanes may be longer by one than the others."""
        length, longer = divmod(self.count, self.lanes)
        ends = [lane * length + min(lane, longer) for lane in range(1, self.lanes + 1)]
        return list(zip([0, *ends[:-1]], ends, strict=True))


def layout_of(shape: tuple[int, ...], *, width: int, places: Places | None = None) -> Layout:
    """The layout of the weights of a layer: outputs by inputs and kernel positions. A vector is one column."""
    count = prod(shape) if places is None else places.size
    columns = max(prod(shape[1:]), 1)
    kernel = prod(shape[2:])
    return Layout(count, width, columns, kernel if kernel > 1 else max(isqrt(columns), 1), places)
