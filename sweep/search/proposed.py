"""The searches whose configurations Optuna's TPE proposes: for a target, and for a front."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

from sweep.search.grid import Queue
from sweep.search.protocol import SearchPlan
from sweep.search.sampler import TRIES, Parameters, as_params, params_key
from sweep.search.smallest import Smallest
from sweep.search.space import Flags
from sweep.search.trials import Drawing, JobTrials
from sweep.store.job import Configuration, Job
from sweep.store.record import Done, Record


def smallest_by_tpe(plan: SearchPlan, done: Sequence[Done]) -> Smallest:
    """The search for the smallest that meets a target, where TPE draws from what the results leave open."""
    return Smallest(plan, done, proposer=TPESampler(seed=0))


class Front:
    """A `Strategy` that runs each configuration once, in the order in which TPE proposes them for the front.

    Args:
        plan: without criteria; TPE minimises its objectives.
        known: the done records of the plan's jobs.
    """

    def __init__(self, plan: SearchPlan, known: Sequence[Done]) -> None:
        trials = JobTrials.of(plan)
        self._entries = plan.entries
        self._queue = Queue(plan.entries, known={record.id for record in known})
        once = _Once(plan, trials.parameters, self._queue, TPESampler(seed=0))
        self._drawing = Drawing(once, trials, known)

    def next(self) -> Job | None:
        return self._drawing.draw(self._start) if self._queue.jobs else None

    def tell(self, job: Job, record: Record | None) -> None:
        if record is None:
            self._queue.put_back(job)
        self._drawing.tell(job, record)

    def finished(self) -> bool:
        return not self._drawing.running and not self._queue.jobs

    def left(self) -> int:
        return self._queue.jobs

    def skipped(self, untouched: Flags) -> dict[str, int]:
        return {}

    def ties(self) -> None:
        """None: there is no target."""

    def _start(self, family: str, configuration: Configuration) -> Job:
        number = self._entries.number(family, configuration)
        assert number is not None, f"{family} {configuration} is none of the search's configurations"
        return self._queue.start(number)


class _Once(BaseSampler):
    """Draws each configuration of a queue once, as `proposer` proposes them."""

    def __init__(self, plan: SearchPlan, parameters: Parameters, queue: Queue, proposer: BaseSampler) -> None:
        self.parameters, self.proposer, self.queue = parameters, proposer, queue
        self.configurations = [as_params(entry.family, entry.configuration) for entry in plan.entries]
        self.numbers = {params_key(params): number for number, params in enumerate(self.configurations)}

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.parameters.distributions()

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if self.queue.begun() is None:
            for _ in range(TRIES):
                drawn = self.parameters.draw(self.proposer, study, trial)
                if self.numbers.get(params_key(drawn)) in self.queue.configurations:
                    return drawn
        return self.configurations[self.queue.first()]

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        raise ValueError(f"parameter: expected one that the search drew, got {param_name!r}")
