"""One candidate over its LC steps: validation error, loss, gap and mu, with a line for each seed."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from reports.facts.diagnostics import STEP, Curves
from reports.facts.rows import Row
from reports.facts.units import Units
from reports.figures.scales import Values, Window, round_values
from reports.figures.style import CARD, DASHES, GRID, MUTED, Mark, settings
from sweep.store.printable import printable

WIDTH, HEIGHT = 9.6, 3.1  # inches
DOT = "o"
PANELS = {
    "val_error": "",  # its title is that of the metric
    "loss": "training loss of the L step",
    "gap": "gap: \u2016w \u2212 \u0394(\u0398)\u2016 / \u2016\u0394(\u0398)\u2016",
}


def draw_run(row: Row, curves: Mapping[str, Curves], *, units: Units, look: Mark) -> Figure:
    """The figure of one candidate, in the colour of its `look`. `curves` holds those of its jobs that left any."""
    with settings():
        figure = Figure(figsize=(WIDTH, HEIGHT), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        for place, name in enumerate(PANELS):
            axes = figure.add_axes((0.07 + 0.318 * place, 0.22, 0.225, 0.515), label=name)
            _draw_panel(axes, name, row=row, curves=curves, units=units, colour=look.colour)
        names = {str(line.get_label()): line for line in figure.axes[0].get_lines()}
        figure.legend(
            list(names.values()),
            list(names),
            loc="upper right",
            ncols=8,
            fontsize=8.5,
            frameon=False,
            bbox_to_anchor=(0.97, 1.0),
        )
        title = f"{row.series}: {printable(row.candidate.label, most=45)}"
        figure.text(0.07, 0.91, title, fontsize=12, fontweight="bold", va="baseline")
        words = f"{units.definition(row.best.val.n)} Dotted: \u03bc, on the right."
        if any(line.get_marker() == DOT for line in figure.axes[0].get_lines()):
            words += f" Dots: the steps after which the {units.noun} was measured."
        figure.text(0.07, 0.03, words, fontsize=7.6, color=MUTED, va="bottom")
    return figure


def _draw_panel(axes: Axes, name: str, *, row: Row, curves: Mapping[str, Curves], units: Units, colour: str) -> None:
    """Draws one column over the steps, a line for each seed, and mu dotted on an axis of its own."""
    beside = axes.twinx()
    shown, strengths = [], []
    for index, (job, columns) in enumerate(curves.items()):
        steps, values, mu = (_array(columns[STEP.index(column)]) for column in ("step", name, "mu"))
        values = units.drawn(values) if name == "val_error" else values
        seed = row.candidate.seeds[row.candidate.ids.index(job)]
        known = np.isfinite(values)  # not every step is measured
        look = _look(index, seed, of=len(curves), exported=job == row.candidate.best_id)
        if np.any(np.diff(steps[known]) > 1):
            look |= {"marker": DOT, "markersize": 3.5}
        axes.plot(steps[known], values[known], gid=job, color=colour, **look)
        beside.plot(steps, np.where(mu > 0, mu, np.nan), color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)), gid="mu")
        shown.append(values)
        strengths.append(mu)
    _scale(axes, np.concatenate(shown))
    _scale(beside, np.concatenate(strengths))
    for each in (axes, beside):
        each.spines["top"].set_visible(False)
    beside.tick_params(which="both", labelsize=7.5, colors=MUTED)
    beside.set_title("\u03bc", fontsize=9.2, loc="right", color=MUTED)
    axes.tick_params(labelsize=8)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_zorder(beside.get_zorder() + 1)
    axes.set_facecolor("none")
    axes.set_title(PANELS[name] or units.title, fontsize=9.2, loc="left")
    axes.set_xlabel("LC step (0: direct compression)", fontsize=8.5)


def _look(index: int, seed: int, *, of: int, exported: bool) -> dict[str, Any]:
    """Dashes for each seed. Where there are too few dashes: the exported seed in full, all others pale."""
    if of <= len(DASHES):
        return {"linewidth": 1.3, "linestyle": DASHES[index], "label": f"seed {seed}"}
    if exported:
        return {"linewidth": 1.6, "zorder": 3, "label": f"seed {seed}, the best, which is exported"}
    return {"linewidth": 0.7, "alpha": 0.35, "label": f"the other {of - 1} seeds"}


def _scale(axes: Axes, values: Values) -> None:
    """Makes an axis logarithmic, with round ticks, unless a value is 0. The 0 of mu at step 0 is not drawn."""
    seen = values[np.isfinite(values)]
    positive = seen[seen > 0]
    if len(positive) == 0 or (axes.get_lines()[0].get_gid() != "mu" and len(positive) < len(seen)):
        return
    window = Window(0.9 * float(positive.min()), 1.1 * float(positive.max()), log=True)
    ticks = round_values(window, most=6)
    axes.set_yscale("log")
    axes.set_ylim(window.low, window.high)
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.set_yticks(ticks, [f"{tick:.4g}" for tick in ticks])
    axes.yaxis.set_minor_locator(NullLocator())


def _array(column: Sequence[float | None]) -> Values:
    return np.array([np.nan if value is None else value for value in column], dtype=np.float64)
