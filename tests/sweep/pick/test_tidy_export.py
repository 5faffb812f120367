"""Jobs' models exported as smaller files of the same function."""

from pathlib import Path
from typing import Any

import pytest
import torch

from lc_core.file.artifact import load
from sweep.store.fields import to_json
from sweep.store.files import sha256_of
from sweep.store.folder import SweepFolder
from sweep.store.record import Done
from sweep.store.records import finished, read_records
from sweep.study.loading import load_study
from tests.sweep.tiny import lcsweep, tree

RUN = "runs/tiny"


@pytest.fixture
def jobs(finished: Path) -> dict[str, Done]:
    """A record of each family, by the family's name."""
    return {record.family: record for record in all_done()}


def all_done() -> list[Done]:
    return finished(read_records(Path(RUN)))


def tidy(job: Done, *others: str) -> Any:
    return lcsweep("export", RUN, "--job", job.id, "--tidy", "--out", "new/small.lcz", *others)


def test_the_file_is_smaller_and_gives_the_same_outputs(jobs: dict[str, Done], without_onnx: None) -> None:
    job, before = jobs["prune"], tree(Path(RUN))
    said = tidy(job, "--json")
    assert said.code == 0, said.err
    path, facts = Path("new/small.lcz"), said.json
    assert facts["bytes"] == path.stat().st_size < facts["packed_bytes"] == job.artifact_bytes
    assert facts["sha256"] == sha256_of(path)
    assert facts["val"] == facts["packed_val"] == to_json(job.val)
    assert tree(Path(RUN)) == before
    study = load_study("tiny.py", user_folder=".")
    small, packed, inputs = study.new_model(), study.new_model(), study.load_data().val.inputs
    load(path, small)
    load(SweepFolder(Path(RUN)).artifact(job.id), packed)
    expected = packed(inputs)
    torch.testing.assert_close(small(inputs), expected, rtol=0, atol=1e-4 * float(expected.detach().abs().max()))
    assert not torch.equal(small[0].weight, packed[0].weight)

    told = tidy(job)
    assert told.code == 0
    assert f"smaller than the job's file, {job.artifact_bytes:,} bytes, with the same outputs" in told.out
    accuracy = f"{job.val.value:.2%}"
    assert f"accuracy {accuracy} on 90 examples, verified; packed model {accuracy}" in told.out
    assert lcsweep("verify", path, "--study", "tiny.py").code == 0
    path.write_bytes(b"mine")
    assert tidy(job).code == 1
    assert path.read_bytes() == b"mine"


def test_where_nothing_is_smaller_it_is_the_jobs_file(jobs: dict[str, Done]) -> None:
    job = jobs["low rank"]
    said = tidy(job)
    assert "nothing made it smaller; it is the job's file" in said.out, said.err
    assert sha256_of(Path("new/small.lcz")) == job.artifact_sha256


def test_a_damaged_file_and_other_formats_are_refused(jobs: dict[str, Done]) -> None:
    assert tidy(jobs["prune"], "--format", "onnx").err == "lcsweep: --tidy: expected --format lcz, got onnx\n"
    path = SweepFolder(Path(RUN)).artifact(jobs["prune"].id)
    path.write_bytes(path.read_bytes()[:-1])
    said = tidy(jobs["prune"])
    assert said.code == 5
    assert "expected a whole packed model" in said.err
    assert not Path("new").exists()
