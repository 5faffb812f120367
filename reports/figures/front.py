"""The Pareto figure: validation error against bytes, MACs or latency, with front, target, reference and pick."""

import textwrap

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from reports.facts.costs import COSTS
from reports.facts.findings import Findings
from reports.facts.numbers import count, counted
from reports.facts.target import limit_words, rule_words
from reports.figures.annotations import annotate
from reports.figures.axes import bend_words, draw_scales, error_range, size_range
from reports.figures.legend import draw_legends
from reports.figures.points import draw_direct, draw_knee, draw_levels, draw_points, draw_staircase, draw_states
from reports.figures.style import CARD, MUTED, marks, settings
from sweep.pick.choice import By
from sweep.store.printable import printable

WIDTH, PLOT_HEIGHT = 9.6, 4.6  # inches
LEFT, RIGHT, TOP = 0.78, 0.92, 1.08  # inches around the plot; the height below it is measured


def draw_front(findings: Findings, *, by: By = "bytes") -> Figure:
    """The Pareto figure of a sweep: error against the cost `by`. Without candidates: the reference and the target."""
    with settings():
        figure = Figure(figsize=(WIDTH, TOP + PLOT_HEIGHT + 1.2), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1), label="front")
        looks = marks(findings.series, families=findings.families, size=7.0)
        everything, findings = findings, findings.known(by)
        cost, error = COSTS[by], error_range(findings)
        draw_scales(axes, findings, cost=cost, size=size_range(findings, cost=cost), error=error)
        draw_levels(axes, findings, cost=cost, error=error)
        draw_points(axes, findings, cost=cost, looks=looks)
        draw_states(axes, findings, cost=cost)
        draw_staircase(axes, findings, cost=cost)
        draw_knee(axes, findings, cost=cost)
        direct = draw_direct(axes, findings, cost=cost, looks=looks, tall=72 * PLOT_HEIGHT)
        legends = draw_legends(figure, findings, cost=cost, looks=looks, direct=direct > 0, width=WIDTH - LEFT - 0.1)
        below = _footer(everything, by=by)
        _lay_out(figure, legends=legends, below=below, findings=everything)
        annotate(figure, axes, findings, cost=cost, looks=looks)
    return figure


def definitions(findings: Findings, *, by: By) -> str:
    """What the axes and points mean, and what is not drawn or lies where the scale is compressed."""
    cost, error = COSTS[by], error_range(findings)
    low, high = findings.seeds_range
    seeds = counted(high, "seed") if low == high else f"{low} to {high} seeds"
    said = [findings.units.definition(findings.reference.val.n)]
    if findings.rows:
        spread = (
            "."
            if high <= 1
            else ": the mean over the fresh ones, all but the first, with a bar from the least to the largest of all."
        )
        said.append(f"A point is one configuration, {seeds}{spread}")
    said.append(cost.definition(findings.reference))
    if any(cost.key in row.fronts and row.candidate.direct_error is not None for row in findings.rows):
        said.append(
            "Arrows lead to the front from direct compression (DC): the same configuration before any training, "
            f"drawn at the {cost.name} of its LC model."
        )
    unknown = len(findings.rows) - len(findings.known(by).rows)
    if unknown:
        lack = "is not drawn: its" if unknown == 1 else "are not drawn: their"
        said.append(f"{counted(unknown, 'configuration')} {lack} latency was not measured.")
    above = sum(row.candidate.mean_error > (error.bend or error.high) for row in findings.rows)
    if above:
        lies = "lies" if above == 1 else "lie"
        beyond = bend_words(findings.units, error.bend or error.high)
        said.append(f"{counted(above, 'configuration')} {lies} {beyond}, where the scale is compressed.")
    return " ".join(said)


def _footer(findings: Findings, *, by: By) -> str:
    """The definitions and the target, wrapped."""
    words = definitions(findings, by=by)
    if findings.threshold is not None:
        words += f" Target: {limit_words(findings)}, {rule_words(findings)}."
    return "\n".join(textwrap.wrap(words, width=150))


def _lay_out(figure: Figure, *, legends: list[tuple[Legend, float]], below: str, findings: Findings) -> None:
    """Makes the figure as high as its legends and footer need, and writes title and footer. Heights are in inches."""
    line = 0.145
    bottom = 0.6 + sum(tall + 0.08 for _, tall in legends) + 0.1 + line * (below.count("\n") + 1) + 0.1
    height = TOP + PLOT_HEIGHT + bottom
    figure.set_size_inches(WIDTH, height)
    for each in figure.axes:
        each.set_position((LEFT / WIDTH, bottom / height, (WIDTH - LEFT - RIGHT) / WIDTH, PLOT_HEIGHT / height))
    top = bottom - 0.6
    for legend, tall in legends:
        legend.set_bbox_to_anchor((LEFT / WIDTH, top / height), transform=figure.transFigure)
        top -= tall + 0.08
    figure.text(LEFT / WIDTH, 0.1 / height, below, fontsize=7.6, color=MUTED, va="bottom", linespacing=1.35)
    title = "Compressed models of " + printable(findings.manifest.study, most=60)
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, title, fontsize=12.5, fontweight="bold", va="baseline")
    done = f"{counted(len(findings.rows), 'configuration')}, {counted(len(findings.jobs), 'job')}"
    if findings.failures:
        done += f", {count(len(findings.failures))} failed"
    done += f"; reference {findings.units.noun} {findings.units.error(findings.reference.val.error)}"
    figure.text(LEFT / WIDTH, 1 - 0.5 / height, done, fontsize=9, color=MUTED, va="baseline")
