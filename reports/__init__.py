"""Reports of a sweep: the Pareto figure and one page. Reads a sweep's files, trains nothing, and needs no torch."""

from pathlib import Path
from typing import Any

from reports.figures import FORMATS, draw_front, encode
from reports.findings import Findings, read_findings
from reports.html import render
from sweep.pick import By, Target
from sweep.store import SweepFolder, write_whole

__all__ = ["write_report"]


def write_report(folder: Path, *, target: Target | None = None, by: By = "bytes") -> dict[str, Any]:
    """Writes `report/` into a sweep's folder: index.html, front.png, front.svg, front.pdf; a summary for JSON.

    `target` None takes the sweep's own, if it has one; `by` says what the pick is smallest in, "bytes" or "macs". Each
    file appears whole, by a rename. The same records give the same bytes. ValueError when the folder is no sweep, or
    cannot be written.
    """
    if by not in ("bytes", "macs"):
        raise ValueError(f"expected by to be 'bytes' or 'macs', got {by!r}; choose one of them")
    findings = read_findings(folder, target=target, by=by)
    figure = draw_front(findings)
    contents = {f"front.{name}": encode(figure, format=name) for name in FORMATS}
    contents["index.html"] = render(findings, svg=contents["front.svg"]).encode("utf-8", "replace")
    for name, content in contents.items():
        _publish(SweepFolder(folder).report / name, content)
    return _summary(findings, sizes={name: len(content) for name, content in contents.items()})


def _publish(path: Path, content: bytes) -> None:
    """The content at `path`, whole or not at all."""
    try:
        write_whole(path, content)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror}); expected a folder that you may write to"
        ) from error


def _summary(findings: Findings, *, sizes: dict[str, int]) -> dict[str, Any]:
    report = SweepFolder(Path(findings.folder)).report
    names = {"html": "index.html", "png": "front.png", "svg": "front.svg", "pdf": "front.pdf"}
    return {
        "study": findings.study,
        "paths": {kind: str(report / name) for kind, name in names.items()},
        "file_bytes": {kind: sizes[name] for kind, name in names.items()},
        "jobs": {"done": findings.jobs_done, "failed": len(findings.failures)},
        "candidates": len(findings.rows),
        "front": [row.candidate.shipped for row in findings.rows if row.on_front],
        "threshold": findings.threshold,
        "choice": _choice(findings),
    }


def _choice(findings: Findings) -> dict[str, Any] | None:
    """The pick as plain values; None when there is no target or no candidate."""
    row, choice = findings.pick, findings.choice
    if row is None or choice is None:
        return None
    return {
        "id": row.candidate.shipped,
        "family": row.candidate.family,
        "configuration": dict(row.candidate.configuration),
        "method": row.candidate.method,
        "by": choice.by,
        "feasible": choice.feasible,
        "shortfall": choice.shortfall,
        "artifact_bytes": row.candidate.artifact_bytes,
        "compression_ratio": row.compression_ratio,
        "macs": row.candidate.macs,
        "val": {"accuracy": row.shipped_accuracy, "low": row.low, "high": row.high, "n": row.n},
    }
