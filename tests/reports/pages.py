"""A sweep's page without the report's figures, which take most of its time."""

from collections.abc import Collection
from pathlib import Path

from reports.facts.diagnostics import read_diagnostics
from reports.facts.findings import Findings, read_findings
from reports.page.curves import curve_scripts
from reports.page.html import render
from sweep.pick.choice import By
from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.target import Target


def write_page(
    folder: Path, *, target: Target | None = None, by: By = "bytes", figures: Collection[str] = ()
) -> Findings:
    """Writes report/index.html and report/curves/, as write_report does; what the page says. It links `figures`."""
    findings = read_findings(folder, target=target, by=by)
    files = SweepFolder(folder)
    scripts = curve_scripts(*read_diagnostics(files, findings.job_ids, exported=findings.exported))
    for start, content in scripts.items():
        write_whole(files.report / "curves" / f"{start}.js", content)
    write_whole(files.report / "index.html", render(findings, curves=scripts, figures=figures))
    return findings
