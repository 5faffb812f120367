"""How the figures look: colours, marker shapes and Matplotlib's settings.

The colours are the Okabe-Ito palette. The series differ in shape too, so that grey print tells them apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

INK = "#1f2933"
MUTED = "#5c6773"
GRID = "#e4e7eb"
CARD = "#ffffff"
FEASIBLE = "#2e7d32"
MISS = "#a3480b"

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f")
DASHES: Sequence[Any] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">")
# The same shapes as characters, for text.
GLYPHS = {
    "o": "\u25cf", "s": "\u25a0", "^": "\u25b2", "D": "\u25c6", "v": "\u25bc", "P": "\u271a", "X": "\u2716",
    "p": "\u2b1f", "<": "\u25c0", "h": "\u2b22", ">": "\u25b6",
}  # fmt: skip
_NEXT_METHOD = 5  # how many shapes further that of a family's next method is
# At one nominal size, squares and crosses look larger than circles, and triangles smaller.
_SHAPE_SCALE = {"o": 1.0, "s": 0.9, "^": 1.08, "D": 0.84, "v": 1.08, "P": 1.08, "X": 1.06, "p": 1.1, "h": 1.06}


_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "lcsweep",
    "pdf.fonttype": 42,
    "path.simplify": True,
}


@dataclass(frozen=True)
class Mark:
    """How one series is drawn.

    Attributes:
        colour: hexadecimal.
        variable: the colour's name in the page's style sheet, which has a light and a dark value for it.
        shape: of the marker, as Matplotlib's letter.
        size: of the marker, in points.
    """

    colour: str
    variable: str
    shape: str
    size: float

    @property
    def glyph(self) -> str:
        """The shape as a character."""
        return GLYPHS[self.shape]


def marks(series: Mapping[str, str], *, families: Sequence[str], size: float) -> dict[str, Mark]:
    """A mark for each series, given the family of each, which is one of `families`.

    A family has one colour, by its place among `families`. Colours and shapes are used in turn: the marks of 49
    families differ, and so do those of a family's first eleven methods.
    """
    found = {}
    for name, family in series.items():
        place = families.index(family)
        others = [other for other in series if series[other] == family and other != family]
        methods = 0 if name == family else 1 + others.index(name)
        shape = SHAPES[(place + _NEXT_METHOD * methods) % len(SHAPES)]
        colour = place % len(SERIES)
        found[name] = Mark(SERIES[colour], f"series-{colour}", shape, size * _SHAPE_SCALE.get(shape, 1.0))
    return found


@contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's defaults with our settings, whatever the user's matplotlibrc says; it restores the user's after."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
