"""The table of docs/compressions.md has the sizes that `studies.digits_zoo` has today."""

import re
from pathlib import Path

import pytest

from studies.digits_zoo import ROWS, study
from sweep.job.compress import job_sizes
from sweep.job.context import JobContext
from sweep.store.folder import SweepFolder
from sweep.store.job import Job

ROOT = Path(__file__).resolve().parents[2]
LINES = [line for line in (ROOT / "docs" / "compressions.md").read_text().splitlines() if line.startswith("| `")]
CELLS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> JobContext:
    return JobContext.untrained(study, study.load_data(), folder=SweepFolder(tmp_path_factory.mktemp("sweep")))


def test_the_table_has_a_line_for_each_row_of_the_study() -> None:
    assert len(CELLS) == len(ROWS)
    for name, cells in zip(ROWS, CELLS, strict=True):
        compressions = re.findall(r"\w+", name)
        assert any(word in cells[0] for word in compressions), name


@pytest.mark.parametrize(("name", "cells"), list(zip(ROWS, CELLS, strict=True)), ids=list(ROWS))
def test_a_line_has_the_sizes_known_before_training(context: JobContext, name: str, cells: list[str]) -> None:
    (family,) = (each for each in study.families if each.name == name)
    (configuration,) = family.configurations()
    job = Job("0" * 16, name, configuration, "lc", 0, vars(study.schedule))
    sizes = job_sizes(job, context)
    words = f"{sizes.nominal_bytes:,}" if sizes.fixed else f"at most {sizes.nominal_bytes:,}"
    assert cells[4] == words
    if sizes.fixed:
        assert cells[6] == f"{sizes.macs:,}"
