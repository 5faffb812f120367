"""A sweep's page without the report's figures, which take most of its time."""

from pathlib import Path

from reports.curves import curve_scripts, read_curves
from reports.findings import Findings, read_findings
from reports.html import render
from sweep.pick import By, Target
from sweep.store import SweepFolder, write_whole


def write_page(folder: Path, *, target: Target | None = None, by: By = "bytes") -> Findings:
    """Writes report/index.html and report/curves/, as write_report does; what the page says."""
    findings = read_findings(folder, target=target, by=by)
    files = SweepFolder(folder)
    scripts = curve_scripts(read_curves(files, (job for row in findings.rows for job in row.candidate.ids)))
    for start, content in scripts.items():
        write_whole(files.report / "curves" / f"{start}.js", content)
    write_whole(files.report / "index.html", render(findings, curves=scripts))
    return findings
