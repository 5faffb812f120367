"""Searches: which job comes next. Optuna, by ask and tell, keeps the index; the records decide.

Each search is an Optuna study of its own in the sweep's storage. Only the driver writes to it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweep.sampler import TRIES, Parameters, Params, SmallestSampler, as_params
from sweep.smallest import skipped
from sweep.space import spread
from sweep.storage import PatientStorage, without_password
from sweep.store import Record, StoreError, but_for_seed
from sweep.study import Configuration, Level, Study
from sweep.trial import Job

SearchName = Literal["grid", "smallest", "tpe", "pareto"]
FOR_A_TARGET = ("smallest", "tpe")
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

    def params(self) -> Params:
        """The Optuna parameters that stand for it."""
        return as_params(self.family, self.configuration)


class IndexedSearch:
    """A `Search` over listed configurations, indexed in an Optuna study.

    With a threshold: for the smallest that meets it, by `SmallestSampler`. Else each configuration once, those that
    tell most first (`space.spread`), or as a proposer draws them.

    Args:
        entries: the configurations.
        study: whose families they are.
        name: of the search.
        index: the search's Optuna study; its stale running trials are closed.
        records: what is known; done jobs are not run again, failed ones are.
        threshold: the least accuracy that meets the target; None for no target.
        trials: at most so many jobs are started; None for no bound.
        confirm: fresh seeds of the winner, at least; 0 for none.
        objectives: what the index minimises where there is no target: of "error", "bytes" and "macs".
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        study: Study,
        name: SearchName,
        index: optuna.Study,
        records: Sequence[Record],
        threshold: float | None,
        trials: int | None,
        confirm: int = 0,
        objectives: Sequence[str] = ("error", "bytes"),
    ) -> None:
        self.entries, self.name, self.threshold, self.trials = entries, name, threshold, trials
        self.started = 0
        self._objectives = ("bytes",) if threshold is not None else objectives
        self._begun: list[int] = []  # configurations in the order in which this run began them
        self._records: dict[str, Record] = {}
        self._running: dict[str, optuna.Trial] = {}
        self._index = index
        self._numbers = {_of(entry.family, entry.configuration): number for number, entry in enumerate(entries)}
        self._candidates = {but_for_seed(entry.jobs[0].as_dict()): number for number, entry in enumerate(entries)}
        self._order = _spread(entries)
        self._ids = {job.id for entry in entries for job in entry.jobs}
        self._parameters = Parameters({family.name: family.knobs for family in study.families})
        done = [record for record in records if record["status"] == "done"]
        proposer = TPESampler(seed=0) if name in ("tpe", "pareto") else None
        self._aimed = self._aim(study, done, confirm, proposer) if threshold is not None else None
        self._harvest([record for record in done if self._owner(record) is not None])
        listed = [entry.params() for entry in entries]
        index.sampler = self._aimed or _Once(self._parameters, listed, wanted=self._wanted, proposer=proposer)
        self.known = len(self._records)

    def ask(self) -> Job | None:
        if not self._ready():
            return None
        trial = self._index.ask()
        number = self._numbers[_of(*self._parameters.suggest(trial))]
        job = self._next_job(number)
        trial.set_user_attr("job", job.id)
        trial.set_user_attr("seed", job.seed)
        self._running[job.id] = trial
        self._begun.append(number)
        self.started += 1
        return job

    def finished(self) -> bool:
        return not self._running and not self._ready()

    def tell(self, job: Job, record: Record | None) -> None:
        trial = self._running.pop(job.id)
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
        self._index.tell(trial, self._values(record))

    def records(self) -> list[Record]:
        """The records of this search's jobs so far."""
        return list(self._records.values())

    def left(self) -> int:
        """Jobs that a search without a target has still to start."""
        left = sum(self._unstarted(job) for entry in self.entries for job in entry.jobs)
        return left if self.trials is None else min(left, self.trials - self.started)

    def summary(self) -> dict[str, Any]:
        """What the search did: counts, and why configurations did not have to run.

        A configuration that nothing is known of was ruled out (`skipped`, which takes a target) or is left.
        """
        touched = {self._owner(record) for record in self._records.values()} | set(self._begun)
        untouched = np.array([number not in touched for number in range(len(self.entries))])
        ruled_out = skipped(self._aimed.view(self._index), untouched=untouched) if self._aimed else {}
        return {
            "name": self.name,
            "configurations": len(self.entries),
            "jobs": sum(len(entry.jobs) for entry in self.entries),
            "known": self.known,
            "started": self.started,
            "failed": sum(record["status"] == "failed" for record in self._records.values()),
            "skipped": ruled_out,
            "left": int(untouched.sum()) - sum(ruled_out.values()),
        }

    def _aim(self, study: Study, done: Sequence[Record], confirm: int, proposer: BaseSampler | None) -> SmallestSampler:
        """The sampler that looks for the smallest, told of all results by seed that the index does not hold."""
        elsewhere: dict[str, list[float]] = {}
        for record in done:
            what = but_for_seed(record)
            if record["method"] == "lc" and what not in self._candidates and self.threshold is not None:
                elsewhere.setdefault(what, []).append(self.threshold - record["val"]["accuracy"])
        sizes = [entry.nominal_bytes for entry in self.entries]
        numbers = self._numbers
        return SmallestSampler(
            {family.name: family.knobs for family in study.families},
            lambda *what: sizes[numbers[_of(*what)]] if _of(*what) in numbers else None,
            repeats=len(self.entries[0].jobs),
            confirm=confirm,
            proposer=proposer,
            others=list(elsewhere.values()),
        )

    def _ready(self) -> bool:
        """Whether a job can be started now."""
        if self.trials is not None and self.started >= self.trials:
            return False
        return self._aimed.ready(self._index) if self._aimed else bool(self._wanted())

    def _wanted(self) -> list[int]:
        """Configurations with jobs to start, in order; one that was begun, alone."""
        wanted = [number for number in self._order if any(map(self._unstarted, self.entries[number].jobs))]
        begun = set(wanted) & set(self._begun)
        return [min(begun, key=self._begun.index)] if begun else wanted

    def _next_job(self, number: int) -> Job:
        """Of the configuration: its first seed that nothing is known of."""
        first = self.entries[number].jobs[0]
        jobs = (replace(first, seed=seed) for seed in itertools.count(first.seed))
        return next(job for job in jobs if self._unstarted(job))

    def _unstarted(self, job: Job) -> bool:
        return job.id not in self._records and job.id not in self._running

    def _owner(self, record: Record) -> int | None:
        """The number of the record's configuration; where there is a target, its seed may be another search's."""
        if self.threshold is None and record["id"] not in self._ids:
            return None
        return self._candidates.get(but_for_seed(record))

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
                self._index.add_trial(self._finished_trial(record))

    def _finished_trial(self, record: Record) -> FrozenTrial:
        params = as_params(record["family"], record["configuration"])
        known = self._parameters.distributions()
        shortfall = None if self.threshold is None else self.threshold - record["val"]["accuracy"]
        return optuna.trial.create_trial(
            params=params,
            distributions={name: known[name] for name in params},
            values=self._values(record),
            user_attrs={"job": record["id"], "seed": record["seed"], "seconds": record["seconds"], "known": True},
            system_attrs=None if shortfall is None else {LEGACY_CONSTRAINTS: [shortfall]},
            constraints=None if shortfall is None else {CONSTRAINT: shortfall},
        )

    def _values(self, record: Record) -> list[float]:
        columns = {"bytes": "artifact_bytes", "macs": "macs"}
        error = 1 - record["val"]["accuracy"]
        return [error if objective == "error" else record[columns[objective]] for objective in self._objectives]


