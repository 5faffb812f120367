"""Runs a prepared sweep: takes the lock, runs the jobs that the search asks for, and writes the search's summary."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from sweep.execution.context import RunContext
from sweep.execution.progress import Watch
from sweep.execution.time_limit import TimeLimit
from sweep.execution.tracking import Tracking
from sweep.job.context import split_arrays
from sweep.pick.choice import Candidate, Choice, candidates, chosen
from sweep.prepare.prepared import PreparedSweep, search_plan
from sweep.search.index import index_url, open_index, storage_errors
from sweep.search.open import SweepSearch, open_search
from sweep.search.protocol import Search
from sweep.search.shown import SHOWN_AS, steps_in
from sweep.search.summary import SearchSummary
from sweep.store import remote
from sweep.store.files import write_json
from sweep.store.job import content_hash
from sweep.store.lock import locked
from sweep.store.record import Record
from sweep.store.records import read_records


class Runner(Protocol):
    """Runs the jobs that a search asks for: `execution.runner.run`, or another function in tests and benchmarks."""

    def __call__(self, search: Search, context: RunContext, *, watch: Watch, check: Callable[[], None]) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes:
        summary: what the search did.
        choice: the model that a pick would choose now; None without a target.
        models: how many candidates the sweep has.
        asked: the candidate of the one job that the run was asked for; None of another run.
    """

    summary: SearchSummary
    choice: Choice | None
    models: int
    asked: Candidate | None = None


def run(
    sweep: PreparedSweep,
    *,
    watch: Callable[[SweepSearch], AbstractContextManager[Watch]],
    runner: Runner | None = None,
) -> Outcome:
    """Runs the jobs of `sweep` that are missing.

    `watch` makes the progress that the user sees; `runner` is `sweep.execution.runner.run` unless given.

    Raises:
        StoreError: another driver is at work on the sweep.
    """
    if runner is None:
        from sweep.execution import runner as on_ray  # imports Ray, which only those who run it need

        runner = on_ray.run

    started = time.monotonic()
    options, folder = sweep.options, sweep.folder
    storage = options.storage or index_url(folder.index)
    with locked(folder) as lock, storage_errors(storage):
        if options.url is not None:
            remote.put(options.url, folder.reference.parent.name, folder.manifest.name)
        search = _open_search(sweep, storage, check=lock.check)
        try:
            context = _run_context(sweep, known=search.records())
            with watch(search) as progress:
                runner(search, context, watch=progress, check=lock.check)
        finally:
            summary = search.summary(target=sweep.target if options.aimed else None, seconds=time.monotonic() - started)
            if options.job is not None:  # the summary of the grid, which is another search, stays
                summary = replace(summary, name="confirm")
            if lock.held():  # else another driver writes them
                write_json(folder.search(summary.name, method=options.method), summary.to_json())
                search.write()
                if options.url is not None:
                    remote.put(options.url, folder.searches.name)
        lock.check()
    found = candidates(read_records(sweep.folder.root))
    choice = chosen(found, sweep.manifest, target=sweep.target, by=options.by) if sweep.target else None
    job = options.job
    asked = None if job is None else next((c for c in found if any(id.startswith(job) for id in c.ids)), None)
    return Outcome(summary, choice, len(found), asked)


def _run_context(sweep: PreparedSweep, *, known: Sequence[Record]) -> RunContext:
    options = sweep.options
    return RunContext(
        folder=sweep.folder,
        study_reference=options.study,
        user_folder=options.user_folder,
        splits=split_arrays(sweep.context.data),
        workers=options.workers,
        address=options.address,
        gpus_per_job=options.gpus_per_job,
        url=options.url,
        tracking=Tracking(options.track, sweep.context.study.name) if options.track else None,
        limit=TimeLimit(options.job_timeout, known=known),
    )


def _open_search(sweep: PreparedSweep, storage: str, *, check: Callable[[], None]) -> SweepSearch:
    """The search of the options, with the sweep's records and its index in `storage`. `check` is `open_index`'s."""
    options, study, target = sweep.options, sweep.context.study, sweep.target if sweep.options.aimed else None
    plan = search_plan(options, study, sweep.entries, sweep.manifest, format=sweep.context.format)
    index = open_index(
        storage,
        study=study.name,
        search=options.search,
        target=(target.as_dict() if target else {}) | ({} if options.by == "bytes" else {"by": options.by}),
        space=_space_hash(sweep),
        objectives=options.objectives,
        check=check,
    )
    return open_search(plan, records=read_records(sweep.folder.root), index=index, steps=steps_in(sweep.folder))


def _space_hash(sweep: PreparedSweep) -> str:
    """A hash of the sweep, the method, the levels and how they are shown: Optuna's studies cannot change these."""
    levels = [[family.name, dict(family.knobs)] for family in sweep.context.study.families]  # their order counts
    return content_hash([sweep.manifest.sweep, sweep.options.method, levels, SHOWN_AS])[:8]
