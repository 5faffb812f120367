"""What a search did, as its file in the sweep's folder says it."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sweep.target import Target


@dataclass(frozen=True)
class Ties:
    """The configurations that a search gave up because they cannot be told from the target.

    Attributes:
        configurations: how many, of those that are smaller than the winner.
        least: bytes or MACs of the smallest.
        most: of the largest.
        by: which of the two.
        seeds: the most that one of them has.
        confirm: how many fresh seeds the search asked for. It gives at most `sweep.criteria.MOST_SEEDS` times as many.
    """

    configurations: int
    least: int
    most: int
    by: Literal["bytes", "macs"]
    seeds: int
    confirm: int


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
        method: of `sweep.store.job.METHODS`.
        target: None for a search without one.
        seconds: of the run.
        ties: what it could not tell from the target; None where it told all.
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
    target: Target | None
    seconds: float
    ties: Ties | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON data; `sweep.store.fields.from_file` reads it back."""
        return asdict(self) | {"target": None if self.target is None else self.target.as_dict()}
