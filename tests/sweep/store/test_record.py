"""A record as JSON: what is written reads back equal, and a field that is wrong is named."""

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweep.store.fields import Field, fields
from sweep.store.files import StoreError
from sweep.store.manifest import Manifest
from sweep.store.metric import ACCURACY, Metric
from sweep.store.record import Done, Drop, Failure, Record, Score, Stopped

PATH = Path("artifacts", "0123", "record.json")
WHOLE, TEXT = st.integers(-(2**62), 2**62), st.text(st.characters(exclude_categories=["Cc", "Cs"]))
SIZE = st.integers(1, 2**62)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | WHOLE
LEVELS = st.dictionaries(TEXT, NUMBER | TEXT, max_size=3)
METRIC = st.sampled_from([ACCURACY, Metric("mse", higher_is_better=False, unit="mm2", best=0.0)])
TAKEN = ("accuracy", "mse", "value", "n", "low", "high", "metric", "metrics")
METRICS = st.dictionaries(TEXT.filter(lambda name: name not in TAKEN), NUMBER, max_size=2)
SCORE = st.builds(Score, value=NUMBER, metrics=METRICS, n=WHOLE, low=NUMBER, high=NUMBER, metric=METRIC)
DROP = st.builds(Drop, drop=NUMBER, low=NUMBER, high=NUMBER)
JOB = {
    "id": TEXT,
    "study_hash": TEXT,
    "family": TEXT,
    "configuration": LEVELS,
    "method": st.sampled_from(["lc", "dc"]),
    "seed": WHOLE,
    "schedule": st.dictionaries(TEXT, NUMBER | TEXT | st.booleans() | st.none(), max_size=3),
    "versions": st.dictionaries(TEXT, TEXT, max_size=3),
    "finished": TEXT,
}
MEASURED = {
    "reference_bytes": SIZE,
    "reference_macs": WHOLE,
    "seconds": NUMBER,
    "device": TEXT,
    "plan": TEXT,
    "nominal_bytes": SIZE,
    "artifact_bytes": SIZE,
    "artifact_sha256": TEXT,
    "macs": WHOLE,
    "val": SCORE,
    "gap": NUMBER,
    "epochs": NUMBER,
}
ALSO = {"drop": st.none() | DROP, "direct": st.none() | SCORE}
DONE = st.builds(Done, status=st.just("done"), **JOB, **MEASURED, **ALSO)
UNFINISHED = st.builds(
    Record,
    status=st.sampled_from(["failed", "stopped"]),
    error=st.none() | st.builds(Failure, message=st.text(), traceback=st.text()),
    stopped=st.none() | st.builds(Stopped, step=WHOLE, steps=WHOLE, accuracy=NUMBER, bar=NUMBER, below=NUMBER),
    **JOB,
    **{name: st.none() | strategy for name, strategy in MEASURED.items()},
    **ALSO,
)
SCORED = Score(value=0.9, metrics={"hits": 0.8}, n=50, low=0.79, high=0.96)
WHOLE_RECORD = Done(
    id="0123",
    status="done",
    study_hash="f",
    family="prune",
    configuration={"keep": 0.05, "form": "hard"},
    method="lc",
    seed=0,
    schedule={"epochs": 2, "mu_growth": None, "nesterov": True},
    reference_bytes=6400,
    reference_macs=170,
    seconds=1.5,
    device="cpu",
    versions={"python": "3.11.7"},
    finished="2026-01-01T00:00:00+00:00",
    error=Failure(message="no", traceback="Traceback"),
    stopped=Stopped(step=1, steps=2, accuracy=0.1, bar=0.2, below=0.3),
    plan="0",
    nominal_bytes=440,
    artifact_bytes=400,
    artifact_sha256="0",
    macs=170,
    val=SCORED,
    drop=Drop(drop=0.01, low=0.0, high=0.02),
    direct=SCORED,
    gap=0.004,
    epochs=2.0,
)


def read(data: Mapping[str, Any]) -> Record:
    """As from a file: JSON and back, NaN among it."""
    return Record.from_json(json.loads(json.dumps(data)), PATH)


def equal(one: Record, other: Record) -> bool:
    return type(one) is type(other) and all(
        getattr(one, field.name) == getattr(other, field.name) for field in dataclasses.fields(Record)
    )


@given(record=DONE | UNFINISHED)
def test_a_record_reads_back_equal(record: Record) -> None:
    assert equal(read(record.to_json()), record)
    assert record.to_json() == read(record.to_json()).to_json()


