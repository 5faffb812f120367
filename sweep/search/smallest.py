"""The search for the smallest configuration that meets a target, by `SmallestSampler`."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

from optuna.samplers import BaseSampler

from sweep.criteria import UNTRAINED
from sweep.search.protocol import SearchPlan
from sweep.search.sampler import SmallestSampler, as_params, params_key
from sweep.search.space import Flags
from sweep.search.summary import Ties
from sweep.search.trials import Drawing, JobTrials
from sweep.search.version_space import skipped
from sweep.store.job import Configuration, Job
from sweep.store.record import Done, Record


class Smallest:
    """A `Strategy` that runs only what the results so far leave open.

    Args:
        plan: with criteria.
        done: all done records of the sweep. Results of configurations outside the plan tell how large the noise is.
        proposer: draws the open configurations in place of the version space.
    """

    def __init__(self, plan: SearchPlan, done: Sequence[Done], *, proposer: BaseSampler | None = None) -> None:
        known = [record for record in done if plan.owner(record) is not None]
        self._entries, self._by = plan.entries, plan.by
        self._learns = plan.by == "bytes" and plan.sizes == "expected"
        self._taken = {record.id for record in known}  # jobs that are known, have run or are running
        self._sampler = _sampler(plan, done, proposer)
        for record in known:
            self._learn(record)
        self._drawing = Drawing(self._sampler, JobTrials.of(plan), known)

    def next(self) -> Job | None:
        return self._drawing.draw(self._next_seed) if self._sampler.ready(self._drawing.study) else None

    def tell(self, job: Job, record: Record | None) -> None:
        if record is None:
            self._taken.discard(job.id)
        if isinstance(record, Done):
            self._learn(record)
        self._drawing.tell(job, record)

    def finished(self) -> bool:
        return not self._drawing.running and not self._sampler.ready(self._drawing.study)

    def left(self) -> None:
        """None: the results decide how many jobs there will be."""

    def skipped(self, untouched: Flags) -> dict[str, int]:
        return skipped(self._sampler.view(self._drawing.study), untouched=untouched)

    def open(self) -> list[int]:
        """The numbers of the entries that are neither decided nor ruled out by the results so far."""
        return [int(number) for number in self._sampler.view(self._drawing.study).open.nonzero()[0]]

    def ties(self) -> Ties | None:
        seeds = self._sampler.view(self._drawing.study).ties
        if not seeds:
            return None
        if self._by == "bytes":
            sizes = [int(self._sampler.space.sizes[number]) for number in seeds]
        else:
            macs = {params_key(as_params(entry.family, entry.configuration)): entry.macs for entry in self._entries}
            sizes = [macs[params_key(self._sampler.configurations[number])] for number in seeds]
        return Ties(len(seeds), min(sizes), max(sizes), self._by, max(seeds.values()), self._sampler.confirm)

    def _learn(self, record: Done) -> None:
        if self._learns:
            self._sampler.learn(record.family, record.configuration, record.artifact_bytes)

    def _next_seed(self, family: str, configuration: Configuration) -> Job:
        """The job of the configuration's first seed that has not been taken."""
        number = self._entries.number(family, configuration)
        assert number is not None, f"{family} {configuration} is none of the search's configurations"
        first = self._entries[number].jobs[0]
        jobs = (replace(first, seed=seed) for seed in itertools.count(first.seed))
        job = next(job for job in jobs if job.id not in self._taken)
        self._taken.add(job.id)
        return job


def _sampler(plan: SearchPlan, done: Sequence[Done], proposer: BaseSampler | None) -> SmallestSampler:
    """The sampler of the plan's entries. What lies outside them is told to it by seed, since it shows the noise."""
    assert plan.criteria is not None, "a search for the smallest has a target"
    elsewhere: dict[str, list[float]] = {}
    for record in done:
        if record.method not in UNTRAINED and plan.owner(record) is None:
            margin = plan.criteria.margin(record.val.score)
            elsewhere.setdefault(record.key, []).append(0.0 - margin)

    sizes = _sizes(plan)

    def size(family: str, configuration: Configuration) -> int | None:
        number = plan.entries.number(family, configuration)
        return None if number is None else sizes[number]

    return SmallestSampler(
        plan.families,
        size,
        repeats=len(plan.entries[0].jobs),
        confirm=plan.criteria.confirm,
        proposer=proposer,
        others=list(elsewhere.values()),
    )


def _sizes(plan: SearchPlan) -> list[int]:
    """What is minimised, of each entry: its nominal bytes; or its MACs, of which equal ones are told apart by bytes."""
    sizes = [entry.nominal_bytes for entry in plan.entries]
    if plan.by == "bytes":
        return sizes
    most = 1 + max(sizes)
    parts = min(most, 2**62 // (1 + max(entry.macs for entry in plan.entries)))  # it all fits in 64 bits
    return [entry.macs * parts + size * parts // most for entry, size in zip(plan.entries, sizes, strict=True)]
