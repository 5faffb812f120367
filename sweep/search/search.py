"""Searches: which job comes next. Optuna, by ask and tell, draws it; the records decide.

Each search is an Optuna study of its own in the sweep's storage, which is written behind the records (`index.Index`).
What draws works on a study in memory, made from the records. Only the driver writes to either.
"""

import datetime
import itertools
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweep.search.index import Index
from sweep.search.sampler import TRIES, Parameters, Params, SmallestSampler, as_params
from sweep.search.space import Flags, spread
from sweep.search.storage import without_password
from sweep.search.version_space import skipped
from sweep.store.files import StoreError
from sweep.store.job import Job
from sweep.store.record import Record, but_for_seed
from sweep.study import Configuration, Level, Study

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
        index: the search's Optuna study on disk.
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
        index: Index,
        records: Sequence[Record],
        threshold: float | None,
        trials: int | None,
        confirm: int = 0,
        objectives: Sequence[str] = ("error", "bytes"),
    ) -> None:
        self.entries, self.name, self.threshold, self.trials = entries, name, threshold, trials
        self.started = 0
        self._objectives = ("bytes",) if threshold is not None else objectives
        self._begun: set[int] = set()  # configurations of which this run began a job
        self._running: dict[str, _Running] = {}
        self._index = index
        self._numbers = {_of(entry.family, entry.configuration): number for number, entry in enumerate(entries)}
        self._candidates = {but_for_seed(entry.jobs[0].as_dict()): number for number, entry in enumerate(entries)}
        self._ids = {job.id for entry in entries for job in entry.jobs}
        self._parameters = Parameters({family.name: family.knobs for family in study.families})
        self._distributions = self._parameters.distributions()
        done = [record for record in records if record["status"] == "done"]
        known = [record for record in done if self._owner(record) is not None]
        self._records = {record["id"]: record for record in known}
        self.known = len(self._records)
        proposer = TPESampler(seed=0) if name in ("tpe", "pareto") else None
        self._aimed = self._aim(study, done, confirm, proposer) if threshold is not None else None
        self._tried = {self._owner(record) for record in known}
        self._left = _Left(entries, known=self._records)
        self._drawing = self._draw_from(known, proposer) if self._aimed or proposer else None
        self._harvest(known)

    def ask(self) -> Job | None:
        if not self._ready():
            return None
        trial = self._drawing.ask() if self._drawing else None
        number = self._numbers[_of(*self._parameters.suggest(trial))] if trial else self._left.first()
        job = self._next_job(number) if self._aimed else self._left.start(number)
        if trial:
            trial.set_user_attr("seed", job.seed)  # the sampler sorts repeats by it
        self._running[job.id] = _Running(trial, datetime.datetime.now())
        self._begun.add(number)
        self.started += 1
        return job

    def finished(self) -> bool:
        return not self._running and not self._ready()

    def tell(self, job: Job, record: Record | None) -> None:
        running = self._running.pop(job.id)
        if record is None and not self._aimed:
            self._left.put_back(self._numbers[_of(job.family, job.configuration)], job)
        if record is not None:
            self._records[job.id] = record
            self._tried.add(self._numbers[_of(job.family, job.configuration)])
        frozen = self._frozen(job, record, since=running.since)
        self._index.add(frozen)
        if running.trial is None or self._drawing is None:
            return
        if record is None:
            running.trial.set_user_attr("lost", True)
        for name, value in frozen.constraints.items():
            running.trial.set_constraint(name, value)
        self._drawing.tell(running.trial, frozen.values, state=frozen.state)

    def write(self) -> None:
        """Brings the index up to the last job that was told."""
        self._index.write()

    def records(self) -> list[Record]:
        """The records of this search's jobs so far."""
        return list(self._records.values())

    def left(self) -> int:
        """Jobs that a search without a target has still to start."""
        left = self._left.jobs
        return left if self.trials is None else min(left, self.trials - self.started)

    def summary(self) -> dict[str, Any]:
        """What the search did: counts, and why configurations did not have to run.

        A configuration that nothing is known of was ruled out (`skipped`, which takes a target) or is left.
        """
        touched = self._tried | self._begun
        untouched = np.array([number not in touched for number in range(len(self.entries))])
        ruled_out = self._ruled_out(untouched)
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

    def _ruled_out(self, untouched: Flags) -> dict[str, int]:
        return skipped(self._aimed.view(self._drawing), untouched=untouched) if self._aimed and self._drawing else {}

    def _draw_from(self, known: Sequence[Record], proposer: BaseSampler | None) -> optuna.Study:
        """The study in memory that what draws the next configuration works on; it holds what is known."""
        sampler = self._aimed or _Once(self._parameters, self.entries, left=self._left, proposer=proposer)
        drawing = optuna.create_study(sampler=sampler, directions=["minimize"] * len(self._objectives))
        drawing.add_trials(self._frozen(_job_of(record), record) for record in known)
        return drawing

    def _ready(self) -> bool:
        """Whether a job can be started now."""
        if self.trials is not None and self.started >= self.trials:
            return False
        return self._aimed.ready(self._drawing) if self._aimed and self._drawing else bool(self._left.jobs)

    def _next_job(self, number: int) -> Job:
        """Of the configuration: its first seed that nothing is known of."""
        first = self.entries[number].jobs[0]
        jobs = (replace(first, seed=seed) for seed in itertools.count(first.seed))
        return next(job for job in jobs if job.id not in self._records and job.id not in self._running)

    def _owner(self, record: Record) -> int | None:
        """The number of the record's configuration; where there is a target, its seed may be another search's."""
        if self.threshold is None and record["id"] not in self._ids:
            return None
        return self._candidates.get(but_for_seed(record))

    def _harvest(self, known: Sequence[Record]) -> None:
        """Brings the index up to what is known."""
        indexed = self._index.jobs()
        for record in known:
            if record["id"] not in indexed:
                self._index.add(self._frozen(_job_of(record), record))
        self._index.write()

    def _frozen(self, job: Job, record: Record | None, *, since: datetime.datetime | None = None) -> FrozenTrial:
        """The finished trial that stands for the job: complete, failed where it failed or was lost.

        since: when the job was started; None for one that was known before.
        """
        params = as_params(job.family, job.configuration)
        facts: dict[str, Any] = {"job": job.id, "seed": job.seed} | ({"known": True} if since is None else {})
        if record is None:
            facts["lost"] = True
        else:
            facts["seconds"] = record["seconds"]
            if record["status"] == "failed":
                facts["error"] = record["error"]["message"]
        status = record["status"] if record is not None else "lost"
        done = record if status == "done" else None
        state = TrialState.COMPLETE if done else TrialState.FAIL
        shortfall = self.threshold - done["val"]["accuracy"] if done and self.threshold is not None else None
        trial = optuna.trial.create_trial(
            state=state,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            values=self._values(done) if done else None,
            user_attrs=facts,
            system_attrs=None if shortfall is None else {LEGACY_CONSTRAINTS: [shortfall]},
            constraints=None if shortfall is None else {CONSTRAINT: shortfall},
        )
        trial.datetime_start = since or trial.datetime_start
        return trial

    def _values(self, record: Record) -> list[float]:
        columns = {"bytes": "artifact_bytes", "macs": "macs"}
        error = 1 - record["val"]["accuracy"]
        return [error if objective == "error" else record[columns[objective]] for objective in self._objectives]


