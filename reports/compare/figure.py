"""The figure of a comparison: the candidates and the front of every side, each front with its name.

A family has the colour that it has in the reports of the first sweep. Up to four sides share a plot, where they differ
in shape, grey and dashes. More have a panel each.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from reports.compare.comparison import Comparison
from reports.compare.frame import draw_frame, footer, level_names, looks_of
from reports.compare.panels import draw_panels
from reports.compare.sides import LINES, draw_levels, draw_side, name_points, steps_of, windows
from reports.facts.costs import COSTS
from reports.figures.annotations import name_levels
from reports.figures.axes import draw_axes, name_bend
from reports.figures.front import LEFT, PLOT_HEIGHT, RIGHT, WIDTH
from reports.figures.placement import Box, Points, along, lattice, place
from reports.figures.style import CARD, GLYPHS, settings
from sweep.store.printable import printable

_PAD = 5.0  # pixels at 100 dpi, as all below
_CLEAR = 16.0


def draw_comparison(comparison: Comparison) -> Figure:
    """The fronts as staircases on one plot, with their names beside them; of more than four sides, a panel for each."""
    with settings():
        figure = Figure(figsize=(WIDTH, PLOT_HEIGHT), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        if len(comparison.sides) > len(LINES):
            draw_panels(figure, comparison)
        else:
            _draw_together(figure, comparison)
    return figure


def _draw_together(figure: Figure, comparison: Comparison) -> None:
    axes, looks = figure.add_axes((0, 0, 1, 1), label="compare"), looks_of(comparison)
    size, error = windows(comparison)
    draw_axes(axes, units=comparison.units, cost=COSTS["bytes"], size=size, error=error)
    name_bend(axes, units=comparison.units, error=error)
    draw_levels(axes, comparison)
    for index, (side, line) in enumerate(zip(comparison.sides, LINES, strict=False)):
        draw_side(axes, side, looks=looks, line=line, edge=size.high, index=index)
    words = footer(comparison, error=error, apart="Each sweep has a shape of its own. Lines are fronts")
    bottom = draw_frame(figure, comparison, looks=looks, footer=words, inside=PLOT_HEIGHT)
    width, height = figure.get_size_inches()
    axes.set_position((LEFT / width, bottom / height, (width - LEFT - RIGHT) / width, PLOT_HEIGHT / height))
    name_points(axes, comparison.points)
    name_levels(figure, axes, level_names(comparison))
    _name_sides(figure, axes, comparison)


def _name_sides(figure: Figure, axes: Axes, comparison: Comparison) -> None:
    """Writes each front's name where it is farthest from the others, over no point and no other name."""
    box = axes.get_window_extent()
    area = Box(box.x0 + _PAD, box.y0 + _PAD, box.width - 2 * _PAD, box.height - 2 * _PAD)
    lines = [_pixels(axes, steps_of(side.front, edge=axes.get_xlim()[1])) for side in comparison.sides]
    taken = [_obstacles(axes, comparison), *lines]
    for index in range(len(comparison.sides)):
        if not len(lines[index]):
            continue
        anchor = _apart(lines[index], lines[:index] + lines[index + 1 :])
        colour, shape = LINES[index].colour, LINES[index].shape or ""
        words = f"{GLYPHS[shape]} {printable(comparison.short_names[index], most=44)}"
        text = figure.text(0, 0, words, fontsize=9, fontweight="bold", color=colour, va="bottom", zorder=12)
        text.set_transform(figure.dpi_scale_trans)
        canvas = figure.canvas
        assert isinstance(canvas, FigureCanvasAgg)
        extent = text.get_window_extent(canvas.get_renderer())
        width, height = 1.03 * extent.width, float(extent.height)
        spots = lattice(area, width=width, height=height, step=12.0)
        near = np.hypot(*(np.clip(anchor, spots, spots + np.array([width, height])) - anchor).T) >= _CLEAR
        spot = place(
            width,
            height,
            spots=spots[near] if near.any() else spots,
            anchor=(float(anchor[0]), float(anchor[1])),
            obstacles=np.concatenate(taken),
        )
        text.set_position((spot.left / figure.dpi, spot.bottom / figure.dpi))
        _lead(figure, spot, anchor, colour=colour)
        taken.append(lattice(Box(spot.left, spot.bottom, width + 6, height + 6), width=0, height=0, step=6.0))


def _obstacles(axes: Axes, comparison: Comparison) -> Points:
    """What names should not hide besides the fronts, in pixels (n, 2): points, bars, stars, level lines."""
    data = [(side.reference.bytes, side.reference.val.error) for side in comparison.sides] * 3
    data += [(c.artifact_bytes, c.mean_error) for side in comparison.sides for c in side.found]
    data += [(point.bytes, point.error) for point in comparison.points]
    pieces = [axes.transData.transform(np.array(data, dtype=np.float64))]
    bars = [[(c.artifact_bytes, e) for e in (min(c.errors), c.worst_error)] for s in comparison.sides for c in s.front]
    levels = [[(size, level.error) for size in axes.get_xlim()] for level in comparison.levels]
    bends = [np.column_stack([axes.get_xlim(), line.get_ydata()]) for line in axes.lines if line.get_gid() == "bend"]
    for ends in (*bars, *levels, *bends):
        pieces.append(along(axes.transData.transform(np.array(ends, dtype=np.float64)), step=24.0))
    return np.concatenate(pieces)


def _pixels(axes: Axes, steps: Points) -> Points:
    """Points (n, 2) every few pixels along a staircase."""
    if not len(steps):
        return np.empty((0, 2))
    stairs = np.repeat(axes.transData.transform(steps), 2, axis=0)
    return along(np.stack([stairs[1:, 0], stairs[:-1, 1]], axis=1), step=8.0)


def _apart(line: Points, others: Sequence[Points]) -> Points:
    """The point (2,) of `line` that is farthest from all `others`; its middle without others."""
    rest = np.concatenate([*others, np.empty((0, 2))])
    if not len(rest):
        return np.asarray(line[len(line) // 2])
    distances = np.hypot(*(line[:, None, :] - rest[None, :, :]).transpose(2, 0, 1)).min(axis=1)
    return np.asarray(line[int(distances.argmax())])


def _lead(figure: Figure, box: Box, anchor: Points, *, colour: str) -> None:
    near = np.clip(anchor, (box.left, box.bottom), (box.left + box.width, box.bottom + box.height))
    ends = np.stack([anchor, near], axis=1) / figure.dpi
    figure.add_artist(Line2D(*ends, color=colour, linewidth=0.8, transform=figure.dpi_scale_trans, zorder=9))
