"""A comparison as tables, for the terminal and for Markdown, and the files that show it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reports.compare.comparison import Comparison, Level, Side
from reports.compare.figure import draw_comparison
from reports.compare.methods import are_methods, levels_shared, method_facts
from reports.facts.columns import NONE
from reports.facts.numbers import DASH, count, percent, percent_range, ratio
from reports.facts.units import Units, capital
from reports.figures.formats import FORMATS, encode
from reports.markdown import escape, table
from sweep.pick.choice import Candidate
from sweep.store.files import write_whole
from sweep.store.job import name_of


@dataclass(frozen=True)
class Table:
    """Headers and rows of cells. The columns in `right` hold numbers."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int]

    @property
    def lines(self) -> tuple[tuple[str, ...], ...]:
        """The headers, then the rows."""
        return (self.headers, *self.rows)


def write_comparison(comparison: Comparison, out: Path) -> dict[str, str]:
    """Writes compare.png, .svg, .pdf and .md into the folder `out`; returns kind -> path."""
    figure = draw_comparison(comparison)
    contents = {name: encode(figure, format=name) for name in FORMATS}
    contents["md"] = page(comparison).encode("utf-8", "replace")
    paths = {kind: out / f"compare.{kind}" for kind in contents}
    for kind, content in contents.items():
        write_whole(paths[kind], content)
    return {kind: str(path) for kind, path in paths.items()}


