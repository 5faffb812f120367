"""What a search is, and what it searches."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from sweep.criteria import Criteria
from sweep.search.space import Flags
from sweep.search.summary import Ties
from sweep.store.job import Configuration, Job, Level
from sweep.store.record import Record

SearchName = Literal["grid", "smallest", "tpe", "pareto"]
SearchBy = Literal["bytes", "macs"]
"""What a search for a target minimises; of equal MACs, the bytes."""
FOR_A_TARGET = ("smallest", "tpe")


class Search(Protocol):
    """Chooses which job runs next. A runner asks it for jobs and tells it what became of each."""

    def next(self) -> Job | None:
        """A job to start now; None when no job can start now."""
        ...

    def tell(self, job: Job, record: Record | None) -> None:
        """The job's record, done or failed; None when the job was lost and may be asked for again."""
        ...

    def finished(self) -> bool:
        """Whether no job is running and none will be asked for any more."""
        ...


class Strategy(Search, Protocol):
    """A `Search` that also says how much is left. It has no bound on the jobs and writes no files."""

    def left(self) -> int | None:
        """The number of jobs still to start; None where the results decide it."""
        ...

    def skipped(self, untouched: Flags) -> dict[str, int]:
        """Reason -> how many of the `untouched` configurations (n,), of which no job was started, need not run."""
        ...

    def ties(self) -> Ties | None:
        """What cannot be told from the target; None where nothing is like that."""
        ...


@dataclass(frozen=True)
class Entry:
    """A configuration before it ran, with what is known of it without training.

    It has no results. A `pick.choice.Candidate` is a configuration with the results of its finished seeds, and a
    report's `Row` is a candidate as the report shows it.

    Attributes:
        family: the family's name.
        configuration: the levels of its knobs.
        nominal_bytes: size of the packed file with codes of fixed length; no file is larger.
        macs: multiply-accumulates for one example.
        fixed: whether both numbers are exact, and not upper bounds.
        plan: hash of which compression governs which parameters.
        jobs: one for each seed.
    """

    family: str
    configuration: Configuration
    nominal_bytes: int
    macs: int
    fixed: bool
    plan: str
    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Entries:
    """The configurations of a search, by number. A job or a record belongs to the entry that it is a seed of."""

    entries: Sequence[Entry]

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, number: int) -> Entry:
        return self.entries[number]

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def number(self, family: str, configuration: Configuration) -> int | None:
        """The number of the entry with this configuration; None where there is none."""
        return self._numbers.get((family, *configuration.values()))

    def of(self, job: Job) -> int:
        """The number of the entry that `job`, which a search asked for, is a seed of."""
        return self._numbers[(job.family, *job.configuration.values())]

    def owner(self, record: Record, *, any_seed: bool) -> int | None:
        """The number of the entry that `record` is a result of; None where there is none.

        With `any_seed` it may have a seed that is none of the entry's jobs.
        """
        if not any_seed and record.id not in self._ids:
            return None
        return self._keys.get(record.key)

    @cached_property
    def _numbers(self) -> Mapping[tuple[Any, ...], int]:
        return {(entry.family, *entry.configuration.values()): number for number, entry in enumerate(self.entries)}

    @cached_property
    def _keys(self) -> Mapping[str, int]:
        return {entry.jobs[0].key: number for number, entry in enumerate(self.entries)}

    @cached_property
    def _ids(self) -> frozenset[str]:
        return frozenset(job.id for entry in self.entries for job in entry.jobs)


@dataclass(frozen=True)
class SearchPlan:
    """What a search is about.

    Attributes:
        name: which search.
        entries: the configurations.
        families: family -> knob -> its levels, from the loosest to the tightest.
        criteria: the threshold and the number of fresh seeds that confirm a winner; None for a search without a target.
        trials: at most so many jobs start; None for no bound.
        objectives: what a search without a target minimises: of "error", "bytes" and "macs".
        by: what a search for a target minimises.
        sizes: what it goes by: nominal bytes, or those that it expects by the files that it has seen.
    """

    name: SearchName
    entries: Entries
    families: Mapping[str, Mapping[str, Sequence[Level]]]
    criteria: Criteria | None = None
    trials: int | None = None
    objectives: tuple[str, ...] = ("error", "bytes")
    by: SearchBy = "bytes"
    sizes: Literal["nominal", "expected"] = "expected"

    def __post_init__(self) -> None:
        if (self.name in FOR_A_TARGET) != (self.criteria is not None):
            needed = "criteria" if self.criteria is None else "no criteria"
            raise ValueError(f"search {self.name}: expected {needed}, got {self.criteria}")

    @property
    def minimised(self) -> tuple[str, ...]:
        """What its Optuna study minimises."""
        return (self.by,) if self.criteria else self.objectives

    def owner(self, record: Record) -> int | None:
        """The number of the entry that `record` is a result of. Where there is a target, any seed of it counts."""
        return self.entries.owner(record, any_seed=self.criteria is not None)
