"""A sweep's search: a strategy, with the bound on its jobs, the records that it knows and its index on disk."""

import datetime
from collections.abc import Sequence

import numpy as np

from sweep.search.grid import Grid
from sweep.search.index import Index, Listener
from sweep.search.proposed import Front, smallest_by_tpe
from sweep.search.protocol import SearchPlan, Strategy
from sweep.search.shown import Steps
from sweep.search.smallest import Smallest
from sweep.search.summary import SearchSummary
from sweep.search.trials import JobTrials
from sweep.store.job import Job
from sweep.store.record import Done, Record
from sweep.store.records import finished
from sweep.target import Target


def open_search(
    plan: SearchPlan, *, records: Sequence[Record], index: Index, steps: Steps = lambda _: {}
) -> "SweepSearch":
    """The search that `plan` describes.

    `records` are all that the sweep has: jobs that are done do not run again, others do. `index` is brought up to them,
    with the `steps` of each.
    """
    done = finished(records)
    known = [record for record in done if plan.owner(record) is not None]
    listener = Listener(index, JobTrials.shown(plan, steps=steps))
    search = SweepSearch(plan, _strategy(plan, done, known), known=known, listener=listener)
    listener.harvest(known)
    return search


def left_open(plan: SearchPlan, *, records: Sequence[Record]) -> list[int] | None:
    """The numbers of the entries of which a search for a target may still start a first job; None where it is over.

    Where it is not over and none is left, only further seeds of those that are known run.
    """
    search = Smallest(plan, finished(records))
    return None if search.finished() else search.open()


def _strategy(plan: SearchPlan, done: Sequence[Done], known: Sequence[Done]) -> Strategy:
    match plan.name:
        case "grid":
            return Grid(plan.entries, known={record.id for record in known})
        case "smallest":
            return Smallest(plan, done)
        case "tpe":
            return smallest_by_tpe(plan, done)
        case "pareto":
            return Front(plan, known)


class SweepSearch:
    """A `Search` that passes what it is told on to a strategy and to the index.

    Args:
        plan: what is searched.
        strategy: chooses the jobs.
        known: records of jobs of the plan that are done.
        listener: adds what is told to the index.
    """

    def __init__(self, plan: SearchPlan, strategy: Strategy, *, known: Sequence[Done], listener: Listener) -> None:
        self.plan = plan
        self.started = 0
        self._strategy, self._listener = strategy, listener
        self._records: dict[str, Record] = {record.id: record for record in known}
        self.known = len(self._records)
        self._touched = {plan.owner(record) for record in known}  # entries with a result or a job that has started
        self._since: dict[str, datetime.datetime] = {}  # running job -> when it started

    def next(self) -> Job | None:
        job = None if self._full() else self._strategy.next()
        if job is not None:
            self.started += 1
            self._since[job.id] = datetime.datetime.now()
            self._touched.add(self.plan.entries.of(job))
        return job

    def tell(self, job: Job, record: Record | None) -> None:
        since = self._since.pop(job.id)
        if record is not None:
            self._records[job.id] = record
        self._listener.tell(job, record, since=since)
        self._strategy.tell(job, record)

    def finished(self) -> bool:
        return not self._since and (self._full() or self._strategy.finished())

    def write(self) -> None:
        """Brings the index up to the last job that was told."""
        self._listener.index.write()

    def records(self) -> list[Record]:
        """The records of this search's jobs so far."""
        return list(self._records.values())

    def left(self) -> int | None:
        """The number of jobs still to start; None where the results decide it."""
        left = self._strategy.left()
        bound = self.plan.trials
        return left if left is None or bound is None else min(left, bound - self.started)

    def summary(self, *, target: Target | None, seconds: float) -> SearchSummary:
        """What the search did for `target` in so many `seconds`."""
        entries = self.plan.entries
        untouched = np.array([number not in self._touched for number in range(len(entries))])
        skipped = self._strategy.skipped(untouched)
        return SearchSummary(
            name=self.plan.name,
            configurations=len(entries),
            jobs=sum(len(entry.jobs) for entry in entries),
            known=self.known,
            started=self.started,
            failed=sum(record.status == "failed" for record in self._records.values()),
            skipped=skipped,
            left=int(untouched.sum()) - sum(skipped.values()),
            method=entries[0].jobs[0].method,
            target=target,
            seconds=seconds,
            ties=self._strategy.ties(),
        )

    def _full(self) -> bool:
        """Whether as many jobs have started as may."""
        return self.plan.trials is not None and self.started >= self.plan.trials
