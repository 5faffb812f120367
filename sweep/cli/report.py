"""`lcsweep report`: the front of a sweep as a page, as Markdown, or its records as a table."""

from typing import Annotated, Literal

import typer

from sweep.cli.console import DONE, Folder, Json, show
from sweep.cli.target_options import with_target
from sweep.cli.text import table
from sweep.pick.choice import By
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.target import Target


@with_target
def report(
    folder: Folder,
    target: Target | None = None,
    by: Annotated[By, typer.Option(help="What the pick in the report minimises.")] = "bytes",
    format: Annotated[
        Literal["html", "md", "csv", "parquet", "json"],
        typer.Option(
            help="html: a page; md: Markdown and a figure for a pull request; the rest: one row for each job."
        ),
    ] = "html",
    as_json: Json = False,
) -> int:
    """Write a report with the Pareto front.

    Writes DIR/report/index.html and the figures as .png, .svg and .pdf. With --format md it writes report.md and
    front.png there; with csv, parquet or json it writes the records (docs/records.md explains the columns).
    """
    root = remote.local(folder)
    manifest = read_manifest(root)
    target = target or manifest.target
    if target is not None:
        target.check(manifest.metric)
    match format:
        case "html":
            from reports import write_report

            summary = write_report(root, target=target, by=by, place=folder)
            paths = summary["paths"]
            drawn = f"{paths['png']}, also .svg and .pdf" if "png" in paths else "none: no configuration is done"
            words = table([("page", paths["html"]), ("figure", drawn)], right=set())
        case "md":
            from reports.digest import write_digest

            summary = write_digest(root, target=target, by=by, place=folder)
            paths = summary["paths"]
            beside = (
                f"with {paths['png']} beside it" if "png" in paths else "without a figure: no configuration is done"
            )
            words = f"page: {paths['md']}, {beside}"
        case _:
            from reports.exports import export_records

            summary = export_records(root, format=format)
            words = f"records: {summary['path']}, {summary['rows']:,} rows of {len(summary['columns'])} columns"
    show(summary, words, as_json=as_json)
    remote.put_back(folder, SweepFolder(root).report)
    return DONE
