"""The texts in the Pareto figure: a box that says what the pick is, and the names of the level lines and points."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from reports.facts.costs import Cost, amount
from reports.facts.findings import Findings
from reports.facts.numbers import count, smaller
from reports.facts.rows import Row
from reports.figures.axes import error_range
from reports.figures.placement import Box, Points, along, lattice, place
from reports.figures.point_names import name_points
from reports.figures.points import RING
from reports.figures.style import CARD, FEASIBLE, INK, Mark
from reports.figures.text import extent, write
from sweep.criteria import meaning
from sweep.store.job import name_of
from sweep.store.printable import printable

_MARGIN = 6.0  # pixels at 100 dpi, as all below
_PAD = 6.0
_LINE = 17.0


def annotate(figure: Figure, axes: Axes, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark]) -> None:
    """Writes the texts into a figure whose size and axes are final."""
    box = axes.get_window_extent()
    area = Box(box.x0 + _MARGIN, box.y0 + _MARGIN, box.width - 2 * _MARGIN, box.height - 2 * _MARGIN)
    obstacles = _obstacles(axes, findings, cost=cost)
    taken: list[Box] = []
    if findings.pick is not None:
        called, leader = _call_out(
            figure, axes, findings, pick=findings.pick, cost=cost, area=area, obstacles=obstacles
        )
        taken.append(called)
        obstacles = np.concatenate([obstacles, leader])
    units, reference = findings.units.bare, findings.reference.val.error
    levels = [(reference, f"reference\n{units.error(reference)}", INK)]
    if findings.limit is not None:
        levels.append((findings.limit, f"target\n{units.at_most(findings.limit)}", FEASIBLE))
    name_levels(figure, axes, levels)
    drawn = [*(error for error, _, _ in levels), error_range(findings).bend]
    lines = [_level_line(axes, error, area) for error in drawn if error is not None]
    obstacles = np.concatenate([obstacles, *lines])
    name_points(figure, axes, findings, cost=cost, looks=looks, area=area, obstacles=obstacles, taken=taken)


def name_levels(figure: Figure, axes: Axes, levels: list[tuple[float, str, str]]) -> None:
    """Names level lines (error, words, colour) right of the axes, at their height. The names do not overlap."""
    box = axes.get_window_extent()
    texts = [(level, write(figure, words, size=8.8, colour=colour)) for level, words, colour in sorted(levels)]
    lowest = box.y0
    for level, text in texts:
        height = extent(figure, text)[1]
        middle = float(axes.transData.transform((axes.get_xlim()[1], level))[1])
        bottom = max(min(middle, box.y1) - height / 2, lowest)
        lowest = bottom + height + 5
        text.set_position(((box.x1 + 6) / figure.dpi, (bottom + height) / figure.dpi))


def _level_line(axes: Axes, error: float, area: Box) -> Points:
    """Points every few pixels along the line at an error."""
    height = float(axes.transData.transform((axes.get_xlim()[0], error))[1])
    return along(np.array([[area.left, height], [area.left + area.width, height]]), step=8.0)


def _obstacles(axes: Axes, findings: Findings, *, cost: Cost) -> Points:
    """What texts should not hide, in pixels (n, 2): points, seed ranges, DC, the star, the staircase."""
    data = [(cost.of_reference(findings.reference), findings.reference.val.error)] * 3
    for row in findings.rows:
        size, weight = cost.of(row), 3 if cost.key in row.fronts else 2
        data += [(size, row.candidate.mean_error)] * weight
        if len(row.candidate.seeds) > 1:
            data += [(size, error) for error in row.candidate.errors]
        if cost.key in row.fronts and row.candidate.direct_error is not None:
            data += [(size, row.candidate.direct_error)]
    pieces = [axes.transData.transform(data)]
    for row in findings.rows:
        if cost.key in row.fronts:
            pieces += [line[1:] for line in _lines_at(axes, row, cost=cost)]
    for line in axes.get_lines():
        if line.get_gid() == "staircase":
            corners = axes.transData.transform(line.get_xydata())
            stairs = np.repeat(corners, 2, axis=0)
            pieces.append(along(np.stack([stairs[1:, 0], stairs[:-1, 1]], axis=1), step=8.0))
    return np.concatenate(pieces)


def _lines_at(axes: Axes, row: Row, *, cost: Cost) -> list[Points]:
    """Points along what leads up or down from a row's point: the bar of its seeds, and the arrow from DC."""
    errors = [row.candidate.worst_error, min(row.candidate.errors)] if len(row.candidate.seeds) > 1 else []
    errors += [] if row.candidate.direct_error is None else [row.candidate.direct_error]
    middle = (cost.of(row), row.candidate.mean_error)
    return [along(axes.transData.transform([middle, (middle[0], error)]), step=12.0) for error in errors]


