"""Searches: which job comes next. Optuna, by ask and tell, keeps the index; the records decide.

Each search is an Optuna study of its own in the sweep's storage. Only the driver writes to it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweep.space import (
    Indices,
    Space,
    Status,
    make_space,
    next_in_order,
    next_smallest,
    open_configurations,
    skipped,
)
from sweep.store import Record, StoreError, but_for_seed
from sweep.study import Configuration, Study
from sweep.trial import Job

CONSTRAINT = "shortfall"
LEGACY_CONSTRAINTS = "constraints"  # the attribute that optuna-dashboard 0.21 reads


class Search(Protocol):
    """What a runner drives."""

    def ask(self) -> Job | None:
        """A job to start now; None when nothing can be started now."""
        ...

    def finished(self) -> bool:
        """True when nothing will be asked any more, once no job is running."""
        ...

    def tell(self, job: Job, record: Record | None) -> None:
        """The job's record, done or failed; None when the job was lost and may be asked for again."""
        ...


@dataclass(frozen=True)
class Entry:
    """A configuration of a search.

    Attributes:
        family: its name.
        configuration: the levels of its knobs.
        nominal_bytes: before training and before zstd.
        macs: before training.
        fixed: whether both are what they will be, and not upper bounds.
        plan: hash of what the configuration comes to.
        jobs: one a seed.
    """

    family: str
    configuration: Configuration
    nominal_bytes: int
    macs: int
    fixed: bool
    plan: str
    jobs: tuple[Job, ...]

    def params(self) -> dict[str, Any]:
        """The Optuna parameters that stand for it."""
        return {"family": self.family} | {f"{self.family}.{k}": level for k, level in self.configuration.items()}


Choose = Callable[[Space, Indices], int | None]
STRATEGIES: Mapping[str, Choose] = {"grid": next_in_order, "smallest": next_smallest}


class IndexedSearch:
    """A `Search` over listed configurations, by one of `STRATEGIES`, indexed in an Optuna study.

    Args:
        entries: the configurations.
        study: whose families they are.
        name: one of `STRATEGIES`.
        index: the search's Optuna study; its stale running trials are closed.
        records: what is known; done jobs are not run again, failed ones are.
        threshold: the least accuracy that meets the target; None for a grid.
        trials: at most so many jobs are started; None for no bound.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        study: Study,
        name: str,
        index: optuna.Study,
        records: Sequence[Record],
        threshold: float | None,
        trials: int | None,
    ) -> None:
        self.entries, self.name, self.threshold, self.trials = entries, name, threshold, trials
        self.space = _space(entries, study)
        self.started = 0
        self._choose = STRATEGIES[name]
        self._begun: list[int] = []  # configurations in the order in which this run began them
        self._planned: tuple[Job | None] | None = None  # what is next, until something changes
        self._owner = {job.id: number for number, entry in enumerate(entries) for job in entry.jobs}
        self._records: dict[str, Record] = {}
        self._running: dict[str, optuna.Trial] = {}
        self._sampler = _Listed(_distributions(study))
        self._index = index
        index.sampler = self._sampler
        done = [record for record in records if record["status"] == "done"]
        self._missed = self._other_seeds_that_miss(done)
        self._harvest([record for record in done if record["id"] in self._owner])
        self.known = len(self._records)

    def ask(self) -> Job | None:
        job = self._next()
        if job is None:
            return None
        entry = self.entries[self._owner[job.id]]
        self._sampler.params = entry.params()
        trial = self._index.ask()
        for name in entry.params():
            trial.suggest_categorical(name, self._sampler.space[name].choices)
        trial.set_user_attr("job", job.id)
        trial.set_user_attr("seed", job.seed)
        self._running[job.id] = trial
        self._begun.append(self._owner[job.id])
        self._planned = None
        self.started += 1
        return job

    def finished(self) -> bool:
        return not self._running and self._next() is None

    def tell(self, job: Job, record: Record | None) -> None:
        trial = self._running.pop(job.id)
        self._planned = None
        if record is None:
            trial.set_user_attr("lost", True)
            self._index.tell(trial, state=TrialState.FAIL)
            return
        self._records[job.id] = record
        trial.set_user_attr("seconds", record["seconds"])
        if record["status"] == "failed":
            trial.set_user_attr("error", record["error"]["message"])
            self._index.tell(trial, state=TrialState.FAIL)
            return
        if self.threshold is not None:
            shortfall = self.threshold - record["val"]["accuracy"]
            trial.set_constraint(CONSTRAINT, shortfall)
            trial.storage.set_trial_system_attr(trial._trial_id, LEGACY_CONSTRAINTS, [shortfall])
        self._index.tell(trial, _values(record, self.threshold))

    def records(self) -> list[Record]:
        """The records of this search's jobs so far."""
        return list(self._records.values())

    def left(self) -> int:
        """Jobs that a grid has still to start."""
        left = sum(self._unstarted(job) for entry in self.entries for job in entry.jobs)
        return left if self.trials is None else min(left, self.trials - self.started)

    def status(self) -> Indices:
        """(n,) the `Status` of each configuration. One seed that misses the target decides for all of them."""
        return np.array([self._status(number) for number in range(len(self.entries))], dtype=np.int64)

    def summary(self) -> dict[str, Any]:
        """What the search did: counts, and why configurations did not have to run.

        A configuration that nothing is known of was ruled out (`skipped`, which a grid never does) or is left.
        """
        status = self.status()
        untouched = np.array([all(map(self._unstarted, entry.jobs)) for entry in self.entries])
        smallest = self.threshold is not None
        ruled_out = skipped(self.space, status, untouched=untouched) if smallest else {}
        return {
            "name": self.name,
            "configurations": len(self.entries),
            "jobs": len(self._owner),
            "known": self.known,
            "started": self.started,
            "failed": sum(record["status"] == "failed" for record in self._records.values()),
            "skipped": ruled_out,
            "left": int(((status == Status.OPEN) & untouched).sum()) - sum(ruled_out.values()),
        }

    def _next(self) -> Job | None:
        if self._planned is None:
            self._planned = (self._plan(),)
        return self._planned[0]

    def _plan(self) -> Job | None:
        if self.trials is not None and self.started >= self.trials:
            return None
        status = self.status()
        wanted = open_configurations(self.space, status) if self.threshold is not None else status == Status.OPEN
        number = next((number for number in self._begun if wanted[number]), None)  # its other seeds first
        if number is None:
            number = self._choose(self.space, status)
        return None if number is None else next(job for job in self.entries[number].jobs if self._unstarted(job))

    def _other_seeds_that_miss(self, records: Sequence[Record]) -> set[int]:
        """Configurations of which a seed that this search does not ask for misses the target."""
        numbers = {but_for_seed(entry.jobs[0].as_dict()): number for number, entry in enumerate(self.entries)}
        missing = [r for r in records if self.threshold is not None and r["val"]["accuracy"] < self.threshold]
        return {numbers[what] for what in map(but_for_seed, missing) if what in numbers}

    def _unstarted(self, job: Job) -> bool:
        return job.id not in self._records and job.id not in self._running

    def _status(self, number: int) -> Status:
        jobs = self.entries[number].jobs
        records = [self._records[job.id] for job in jobs if job.id in self._records]
        failed = any(record["status"] == "failed" for record in records)
        if self.threshold is None:
            if any(map(self._unstarted, jobs)):
                return Status.OPEN
        elif failed:
            return Status.FAILED
        elif number in self._missed or any(record["val"]["accuracy"] < self.threshold for record in records):
            return Status.MISSES
        elif any(map(self._unstarted, jobs)):
            return Status.OPEN
        if len(records) < len(jobs):
            return Status.RUNNING
        return Status.FAILED if failed else Status.MEETS

    def _harvest(self, records: Sequence[Record]) -> None:
        """Takes what is known: closes running trials that a driver left behind, indexes records that are not yet."""
        trials = self._index.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state == TrialState.RUNNING:
                self._index.tell(trial.number, state=TrialState.FAIL)
        indexed = {trial.user_attrs.get("job") for trial in trials if trial.state == TrialState.COMPLETE}
        for record in records:
            self._records[record["id"]] = record
            if record["id"] not in indexed:
                params = self.entries[self._owner[record["id"]]].params()
                self._index.add_trial(_finished_trial(record, params, self._sampler.space, self.threshold))


