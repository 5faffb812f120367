"""What stands around the plots of a comparison: title, legend and footer; and the colours of the families."""

import textwrap
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from reports.compare.comparison import Comparison
from reports.facts.numbers import count
from reports.figures.front import LEFT, WIDTH
from reports.figures.legend import fitted
from reports.figures.scales import Window
from reports.figures.style import MUTED, Mark, marks
from sweep.store.printable import printable

_TOP = 0.62  # inches above the plots


def looks_of(comparison: Comparison) -> dict[str, Mark]:
    """Family -> its colour in the reports of the first sweep, and its shape."""
    families = comparison.families
    return marks(dict(zip(families, families, strict=True)), families=families, size=6.5)


def level_names(comparison: Comparison) -> list[tuple[float, str, str]]:
    """The error, name and colour of the level lines that are named: the reference's and the target's."""
    levels = [comparison.levels[0], *(level for level in comparison.levels[1:] if "target" in level.name)]
    told = comparison.units.bare.error
    return [(level.error, f"{level.name.split(', ')[-1]}\n{told(level.error)}", MUTED) for level in levels]


def footer(comparison: Comparison, *, error: Window, apart: str) -> str:
    """What is drawn, and the hypervolumes, wrapped. `apart` says how sides are told apart, and ends with the fronts."""
    (size, corner), units = comparison.corner, comparison.units
    names = [printable(name, most=44) for name in comparison.short_names]
    volumes = (f"{name} {volume:.3f}" for name, volume in zip(names, comparison.hypervolumes, strict=True))
    notes = [printable(note, most=200) for note in comparison.notes]
    said = [
        f"{units.definition(comparison.sides[0].reference.val.n)} A point is one configuration: the mean over its "
        f"fresh seeds, with a bar from the least of all seeds to the largest, in its family's colour. {apart}; pale "
        "points are on no front; a star is a reference. Size is that of the exported file (1\u00a0kB = "
        f"1000\u00a0bytes). Dotted: the {units.nouns} at which sizes are compared. Hypervolume, the area below "
        f"{count(size)} bytes and {units.noun} {units.error(corner)}, in decades of bytes times {units.step}: "
        f"{'; '.join(volumes)}."
    ]
    if comparison.points:
        others = "; ".join(f"{point.letter} {printable(point.name, most=60)}" for point in comparison.points)
        said.append(f"Diamonds are of others: {others}.")
    beyond = sum(c.mean_error > (error.bend or error.high) for side in comparison.sides for c in side.found)
    if beyond:
        said.append(f"Points where the scale is compressed: {count(beyond)}.")
    return "\n".join(textwrap.wrap(" ".join([*said, *notes]), width=150))


def draw_frame(
    figure: Figure, comparison: Comparison, *, looks: Mapping[str, Mark], footer: str, inside: float
) -> float:
    """Makes the figure as high as its plots, legend and footer need, and writes title, legend and footer.

    Returns where the plots, `inside` inches high, begin: inches above the figure's lower edge.
    """
    handles = [Patch(facecolor=look.colour, label=family) for family, look in looks.items()]
    legend, tall = fitted(figure, handles, width=WIDTH - LEFT - 0.1) if handles else (None, 0.0)
    bottom = 0.78 + tall + 0.145 * (footer.count("\n") + 1)
    height = _TOP + inside + bottom
    figure.set_size_inches(WIDTH, height)
    if legend is not None:
        legend.set_bbox_to_anchor((LEFT / WIDTH, (bottom - 0.58) / height), transform=figure.transFigure)
    figure.text(LEFT / WIDTH, 0.1 / height, footer, fontsize=7.6, color=MUTED, va="bottom", linespacing=1.35)
    studies = " and ".join(sorted({side.study for side in comparison.sides}))
    title = f"Fronts compared: {printable(studies, most=60)}"
    figure.text(LEFT / WIDTH, 1 - 0.3 / height, title, fontsize=12.5, fontweight="bold", va="baseline")
    words = "lower and farther left is better"
    figure.text(LEFT / WIDTH, 1 - 0.5 / height, words, fontsize=9, color=MUTED, va="baseline")
    return bottom
