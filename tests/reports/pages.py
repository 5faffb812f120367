"""A sweep's page without the report's figures, which take most of its time."""

from pathlib import Path

from reports.facts.diagnostics import read_curves
from reports.facts.findings import Findings, read_findings
from reports.page.curves import curve_scripts
from reports.page.html import render
from sweep.criteria import Target
from sweep.pick.choice import By
from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder


def write_page(folder: Path, *, target: Target | None = None, by: By = "bytes") -> Findings:
    """Writes report/index.html and report/curves/, as write_report does; what the page says."""
    findings = read_findings(folder, target=target, by=by)
    files = SweepFolder(folder)
    scripts = curve_scripts(read_curves(files, (job for row in findings.rows for job in row.candidate.ids)))
    for start, content in scripts.items():
        write_whole(files.report / "curves" / f"{start}.js", content)
    write_whole(files.report / "index.html", render(findings, curves=scripts))
    return findings
