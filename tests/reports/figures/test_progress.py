import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.facts.diagnostics import STEP, read_diagnostics
from reports.facts.findings import read_findings
from reports.figures.progress import draw_progress, hypervolumes, reasons_of, smallest_so_far
from reports.figures.run import draw_run
from reports.figures.style import marks
from sweep.store.folder import SweepFolder
from sweep.store.record import Done, Record
from tests.reports import synthetic
from tests.reports.conftest import MakeSweep


def done(size: int, error: float) -> Done:
    """The record of a job with a file of this size and this validation error."""
    made = synthetic.record(synthetic.Point("prune", {"keep": size}, size, error, None), seed=0, seeds=1, n_val=400)
    read = Record.from_json(made | {"val": synthetic.wilson(1 - error, 400)}, Path("record.json"))
    assert isinstance(read, Done)
    return read


JOBS = (done(500, 0.5), done(250, 0.5), done(600, 0.25), done(700, 0.9), done(100, 0.01))


def panel(figure: Figure, name: str) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == name)


def line(axes: Axes, gid: str) -> np.ndarray:
    return next(np.asarray(drawn.get_xydata()) for drawn in axes.get_lines() if drawn.get_gid() == gid)


def test_hypervolume_is_the_area_under_the_front_so_far() -> None:
    shares = hypervolumes(JOBS, box=(1000.0, 1.0))
    assert shares == pytest.approx([0.25, 0.375, 0.475, 0.475, 0.9 * 0.99])
    assert hypervolumes((), box=(1.0, 1.0)) == []


def test_the_smallest_so_far_meets_the_target_itself() -> None:
    sizes = smallest_so_far(JOBS, threshold=0.5)
    assert sizes == [500, 250, 250, 250, 100]
    first = smallest_so_far(JOBS, threshold=0.75)
    assert math.isnan(first[0])
    assert math.isnan(first[1])
    assert first[2:] == [600, 600, 100]


def test_progress_goes_by_the_time_at_which_jobs_finished(tmp_path: Path) -> None:
    records = [synthetic.record(point, seed=0, seeds=1, n_val=359) for point in synthetic.grid()[:9]]
    for place, record in enumerate(reversed(records)):
        record["finished"] = f"2026-03-01T12:00:{place:02}+00:00"
    failed = [synthetic.failed(point, message="no luck", trace="") for point in synthetic.grid()[9:12]]
    synthetic.write_sweep(tmp_path, [*records, *failed], target={"max_drop": 0.05})
    synthetic.write_searches(tmp_path)
    findings = read_findings(tmp_path, target=None, by="bytes")
    assert [job.id for job in findings.jobs] == [record["id"] for record in reversed(records)]
    found = [(reason.split(":")[0], number) for reason, number, _ in reasons_of(findings)]
    assert found == [("skipped", 261), ("skipped", 92), ("failed", 3)]
    figure = draw_progress(findings)
    shares = line(panel(figure, "hypervolume"), "hypervolume")[:, 1]
    assert len(shares) == 9
    assert (np.diff(shares) >= 0).all()
    assert findings.threshold is not None
    least = min(r["artifact_bytes"] for r in records if r["val"]["accuracy"] >= findings.threshold)
    smallest = panel(figure, "smallest")
    assert line(smallest, "smallest")[-1, 1] == least
    low, high = smallest.get_ylim()
    shown = [int(label.get_text().replace(",", "")) for label in smallest.get_yticklabels()]
    assert len(shown) >= 2
    assert all(low <= tick <= high for tick in shown)
    assert [round(bar.get_width()) for bar in panel(figure, "reasons").patches] == [261, 92, 3]
    assert_apart(figure)


def test_progress_without_a_target_says_so(make_sweep: MakeSweep) -> None:
    figure = draw_progress(read_findings(make_sweep(synthetic.grid()), target=None, by="bytes"))
    assert [text.get_text() for text in panel(figure, "smallest").texts] == ["the sweep has no target"]
    assert len(figure.axes) == 2


def test_a_run_is_drawn_as_it_was_a_line_for_each_seed(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid()[:1], seeds=3, target={"max_drop": 0.5})
    findings = read_findings(folder, target=None, by="bytes")
    assert findings.pick is not None
    jobs = findings.pick.candidate.ids[:2]
    for job in jobs:
        synthetic.write_diagnostics(folder, job)
        path = SweepFolder(folder).diagnostics(job)
        written = json.loads(path.read_text())
        for step in written["steps"][1::2]:
            step["val_error"] = None  # not measured
        path.write_text(json.dumps(written))
    curves, _ = read_diagnostics(SweepFolder(folder), findings.pick.candidate.ids, exported=())
    assert tuple(curves) == jobs
    look = marks(findings.series, families=findings.families, size=7.0)[findings.pick.series]
    figure = draw_run(findings.pick, curves, units=findings.units, look=look)
    for name in ("val_error", "loss", "gap"):
        columns = dict(zip(STEP, curves[jobs[1]], strict=True))
        drawn = line(panel(figure, name), jobs[1])
        scale = 100 if name == "val_error" else 1
        pairs = zip(columns["step"], columns[name], strict=True)
        known = [(step, scale * value) for step, value in pairs if value is not None]
        assert len(known) == {"val_error": 6, "loss": 10, "gap": 11}[name]
        np.testing.assert_allclose(drawn, known)
        dotted = name == "val_error"  # its line leads from one measured step to the next
        assert {each.get_marker() for each in panel(figure, name).get_lines()} == {"o" if dotted else "None"}
    assert figure.texts[-1].get_text().endswith(" Dots: the steps after which the error was measured.")
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == ["seed 0", "seed 1"]
    assert_apart(figure)


def assert_apart(figure: Figure) -> None:
    """No words lie over others, or beyond the figure; numbers at ticks are left out."""
    figure.draw_without_rendering()
    found = [text for text in figure.findobj(Text) if text.get_visible() and re.search(r"[^\W\d]", text.get_text())]
    boxes = {text.get_text(): text.get_window_extent() for text in found}
    for name, box in boxes.items():
        assert figure.bbox.x0 <= box.x0, name
        assert box.x1 <= figure.bbox.x1 + 1, name
        assert not [other for other in boxes if other != name and box.overlaps(boxes[other])], name
