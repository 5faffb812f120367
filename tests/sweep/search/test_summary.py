"""What a search did, read back from its file."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.facts.findings import read_findings
from sweep.cli.text import search_summary
from sweep.search.summary import SearchSummary, Ties
from sweep.store.fields import from_file
from sweep.store.files import StoreError
from sweep.target import Target
from tests.sweep.tiny import lcsweep

KEPT = Path(__file__).parents[2] / "golden" / "old_sweep" / "sweep"
SUMMARY = SearchSummary("grid", 5, 5, 0, 5, 0, {}, 0, "lc", Target(max_drop=0, relative=True), 1.5)
DAMAGED = [
    ({"left": ...}, "left: expected a value, got nothing"),
    ({"jobs": "many"}, "jobs: expected a valid integer, got 'many'"),
    ({"skipped": {"too large": True}}, "skipped.too large: expected a valid integer, got True"),
    ({"target": {"max_drop": "x"}}, "target.max_drop: expected a finite number, got 'x'"),
    ({"seconds": None}, "seconds: expected a finite number, got None"),
]


def spoiled(data: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (data | wrong).items() if value is not ...}


@pytest.mark.parametrize("summary", [SUMMARY, replace(SUMMARY, ties=Ties(2, 7512, 12310, "bytes", 25, 3))])
def test_it_reads_back_equal_and_is_written_as_it_was(summary: SearchSummary) -> None:
    text = json.dumps(summary.to_json())
    found = from_file(SearchSummary, json.loads(text), Path("grid.json"))
    assert found == summary
    assert json.dumps(found.to_json()) == text


def test_what_could_not_be_told_from_the_target_is_said_with_how_to_give_it_more_seeds() -> None:
    assert search_summary(replace(SUMMARY, ties=Ties(2, 7512, 12310, "bytes", 25, 3))).splitlines()[1:] == [
        "  2 configurations between 7,512 and 12,310 bytes cannot be told from the target with up to 25 seeds; "
        "--confirm 6 gives more"
    ]
    assert search_summary(replace(SUMMARY, ties=Ties(1, 266_200, 266_200, "macs", 13, 3))).splitlines()[1:] == [
        "  1 configuration of 266,200 MACs cannot be told from the target with 13 seeds; --confirm 6 gives more"
    ]


def test_files_of_searches_from_before_ties_are_read() -> None:
    older = spoiled(SUMMARY.to_json(), {"ties": ...})
    assert from_file(SearchSummary, older, Path("grid.json")) == SUMMARY


@pytest.mark.parametrize(("wrong", "message"), DAMAGED)
def test_a_field_that_does_not_fit_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(StoreError) as caught:
        from_file(SearchSummary, spoiled(SUMMARY.to_json(), wrong), Path("grid.json"))
    assert str(caught.value) == f"grid.json: {message}; restore it or remove it"


def copy(folder: Path) -> Path:
    """A sweep's folder with its sweep.json and one search, whose `left` is missing."""
    (folder / "searches").mkdir(parents=True)
    (folder / "sweep.json").write_bytes((KEPT / "sweep.json").read_bytes())
    path = folder / "searches" / "grid.json"
    path.write_text(json.dumps(spoiled(SUMMARY.to_json(), {"left": ...})))
    return path


@pytest.mark.parametrize(
    "read", [lambda folder: lcsweep("status", str(folder)).err, lambda folder: raised(folder)], ids=["status", "report"]
)
def test_each_reader_of_the_searches_names_the_damaged_file(tmp_path: Path, read: Callable[[Path], str]) -> None:
    path = copy(tmp_path / "sweep")
    said = read(tmp_path / "sweep").strip().removeprefix("lcsweep: ")
    assert said == f"{path}: left: expected a value, got nothing; restore it or remove it"


def raised(folder: Path) -> str:
    with pytest.raises(StoreError) as caught:
        read_findings(folder, target=None, by="bytes")
    return str(caught.value)
