"""The axes of the Pareto figure: what range they show, their ticks, grid and titles."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from reports.facts.costs import Cost
from reports.facts.findings import Findings
from reports.facts.numbers import percent, plain, round_ratio
from reports.facts.units import Units
from reports.figures.scales import Window, error_window, round_values, size_window, small_values
from reports.figures.style import GRID, MUTED


def size_range(findings: Findings, *, cost: Cost) -> Window:
    """The range of the horizontal axis, in units of `cost`."""
    sizes = [cost.of_reference(findings.reference), *(cost.of(row) for row in findings.rows)]
    return size_window([max(size, cost.least) for size in sizes if size < math.inf])


def error_range(findings: Findings) -> Window:
    """The range of the error axis: the same whatever the horizontal axis is."""
    landmarks = [findings.reference.val.error]
    if findings.limit is not None:
        landmarks.append(findings.limit)
    if findings.pick is not None:
        landmarks.append(findings.pick.candidate.worst_error)
    errors = [row.candidate.mean_error for row in findings.rows]
    extras = [row.candidate.direct_error for row in findings.rows if row.fronts]
    extras += [error for row in findings.rows for error in (min(row.candidate.errors), row.candidate.worst_error)]
    seen = [error for error in extras if error is not None]
    return error_window(
        errors, landmarks=landmarks, extras=seen, most=1.0 if findings.manifest.metric.fraction else math.inf
    )


def error_title(units: Units, error: Window) -> str:
    """The title of the error axis: "validation error (%, log scale)", "validation F1 (log scale of 1 - F1)"."""
    scale = "log scale" if error.log else "linear scale"
    if not units.rises:
        scale += f" of {plain(units.metric.best)} \u2212 {units.noun}" if error.log else ", the best at the bottom"
    return f"validation {units.noun} ({', '.join(filter(None, (units.metric.unit, scale)))})"


def bend_words(units: Units, bend: float) -> str:
    """Where the scale is compressed: "above 20 %", "below 0.5"."""
    shown = units.shown(bend)
    limit = percent(shown, digits=0) if units.metric.fraction else units.limit(float(f"{shown:.2g}"))
    return f"{'above' if units.rises else 'below'} {limit}"


def draw_axes(axes: Axes, *, units: Units, cost: Cost, size: Window, error: Window) -> None:
    """Draws ticks, grid and titles of the two axes, and shades the part of the error axis that is compressed."""
    axes.set_facecolor("none")
    axes.set_xscale("log")
    axes.set_yscale("function", functions=(error.forward, error.inverse))
    axes.set_xlim(size.low, size.high)
    axes.set_ylim(error.low, error.high)
    xs, ys = round_values(size, most=9), round_values(error, most=9)
    axes.xaxis.set_major_locator(FixedLocator(xs))
    axes.set_xticks(xs, [cost.tick(x) for x in xs])
    axes.set_yticks(ys, [units.tick(y) for y in ys])
    axes.xaxis.set_minor_locator(FixedLocator(small_values(size)))
    axes.yaxis.set_minor_locator(FixedLocator(small_values(error)))
    # Without it, Matplotlib labels the small ticks of a log axis that spans less than a decade.
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", labelsize=9, top=False, right=False)
    axes.tick_params(which="minor", length=2)
    axes.grid(color=GRID, linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.spines["right"].set_visible(False)
    axes.set_xlabel(cost.title, fontsize=9.5, labelpad=5)
    axes.set_ylabel(error_title(units, error), fontsize=9.5, labelpad=5)
    if error.bend is not None:
        axes.axhspan(error.bend, error.high, facecolor=GRID, alpha=0.45, linewidth=0, zorder=0.2)
        axes.axhline(error.bend, color=MUTED, linewidth=0.7, zorder=1, gid="bend")


def name_bend(axes: Axes, *, units: Units, error: Window) -> None:
    """Says right of the axes where the error axis is compressed."""
    if error.bend is not None:
        axes.annotate(
            f"scale\ncompressed\n{bend_words(units.bare, error.bend)}",
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
    """Draws the axes, and on top the ratio to the reference, which belongs to the horizontal axis."""
    draw_axes(axes, units=findings.units, cost=cost, size=size, error=error)
    name_bend(axes, units=findings.units, error=error)
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