class _Listed(BaseSampler):
    """Gives the parameters that the search chose; Optuna's part is to keep them."""

    def __init__(self, space: dict[str, CategoricalDistribution]) -> None:
        self.space = space
        self.params: dict[str, Any] = {}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self.space)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"parameter: expected one of {sorted(self.params)}, got {param_name!r}")


def index_url(path: Path) -> str:
    """The storage that is the SQLite file `path`, whatever characters its name has."""
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def open_index(url: str, *, study: str, search: str, target: Mapping[str, float], space: str) -> optuna.Study:
    """The Optuna study of a search over the space of hash `space`, made where it is missing.

    A grid minimises (validation error, bytes); a search for the smallest minimises bytes under a constraint.

    Raises:
        StoreError: the storage cannot be opened, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    goal = "".join(f" {name} {value}" for name, value in target.items()) if search == "smallest" else ""
    directions = [StudyDirection.MINIMIZE] * (1 if search == "smallest" else 2)
    try:
        storage = optuna.storages.RDBStorage(url)
        index = optuna.create_study(
            storage=storage, study_name=f"{study} {search}{goal} {space}", directions=directions, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's, Optuna's, Alembic's and the driver's own
        reason = " ".join(str(error).split("\n")[0].split())
        raise StoreError(
            f"{_without_password(url)}: expected a storage that Optuna can open (such as sqlite:///study.db), "
            f"got {reason}; move it away or name another with --storage"
        ) from error
    return index


def _without_password(url: str) -> str:
    try:
        return sqlalchemy.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:  # not a URL
        return url


def _values(record: Record, threshold: float | None) -> list[float]:
    if threshold is not None:
        return [record["artifact_bytes"]]
    return [1 - record["val"]["accuracy"], record["artifact_bytes"]]


def _finished_trial(
    record: Record,
    params: dict[str, Any],
    space: Mapping[str, CategoricalDistribution],
    threshold: float | None,
) -> FrozenTrial:
    shortfall = None if threshold is None else threshold - record["val"]["accuracy"]
    return optuna.trial.create_trial(
        params=params,
        distributions={name: space[name] for name in params},
        values=_values(record, threshold),
        user_attrs={"job": record["id"], "seed": record["seed"], "seconds": record["seconds"], "known": True},
        system_attrs=None if shortfall is None else {LEGACY_CONSTRAINTS: [shortfall]},
        constraints=None if shortfall is None else {CONSTRAINT: shortfall},
    )


def _distributions(study: Study) -> dict[str, CategoricalDistribution]:
    space = {"family": CategoricalDistribution([family.name for family in study.families])}
    for family in study.families:
        space |= {f"{family.name}.{k}": CategoricalDistribution(levels) for k, levels in family.knobs.items()}
    return space


def _space(entries: Sequence[Entry], study: Study) -> Space:
    names = [family.name for family in study.families]
    knobs = {family.name: family.knobs for family in study.families}
    levels = [[knobs[e.family][k].index(level) for k, level in e.configuration.items()] for e in entries]
    return make_space([names.index(e.family) for e in entries], levels, [e.nominal_bytes for e in entries])
