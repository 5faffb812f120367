"""The legends below the plot of the Pareto figure: the families, then the other signs."""

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from reports.facts.costs import COSTS, Cost
from reports.facts.findings import Findings
from reports.figures.points import STATES
from reports.figures.style import CARD, FEASIBLE, INK, MUTED, Mark
from sweep.criteria import UNCONFIRMED
from sweep.store.printable import printable


def draw_legends(
    figure: Figure, findings: Findings, *, cost: Cost, looks: Mapping[str, Mark], direct: bool, width: float
) -> list[tuple[Legend, float]]:
    """The legends, not yet placed, each with its height. They take `width` at most. Both are in inches."""
    families = [
        Line2D([], [], linestyle="none", marker=look.shape, markersize=look.size, color=look.colour, label=series)
        for series, look in looks.items()
    ]
    return [
        fitted(figure, handles, width=width)
        for handles in (families, _signs(figure, findings, cost=cost, direct=direct))
        if handles
    ]


def _signs(figure: Figure, findings: Findings, *, cost: Cost, direct: bool) -> list[Artist]:
    """What the other signs mean, of those that the figure has."""

    def dot(**look: object) -> Line2D:
        return Line2D([], [], linestyle="none", marker="o", **look)  # type: ignore[arg-type]

    signs: list[Artist] = []
    if findings.rows:
        signs.append(Line2D([], [], color=INK, linewidth=1.2, label="Pareto front"))
    if not all(cost.key in row.fronts for row in findings.rows):
        signs.append(dot(markersize=6, color=MUTED, alpha=0.38, label="dominated"))
    if findings.seeds_range[1] > 1:
        signs.append(Line2D([], [], linestyle="none", marker="|", markersize=10, color=MUTED, label="range over seeds"))
    if direct:
        signs.append(
            dot(
                markersize=4.3,
                markerfacecolor=CARD,
                markeredgecolor=MUTED,
                label="direct compression (DC)",
            )
        )
    signs.append(
        Line2D([], [], linestyle=(0, (1, 2)), linewidth=1, marker="*", markersize=11, color=INK, label="reference")
    )
    signs += _states(figure, findings)
    if cost.key in findings.knees:
        knee = dot(markersize=9.5, markerfacecolor="none", markeredgecolor=MUTED, label="knee of the front")
        knee.set_marker("s")
        signs.append(knee)
    if findings.pick is not None and findings.choice is not None:
        name = "pick" if findings.choice.feasible else "nearest miss"
        if findings.by != cost.key:
            name += f" by {COSTS[findings.by].name}"
        if findings.choice.state == UNCONFIRMED:
            name += f", {UNCONFIRMED}"
        signs.append(dot(markersize=11, markerfacecolor="none", markeredgecolor=INK, markeredgewidth=1.6, label=name))
    return signs


def _states(figure: Figure, findings: Findings) -> list[Artist]:
    """The side of the target that a model must reach, and the circles around those that do, as they are drawn."""
    if findings.threshold is None:
        return []
    side = Patch(facecolor=FEASIBLE, alpha=0.18, label="within the target")
    return [side, *(drawn for drawn in figure.axes[0].collections if drawn.get_gid() in STATES)]


def fitted(figure: Figure, handles: Sequence[Artist], *, width: float) -> tuple[Legend, float]:
    """A legend of as many columns as `width` inches hold, and its height in inches."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    for columns in range(min(len(handles), 8), 0, -1):
        legend = Legend(
            figure,
            handles,
            [""] * len(handles),
            loc="upper left",
            ncols=columns,
            frameon=False,
            fontsize=8.8,
            borderpad=0.0,
            borderaxespad=0.0,
            handletextpad=0.45,
            columnspacing=1.3,
            labelspacing=0.45,
            handlelength=1.9,
        )
        # Set here, since Legend leaves out labels that begin with an underscore.
        for text, handle in zip(legend.get_texts(), handles, strict=True):
            text.set_text(printable(str(handle.get_label()), most=44))
        extent = legend.get_window_extent(canvas.get_renderer())
        if extent.width <= width * figure.dpi or columns == 1:
            break
    figure.legends.append(legend)
    return legend, extent.height / figure.dpi