def _call_out(
    figure: Figure, axes: Axes, findings: Findings, *, pick: Row, cost: Cost, area: Box, obstacles: Points
) -> tuple[Box, Points]:
    """Draws a ring around the pick and a box that says what it is. Returns the box, and points of its line and ring."""
    candidate = pick.candidate
    axes.plot(
        [cost.of(pick)],
        [candidate.mean_error],
        linestyle="none",
        marker="o",
        markersize=2 * RING,
        markerfacecolor="none",
        markeredgecolor=INK,
        markeredgewidth=1.6,
        zorder=7,
        gid="pick",
    )
    lines = _said_of(pick, findings, cost=cost)
    head = write(figure, printable(name_of(candidate), most=46), size=9.2, weight="bold")
    body = [write(figure, line, size=8.8) for line in lines]
    # Bold text is wider in print than at the screen's resolution, at which it is measured.
    width = 1.03 * max(extent(figure, text)[0] for text in (head, *body)) + 2 * _PAD
    height = _LINE * (1 + len(body)) + 2 * _PAD
    centre = axes.transData.transform((cost.of(pick), candidate.mean_error))
    ring = RING * figure.dpi / 72 + 14
    spots = lattice(area, width=width, height=height, step=8.0)
    upright = _lines_at(axes, pick, cost=cost) if cost.key in pick.fronts else []
    aside = _beside_lines(spots, width, height, centre=centre, lines=upright)
    spots = spots[aside] if aside.any() else spots
    around = np.array([[centre[0] + ring * x, centre[1] + ring * y] for x in (-1, 0, 1) for y in (-1, 0, 1)])
    box = place(
        width,
        height,
        spots=spots,
        anchor=(float(centre[0]), float(centre[1])),
        obstacles=np.concatenate([obstacles, np.repeat(around, 4, axis=0)]),
    )
    _draw_box(figure, box)
    leader = _draw_leader(figure, box, (float(centre[0]), float(centre[1])))
    for index, text in enumerate((head, *body)):
        text.set_verticalalignment("baseline")
        baseline = box.bottom + height - _PAD - _LINE * (index + 0.72)
        text.set_position(((box.left + _PAD) / figure.dpi, baseline / figure.dpi))
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring_points = centre + RING * figure.dpi / 72 * np.column_stack([np.cos(turns), np.sin(turns)])
    return box, np.concatenate([leader, ring_points])


def _said_of(pick: Row, findings: Findings, *, cost: Cost) -> list[str]:
    """What the box says of the pick below its name, line by line."""
    assert findings.choice is not None
    candidate, units, choice = pick.candidate, findings.units, findings.choice
    error = f"{units.noun} {units.error(candidate.mean_error)}"
    if len(candidate.seeds) > 1:
        error += f" ({units.error_range(min(candidate.errors), candidate.worst_error)}, {len(candidate.seeds)} seeds)"
    size = smaller(pick.compression_ratio)
    if cost.key != "bytes":
        size += f", {amount(cost, cost.of(pick))}"
    measured = candidate.latency is not None
    size += f", {pick.speed}" if pick.speed and not measured else ""
    lines = [f"{count(candidate.artifact_bytes)} bytes, {size}", error, *([pick.speed] if measured else [])]
    if findings.knees.get(cost.key) is pick:
        lines.append("at the knee of the front")
    if choice.state is not None:
        missed = f"misses the target by {units.change(-choice.margin)}"
        known = f"{choice.state}: {meaning(choice.state, method=candidate.method)}"
        lines.append(known if choice.feasible else missed)
    return lines


def _beside_lines(
    spots: Points, width: float, height: float, *, centre: Points, lines: Sequence[Points]
) -> NDArray[np.bool_]:
    """Whether a box at each of `spots` (n, 2) leaves `centre` free, and its line to it keeps apart from `lines` up and
    down."""
    near = np.clip(centre, spots, spots + np.array([width, height])) - centre
    steep = np.abs(near[:, 0]) < 0.4 * np.abs(near[:, 1])
    clear = np.hypot(near[:, 0], near[:, 1]) > RING
    for line in lines:
        end = line[-1, 1] - centre[1]
        clear &= ~(steep & (np.sign(near[:, 1]) == np.sign(end)) & (abs(end) > RING))
    return clear


def _draw_box(figure: Figure, box: Box) -> None:
    scale = 1 / figure.dpi
    figure.add_artist(
        FancyBboxPatch(
            (box.left * scale, box.bottom * scale),
            box.width * scale,
            box.height * scale,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=CARD,
            edgecolor=INK,
            linewidth=0.9,
            alpha=0.94,
            transform=figure.dpi_scale_trans,
            zorder=10,
            gid="callout",
        )
    )


def _draw_leader(figure: Figure, box: Box, centre: tuple[float, float]) -> Points:
    """Draws a line from the box to the ring unless they touch. Returns points along it, on to the ring's centre."""
    near = np.clip(centre, (box.left, box.bottom), (box.left + box.width, box.bottom + box.height))
    away = np.array(near) - centre
    length = float(np.hypot(*away))
    ring = (RING + 0.8) * figure.dpi / 72
    if length > ring + 1:
        start = np.array(centre) + away * (ring / length)
        line = Line2D(
            *np.stack([start, near], axis=1) / figure.dpi, color=INK, linewidth=0.9, transform=figure.dpi_scale_trans
        )
        line.set_zorder(9)
        figure.add_artist(line)
    return along(np.array([centre, near]), step=6.0)
