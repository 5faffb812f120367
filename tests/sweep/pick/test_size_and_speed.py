"""Sizes in words: what is larger is never said to be smaller."""

from pathlib import Path

import pytest

from sweep.cli import file_text, pick, run_text, status
from sweep.criteria import TOO_CLOSE
from sweep.pick.choice import Candidate, Choice, choose
from sweep.pick.picked import OnTest, Picked
from sweep.pick.size_and_speed import times, told
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.record import Score
from sweep.target import Target
from tests.sweep.tiny import MANIFEST, done_record


@pytest.mark.parametrize(
    "size, whole, words",
    [
        (3_100, 64_456, "20.8 times smaller"),
        (100, 120, "1.2 times smaller"),
        (100, 104, "1.04 times smaller"),
        (100, 100, "no smaller"),
        (104, 100, "1.04 times LARGER"),
        (120, 100, "1.2 times LARGER"),
        (300, 100, "3.0 times LARGER"),
    ],
)
def test_a_size_in_words(size: int, whole: int, words: str) -> None:
    assert times(size, whole) == words


def test_a_job_whose_file_is_larger_is_said_to_be() -> None:
    job = Job("0" * 16, "prune", {"keep": 0.5}, "lc", 0, {})
    larger = done_record(job, artifact_bytes=1_200, reference_bytes=1_000)
    assert told(larger) == "1,200 bytes, 1.2 times LARGER than the reference"
    assert told(done_record(job, artifact_bytes=800, reference_bytes=1_000)) == "800 bytes"


SCORE = Score(value=0.9, low=0.8, high=0.95, n=10)
PICK = Picked(
    id="abc",
    family="quantize",
    configuration={"size": 256},
    artifact="model.lcz",
    artifact_bytes=1_200,
    artifact_sha256="0" * 64,
    compression_ratio=1_000 / 1_200,
    method="lc",
    val=SCORE,
    values=(0.9,),
    test=OnTest(
        id="abc",
        artifact_sha256="0" * 64,
        value=0.9,
        low=0.8,
        high=0.95,
        n=10,
        finished="2026-01-01T00:00:00+00:00",
        reference_value=0.9,
        drop=0.0,
        drop_low=0.0,
        drop_high=0.0,
        looks=2,
    ),
    meets_target=True,
    margin=0.0,
    seeds=(0,),
    target=Target(max_drop=0.1),
    runner_up=None,
    next_smaller=None,
    speed={"macs": 7, "reference_macs": 7, "reference_bytes": 1_000},
    parity={},
)
HELD = {"bytes": 1_200, "payload_bytes": 1_300, "dense_bytes": 1_100, "coded": {}, "parameters": 5, "info": {}}
FILE = HELD | {"file": "model.lcz", "sha256": "0" * 64}


def test_wherever_a_size_is_told_a_larger_one_is_larger() -> None:
    candidate = Candidate(
        "quantize", {"size": 256}, "lc", ("abc",), (0,), (0.9,), (0.8,), (None,), "abc", 1_200, 7, None
    )
    choice = Choice(candidate, "bytes")
    lines = {
        "pick": pick.describe(PICK, Path("no such page")),
        "status": status.describe(status.SweepStatus("runs/tiny", SweepFolder(Path()), MANIFEST, [], [], PICK, [])),
        "the run's last line": run_text.chosen(choice, MANIFEST),
        "export": file_text.packed_file(FILE | {"reference_bytes": 1_000}),
    }
    for where, words in lines.items():
        assert "1.2 times LARGER" in words, where
        assert "times smaller" not in words, where
    assert "its weights take 1,100 bytes uncompressed\n" in file_text.packed_file(FILE)
    assert "times" not in file_text.packed_file(FILE)  # there is one ratio, that over the reference's file


def test_a_run_says_what_is_better_than_its_choice_but_unconfirmed() -> None:
    """Here direct compression, of which one seed is enough, beside a smaller model by LC with one seed."""
    facts = ((0,), (0.9,), (0.8,), (None,))
    direct = Candidate("quantize", {"size": 16}, "dc", ("abc",), *facts, "abc", 900, 7, None)
    smaller = Candidate("quantize", {"size": 2}, "lc", ("def",), *facts, "def", 300, 7, None)
    choice = choose([smaller, direct], target=Target(at_least=0.85), reference_score=0.93)
    first, second = run_text.chosen(choice, MANIFEST).splitlines()
    assert "(confirmed, every seed gives the same model): quantize (dc): size 16, 900 bytes" in first
    assert second.startswith("better, but unconfirmed: quantize: size 2, 300 bytes (3.3 times smaller)")
    assert second.endswith("pick says how to confirm it")


def test_a_run_promises_no_confirmation_of_what_lies_at_the_target() -> None:
    direct = Candidate("quantize", {"size": 16}, "dc", ("abc",), (0,), (0.9,), (0.9,), (None,), "abc", 900, 7, None)
    scores = (0.86, 0.851, 0.849, 0.852, 0.8485)
    seeds, ids, drops = tuple(range(5)), tuple("defgh"), (None,) * 5
    at_target = Candidate("quantize", {"size": 2}, "lc", ids, seeds, scores, scores, drops, "d", 300, 7, None)
    choice = choose([at_target, direct], target=Target(at_least=0.85), reference_score=0.93)
    _, second = run_text.chosen(choice, MANIFEST).splitlines()
    assert second.startswith("better, but unconfirmed: quantize: size 2")
    assert second.endswith(TOO_CLOSE)
