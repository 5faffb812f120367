"""Draws the fronts of `benchmarks/budget.py`: test error against bytes of each uniform family, and of the budget.

    python benchmarks/budget_fronts.py runs/budget docs/budget_fronts.svg

A panel for each of the results' networks. A level stands on a family's front where no smaller file of the family has
less validation error; drawn is its test error, the mean over seeds, for the budget with the range. "chosen once" is the
way of automatic mixed precision.
"""

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from budget import BENCHES, Result, by_level, results_of
from reports.figures.style import GRID, INK, MUTED, SERIES, SHAPES, settings

TITLES = {
    "digits": "Digits MLP",
    "lenet300": "LeNet300, MNIST",
    "lenet5": "LeNet5, MNIST",
    "resnet20": "ResNet20, CIFAR-10",
}
WAYS = {"budget": "bytes budget", "fisher": "Fisher, chosen once"}
FAMILIES = tuple(dict.fromkeys(family for bench in BENCHES.values() for family in bench.levels))
LOOKS: dict[str, Any] = {
    family: {"color": SERIES[place], "marker": SHAPES[place], "markersize": 4.5, "linewidth": 1.1}
    for place, family in enumerate(FAMILIES)
}
LOOKS |= {
    "budget": {"color": INK, "marker": "X", "markersize": 6, "linewidth": 2, "zorder": 3},
    "fisher": {"color": MUTED, "marker": "P", "markersize": 5, "linewidth": 1.1, "linestyle": "--"},
}


@dataclass(frozen=True)
class Point:
    """A level: mean bytes and validation error, and the test errors of its seeds in percent."""

    bytes: float
    val: float
    tests: tuple[float, ...]


def points(results: Sequence[Result]) -> dict[str, list[Point]]:
    """Family -> its levels, from the smallest file on."""
    found: dict[str, list[Point]] = defaultdict(list)
    for (family, _), seeds in by_level(results).items():
        found[family].append(_point(seeds))
    return {family: sorted(levels, key=lambda point: point.bytes) for family, levels in found.items()}


def _point(results: Sequence[Result]) -> Point:
    return Point(
        statistics.mean(result.bytes for result in results),
        statistics.mean(result.val_error for result in results),
        tuple(100 * result.test_error for result in results),
    )


def front(levels: Sequence[Point]) -> Iterator[Point]:
    """The levels that no smaller file of less validation error makes useless."""
    least = math.inf
    for point in levels:
        if point.val < least:
            least = point.val
            yield point


def draw(axes: Axes, name: str, results: Sequence[Result]) -> None:
    """Draws a panel."""
    found = points(results)
    for family in (*BENCHES[name].levels, *WAYS):
        shown = list(front(found.get(family, ())))
        sizes, means = [point.bytes for point in shown], [statistics.mean(point.tests) for point in shown]
        axes.plot(sizes, means, label=WAYS.get(family, family), **LOOKS[family])
        if family == "budget":
            axes.vlines(sizes, [min(p.tests) for p in shown], [max(p.tests) for p in shown], color=INK, linewidth=1)
    own = [statistics.mean(point.tests) for point in found["budget"]]
    axes.set_xscale("log")
    axes.set_ylim(0.8 * min(own), 1.35 * max(own))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(color=GRID, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(TITLES[name], fontsize=10)
    axes.set_xlabel("file, kB (log scale)")


def main(folder: Path, out: Path) -> None:
    """Reads the results in `folder` and writes the figure."""
    results = {name: found for name in BENCHES if (found := results_of(name, folder))}
    with settings():
        figure, panels = pyplot.subplots(
            1, len(results), figsize=(3.9 * len(results), 4), squeeze=False, layout="constrained"
        )
        for axes, (name, found) in zip(panels[0], results.items(), strict=True):
            draw(axes, name, found)
        panels[0][0].set_ylabel("test error, % (mean over seeds)")
        labels = {
            text: line for axes in panels[0] for line, text in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(labels.values(), labels, loc="outside lower center", ncols=4, frameon=False)
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the --out of benchmarks/budget.py")
    parser.add_argument("out", type=Path, help="an SVG, PNG or PDF file")
    given = parser.parse_args()
    main(given.folder, given.out)