def places(data: Mapping[str, Any], kind: type, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any], Field]]:
    """Every field of a dataclass: its name from the top, the JSON object that it lies in, and what is said of it."""
    for field in fields(kind):
        if field.says is not None and not field.says.elsewhere and not field.says.others:
            yield f"{prefix}{'accuracy' if field.says.named_by else field.name}", data, field
            if dataclasses.is_dataclass(field.kind):
                yield from places(data[field.name], field.kind, f"{prefix}{field.name}.")


NAMES = [name for name, _, _ in places(WHOLE_RECORD.to_json(), Record)]
WRONG = {str: 7, int: "many", float: "much", dict: [1]}


def spoil(name: str, value: Any) -> dict[str, Any]:
    """The whole record with `value` in the field of this name, or without the field where `value` is Ellipsis."""
    data = WHOLE_RECORD.to_json()
    inside, last = data, name.split(".")[-1]
    for part in name.split(".")[:-1]:
        inside = inside[part]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return data


def field_of(name: str) -> Field:
    return next(field for each, _, field in places(WHOLE_RECORD.to_json(), Record) if each == name)


def check_named(name: str, data: Mapping[str, Any], got: str) -> None:
    with pytest.raises(StoreError) as caught:
        read(data)
    said = str(caught.value)
    assert said.startswith(f"{PATH}: {name}: expected ")
    assert said.endswith(f", got {got}; restore it or remove it")
    assert "\n" not in said


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_a_wrong_type_is_named(name: str) -> None:
    wrong = WRONG.get(field_of(name).kind, "no object")
    check_named(name, spoil(name, wrong), repr(wrong))
    check_named(name, spoil(name, True), "True")


@pytest.mark.parametrize("name", [name for name in NAMES if field_of(name).kind in (int, float)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_named(name: str, value: float) -> None:
    check_named(name, spoil(name, value), repr(value))


@pytest.mark.parametrize("name", ["reference_bytes", "nominal_bytes", "artifact_bytes"])
@pytest.mark.parametrize("size", [0, -1])
def test_a_size_below_one_byte_is_named(name: str, size: int) -> None:
    check_named(name, spoil(name, size), str(size))


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_missing_is_named_unless_older_releases_lack_it(name: str) -> None:
    says = field_of(name).says
    assert says is not None
    if says.older:
        assert getattr(read(spoil(name, ...)), name) is None
    else:
        check_named(name, spoil(name, ...), "nothing")


def test_what_older_releases_lack_is_said() -> None:
    lacking = {field.name for field in fields(Record) if field.says is not None and field.says.older}
    assert lacking == {"drop", "stopped"}


@pytest.mark.parametrize("name", sorted(Done.__annotations__))
def test_a_done_job_has_all_that_is_measured(name: str) -> None:
    check_named(name, spoil(name, None), "None")
    assert getattr(read(spoil(name, None) | {"status": "failed"}), name) is None


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("configuration.keep", {"configuration": {"keep": None}}),
        ("configuration.keep", {"configuration": {"keep": math.nan}}),
        ("schedule.lr", {"schedule": {"lr": [0.1]}}),
        ("versions.torch", {"versions": {"torch": 2}}),
        ("val.hits", {"val": WHOLE_RECORD.to_json()["val"] | {"hits": "x"}}),
        ("val.hits", {"val": WHOLE_RECORD.to_json()["val"] | {"hits": math.inf}}),
    ],
)
def test_a_value_in_an_object_is_named(name: str, data: Mapping[str, Any]) -> None:
    with pytest.raises(StoreError, match=f"record.json: {name}: expected "):
        read(WHOLE_RECORD.to_json() | data)


@pytest.mark.parametrize(("name", "value"), [("status", "began"), ("method", "magic")])
def test_a_word_that_is_none_of_those_known_is_named(name: str, value: str) -> None:
    check_named(name, spoil(name, value), repr(value))


def test_what_a_later_release_adds_is_passed_over() -> None:
    assert equal(read(WHOLE_RECORD.to_json() | {"colour": "red"}), WHOLE_RECORD)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(StoreError) as caught:
        read(spoil("seed", "x" * 10_000))
    assert len(str(caught.value)) < 200


def test_every_field_says_what_it_holds() -> None:
    for kind in (Record, Manifest):
        assert [field.name for field in fields(kind) if field.says is None] == []


def test_records_that_differ_in_the_seed_alone_have_one_key() -> None:
    other = dataclasses.replace(WHOLE_RECORD, seed=1, id="4567")
    assert other.key == WHOLE_RECORD.key
    assert dataclasses.replace(WHOLE_RECORD, method="dc").key != WHOLE_RECORD.key
    assert WHOLE_RECORD.job.key == WHOLE_RECORD.key
