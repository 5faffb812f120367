"""The Optuna trials that stand for jobs, and the study in memory that a search draws configurations from.

Here a margin (score minus threshold, 0 or more meets the target) becomes the shortfall that Optuna wants as a
constraint: its negative, met from 0 down.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from sweep.criteria import Criteria
from sweep.search.protocol import SearchPlan
from sweep.search.sampler import Parameters, as_params
from sweep.search.shown import Steps, shown_distributions
from sweep.store.job import Configuration, Job
from sweep.store.record import Done, Record

CONSTRAINT = "shortfall"
LEGACY_CONSTRAINTS = "constraints"  # the attribute that optuna-dashboard 0.21 reads


@dataclass(frozen=True)
class JobTrials:
    """Makes the trials of one search's jobs.

    Attributes:
        parameters: the Optuna parameters of the families.
        objectives: what is minimised, in this order: of "error", "bytes" and "macs".
        criteria: of the target; None without one.
        distributions: of the parameters, by name.
        steps: the intermediate values of a job.
    """

    parameters: Parameters
    objectives: tuple[str, ...]
    criteria: Criteria | None
    distributions: Mapping[str, BaseDistribution]
    steps: Steps = lambda _: {}

    @staticmethod
    def of(plan: SearchPlan) -> "JobTrials":
        """Those that a sampler is told of."""
        parameters = Parameters(plan.families)
        return JobTrials(parameters, plan.minimised, plan.criteria, parameters.distributions())

    @staticmethod
    def shown(plan: SearchPlan, *, steps: Steps) -> "JobTrials":
        """Those that the index shows to people."""
        return replace(JobTrials.of(plan), distributions=shown_distributions(plan.families), steps=steps)

    def trial(self, job: Job, record: Record | None, *, since: datetime.datetime | None = None) -> FrozenTrial:
        """The finished trial that stands for `job`: complete when it is done, failed when it failed or was lost.

        `record` is None for a lost job. `since` is when the job started; None when it was known before this run.
        """
        done = record if isinstance(record, Done) else None
        params, distributions = as_params(job.family, job.configuration), self.distributions
        shortfall = self._shortfall(done) if done else None
        trial = optuna.trial.create_trial(
            state=TrialState.COMPLETE if done else TrialState.FAIL,
            params=params,
            distributions={name: distributions[name] for name in params},
            values=self._values(done) if done else None,
            intermediate_values=dict(self.steps(job.id)),
            user_attrs=_facts(job, record) | ({"known": True} if since is None else {}),
            system_attrs=None if shortfall is None else {LEGACY_CONSTRAINTS: [shortfall]},
            constraints=None if shortfall is None else {CONSTRAINT: shortfall},
        )
        trial.datetime_start = since or trial.datetime_start
        return trial

    def _shortfall(self, record: Done) -> float | None:
        return 0.0 - self.criteria.margin(record.val.score) if self.criteria else None

    def _values(self, record: Done) -> list[float]:
        values = {"error": record.val.error, "bytes": record.artifact_bytes, "macs": record.macs}
        return [values[objective] for objective in self.objectives]


class Drawing:
    """An Optuna study in memory that a sampler draws configurations from. It holds one trial for each known result.

    Args:
        sampler: draws the configurations.
        trials: makes the trials.
        known: records of done jobs of the search.
    """

    def __init__(self, sampler: BaseSampler, trials: JobTrials, known: Sequence[Done]) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(sampler=sampler, directions=["minimize"] * len(trials.objectives))
        self.study.add_trials(trials.trial(record.job, record) for record in known)
        self._trials = trials
        self._running: dict[str, optuna.Trial] = {}  # by job

    @property
    def running(self) -> bool:
        """Whether a job that was drawn has not been told of yet."""
        return bool(self._running)

    def draw(self, start: Callable[[str, Configuration], Job]) -> Job:
        """The job that `start` gives for the family and configuration that the sampler draws."""
        trial = self.study.ask()
        job = start(*self._trials.parameters.suggest(trial))
        trial.set_user_attr("seed", job.seed)  # `SmallestSampler` sorts repeats by it
        self._running[job.id] = trial
        return job

    def tell(self, job: Job, record: Record | None) -> None:
        """Tells the sampler what became of `job`."""
        trial, finished = self._running.pop(job.id), self._trials.trial(job, record)
        if record is None:
            trial.set_user_attr("lost", True)
        for name, value in finished.constraints.items():
            trial.set_constraint(name, value)
        self.study.tell(trial, finished.values, state=finished.state)


def _facts(job: Job, record: Record | None) -> dict[str, Any]:
    """The user attributes of the job's trial."""
    facts: dict[str, Any] = {"job": job.id, "seed": job.seed}
    if record is None:
        return facts | {"lost": True}
    error = {"error": record.error.message} if record.error is not None else {}
    return facts | {"seconds": record.seconds} | error
