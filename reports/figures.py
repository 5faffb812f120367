"""The Pareto figure: validation error against true bytes or MACs, with the front, target, reference and pick."""

import io
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from reports.annotations import annotate
from reports.costs import COSTS, Cost
from reports.findings import Findings
from reports.labels import label
from reports.layers import draw_direct, draw_levels, draw_points, draw_scales, draw_staircase, error_range, size_range
from reports.legend import draw_legends
from reports.marks import CARD, INK, MUTED, marks
from reports.numerals import count, counted, percent
from reports.scales import Window
from reports.tables import rule_words
from sweep.pick import By

FORMATS = ("png", "svg", "pdf")
WIDTH, PLOT_HEIGHT = 9.6, 4.6  # inches
LEFT, RIGHT, TOP = 0.78, 0.92, 1.08  # inches around the plot; what lies below it is measured
DPI = 200

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.parse_math": False,
    "text.usetex": False,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "svg.fonttype": "none",
    "svg.hashsalt": "lcsweep",
    "pdf.fonttype": 42,
    "path.simplify": True,
}


def draw_front(findings: Findings, *, by: By = "bytes") -> Figure:
    """The Pareto figure of a sweep, against what `by` names; when nothing finished, the reference and the target."""
    with _settings():
        figure = Figure(figsize=(WIDTH, TOP + PLOT_HEIGHT + 1.2), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), label="front")
        looks = marks(findings.series, size=7.0)
        cost, error = COSTS[by], error_range(findings)
        draw_scales(axes, findings, cost=cost, size=size_range(findings, cost=cost), error=error)
        draw_levels(axes, findings, cost=cost, error=error)
        draw_points(axes, findings, cost=cost, looks=looks)
        draw_staircase(axes, findings, cost=cost)
        direct = draw_direct(axes, findings, cost=cost, looks=looks)
        legends = draw_legends(figure, findings, cost=cost, looks=looks, direct=direct > 0, width=WIDTH - LEFT - 0.1)
        footer = _footer(findings, cost=cost, error=error, direct=direct > 0)
        _lay_out(figure, legends=legends, footer=footer, findings=findings)
        annotate(figure, axes, findings, cost=cost)
    return figure


def encode(figure: Figure, *, format: str) -> bytes:
    """The figure's bytes as "png", "svg" or "pdf": the same for the same figure, without dates."""
    if format not in FORMATS:
        raise ValueError(f"expected a format among {', '.join(FORMATS)}, got {format!r}; choose one of them")
    metadata: dict[str, str | None] = {
        "png": {"Software": None, "Title": "Pareto front"},
        "svg": {"Date": None, "Creator": "lcsweep", "Title": "Pareto front"},
        "pdf": {"CreationDate": None, "Creator": "lcsweep", "Producer": None, "Title": "Pareto front"},
    }[format]
    stream = io.BytesIO()
    with _settings():
        figure.savefig(stream, format=format, dpi=DPI, facecolor=CARD, metadata=metadata)
    return stream.getvalue()


@contextmanager
def _settings() -> Iterator[None]:
    """Matplotlib's own defaults with ours on top, whatever the user's matplotlibrc says, and theirs again after."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def _footer(findings: Findings, *, cost: Cost, error: Window, direct: bool) -> str:
    """What the axes are, on which split, over how many seeds, and what lies where the scale is compressed."""
    low, high = findings.seeds_range
    seeds = counted(high, "seed") if low == high else f"{low} to {high} seeds"
    said = [f"Error is 1 \u2212 accuracy on the validation split (n = {count(findings.reference.n)})."]
    if findings.rows:
        spread = "." if high <= 1 else ": the mean, with a bar from the least to the most."
        said.append(f"A point is one configuration, {seeds}{spread}")
    said.append(cost.definition(findings.reference))
    if direct:
        said.append(
            "Arrows on the front lead from direct compression (DC), the same configuration before any training, "
            f"drawn at the {cost.noun} of its LC model."
        )
    if findings.threshold is not None:
        said.append(f"Target: an accuracy of at least {percent(findings.threshold)}, {rule_words(findings)}.")
    if findings.left_out:
        jobs = "1 finished job is" if findings.left_out == 1 else f"{count(findings.left_out)} finished jobs are"
        said.append(f"{jobs} not drawn: another seed of the same configuration failed.")
    above = sum(row.candidate.mean_error > (error.bend or error.high) for row in findings.rows)
    if above:
        lies = "lies" if above == 1 else "lie"
        said.append(f"{counted(above, 'configuration')} {lies} above {percent(error.bend or error.high, digits=0)}, ")
        said[-1] += "where the scale is compressed."
    return "\n".join(textwrap.wrap(" ".join(said), width=150))


def _lay_out(figure: Figure, *, legends: list[tuple[Legend, float]], footer: str, findings: Findings) -> None:
    """Sizes the figure to what stands below the plot, and writes the title and the footer. Heights in inches."""
    line = 0.145
    bottom = 0.6 + sum(tall + 0.08 for _, tall in legends) + 0.1 + line * (footer.count("\n") + 1) + 0.1
    height = TOP + PLOT_HEIGHT + bottom
    figure.set_size_inches(WIDTH, height)
    for each in figure.axes:
        each.set_position((LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, PLOT_HEIGHT / height))
    top = bottom - 0.6
    for legend, tall in legends:
        legend.set_bbox_to_anchor((LEFT / WIDTH, top / height), transform=figure.transFigure)
        top -= tall + 0.08
    figure.text(LEFT / WIDTH, 0.1 / height, footer, fontsize=7.6, color=MUTED, va="bottom", linespacing=1.35)
    title = "Compressed models of " + label(findings.study, most=60)
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, title, fontsize=12.5, fontweight="bold", va="baseline")
    done = f"{counted(len(findings.rows), 'configuration')}, {counted(findings.jobs_done, 'job')}"
    if findings.failures:
        done += f", {count(len(findings.failures))} failed"
    done += f"; reference error {percent(findings.reference.error)}"
    figure.text(LEFT / WIDTH, 1 - 0.5 / height, done, fontsize=9, color=MUTED, va="baseline")
