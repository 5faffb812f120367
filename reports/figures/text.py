"""Texts in a figure that are placed by their size in pixels."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.typing import ColorType

from reports.figures.style import INK


def write(figure: Figure, words: str, *, size: float, weight: str = "normal", colour: ColorType = INK) -> Text:
    """A new text in the figure, which is not placed yet."""
    text = Text(0, 0, words, fontsize=size, fontweight=weight, color=colour, va="top", linespacing=1.3, zorder=12)
    text.set_transform(figure.dpi_scale_trans)
    figure.add_artist(text)
    return text


def extent(figure: Figure, text: Text) -> tuple[float, float]:
    """Width and height of a text, in pixels."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    extent = text.get_window_extent(canvas.get_renderer())
    return float(extent.width), float(extent.height)
