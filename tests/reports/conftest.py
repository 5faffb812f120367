"""Sweep folders and what is drawn of them, for the report's tests."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

import reports
from reports.facts.findings import Findings, read_findings
from reports.figures.front import draw_front
from sweep.pick.choice import By
from sweep.store.metric import ACCURACY, Metric
from tests.reports import synthetic

MakeSweep = Callable[..., Path]

FAILURE = synthetic.failed(
    synthetic.Point("prune", {"keep": 0.001}, 100, 0.5, None),
    message="expected a finite loss, got nan <b>bold</b>",
    trace='Traceback (most recent call last):\n  File "<study>", line 1\nValueError: <i>nan</i>',
)


def make_in(
    folder: Path,
    points: list[synthetic.Point],
    *,
    seeds: int = 1,
    target: dict[str, float] | None = None,
    failures: tuple[dict[str, object], ...] = (),
    study: str = "digits_mlp",
    metric: Metric = ACCURACY,
) -> Path:
    """Writes a sweep of these points, one record for each point and seed; its folder."""
    records = synthetic.records(points, seeds=seeds)
    return synthetic.write_sweep(folder, [*records, *failures], target=target, study=study, metric=metric)


@pytest.fixture
def make_sweep(tmp_path: Path) -> MakeSweep:
    """`make_in` in a folder of the test's own."""

    def make(points: list[synthetic.Point], **options: Any) -> Path:
        return make_in(tmp_path / "runs" / "sweep", points, **options)

    return make


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A sweep with its report, written once, in all formats, and the summary. No test changes it."""
    options: dict[str, Any] = {"target": {"max_drop": 0.01}, "failures": (FAILURE,)}
    folder = make_in(tmp_path_factory.mktemp("written") / "sweep", synthetic.grid(), **options)
    return folder, reports.write_report(folder)


@pytest.fixture
def svg_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports write SVG files only, the fastest format."""
    monkeypatch.setattr(reports, "FORMATS", ("svg",))


@dataclass(frozen=True)
class Drawn:
    """A sweep and its Pareto figures, by cost."""

    findings: Findings
    by: dict[By, Figure]


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A sweep with two seeds for each configuration, drawn once. No test changes it."""
    folder = make_in(tmp_path_factory.mktemp("drawn") / "sweep", synthetic.grid(), seeds=2, target={"max_drop": 0.01})
    findings = read_findings(folder, target=None, by="bytes")
    figures: dict[By, Figure] = {"bytes": draw_front(findings), "macs": draw_front(findings, by="macs")}
    for figure in figures.values():
        figure.draw_without_rendering()
    return Drawn(findings, figures)
