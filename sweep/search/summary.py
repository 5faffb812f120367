"""What a search did, as its file in the sweep's folder says it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SearchSummary:
    """What a search did.

    A configuration without a result was skipped, since other results made it unnecessary, or is left.

    Attributes:
        name: "grid", "smallest", "tpe" or "pareto".
        configurations: how many it is over.
        jobs: how many jobs all of them have.
        known: jobs that were done before this run.
        started: jobs that this run started.
        failed: jobs that failed in this run.
        skipped: reason -> how many configurations did not have to run for it.
        left: configurations that may still have to run.
        method: "lc" or "dc".
        target: the target's values by name; None for a search without one.
        seconds: of the run.
    """

    name: str
    configurations: int
    jobs: int
    known: int
    started: int
    failed: int
    skipped: dict[str, int]
    left: int
    method: str
    target: dict[str, float | bool] | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON data; `sweep.store.fields.from_file` reads it back."""
        return asdict(self)
