"""What the Pareto figure draws between its axes: the target, the reference, the candidates, the front, DC."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reports.facts.costs import Cost
from reports.facts.findings import Findings
from reports.facts.rows import Row
from reports.figures.scales import Window
from reports.figures.style import CARD, FEASIBLE, INK, MUTED, Mark
from sweep.criteria import CONFIRMED, UNCONFIRMED, State

RING = 8.5
"""The radius of the ring around the pick, in points."""
AROUND = 5.4
"""The radius of the circle around a candidate that meets the target, in points."""
STATES: Mapping[State, Any] = {CONFIRMED: "-", UNCONFIRMED: (0, (1, 1.4))}
"""How the circle of each state is drawn. Around a candidate that misses there is none."""


def draw_levels(axes: Axes, findings: Findings, *, cost: Cost, error: Window) -> None:
    """Draws the target's line, shades the side that meets it, and draws the reference as a star on a dotted line."""
    if (limit := findings.limit) is not None:
        axes.axhspan(error.low, limit, facecolor=FEASIBLE, alpha=0.08, linewidth=0, zorder=0.5, gid="feasible")
        axes.axhline(limit, color=FEASIBLE, linewidth=1.3, linestyle=(0, (6, 3)), zorder=2, gid="target")
    level = findings.reference.val.error
    axes.axhline(level, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), zorder=2, gid="reference-level")
    draw_reference(axes, cost.of_reference(findings.reference), level, points=14)


def draw_reference(axes: Axes, size: float, error: float, *, points: float) -> None:
    """Draws a reference as a star of so many points."""
    axes.plot(
        [size],
        [error],
        linestyle="none",
        marker="*",
        markersize=points,
        color=INK,
        markeredgecolor=CARD,
        markeredgewidth=0.8,
        zorder=6,
        gid="reference",
    )


def draw_points(axes: Axes, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark]) -> None:
    """Draws every candidate, pale where it is dominated, with a bar from its least to its largest error over seeds."""
    for index, (series, look) in enumerate(looks.items()):
        for on_front in (False, True):
            rows = [row for row in findings.rows if row.series == series and (cost.key in row.fronts) == on_front]
            _draw_group(axes, rows, cost=cost, look=look, index=index)


def _draw_group(axes: Axes, rows: list[Row], *, cost: Cost, look: Mark, index: int) -> None:
    if not rows:
        return
    strong = cost.key in rows[0].fronts
    bars = [row for row in rows if len(row.candidate.seeds) > 1]
    axes.plot(
        [x for row in bars for x in (cost.of(row), cost.of(row), np.nan)],
        [y for row in bars for y in (min(row.candidate.errors), row.candidate.worst_error, np.nan)],
        color=look.colour,
        linewidth=1.1,
        alpha=0.9 if strong else 0.3,
        zorder=4 if strong else 3,
        gid=f"range-{index}",
    )
    axes.plot(
        [cost.of(row) for row in rows],
        [row.candidate.mean_error for row in rows],
        linestyle="none",
        marker=look.shape,
        markersize=look.size if strong else 0.85 * look.size,
        color=look.colour,
        markeredgecolor=CARD,
        markeredgewidth=0.7,
        alpha=1.0 if strong else 0.42,
        zorder=5 if strong else 3.5,
        gid=f"{'front' if strong else 'dominated'}-{index}",
    )


def draw_states(axes: Axes, findings: Findings, *, cost: Cost) -> None:
    """Draws a circle around each candidate that meets the target: a line where it is confirmed, else dots."""
    for state, line in STATES.items():
        rows = [row for row in findings.rows if row.state == state and not row.picked]
        if not rows:
            continue
        axes.scatter(
            [cost.of(row) for row in rows],
            [row.candidate.mean_error for row in rows],
            s=(2 * AROUND) ** 2,
            facecolors="none",
            edgecolors=FEASIBLE,
            linewidths=1.0,
            linestyles=[line],
            zorder=3.7,
            label=state,
            gid=state,
        )


def draw_staircase(axes: Axes, findings: Findings, *, cost: Cost) -> None:
    """Draws the front: at each cost, the least mean error of the models that cost no more."""
    steps = [(cost.of(row), row.candidate.mean_error) for row in findings.rows if cost.key in row.fronts]
    if steps:
        xs, ys = zip(*sorted(steps), strict=True)
        axes.plot(xs, ys, drawstyle="steps-post", color=INK, linewidth=1.2, zorder=3.8, gid="staircase")


def draw_knee(axes: Axes, findings: Findings, *, cost: Cost) -> None:
    """Draws a square around the front's knee."""
    row = findings.knees.get(cost.key)
    if row is not None:
        axes.plot(
            [cost.of(row)],
            [row.candidate.mean_error],
            linestyle="none",
            marker="s",
            markersize=11.5,
            markerfacecolor="none",
            markeredgecolor=MUTED,
            markeredgewidth=1.1,
            zorder=6,
            gid="knee",
        )


def draw_direct(axes: Axes, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark], tall: float) -> int:
    """Draws, for each model on the front, an arrow from direct compression to it. Returns how many models have one.

    An arrow ends before the model's bar and before the ring around the pick. Where there is no space for it, the point
    of direct compression stands alone. `tall` is the height of the axes in points.
    """
    rows = [row for row in findings.rows if cost.key in row.fronts and row.candidate.direct_error is not None]
    for row in rows:
        size, look, direct = cost.of(row), looks[row.series], row.candidate.direct_error or 0.0
        gap = _gap_at_end(axes, row, size=size, tall=tall)
        if gap is not None:
            axes.annotate(
                "",
                xy=(size, row.candidate.mean_error),
                xytext=(size, direct),
                arrowprops={
                    "arrowstyle": "-|>,head_length=0.34,head_width=0.13",
                    "color": look.colour,
                    "linewidth": 0.7,
                    "alpha": 0.8,
                    "shrinkA": 2.4,
                    "shrinkB": gap,
                },
                zorder=3.2,
                gid="arrow",
            )
        axes.plot(
            [size],
            [direct],
            linestyle="none",
            marker=look.shape,
            markersize=0.62 * look.size,
            markerfacecolor=CARD,
            markeredgecolor=look.colour,
            markeredgewidth=0.9,
            zorder=3.4,
        )
    return len(rows)


def _gap_at_end(axes: Axes, row: Row, *, size: float, tall: float) -> float | None:
    """How far from the model's point its arrow ends, in points; None where that leaves too little of the arrow."""
    errors = (
        row.candidate.direct_error or 0.0,
        row.candidate.mean_error,
        min(row.candidate.errors),
        row.candidate.worst_error,
    )
    places = (axes.transScale + axes.transLimits).transform([(size, error) for error in errors])[:, 1] * tall
    above = float(np.sign(places[0] - places[1]))
    start, least, most = (above * (place - places[1]) for place in (places[0], *places[2:]))
    gap = float(max(least + 2, most + 2, RING + 2 if row.picked else 5))
    return gap if start - gap > 7 else None
