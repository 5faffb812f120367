"""What the layers of a model consist of, a line each: weights kept, ranks, bits, and values over the reference's."""

import textwrap
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports.facts.diagnostics import Layer
from reports.facts.numbers import count, counted
from reports.facts.rows import Row
from reports.facts.units import Units, capital
from reports.figures.style import CARD, GRID, INK, MUTED, Mark, settings
from sweep.store.printable import printable

MOST = 24  # layers that are drawn
WIDTH, TALL, TOP, FOOT = 9.6, 0.62, 0.85, 0.86  # inches; TALL a layer, WIDTH at least
LEFT, WIDE, GAP = 1.75, 1.3, 0.4  # of the columns of bars
VALUES = 2.6  # inches of the values, at least
FULL_BITS = 32
NAME = 24  # characters


def draw_layers(row: Row, layers: Sequence[Layer], *, look: Mark, units: Units) -> Figure:
    """The figure of one model's layers. `units` writes the error with one layer compressed, where that was measured."""
    drawn = _largest(layers)
    columns = _columns(drawn, units)
    width = max(WIDTH, LEFT + len(columns) * (WIDE + GAP) + VALUES + 0.15)
    height = TOP + TALL * len(drawn) + FOOT
    with settings():
        figure = Figure(figsize=(width, height), dpi=100, facecolor=CARD)
        FigureCanvasAgg(figure)

        def panel(left: float, wide: float, bottom: float, tall: float, name: str) -> Axes:
            return figure.add_axes((left / width, bottom / height, wide / width, tall / height), label=name)

        left = LEFT
        for title, share, words in columns:
            axes = panel(left, WIDE, FOOT, TALL * len(drawn), title)
            _draw_bars(axes, drawn, title=title, share=share, words=words, colour=look.colour)
            if left == LEFT:
                axes.set_yticks(range(len(drawn)), [_name(layer) for layer in drawn], fontsize=8.3)
            left += WIDE + GAP
        for place, layer in enumerate(drawn):
            bottom = FOOT + TALL * (len(drawn) - 1 - place)
            axes = panel(left, width - left - 0.15, bottom + 0.17, TALL - 0.2, f"values of {layer.name}")
            _draw_values(axes, layer, colour=look.colour)
        words = "values, over the reference's weights"
        figure.text(left / width, 1 - (TOP - 0.12) / height, words, fontsize=9.2, va="baseline")
        title = f"{row.series}: {printable(row.candidate.label, most=60)}"
        figure.text(0.15 / width, 1 - 0.35 / height, title, fontsize=12, fontweight="bold", va="baseline")
        figure.text(
            0.15 / width,
            0.1 / height,
            _footer(drawn, layers, units),
            fontsize=7.6,
            color=MUTED,
            va="bottom",
            linespacing=1.35,
        )
    return figure


def _largest(layers: Sequence[Layer]) -> list[Layer]:
    """The MOST largest layers, in the order of the model."""
    ranked = sorted(range(len(layers)), key=lambda place: -_weights(layers[place]))
    return [layers[place] for place in sorted(ranked[:MOST])]


def _weights(layer: Layer) -> int:
    return int(np.prod(layer.shape, dtype=object))


def _name(layer: Layer) -> str:
    """The layer's name and shape. Of a long name the end, since the names of many layers begin alike."""
    shape = "\u00d7".join(map(str, layer.shape))
    name = layer.name if len(layer.name) <= NAME else layer.name.removesuffix(".weight")
    return f"{printable(name[::-1], most=NAME)[::-1]}\n{shape}"


def _kept(layer: Layer) -> tuple[float, str]:
    share = layer.kept / max(_weights(layer), 1)
    return share, f"{100 * share:.3g} %"


