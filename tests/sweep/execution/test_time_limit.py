"""How long a job may run, and what becomes of one that runs longer, without Ray."""

import math
from pathlib import Path

import pytest

from sweep.execution.dispatch import Dispatch
from sweep.execution.time_limit import LEAST, TimeLimit
from sweep.store.folder import SweepFolder
from sweep.store.records import read_record
from tests.sweep.execution.test_runner import Heard, Listed, job
from tests.sweep.tiny import done_record

CAUSE = "Failure # 1 (occurred at 12:00)\nThe actor died unexpectedly before finishing this task.\n"


def test_the_default_follows_from_jobs_of_the_same_method_and_schedule() -> None:
    limit = TimeLimit(known=[done_record(job(seed), seconds=seconds) for seed, seconds in enumerate((1, 100, 9000))])
    assert limit.of(job(7)) == 10 * 100
    assert TimeLimit(known=[done_record(job(0), seconds=1.0)]).of(job(7)) == LEAST == 600
    assert limit.of(job(7).__class__(*("0" * 16, "prune", {"keep": 0.5}, "dc", 0, job(7).schedule))) == math.inf
    assert TimeLimit().of(job(7)) == math.inf
    assert TimeLimit(3.0, known=[done_record(job(0), seconds=900.0)]).of(job(7)) == 3.0


def test_a_limit_learns_as_jobs_end() -> None:
    limit = TimeLimit()
    limit.learn(done_record(job(0), seconds=400.0))
    assert limit.of(job(1)) == 4000
    limit.learn(done_record(job(0), seconds=100.0))
    assert limit.of(job(1)) == 2500


def test_a_job_over_its_limit_fails_at_the_first_death_and_says_why(tmp_path: Path) -> None:
    search, folder = Listed([job(seed) for seed in range(3)]), SweepFolder(tmp_path)
    dispatch = Dispatch(search, folder=folder, watch=Heard(), workers=2, limit=TimeLimit(60.0))
    for slot in "ab":
        assert dispatch.next_job(slot) is not None
    assert dispatch.elapse(1000.0) == []  # neither has started
    dispatch.start("a")
    assert dispatch.elapse(50.0) == []
    dispatch.start("b")
    assert dispatch.elapse(11.0) == ["a"]
    assert dispatch.elapse(11.0) == []  # said once
    dispatch.died("a", CAUSE)
    record = read_record(folder.record(job(0).id))
    assert record is not None
    assert record.error is not None
    assert record == search.told[job(0).id]
    assert record.error.message == (
        "it had not ended after 1 min 00 s, the limit of --job-timeout, so its worker was ended; "
        "--job-timeout SECONDS sets another limit"
    )
    assert dispatch.next_job("a") == job(2)
    dispatch.start("a")
    assert dispatch.elapse(40.0) == ["b"]  # the next job in a slot starts from nothing
    dispatch.done("b", done_record(job(1)))  # it ended just before its worker did
    assert search.told[job(1).id] is not None
    assert list(dispatch.jobs) == ["a"]


def test_time_begins_anew_with_another_worker(tmp_path: Path) -> None:
    search = Listed([job(0)])
    dispatch = Dispatch(search, folder=SweepFolder(tmp_path), watch=Heard(), workers=1, limit=TimeLimit(60.0))
    for slot in "ab":
        assert dispatch.next_job(slot) == job(0)
        dispatch.start(slot)
        assert dispatch.elapse(59.0) == []
        dispatch.died(slot, CAUSE)
    assert search.told == {}


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_limit_that_is_none_is_refused(seconds: float, tmp_path: Path) -> None:
    from sweep.cli.console import UsageError
    from sweep.cli.run import options_of

    with pytest.raises(UsageError, match="job_timeout: expected a number of seconds above 0"):
        options_of("tiny.py", str(tmp_path), job_timeout=seconds)
