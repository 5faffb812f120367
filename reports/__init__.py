"""Reports of a sweep: the Pareto figures and one page. Reads a sweep's files, trains nothing, and needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from matplotlib.figure import Figure

from reports.facts.costs import costs_of
from reports.facts.diagnostics import Curves, Layer, read_diagnostics
from reports.facts.findings import Findings, read_findings
from reports.figures.formats import FORMATS, encode
from reports.figures.front import draw_front
from reports.figures.layers import draw_layers
from reports.figures.progress import draw_progress
from reports.figures.run import draw_run
from reports.figures.style import marks
from reports.page.curves import curve_scripts
from reports.page.html import render
from sweep.pick.choice import By, shortfall
from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.target import Target

__all__ = ["write_report"]


def write_report(
    folder: Path, *, target: Target | None = None, by: By = "bytes", place: str | None = None
) -> dict[str, Any]:
    """Writes a sweep's report into its folder `report/`, and returns a summary for JSON.

    It writes index.html, `curves/` with scripts that the page loads, and, where there is a candidate, figures, each as
    .png, .svg and .pdf:

    - front, macs, latency: error against bytes, MACs and latency (where that was measured)
    - progress: the sweep, job by job
    - run, layers: the pick over its LC steps, and what its layers consist of (where there is a pick)

    Each file appears whole, by a rename. The same records give the same bytes.

    Args:
        folder: of the sweep.
        target: of the choice; None takes the study's own, if it has one.
        by: the cost that the choice minimises.
        place: the sweep's URL, where `folder` mirrors it: the page's commands name it.

    Raises:
        ValueError: the folder is no sweep, or cannot be written, or no latency was measured to choose by.
    """
    if by not in get_args(By):
        raise ValueError(f"expected by to be one of {', '.join(get_args(By))}, got {by!r}")
    files = SweepFolder(folder)
    findings = read_findings(folder, target=target, by=by, place=place)
    curves, layers = read_diagnostics(files, findings.job_ids, exported=findings.exported)
    scripts = curve_scripts(curves, layers)
    figures = _figures(findings, curves, layers)
    contents = {f"{name}.{format}": encode(figures[name], format=format) for name in figures for format in FORMATS}
    contents["index.html"] = render(findings, curves=scripts, figures=figures).encode("utf-8", "replace")
    for start, script in scripts.items():
        _publish(files.report / "curves" / f"{start}.js", script)
    for name, content in contents.items():
        _publish(files.report / name, content)
    return _summary(findings, files.report, sizes={name: len(content) for name, content in contents.items()})


def _figures(
    findings: Findings, curves: Mapping[str, Curves], layers: Mapping[str, Sequence[Layer]]
) -> dict[str, Figure]:
    """Every figure of the report by the name of its files; none where there is no candidate to draw."""
    if not findings.rows:
        return {}
    names = {"bytes": "front"}
    figures = {names.get(cost.key, cost.key): draw_front(findings, by=cost.key) for cost in costs_of(findings.rows)}
    figures["progress"] = draw_progress(findings)
    if findings.pick is not None:
        look = marks(findings.series, families=findings.families, size=7.0)[findings.pick.series]
        of_pick = {job: curves[job] for job in findings.pick.candidate.ids if job in curves}
        if of_pick:
            figures["run"] = draw_run(findings.pick, of_pick, units=findings.units, look=look)
        consists = layers[findings.pick.candidate.best_id]
        if consists:
            figures["layers"] = draw_layers(findings.pick, consists, look=look, units=findings.units)
    return figures


def _publish(path: Path, content: bytes) -> None:
    """Writes the content to `path`, whole or not at all. A file that has it already stays, as most curves do."""
    try:
        if not (path.is_file() and path.read_bytes() == content):
            write_whole(path, content)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror}); expected a folder that you may write to"
        ) from error


def _summary(findings: Findings, report: Path, *, sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "study": findings.manifest.study,
        "paths": {_kind(name): str(report / name) for name in sizes},
        "file_bytes": {_kind(name): size for name, size in sizes.items()},
        "jobs": {"done": len(findings.jobs), "failed": len(findings.failures)},
        "candidates": len(findings.rows),
        "front": [row.candidate.best_id for row in findings.rows if row.on_front],
        "threshold": findings.threshold,
        "choice": _choice(findings),
    }


def _choice(findings: Findings) -> dict[str, Any] | None:
    """The choice as plain values; None without a target or candidates."""
    row, choice = findings.pick, findings.choice
    if row is None or choice is None:
        return None
    return {
        "id": row.candidate.best_id,
        "family": row.candidate.family,
        "configuration": dict(row.candidate.configuration),
        "method": row.candidate.method,
        "by": choice.by,
        "feasible": choice.feasible,
        "state": choice.state,
        "confirm": findings.confirm,
        "shortfall": shortfall(choice.margin),
        "artifact_bytes": row.candidate.artifact_bytes,
        "compression_ratio": row.compression_ratio,
        "macs": row.candidate.macs,
        "seeds": len(row.candidate.seeds),
        f"mean_{findings.manifest.metric.name}": row.candidate.mean_value,
        "val": {
            findings.manifest.metric.name: row.best.val.value,
            "low": row.best.val.low,
            "high": row.best.val.high,
            "n": row.best.val.n,
        },
    }


def _kind(name: str) -> str:
    """The name of a file in the summary: "html", "png" for the front, else figure and format, as "macs_png"."""
    return name.removeprefix("index.").removeprefix("front.").replace(".", "_")
