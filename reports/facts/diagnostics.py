"""What each job went through, step by step: scripts beside the page, which it loads when a reader asks for a job.

Scripts and not JSON, because a page that is opened from a disk may not fetch a file. They hold numbers only.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder

STEP = ("step", "mu", "loss", "gap", "val_error")
"""The columns of a job's curves, in this order; each is a list with a number or null for each LC step."""

Curves = list[list[float | None]]

_JOB = re.compile(r"[0-9a-f]{8,}")


def read_curves(folder: SweepFolder, ids: Iterable[str]) -> dict[str, Curves]:
    """Job -> the columns of its curves, for those of the jobs that left diagnostics."""
    found = ((job, _steps(folder, job)) for job in ids)
    return {job: [[_rounded(step.get(name)) for step in steps] for name in STEP] for job, steps in found if steps}


def read_layers(folder: SweepFolder, job: str) -> list[Mapping[str, Any]]:
    """What the job's model is made of, as lc_core.structure.anatomy has it; nothing where it left none."""
    return _diagnostics(folder, job, "layers")


def _steps(folder: SweepFolder, job: str) -> list[Mapping[str, Any]]:
    """The job's LC steps; none where it left no diagnostics."""
    return _diagnostics(folder, job, "steps")


def _diagnostics(folder: SweepFolder, job: str, name: str) -> list[Mapping[str, Any]]:
    """Nothing too for a name that no job of ours has."""
    content = read_optional(folder.diagnostics(job)) if _JOB.fullmatch(job) else None
    return [] if content is None else [each for each in content.get(name, []) if isinstance(each, Mapping)]


def _rounded(value: object) -> float | None:
    """Five figures, as fine as a curve is drawn."""
    return float(f"{value:.5g}") if isinstance(value, int | float) else None
