"""README.md and docs/results.md hold the figures that benchmarks/readme_figures.py found."""

import copy
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def beside_the_benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def missing(file: str, facts: dict[str, object]) -> list[str]:
    """What `file` must hold by `facts` and does not. Lines may be wrapped anywhere."""
    from readme_figures import lines

    text = " ".join((ROOT / file).read_text(encoding="utf-8").split())
    return [line for line in lines(facts)[file] if line not in text]


@pytest.fixture
def facts() -> dict[str, dict[str, float]]:
    from readme_figures import KEPT

    found: dict[str, dict[str, float]] = json.loads(KEPT.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("file", ["README.md", "docs/results.md"])
def test_the_figures_are_those_that_were_measured(file: str, facts: dict[str, dict[str, float]]) -> None:
    assert missing(file, facts) == []
    other = copy.deepcopy(facts)
    other["pick"]["bytes"] += 1
    other["reference"]["accuracy"] += 0.0001
    assert len(missing(file, other)) == 2


def test_readme_claims_no_ratio_that_the_results_lack() -> None:
    readme, results = ((ROOT / file).read_text(encoding="utf-8") for file in ("README.md", "docs/results.md"))
    claims = re.findall(r"([\d.]+)\s+times\s+smaller", readme)
    assert claims
    assert set(claims) <= set(re.findall(r"([\d.]+)\s+times\s+smaller", results))