def _rank(layer: Layer) -> tuple[float, str]:
    ranks = layer.ranks
    if not ranks:
        return 0.0, "\u2013"
    n, m = layer.shape[0], max(_weights(layer) // max(layer.shape[0], 1), 1)
    return min(max(ranks) / min(n, m), 1.0), f"{', '.join(map(str, ranks))} of {min(n, m)}"


def _bits(layer: Layer) -> tuple[float, str]:
    return min(layer.bits / FULL_BITS, 1.0), f"{layer.bits:.3g}"


def _columns(layers: Sequence[Layer], units: Units) -> list[tuple[str, Callable[[Layer], tuple[float, str]], str]]:
    """Of each column of bars: its title, the share and the number of a layer, and what the whole bar is."""
    columns: list[tuple[str, Callable[[Layer], tuple[float, str]], str]] = [("weights kept", _kept, "of all")]
    if any(layer.ranks for layer in layers):
        columns.append(("rank", _rank, "of full rank"))
    columns.append(("bits a weight", _bits, "of 32"))
    rises = [_rise(layer) for layer in layers]
    most = max(rises)
    if any(layer.alone is not None for layer in layers):

        def alone(layer: Layer) -> tuple[float, str]:
            told = "\u2013" if layer.alone is None else units.bare.error(layer.alone)
            return max(_rise(layer), 0.0) / most if most > 0 else 0.0, told

        columns.append((f"{units.noun} alone", alone, f"{'rise' if units.rises else 'drop'}, of the largest"))
    return columns


def _rise(layer: Layer) -> float:
    """By how much the error rises when only this layer is compressed; 0 where that was not measured."""
    return 0.0 if layer.alone is None or layer.alone_reference is None else layer.alone - layer.alone_reference


def _draw_bars(
    axes: Axes,
    layers: Sequence[Layer],
    *,
    title: str,
    share: Callable[[Layer], tuple[float, str]],
    words: str,
    colour: str,
) -> None:
    """Draws a bar from 0 to the whole for each layer, with its number."""
    places = range(len(layers))
    shares = [share(layer) for layer in layers]
    axes.barh(places, [1.0] * len(layers), color=GRID, height=0.36)
    axes.barh(places, [part for part, _ in shares], color=colour, height=0.36, gid=title)
    for place, (_, number) in zip(places, shares, strict=True):
        axes.annotate(
            number, (0, place), xytext=(1, 9.5), textcoords="offset points", va="bottom", fontsize=8.3, color=INK
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(len(layers) - 0.45, -0.62)
    axes.set_title(title, fontsize=9.2, loc="left", pad=7)
    axes.set_xlabel(words, fontsize=7.8, color=MUTED, loc="left", labelpad=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0)
    for side in ("top", "right", "bottom", "left"):
        axes.spines[side].set_visible(False)


def _draw_values(axes: Axes, layer: Layer, *, colour: str) -> None:
    """Draws the histogram of the reference's weights, and the layer's values as stems. Heights are roots of counts."""
    values = layer.values
    edges = np.linspace(layer.low, layer.high, len(layer.counts) + 1)
    heights = np.sqrt(np.array(layer.counts, dtype=np.float64))
    axes.stairs(heights / max(heights.max(), 1e-9), edges, fill=True, color=MUTED, alpha=0.38, gid="histogram")
    low, high = float(edges[0]), float(edges[-1])
    if values:
        most = max(times for _, times in values)
        xs = [value for value, _ in values]
        axes.vlines(
            xs, 0, [max((times / most) ** 0.5, 0.08) for _, times in values], color=colour, linewidth=1.4, gid="values"
        )
        low, high = min(low, *xs), max(high, *xs)
    else:
        axes.text(0.995, 0.95, "many values", transform=axes.transAxes, ha="right", va="top", fontsize=7.6, color=MUTED)
    chosen = printable(layer.chosen, most=60)
    axes.text(0.005, 0.95, chosen, transform=axes.transAxes, va="top", fontsize=7.6, color=INK)
    margin = 0.03 * (high - low)
    axes.set_xlim(low - margin, high + margin)
    axes.set_ylim(0, 1.12 if values and not chosen else 1.45)  # words are above what is drawn
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="x", labelsize=7, length=2, pad=1.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _footer(drawn: Sequence[Layer], layers: Sequence[Layer], units: Units) -> str:
    said = (
        "Kept: weights that are not zero. Bits: storage for each weight before zstd, averaged over layers that share a "
        "codebook or a mask. Grey: the reference's weights. Stems: the compressed layer's values, where they are 64 "
        "or fewer. Heights are square roots of counts."
    )
    measured = next((layer for layer in drawn if layer.alone is not None), None)
    if measured is not None and measured.alone_reference is not None:
        said += (
            f" {capital(units.noun)} alone: the validation {units.noun} when only this layer is compressed so, without "
            f"training; the reference has {units.error(measured.alone_reference)} on the same "
            f"{count(measured.alone_n)} examples."
        )
    left_out = len(layers) - len(drawn)
    said += f" {counted(left_out, 'smaller layer')} not drawn, of {count(len(layers))}." if left_out else ""
    return "\n".join(textwrap.wrap(said, width=150))