def page(comparison: Comparison) -> str:
    """The comparison as Markdown, beside its figure."""
    names = " and ".join(escape(side.name) for side in comparison.sides)
    parts = [
        f"### Fronts of {names}",
        f"![Validation {comparison.units.noun} against bytes, a front for each sweep](compare.png)",
        *(
            table(shown.headers, [[escape(cell) for cell in row] for row in shown.rows], right=set(shown.right))
            for shown in tables(comparison)
        ),
        *(escape(line) for line in meanings(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def tables(comparison: Comparison) -> tuple[Table, ...]:
    """All tables; those of methods where the sides are methods with jobs in common."""
    methods = (methods_table(comparison), shared_table(comparison)) if are_methods(comparison) else ()
    points = (points_table(comparison),) if comparison.points else ()
    return (sides_table(comparison), levels_table(comparison), *methods, *points)


def sides_table(comparison: Comparison) -> Table:
    """A row for each side: its candidates, its front and its hypervolume."""
    fewest, units = _fewest(comparison), comparison.units
    rows = tuple(
        (
            side.name,
            count(len(side.found)),
            _seeds(side),
            count(len(side.front)),
            count(comparison.joint[index]),
            f"{comparison.hypervolumes[index]:.3f}",
            f"{fewest[index]} of {len(comparison.levels)}",
            f"{count(side.reference.bytes)} bytes, {units.noun} {units.error(side.reference.val.error)}"
            f"{side.reference.footing}",
        )
        for index, side in enumerate(comparison.sides)
    )
    headers = ("sweep", "candidates", "seeds", "on its front", "on the joint front", "hypervolume", "smallest at")
    return Table((*headers, "reference"), rows, frozenset(range(1, 7)))


def levels_table(comparison: Comparison) -> Table:
    """A row for each level and side: the smallest model whose error is at most that of the level."""
    rows, units = [], comparison.units
    for level in comparison.levels:
        title = f"{units.error(level.error)} ({level.name})"
        for index, (side, found) in enumerate(zip(comparison.sides, level.reached, strict=True)):
            rows.append(("" if index else title, side.name, *_smallest(level, side, found, units)))
    headers = (
        f"{units.noun} at {'most' if units.rises else 'least'}",
        "sweep",
        "bytes",
        "to the first",
        "ratio",
        units.noun,
        "seeds",
        "model",
    )
    return Table(headers, tuple(rows), frozenset(range(2, 7)))


def methods_table(comparison: Comparison) -> Table:
    """A row for each method: what it costs, its hypervolume by seed, and the test against the first."""
    rows, units = [], comparison.units
    for name, facts in zip(comparison.short_names, method_facts(comparison), strict=True):
        each, paired = facts.seconds, facts.paired
        volumes = facts.hypervolumes
        row = (
            name,
            count(facts.jobs),
            f"{facts.epochs:.4g}",
            f"{each[len(each) // 2]:.1f} ({each[0]:.1f}{DASH}{each[-1]:.1f})",
            f"{min(volumes):.3f}{DASH}{max(volumes):.3f}" if volumes else NONE,
        )
        if paired is None:
            rows.append((*row, NONE, NONE, NONE, NONE))
        else:
            wins = f"{paired.better} / {paired.equal} / {paired.pairs - paired.better - paired.equal}"
            sign = "+" if paired.mean > 0 else ""
            rows.append((*row, count(paired.pairs), f"{sign}{units.change(paired.mean)}", wins, f"{paired.p:.2g}"))
    first = comparison.short_names[0]
    headers = ("method", "jobs", "epochs", "seconds a job", "hypervolume by seed", "pairs", f"worse than {first} by")
    return Table((*headers, "better / equal / worse", "p"), tuple(rows), frozenset(range(1, 9)))


def shared_table(comparison: Comparison) -> Table:
    """The error of each method at each level: equal configurations have equal bytes before coding."""
    rows, units = [], comparison.units
    for (family, label), found in levels_shared(comparison):
        errors = [None if each is None else each.errors for each in found]
        size = next(each.artifact_bytes for each in found if each is not None)
        means = [NONE if each is None else units.error(sum(each) / len(each)) for each in errors]
        ranges = [
            f" ({units.error_range(min(each), max(each))})" if each is not None and len(each) > 1 else ""
            for each in errors
        ]
        rows.append((f"{family}: {label}", count(size), *(a + b for a, b in zip(means, ranges, strict=True))))
    headers = ("level", "bytes", *comparison.short_names)
    return Table(headers, tuple(rows), frozenset(range(1, len(headers))))


def points_table(comparison: Comparison) -> Table:
    """A row for each point of others."""
    rows = tuple(
        (each.letter, each.name, count(each.bytes), comparison.units.error(each.error), each.source)
        for each in comparison.points
    )
    return Table(("point", "of others", "bytes", comparison.units.noun, "source"), rows, frozenset({2, 3}))


def meanings(comparison: Comparison) -> tuple[str, ...]:
    """What the numbers mean, then how the sides differ."""
    (size, error), units = comparison.corner, comparison.units
    n = comparison.sides[0].reference.val.n
    what, more = "Error: 1 \u2212 accuracy", f": one example is {percent(1 / n)}"
    if not units.by_error:
        what, more = f"{capital(units.noun)}: that", f"; {'lower' if units.rises else 'higher'} is better"
    return (
        f"{what} on the validation split (n {count(n)}{more}), the mean over the fresh seeds, all but the first (least "
        "to largest of all seeds). A front is the best of many results on that split, so it is a little too good.",
        f"Hypervolume: the area between a front and the point {count(size)} bytes, {units.noun} {units.error(error)}, "
        f"in decades of bytes (log10) times {units.step} of {units.noun}. Larger is better. Models beyond that point "
        "add nothing.",
        f"Smallest at: the number of {units.nouns} at which no other sweep has a smaller model. The mean must "
        "meet it; whether that is confirmed, lcsweep pick says.",
        *_meanings_of_methods(comparison),
        *_meanings_of_points(comparison),
        *comparison.notes,
    )


def _meanings_of_methods(comparison: Comparison) -> tuple[str, ...]:
    if not are_methods(comparison):
        return ()
    return (
        "Pairs: jobs of the same family, configuration and seed as the first method's. p: Wilcoxon's signed-rank test "
        "of their differences, two-sided and exact, corrected by Holm for the number of methods. Pairs of one level "
        "are alike, so that p is a guide, not a proof. Seconds are the median job's (least to largest). Beside each "
        "level, the mean is over all seeds, the first too: nothing was chosen there.",
        *_of_iterates(comparison),
    )


def _meanings_of_points(comparison: Comparison) -> Iterator[str]:
    if comparison.points:
        yield (
            "Points of others: as the file of --points has them. What their sizes count, and on which split their "
            "errors are, is what their sources say. They count in no front and no hypervolume."
        )


def _of_iterates(comparison: Comparison) -> Iterator[str]:
    """A line for iterated direct compression: whether it comes to rest or cycles."""
    for name, facts in zip(comparison.short_names, method_facts(comparison), strict=True):
        if each := facts.iterates:
            low, middle, high = each.moved[0], each.moved[len(each.moved) // 2], each.moved[-1]
            yield (
                f"{name}: of {count(each.jobs)} jobs, {each.rest} ended with the support or the codes of the step "
                f"before (at rest), {each.cycles} with those of an earlier step (a cycle), the others with neither. "
                f"The last step moved the compressed weights by {percent(middle)} ({percent_range(low, high)})."
            )


def _smallest(level: Level, side: Side, found: Candidate | None, units: Units) -> tuple[str, ...]:
    if found is None:
        best = side.best
        least = f"{'least' if units.rises else 'greatest'} {units.noun}"
        nearest = "no candidate" if best is None else f"not reached; its {least} is {units.error(best.mean_error)}"
        return (NONE, NONE, NONE, NONE, NONE, nearest)
    to_first = level.to_first(found)
    return (
        count(found.artifact_bytes),
        NONE if to_first is None else f"{to_first:.3f}",
        ratio(side.reference.bytes / found.artifact_bytes),
        units.errors(found.errors),
        count(len(found.seeds)),
        name_of(found),
    )


def _fewest(comparison: Comparison) -> list[int]:
    """For each side, the number of levels at which no other has fewer bytes."""
    counts = [0] * len(comparison.sides)
    for level in comparison.levels:
        least = min((found.artifact_bytes for found in level.reached if found), default=None)
        for index, found in enumerate(level.reached):
            counts[index] += found is not None and found.artifact_bytes == least
    return counts


def _seeds(side: Side) -> str:
    low, high = side.seeds
    return count(low) if low == high else f"{low} to {high}"
