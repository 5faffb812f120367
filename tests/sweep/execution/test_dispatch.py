"""Jobs, worker slots and attempts, without Ray."""

import json
from pathlib import Path
from typing import Any

import pytest

from sweep.execution.dispatch import ATTEMPTS, Dispatch, publish_deaths
from sweep.job import compress
from sweep.store import remote
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from tests.sweep.execution.test_runner import Heard, Listed, job
from tests.sweep.tiny import done_record

CAUSE = "Failure # 1 (occurred at 12:00)\nOutOfMemoryError: killed for {memory}\nmore of it\n"


def dispatch_of(jobs: list[Job], folder: Path, *, workers: int = 2) -> tuple[Dispatch, Listed, Heard]:
    search, heard = Listed(jobs), Heard()
    return Dispatch(search, folder=SweepFolder(folder), watch=heard, workers=workers), search, heard


def given(dispatch: Dispatch, slot: str) -> int | None:
    """The seed of the job that is put into `slot`."""
    job = dispatch.next_job(slot)
    return None if job is None else job.seed


def test_a_slot_runs_job_after_job_and_no_more_run_than_workers(tmp_path: Path) -> None:
    jobs = [job(seed) for seed in range(4)]
    dispatch, search, heard = dispatch_of(jobs, tmp_path)
    assert [given(dispatch, slot) for slot in "abc"] == [0, 1, None]
    dispatch.start("a")
    dispatch.done("a", record := done_record(jobs[0]))
    assert given(dispatch, "a") == 2
    assert dispatch.jobs == {"a": jobs[2], "b": jobs[1]}
    assert heard.finished == [jobs[0].id]
    assert search.told == {jobs[0].id: record}
    with pytest.raises(AssertionError):
        dispatch.done("a", done_record(jobs[0]))  # a worker that did not hear of its new job


def test_a_job_whose_worker_dies_goes_to_the_next_that_is_free_up_to_a_bound(tmp_path: Path) -> None:
    jobs = [job(seed) for seed in range(5)]
    dispatch, search, heard = dispatch_of(jobs, tmp_path)
    assert [given(dispatch, slot) for slot in "ab"] == [0, 1]
    for attempt in range(1, ATTEMPTS):
        dispatch.start("a")
        dispatch.died("a", CAUSE.format(memory=attempt))
        assert (jobs[0].id in search.told, list(dispatch.jobs)) == (False, ["b"])
        assert given(dispatch, "a") == 0
    dispatch.died("a", "\x1b[31m" + CAUSE.format(memory="good"))
    record = search.told[jobs[0].id]
    assert record is not None
    assert record.to_json() == json.loads(SweepFolder(tmp_path).record(jobs[0].id).read_text())
    assert record.status == "failed"
    assert record.error.message == "failed after 3 attempts, the last: OutOfMemoryError: killed for good"
    assert [f"killed for {what}" in record.error.traceback for what in ("1", "2", "good")] == [True] * 3
    assert (heard.started, heard.finished) == ([jobs[0].id], [jobs[0].id])
    assert given(dispatch, "a") == 2  # the others go on


def test_what_was_published_by_a_worker_that_then_died_holds(tmp_path: Path) -> None:
    jobs = [job(0)]
    dispatch, search, _ = dispatch_of(jobs, tmp_path)
    path = SweepFolder(tmp_path).record(jobs[0].id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps((published := done_record(jobs[0])).to_json()))
    for _ in range(ATTEMPTS):
        assert given(dispatch, "a") == 0
        dispatch.died("a", CAUSE)
    assert search.told == {jobs[0].id: published}


def test_a_failure_that_cannot_be_put_in_the_cloud_is_told_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dispatch, search, _ = dispatch_of([job(0)], tmp_path)
    dispatch.url = "s3://nowhere"

    def put(*arguments: Any, **named: Any) -> None:
        raise OSError("the network is gone")

    monkeypatch.setattr(remote, "put_job", put)
    for attempt in range(ATTEMPTS):
        assert given(dispatch, "a") == 0
        if attempt + 1 < ATTEMPTS:
            dispatch.died("a", CAUSE)
    with pytest.raises(OSError, match="network"):
        dispatch.died("a", CAUSE)
    dispatch.release()
    assert search.told == {job(0).id: None}


def test_a_failure_without_a_record_is_put_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatch, search, _ = dispatch_of([job(0)], tmp_path)
    dispatch.url = "s3://nowhere"
    monkeypatch.setattr(compress, "publish_failure", lambda record, folder: record)  # as on a full disk: no file
    for _ in range(ATTEMPTS):
        assert given(dispatch, "a") == 0
        dispatch.died("a", CAUSE)
    told = search.told[job(0).id]
    assert told is not None
    assert told.status == "failed"


def test_at_the_end_every_job_is_told(tmp_path: Path) -> None:
    """Those at work, and those that wait for another attempt."""
    jobs = [job(seed) for seed in range(3)]
    dispatch, search, heard = dispatch_of(jobs, tmp_path, workers=3)
    for slot in "abc":
        dispatch.next_job(slot)
    dispatch.died("b", CAUSE)
    path = SweepFolder(tmp_path).record(jobs[2].id)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps((published := done_record(jobs[2])).to_json()))
    dispatch.release()
    assert search.told == {jobs[0].id: None, jobs[1].id: None, jobs[2].id: published}
    assert (dispatch.jobs, heard.finished) == ({}, [])


def test_a_worker_that_ray_cannot_reach_is_a_plain_line(tmp_path: Path) -> None:
    text = (
        "Failure # 1 (occurred at 12:00)\nThe actor aa9f is unavailable: The actor is temporarily unavailable: RpcError"
    )
    failed = publish_deaths(job(0), SweepFolder(tmp_path), causes=[text])
    assert failed.error is not None
    assert failed.error.message.endswith("its worker's process ended or no longer answers; logs/ray.log may say more")
