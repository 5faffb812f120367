"""The figure of a comparison: the candidates and the front of every side on one plot, each front with its name.

A family has the colour that it has in the reports of the first sweep. Sides differ in shape, grey and dashes.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.compare.comparison import Comparison, Side
from reports.facts.costs import COSTS
from reports.facts.numbers import count
from reports.figures.annotations import name_levels
from reports.figures.axes import draw_axes
from reports.figures.front import LEFT, PLOT_HEIGHT, RIGHT, WIDTH
from reports.figures.legend import fitted
from reports.figures.placement import Box, Points, along, lattice, place
from reports.figures.scales import Window, error_window, size_window
from reports.figures.style import CARD, DASHES, GLYPHS, INK, MUTED, SHAPES, Mark, marks, settings
from sweep.store.printable import printable

_TOP = 0.62  # inches above the plot
_GREYS = (INK, "#7b8794", "#52606d", "#9aa5b1")
_PAD = 5.0  # pixels at 100 dpi, as all below
_CLEAR = 16.0


def draw_comparison(comparison: Comparison) -> Figure:
    """All fronts as staircases, which differ in grey, dashes and marker shape, with their names beside them."""
    with settings():
        figure = Figure(figsize=(WIDTH, _TOP + PLOT_HEIGHT + 1.2), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), label="compare")
        families = comparison.families
        looks = marks(dict(zip(families, families, strict=True)), families=families, size=6.5)
        size, error = _windows(comparison)
        draw_axes(axes, units=comparison.units, cost=COSTS["bytes"], size=size, error=error)
        _draw_levels(axes, comparison)
        for index, side in enumerate(comparison.sides):
            _draw_side(axes, side, looks=looks, index=index, edge=size.high)
        _lay_out(figure, comparison, looks=looks, footer=_footer(comparison, error=error))
        name_levels(figure, axes, _level_names(comparison))
        _name_sides(figure, axes, comparison)
    return figure


def _windows(comparison: Comparison) -> tuple[Window, Window]:
    found = [candidate for side in comparison.sides for candidate in side.found]
    references = [side.reference for side in comparison.sides]
    sizes = [reference.bytes for reference in references] + [c.artifact_bytes for c in found]
    landmarks = [reference.val.error for reference in references] + [comparison.corner[1]]
    extremes = [error for side in comparison.sides for c in side.front for error in (min(c.errors), c.worst_error)]
    # The window reaches to three times a landmark: for the last level, that would be mostly models beyond it.
    landmarks = [error / 2 if error == comparison.corner[1] else error for error in landmarks]
    most = 1.0 if comparison.units.metric.fraction else math.inf
    errors = error_window([c.mean_error for c in found], landmarks=landmarks, extras=extremes, most=most)
    return size_window(sizes), errors


def _draw_levels(axes: Axes, comparison: Comparison) -> None:
    for level in comparison.levels:
        axes.axhline(level.error, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=2, gid="level")
    for size, error in {(side.reference.bytes, side.reference.val.error) for side in comparison.sides}:
        axes.plot(
            [size],
            [error],
            linestyle="none",
            marker="*",
            markersize=13,
            color=INK,
            markeredgecolor=CARD,
            markeredgewidth=0.8,
            zorder=6,
            gid="reference",
        )


def _draw_side(axes: Axes, side: Side, *, looks: Mapping[str, Mark], index: int, edge: float) -> None:
    """Draws a side's candidates, bars over the seeds on its front, and the front, on to the `edge` of the plot."""
    pale = [candidate for candidate in side.found if candidate not in side.front]
    for kind, those, alpha, scale in (("dominated", pale, 0.3, 0.75), ("front", side.front, 1.0, 1.0)):
        for family, look in looks.items():
            found = [candidate for candidate in those if candidate.family == family]
            axes.plot(
                [candidate.artifact_bytes for candidate in found],
                [candidate.mean_error for candidate in found],
                linestyle="none",
                marker=SHAPES[index % len(SHAPES)],
                markersize=scale * 6.5,
                color=look.colour,
                markeredgecolor=CARD,
                markeredgewidth=0.6,
                alpha=alpha,
                zorder=5 if kind == "front" else 3,
                gid=f"{kind}-{index}-{family}",
            )
    for family, look in looks.items():
        bars = [candidate for candidate in side.front if len(candidate.seeds) > 1 and candidate.family == family]
        axes.plot(
            [x for c in bars for x in (c.artifact_bytes, c.artifact_bytes, np.nan)],
            [y for c in bars for y in (min(c.errors), c.worst_error, np.nan)],
            color=look.colour,
            linewidth=1.0,
            alpha=0.8,
            zorder=4,
            gid=f"range-{index}-{family}",
        )
    steps = _steps(side, edge=edge)
    if len(steps):
        axes.plot(
            *steps.T,
            drawstyle="steps-post",
            color=_GREYS[index % len(_GREYS)],
            linewidth=1.6,
            linestyle=DASHES[index % len(DASHES)],
            zorder=3.8,
            gid=f"staircase-{index}",
        )