@dataclass(frozen=True)
class _Running:
    """A job that was asked for: its trial among those that the search draws from, if it draws, and since when."""

    trial: optuna.Trial | None
    since: datetime.datetime


class _Left:
    """The jobs that a search without a target has still to start, those that tell most first.

    A configuration of which a job was started comes first, until all of its are.
    """

    def __init__(self, entries: Sequence[Entry], *, known: Collection[str]) -> None:
        self.configurations: OrderedDict[int, list[Job]] = OrderedDict()
        self._begun: list[int] = []
        for number in _spread(entries):
            jobs = [job for job in entries[number].jobs if job.id not in known]
            if jobs:
                self.configurations[number] = jobs
        self.jobs = sum(map(len, self.configurations.values()))

    def begun(self) -> int | None:
        """The configuration that is to be gone on with, if there is one."""
        return self._begun[0] if self._begun else None

    def first(self) -> int:
        """The next configuration."""
        return self._begun[0] if self._begun else next(iter(self.configurations))

    def start(self, number: int) -> Job:
        """The next job of the configuration, no longer left."""
        jobs = self.configurations[number]
        job = jobs.pop(0)
        self.jobs -= 1
        if not jobs:
            del self.configurations[number]
        self._note(number)
        return job

    def put_back(self, number: int, job: Job) -> None:
        """A job that was started is left again."""
        self.configurations.setdefault(number, []).insert(0, job)
        self.jobs += 1
        self._note(number)

    def _note(self, number: int) -> None:
        if number not in self.configurations:
            self._begun = [other for other in self._begun if other != number]
        elif number not in self._begun:
            self._begun.append(number)


class _Once(BaseSampler):
    """Each configuration that is left, as a proposer draws them."""

    def __init__(
        self, parameters: Parameters, entries: Sequence[Entry], *, left: _Left, proposer: BaseSampler | None
    ) -> None:
        assert proposer is not None
        self.parameters, self.proposer, self.left = parameters, proposer, left
        self.configurations = [entry.params() for entry in entries]
        self.numbers = {_key(params): number for number, params in enumerate(self.configurations)}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.parameters.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self.left.begun() is None:
            for _ in range(TRIES):
                drawn = self.parameters.draw(self.proposer, study, trial)
                if self.numbers.get(_key(drawn)) in self.left.configurations:
                    return drawn
        return self.configurations[self.left.first()]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"parameter: expected one that the search drew, got {param_name!r}")


def _key(params: Params) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(params.items()))


def index_url(path: Path) -> str:
    """The storage that is the SQLite file `path`, whatever characters its name has."""
    return sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()


def open_index(
    url: str, *, study: str, search: str, target: Mapping[str, float], space: str, objectives: int = 2
) -> Index:
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
        storage = optuna.storages.RDBStorage(url)
        index = optuna.create_study(
            storage=storage, study_name=f"{study} {search}{goal} {space}", directions=directions, load_if_exists=True
        )
    except Exception as error:  # SQLAlchemy's, Optuna's, Alembic's and the driver's own
        reason = " ".join(str(error).split("\n")[0].split())
        raise StoreError(
            f"{without_password(url)}: expected a storage that Optuna can open (such as sqlite:///study.db), "
            f"got {reason}; move it away or name another with --storage"
        ) from error
    return Index(index, storage)


def _spread(entries: Sequence[Entry]) -> list[int]:
    """The numbers of `entries` in the order of `space.spread`; a knob's levels are those that it has among them."""
    places: dict[tuple[str, str], dict[Level, int]] = {}
    levels = []
    for entry in entries:
        found = [(places.setdefault((entry.family, knob), {}), level) for knob, level in entry.configuration.items()]
        levels.append([known.setdefault(level, len(known)) for known, level in found])
    families = list(dict.fromkeys(entry.family for entry in entries))
    return spread([families.index(entry.family) for entry in entries], levels)


def _job_of(record: Record) -> Job:
    return Job.from_dict({field.name: record[field.name] for field in fields(Job)})


def _of(family: str, configuration: Configuration) -> tuple[Any, ...]:
    return family, *configuration.values()
