"""Names beside points: each family's beside one of its points, and "knee". None hides a point or another name."""

import functools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from reports.facts.costs import Cost
from reports.facts.findings import Findings
from reports.facts.rows import Row
from reports.figures.placement import Box, Points, beside
from reports.figures.style import MUTED, Mark
from reports.figures.text import extent, write
from sweep.store.printable import printable

_NEAR, _FAR = 9.0, 18.0  # pixels at 100 dpi between a point and its name
MOST = 10  # series that are named beside their points; where there are more, only the legend names them


def name_points(
    figure: Figure,
    axes: Axes,
    findings: Findings,
    *,
    cost: Cost,
    looks: Mapping[str, Mark],
    area: Box,
    obstacles: Points,
    taken: Sequence[Box],
) -> None:
    """Writes the names into a figure whose size and axes are final, where there is space.

    A name lies in `area`, on none of `obstacles` and in none of the boxes `taken`.
    """
    free = functools.partial(beside, area=area, obstacles=obstacles, taken=(filled := list(taken)))

    def name(rows: Sequence[Row], words: str, colour: ColorType) -> None:
        text = write(figure, words, size=8.4, weight="bold", colour=colour)
        width, height = extent(figure, text)
        own = axes.transData.transform([(cost.of(row), row.candidate.mean_error) for row in rows])
        box = free(width, height, own=own, away=_NEAR) or free(width, height, own=own, away=_FAR)
        if box is None:
            text.remove()
            return
        filled.append(box)
        text.set_position((box.left / figure.dpi, (box.bottom + box.height) / figure.dpi))

    knee = findings.knees.get(cost.key)
    if knee is not None and not knee.picked:
        name([knee], "knee", MUTED)
    for series, look in looks.items() if len(looks) <= MOST else ():
        rows = [row for row in findings.rows if row.series == series]
        rows.sort(key=lambda row: (cost.key not in row.fronts, -cost.of(row)))
        name(rows, printable(series, most=28), _darker(look.colour))


def _darker(colour: str) -> tuple[float, float, float]:
    """The colour, dark enough for text on white."""
    red, green, blue = (0.72 * part for part in to_rgb(colour))
    return red, green, blue
