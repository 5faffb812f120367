"""The figure of a comparison of many sides: a panel for each, before the front of all sides together."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reports.compare.comparison import Comparison
from reports.compare.frame import draw_frame, footer, level_names, looks_of
from reports.compare.sides import FrontLine, draw_levels, draw_side, name_points, steps_of, windows
from reports.facts.costs import COSTS
from reports.figures.annotations import name_levels
from reports.figures.axes import draw_axes, error_title, name_bend
from reports.figures.front import LEFT, RIGHT, WIDTH
from reports.figures.scales import Window, round_values
from reports.figures.style import INK
from sweep.store.printable import printable

_COLUMNS = 3
_TALL, _ABOVE, _BETWEEN = 1.75, 0.3, 0.16  # inches: a panel, what is above it, and between two
_JOINT = "#b8c0c8"
_LINE = FrontLine(INK, "-", None)


def draw_panels(figure: Figure, comparison: Comparison) -> None:
    """A panel for each side, all with the same axes: its candidates and its front, over the front of all sides."""
    looks, (size, error) = looks_of(comparison), windows(comparison)
    panels = [figure.add_axes((0, 0, 1, 1), label=f"panel-{index}") for index in range(len(comparison.sides))]
    together = steps_of(comparison.best, edge=size.high)
    for index, (axes, side) in enumerate(zip(panels, comparison.sides, strict=True)):
        draw_axes(axes, units=comparison.units, cost=COSTS["bytes"], size=size, error=error)
        draw_levels(axes, comparison)
        if len(together):
            axes.plot(*together.T, drawstyle="steps-post", color=_JOINT, linewidth=3.2, zorder=2.5, gid="joint")
        draw_side(axes, side, looks=looks, line=_LINE, edge=size.high, index=index)
        name = printable(comparison.short_names[index], most=28)
        axes.set_title(name, fontsize=9.5, fontweight="bold", loc="left", pad=4)
    rows = -(-len(panels) // _COLUMNS)
    words = footer(
        comparison, error=error, apart="Each sweep has a panel. Dark lines are their fronts, grey that of all together"
    )
    bottom = draw_frame(figure, comparison, looks=looks, footer=words, inside=rows * (_TALL + _ABOVE))
    _set_places(figure, panels, bottom=bottom)
    for index, axes in enumerate(panels):
        name_points(axes, comparison.points)
        last = index == len(panels) - 1 or index % _COLUMNS == _COLUMNS - 1
        _label(axes, comparison, size=size, error=error, first=index % _COLUMNS == 0)
        axes.tick_params(labelbottom=index >= len(panels) - _COLUMNS)
        if last:
            name_bend(axes, units=comparison.units, error=error)
            name_levels(figure, axes, level_names(comparison))
    middle = (bottom + rows * (_TALL + _ABOVE) / 2) / figure.get_size_inches()[1]
    figure.text(0.012, middle, error_title(comparison.units, error), fontsize=9.5, rotation=90, va="center")
    across = (LEFT + (WIDTH - LEFT - RIGHT) / 2) / WIDTH
    below = (bottom - 0.4) / figure.get_size_inches()[1]
    figure.text(across, below, COSTS["bytes"].title, fontsize=9.5, ha="center", va="center")


def _set_places(figure: Figure, panels: list[Axes], *, bottom: float) -> None:
    width, height = figure.get_size_inches()
    wide = (width - LEFT - RIGHT - (_COLUMNS - 1) * _BETWEEN) / _COLUMNS
    rows = -(-len(panels) // _COLUMNS)
    for index, axes in enumerate(panels):
        row, column = divmod(index, _COLUMNS)
        left = LEFT + column * (wide + _BETWEEN)
        low = bottom + (rows - 1 - row) * (_TALL + _ABOVE)
        axes.set_position((left / width, low / height, wide / width, _TALL / height))


def _label(axes: Axes, comparison: Comparison, *, size: Window, error: Window, first: bool) -> None:
    """Fewer ticks than on a whole plot; those of the error only at the first panel of a row."""
    xs, ys = round_values(size, most=5), round_values(error, most=7)
    axes.set_xticks(xs, [COSTS["bytes"].tick(x) for x in xs])
    axes.set_yticks(ys, [comparison.units.tick(y) for y in ys])
    axes.tick_params(labelsize=8, labelleft=first)
    axes.set_xlabel("")
    axes.set_ylabel("")
