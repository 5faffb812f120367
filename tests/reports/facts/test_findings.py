"""What is found in a sweep, over the seeds of its candidates."""

from reports.facts.findings import read_findings
from tests.reports import synthetic
from tests.reports.conftest import MakeSweep

ONE, OTHER = (synthetic.Point("prune", {"keep": keep}, 1000, 0.03, 0.2) for keep in (0.1, 0.2))


def test_a_row_has_the_largest_gap_and_all_the_time_of_its_seeds(make_sweep: MakeSweep) -> None:
    found = read_findings(make_sweep([ONE], seeds=3), target=None, by="bytes")
    (row,) = found.rows
    assert row.gap == max(job.gap for job in found.jobs)
    assert row.seconds == sum(job.seconds for job in found.jobs)


def test_a_row_says_how_many_seeds_are_done_and_how_many_failed(make_sweep: MakeSweep) -> None:
    broken = synthetic.failed(OTHER, message="no", trace="") | {"id": synthetic.job_id("fourth"), "seed": 3}
    found = read_findings(make_sweep([ONE, OTHER], seeds=3, failures=(broken,)), target=None, by="bytes")
    assert {row.candidate.label: row.seeds for row in found.rows} == {"keep 0.1": "3", "keep 0.2": "3 (1 failed)"}
