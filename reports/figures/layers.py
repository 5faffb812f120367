"""What the Pareto figure draws inside its axes, a function a layer: scales, levels, points, front, DC."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from reports.facts.costs import Cost
from reports.facts.findings import Findings
from reports.facts.numerals import percent, round_ratio
from reports.facts.rows import Row
from reports.figures.marks import CARD, FEASIBLE, GRID, INK, MUTED, Mark
from reports.figures.scales import Window, error_window, round_values, size_window, small_values


def size_range(findings: Findings, *, cost: Cost) -> Window:
    """The range of the horizontal axis, in units of `cost`."""
    sizes = [cost.of_reference(findings.reference), *(cost.of(row) for row in findings.rows)]
    return size_window([max(size, cost.least) for size in sizes if size < math.inf])


def error_range(findings: Findings) -> Window:
    """The range of the error axis (fractions): the same whatever the horizontal axis is."""
    landmarks = [findings.reference.error]
    if findings.threshold is not None:
        landmarks.append(1 - findings.threshold)
    if findings.pick is not None:
        landmarks.append(findings.pick.candidate.worst_error)
    errors = [row.candidate.mean_error for row in findings.rows]
    extras = [row.candidate.direct_error for row in findings.rows if row.fronts]
    extras += [error for row in findings.rows for error in (min(row.candidate.errors), row.candidate.worst_error)]
    seen = [error for error in extras if error is not None]
    return error_window(errors, landmarks=landmarks, extras=seen)


def draw_axes(axes: Axes, *, cost: Cost, size: Window, error: Window) -> None:
    """Ticks, grid and titles of the two axes, and where the error's is compressed."""
    axes.set_facecolor("none")
    axes.set_xscale("log")
    axes.set_yscale("function", functions=(error.forward, error.inverse))
    axes.set_xlim(size.low, size.high)
    axes.set_ylim(error.low, error.high)
    xs, ys = round_values(size, most=9), round_values(error, most=9)
    axes.xaxis.set_major_locator(FixedLocator(xs))
    axes.set_xticks(xs, [cost.tick(x) for x in xs])
    axes.set_yticks(ys, [f"{100 * y:.4g}" for y in ys])
    axes.xaxis.set_minor_locator(FixedLocator(small_values(size)))
    axes.yaxis.set_minor_locator(FixedLocator(small_values(error)))
    # A log axis that spans less than a decade would otherwise label its small ticks itself.
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", labelsize=9, top=False, right=False)
    axes.tick_params(which="minor", length=2)
    axes.grid(color=GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines["right"].set_visible(False)
    axes.set_xlabel(cost.title, fontsize=9.5, labelpad=5)
    scale = "log scale" if error.log else "linear scale"
    axes.set_ylabel(f"validation error (%, {scale})", fontsize=9.5, labelpad=5)
    if error.bend is not None:
        axes.axhspan(error.bend, error.high, facecolor=GRID, alpha=0.45, linewidth=0, zorder=0.2)
        axes.axhline(error.bend, color=MUTED, linewidth=0.7, zorder=1, gid="bend")
        axes.annotate(
            f"scale\ncompressed\nabove {percent(error.bend, digits=0)}",
            (1, (1 + _share(error)) / 2),
            xycoords="axes fraction",
            xytext=(4.5, 0),
            textcoords="offset points",
            fontsize=8,
            color=MUTED,
            va="center",
            annotation_clip=False,
        )


def draw_scales(axes: Axes, findings: Findings, *, cost: Cost, size: Window, error: Window) -> None:
    """The axes, with the ratio to the reference on top, which mirrors the horizontal one."""
    draw_axes(axes, cost=cost, size=size, error=error)
    top = axes.twiny()
    top.set_facecolor("none")
    top.set_xscale("log")
    whole = cost.of_reference(findings.reference)
    top.set_xlim(whole / size.low, whole / size.high)
    ratios = round_values(Window(whole / size.high, whole / size.low, log=True), most=9)
    top.xaxis.set_major_locator(FixedLocator(ratios))
    top.set_xticks(ratios, [round_ratio(r) for r in ratios])
    top.xaxis.set_minor_locator(NullLocator())
    top.xaxis.set_minor_formatter(NullFormatter())
    top.tick_params(labelsize=9)
    top.spines["right"].set_visible(False)
    top.set_xlabel(cost.ratio, fontsize=9.5, labelpad=6)


def _share(error: Window) -> float:
    """The share of the axis that lies below its bend."""
    low, bend, high = error.forward(np.array([error.low, error.bend or error.high, error.high]))
    return float((bend - low) / (high - low))


def draw_levels(axes: Axes, findings: Findings, *, cost: Cost, error: Window) -> None:
    """The target line with its feasible side shaded; the reference as a star, its level dotted."""
    if findings.threshold is not None:
        limit = 1 - findings.threshold
        axes.axhspan(error.low, limit, facecolor=FEASIBLE, alpha=0.08, linewidth=0, zorder=0.5, gid="feasible")
        axes.axhline(limit, color=FEASIBLE, linewidth=1.3, linestyle=(0, (6, 3)), zorder=2, gid="target")
    level = findings.reference.error
    axes.axhline(level, color=INK, linewidth=1.0, linestyle=(0, (1, 2)), zorder=2, gid="reference-level")
    axes.plot(
        [cost.of_reference(findings.reference)],
        [level],
        linestyle="none",
        marker="*",
        markersize=14,
        color=INK,
        markeredgecolor=CARD,
        markeredgewidth=0.8,
        zorder=6,
        gid="reference",
    )


def draw_points(axes: Axes, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark]) -> None:
    """Every candidate: pale where dominated, with bars from the least to the most error where it has several seeds."""
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


def draw_staircase(axes: Axes, findings: Findings, *, cost: Cost) -> None:
    """The front: at each cost, the least mean error of any model that costs no more."""
    steps = [(cost.of(row), row.candidate.mean_error) for row in findings.rows if cost.key in row.fronts]
    if steps:
        xs, ys = zip(*sorted(steps), strict=True)
        axes.plot(xs, ys, drawstyle="steps-post", color=INK, linewidth=1.2, zorder=3.8, gid="staircase")


def draw_knee(axes: Axes, findings: Findings, *, cost: Cost) -> None:
    """A square about the front's knee."""
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


def draw_direct(axes: Axes, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark]) -> int:
    """Direct compression beside LC on the front, an arrow from the one to the other; how many were drawn."""
    rows = [row for row in findings.rows if cost.key in row.fronts and row.candidate.direct_error is not None]
    for row in rows:
        size, look = cost.of(row), looks[row.series]
        axes.annotate(
            "",
            xy=(size, row.candidate.mean_error),
            xytext=(size, row.candidate.direct_error or 0.0),
            arrowprops={
                "arrowstyle": "-|>,head_length=0.34,head_width=0.13",
                "color": look.colour,
                "linewidth": 0.7,
                "alpha": 0.8,
                "shrinkA": 2.4,
                "shrinkB": 5.0,
            },
            zorder=3.2,
        )
        axes.plot(
            [size],
            [row.candidate.direct_error or 0.0],
            linestyle="none",
            marker=look.shape,
            markersize=0.62 * look.size,
            markerfacecolor=CARD,
            markeredgecolor=look.colour,
            markeredgewidth=0.9,
            zorder=3.4,
        )
    return len(rows)
