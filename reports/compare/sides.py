"""What the figures of a comparison draw of each side: its candidates, and its front as a staircase."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.compare.comparison import Comparison, Side
from reports.compare.points import Point
from reports.figures.placement import Points
from reports.figures.points import draw_reference
from reports.figures.scales import Window, error_window, size_window
from reports.figures.style import CARD, DASHES, INK, MUTED, SHAPES, Mark
from sweep.pick.choice import Candidate


@dataclass(frozen=True)
class FrontLine:
    """How a side's front is drawn, and the shape of its points; None for the shapes of their families."""

    colour: str
    dashes: Any
    shape: str | None


LINES = tuple(
    FrontLine(colour, dashes, shape)
    for colour, dashes, shape in zip((INK, "#7b8794", "#52606d", "#9aa5b1"), DASHES, SHAPES, strict=False)
)
"""Lines that are told apart on one plot."""

DIAMOND = 12.0
"""How close two diamonds are, in pixels across and up, whose letters would meet."""


def windows(comparison: Comparison) -> tuple[Window, Window]:
    """What the axes of bytes and of errors show."""
    found = [candidate for side in comparison.sides for candidate in side.found]
    references = [side.reference for side in comparison.sides]
    sizes = [reference.bytes for reference in references] + [c.artifact_bytes for c in found]
    sizes += [point.bytes for point in comparison.points]
    landmarks = [reference.val.error for reference in references] + [comparison.corner[1]]
    extremes = [error for side in comparison.sides for c in side.front for error in (min(c.errors), c.worst_error)]
    # The window reaches to three times a landmark: for the last level, that would be mostly models beyond it.
    landmarks = [error / 2 if error == comparison.corner[1] else error for error in landmarks]
    most = 1.0 if comparison.units.metric.fraction else math.inf
    shown = [c.mean_error for c in found] + [point.error for point in comparison.points]
    errors = error_window(shown, landmarks=landmarks, extras=extremes, most=most)
    return size_window(sizes), errors


def draw_levels(axes: Axes, comparison: Comparison) -> None:
    """Draws the errors at which sizes are compared, a star for each reference, and the points of others."""
    for level in comparison.levels:
        axes.axhline(level.error, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=2, gid="level")
    for size, error in {(side.reference.bytes, side.reference.val.error) for side in comparison.sides}:
        draw_reference(axes, size, error, points=13)
    _draw_points(axes, comparison.points)


def _draw_points(axes: Axes, points: Sequence[Point]) -> None:
    """Draws each point as an open diamond."""
    for point in points:
        axes.plot(
            [point.bytes],
            [point.error],
            linestyle="none",
            marker="D",
            markersize=5,
            color=CARD,
            markeredgecolor=INK,
            markeredgewidth=1.0,
            zorder=5.5,
            gid=f"point-{point.letter}",
        )


def name_points(axes: Axes, points: Sequence[Point]) -> None:
    """Writes each point's letter beside it, in a plot that has its place and size. Letters of diamonds that meet stand
    together; where they would leave the plot, below the diamonds."""
    for group in _meeting(axes, points):
        text = axes.annotate(
            " ".join(sorted(point.letter for point in group)),
            (group[-1].bytes, group[-1].error),
            xytext=(5, 2),
            textcoords="offset points",
            fontsize=7.6,
            color=INK,
            zorder=5.6,
            annotation_clip=True,
        )
        if text.get_window_extent().x1 > axes.bbox.x1:
            text.set(horizontalalignment="right", verticalalignment="top", position=(5, -4))


def _meeting(axes: Axes, points: Sequence[Point]) -> list[list[Point]]:
    """The points in groups whose diamonds meet. The last of a group has its largest file."""
    places = {point: axes.transData.transform((point.bytes, point.error)) for point in points}
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.bytes):
        met = [g for g in groups if any(np.abs(places[point] - places[other]).max() < DIAMOND for other in g)]
        groups = [group for group in groups if group not in met] + [[*itertools.chain(*met), point]]
    return groups


def draw_side(axes: Axes, side: Side, *, looks: Mapping[str, Mark], line: FrontLine, edge: float, index: int) -> None:
    """Draws a side's candidates, bars over the seeds on its front, and the front, on to the `edge` of the plot."""
    pale = [candidate for candidate in side.found if candidate not in side.front]
    for kind, those, alpha, scale in (("dominated", pale, 0.3, 0.75), ("front", side.front, 1.0, 1.0)):
        for family, look in looks.items():
            found = [candidate for candidate in those if candidate.family == family]
            axes.plot(
                [candidate.artifact_bytes for candidate in found],
                [candidate.mean_error for candidate in found],
                linestyle="none",
                marker=line.shape or look.shape,
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
    steps = steps_of(side.front, edge=edge)
    if len(steps):
        axes.plot(
            *steps.T,
            drawstyle="steps-post",
            color=line.colour,
            linewidth=1.6,
            linestyle=line.dashes,
            zorder=3.8,
            gid=f"staircase-{index}",
        )


def steps_of(front: Sequence[Candidate], *, edge: float) -> Points:
    """A front (m, 2) by size, and its last error once more at `edge` bytes."""
    corners = sorted({(float(c.artifact_bytes), c.mean_error) for c in front})
    return np.array([*corners, (edge, corners[-1][1])] if corners else [], dtype=np.float64).reshape(-1, 2)
