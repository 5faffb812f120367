"""Colours and shapes of the figures: the Okabe-Ito palette, told apart by colour, by shape and in grey print."""

from collections.abc import Iterable
from dataclasses import dataclass

INK = "#1f2933"
MUTED = "#5c6773"
GRID = "#e4e7eb"
CARD = "#ffffff"
FEASIBLE = "#2e7d32"

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6d1f")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "p", "<", "h", ">")
# The same shapes as letters, for text.
GLYPHS = {
    "o": "\u25cf", "s": "\u25a0", "^": "\u25b2", "D": "\u25c6", "v": "\u25bc", "P": "\u271a", "X": "\u2716",
    "p": "\u2b1f", "<": "\u25c0", "h": "\u2b22", ">": "\u25b6",
}  # fmt: skip
# Shapes of equal nominal size look unequal: squares and crosses large, triangles small.
_SHAPE_SCALE = {"o": 1.0, "s": 0.9, "^": 1.08, "D": 0.84, "v": 1.08, "P": 1.08, "X": 1.06, "p": 1.1, "h": 1.06}


@dataclass(frozen=True)
class Mark:
    """How one series is drawn: colour (hex, and the name of its variable in the page's style sheet, which has a light
    and a dark value), marker shape (matplotlib's letter) and size (points).
    """

    colour: str
    variable: str
    shape: str
    size: float

    @property
    def glyph(self) -> str:
        """The shape as a letter."""
        return GLYPHS[self.shape]


def marks(series: Iterable[str], *, size: float) -> dict[str, Mark]:
    """A mark for each name, in order; 77 names differ (7 colours, 11 shapes, taken round together)."""
    return {
        name: Mark(
            SERIES[index % len(SERIES)],
            f"series-{index % len(SERIES)}",
            SHAPES[index % len(SHAPES)],
            size * _SHAPE_SCALE.get(SHAPES[index % len(SHAPES)], 1.0),
        )
        for index, name in enumerate(series)
    }