class _Once(BaseSampler):
    """Each configuration that is wanted, in order or as a proposer draws them; Optuna's part is to keep them."""

    def __init__(
        self,
        parameters: Parameters,
        configurations: Sequence[Params],
        *,
        wanted: Callable[[], list[int]],
        proposer: BaseSampler | None,
    ) -> None:
        self.parameters, self.configurations, self.wanted, self.proposer = parameters, configurations, wanted, proposer

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.parameters.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        wanted = [self.configurations[number] for number in self.wanted()]
        for _ in range(TRIES):
            if self.proposer is None or len(wanted) == 1:
                break
            drawn = self.parameters.draw(self.proposer, study, trial)
            if drawn in wanted:
                return drawn
        return wanted[0]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"parameter: expected one that the search drew, got {param_name!r}")


def index_url(path: Path) -> str:
    """The storage that is the SQLite file `path`, whatever characters its name has."""
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def open_index(
    url: str, *, study: str, search: str, target: Mapping[str, float], space: str, objectives: int = 2
) -> optuna.Study:
    """The Optuna study of a search over the space of hash `space`, made where it is missing.

    A search for a target minimises bytes under a constraint; another minimises so many `objectives`, the validation
    error and the bytes first.

    Raises:
        StoreError: the storage cannot be opened, or is not Optuna's.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    aimed = search in FOR_A_TARGET
    goal = "".join(f" {name} {value}" for name, value in target.items()) if aimed else ""
    goal += " with MACs" if objectives == 3 else ""
    directions = [StudyDirection.MINIMIZE] * (1 if aimed else objectives)
    try:
        storage = PatientStorage(url)
        index = optuna.create_study(
            storage=storage, study_name=f"{study} {search}{goal} {space}", directions=directions, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's, Optuna's, Alembic's and the driver's own
        reason = " ".join(str(error).split("\n")[0].split())
        raise StoreError(
            f"{without_password(url)}: expected a storage that Optuna can open (such as sqlite:///study.db), "
            f"got {reason}; move it away or name another with --storage"
        ) from error
    return index


def _spread(entries: Sequence[Entry]) -> list[int]:
    """The numbers of `entries` in the order of `space.spread`; a knob's levels are those that it has among them."""
    places: dict[tuple[str, str], dict[Level, int]] = {}
    levels = []
    for entry in entries:
        found = [(places.setdefault((entry.family, knob), {}), level) for knob, level in entry.configuration.items()]
        levels.append([known.setdefault(level, len(known)) for known, level in found])
    families = list(dict.fromkeys(entry.family for entry in entries))
    return spread([families.index(entry.family) for entry in entries], levels)


def _of(family: str, configuration: Configuration) -> tuple[Any, ...]:
    return family, *configuration.values()
