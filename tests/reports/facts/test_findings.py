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


def test_jobs_of_a_configuration_whose_other_seed_failed_are_left_out(make_sweep: MakeSweep) -> None:
    """Of two configurations with three seeds each, a fourth seed of one failed: its three jobs are no candidate."""
    broken = synthetic.failed(OTHER, message="no", trace="") | {"id": synthetic.job_id("fourth"), "seed": 3}
    found = read_findings(make_sweep([ONE, OTHER], seeds=3, failures=(broken,)), target=None, by="bytes")
    assert [row.candidate.configuration for row in found.rows] == [ONE.configuration]
    assert found.left_out == 3