def _steps(side: Side, *, edge: float) -> Points:
    """The front (m, 2) by size, and its last error once more at `edge` bytes."""
    corners = sorted({(float(c.artifact_bytes), c.mean_error) for c in side.front})
    return np.array([*corners, (edge, corners[-1][1])] if corners else [], dtype=np.float64).reshape(-1, 2)


def _level_names(comparison: Comparison) -> list[tuple[float, str, str]]:
    levels = [comparison.levels[0], *(level for level in comparison.levels[1:] if "target" in level.name)]
    told = comparison.units.bare.error
    return [(level.error, f"{level.name.split(', ')[-1]}\n{told(level.error)}", MUTED) for level in levels]


def _name_sides(figure: Figure, axes: Axes, comparison: Comparison) -> None:
    """Writes each front's name where it is farthest from the others, over no point and no other name."""
    box = axes.get_window_extent()
    area = Box(box.x0 + _PAD, box.y0 + _PAD, box.width - 2 * _PAD, box.height - 2 * _PAD)
    lines = [_pixels(axes, _steps(side, edge=axes.get_xlim()[1])) for side in comparison.sides]
    taken = [_obstacles(axes, comparison), *lines]
    for index in range(len(comparison.sides)):
        if not len(lines[index]):
            continue
        anchor = _apart(lines[index], lines[:index] + lines[index + 1 :])
        colour = _GREYS[index % len(_GREYS)]
        words = f"{GLYPHS[SHAPES[index % len(SHAPES)]]} {printable(comparison.short_names[index], most=44)}"
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


def _footer(comparison: Comparison, *, error: Window) -> str:
    (size, corner), units = comparison.corner, comparison.units
    names = [printable(name, most=44) for name in comparison.short_names]
    volumes = (f"{name} {volume:.3f}" for name, volume in zip(names, comparison.hypervolumes, strict=True))
    notes = [printable(note, most=200) for note in comparison.notes]
    said = [
        f"{units.definition(comparison.sides[0].reference.val.n)} A point is one configuration: the mean over "
        "its seeds, with a bar from least to largest, in its family's colour; each sweep has a shape of its own. "
        "Lines are fronts; pale points are on no front; a "
        "star is a reference. Size is that of the exported file (1\u00a0kB = 1000\u00a0bytes). Dotted: the "
        f"{units.nouns} at which sizes are compared. Hypervolume, the area below {count(size)} bytes and "
        f"{units.noun} {units.error(corner)}, in decades of bytes times {units.step}: {'; '.join(volumes)}."
    ]
    beyond = sum(c.mean_error > (error.bend or error.high) for side in comparison.sides for c in side.found)
    if beyond:
        said.append(f"Points where the scale is compressed: {count(beyond)}.")
    return "\n".join(textwrap.wrap(" ".join([*said, *notes]), width=150))


def _lay_out(figure: Figure, comparison: Comparison, *, looks: Mapping[str, Mark], footer: str) -> None:
    """Makes the figure as high as its legend and footer need, and writes these. Heights are in inches."""
    handles = [Patch(facecolor=look.colour, label=family) for family, look in looks.items()]
    legend, tall = fitted(figure, handles, width=WIDTH - LEFT - 0.1) if handles else (None, 0.0)
    bottom = 0.78 + tall + 0.145 * (footer.count("\n") + 1)
    height = _TOP + PLOT_HEIGHT + bottom
    figure.set_size_inches(WIDTH, height)
    for each in figure.axes:
        each.set_position((LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, PLOT_HEIGHT / height))
    if legend is not None:
        legend.set_bbox_to_anchor((LEFT / WIDTH, (bottom - 0.58) / height), transform=figure.transFigure)
    figure.text(LEFT / WIDTH, 0.1 / height, footer, fontsize=7.6, color=MUTED, va="bottom", linespacing=1.35)
    studies = " and ".join(sorted({side.study for side in comparison.sides}))
    title = f"Fronts compared: {printable(studies, most=60)}"
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, title, fontsize=12.5, fontweight="bold", va="baseline")
    words = "lower and farther left is better"
    figure.text(LEFT / WIDTH, 1 - 0.5 / height, words, fontsize=9, color=MUTED, va="baseline")
