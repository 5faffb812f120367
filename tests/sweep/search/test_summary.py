"""What a search did, read back from its file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.facts.findings import read_findings
from sweep.search.summary import SearchSummary
from sweep.store.fields import from_file
from sweep.store.files import StoreError
from tests.sweep.tiny import lcsweep

KEPT = Path(__file__).parents[2] / "golden" / "old_sweep" / "sweep"
SUMMARY = SearchSummary("grid", 5, 5, 0, 5, 0, {}, 0, "lc", {"max_drop": 0, "relative": True}, 1.5)
DAMAGED = [
    ({"left": ...}, "left: expected a value, got nothing"),
    ({"jobs": "many"}, "jobs: expected a valid integer, got 'many'"),
    ({"skipped": {"too large": True}}, "skipped.too large: expected a valid integer, got True"),
    ({"target": {"max_drop": "x"}}, "target.max_drop: expected a finite number or a valid boolean, got 'x'"),
    ({"seconds": None}, "seconds: expected a finite number, got None"),
]


def spoiled(data: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (data | wrong).items() if value is not ...}


def test_it_reads_back_equal_and_is_written_as_it_was() -> None:
    text = json.dumps(SUMMARY.to_json())
    found = from_file(SearchSummary, json.loads(text), Path("grid.json"))
    assert found == SUMMARY
    assert json.dumps(found.to_json()) == text


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
