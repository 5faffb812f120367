"""`lcsweep compare`: the fronts of several sweeps, or methods, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from sweep.cli.console import DONE, Json, UsageError, show
from sweep.cli.target_options import with_target
from sweep.cli.text import table
from sweep.target import Target


@with_target
def compare(
    sweeps: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR[:PART]...",
            help="Sweeps' folders. PART is a method (lc, dc, ...) or a family as reports name it. A sweep has the "
            "methods with which lcsweep run STUDY --method ran. One folder alone, or one family of it: its methods.",
        ),
    ],
    target: Target | None = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write compare.md, .png, .svg and .pdf there.")
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV",
            help="Models of others, to show beside the fronts: a file with the columns name, bytes, error (0.02 for "
            "2 %) and source.",
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Compare the fronts of several sweeps, or of the methods of one.

    Prints each front's hypervolume, and each sweep's smallest model at several validation errors: that of the first
    sweep's reference, some points more, and the target. The sweeps must have the same data; all else may differ. For
    methods of one study, also the error at each level, the cost, and a paired test against the first.
    """
    from reports.compare import page as compare_page
    from reports.compare.comparison import compare as compare_sweeps
    from reports.compare.methods import sides_of_methods
    from reports.compare.points import read_points
    from reports.compare.summary import summary

    alone = sweeps[0]
    sweeps = sides_of_methods(alone) if len(sweeps) == 1 else sweeps
    if len(sweeps) < 2:
        raise UsageError(
            f"compare: expected two sweeps or more, got {alone} alone, with one method; lcsweep run STUDY --method dc "
            "adds dc, direct compression; to name a part: DIR:PART"
        )
    others = () if points is None else read_points(points)
    comparison = compare_sweeps(sweeps, target=target, points=others)
    paths = {} if out is None else compare_page.write_comparison(comparison, out)
    parts = [table(each.lines, right=set(each.right)) for each in compare_page.tables(comparison)]
    parts.append("\n".join(compare_page.meanings(comparison)))
    if paths:
        parts.append(f"page: {paths['md']}; figure: {paths['png']}, also .svg and .pdf")
    words = "\n\n".join(parts).replace("\u00a0", " ")
    show(summary(comparison) | {"paths": paths}, words, as_json=as_json)
    return DONE
