"""`lcsweep run`: runs the jobs of a study that have no result yet."""

import math
import os
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from sweep.cli import run_text
from sweep.cli.console import (
    DONE,
    NO_MODEL,
    SOME_FAILED,
    DataFolder,
    UsageError,
    say,
    steps,
    use_data,
)
from sweep.cli.target_options import with_target
from sweep.cli.text import reference, search_summary
from sweep.criteria import CONFIRMED
from sweep.prepare.options import Tracker
from sweep.search.protocol import SearchBy, SearchName
from sweep.store import remote
from sweep.store.coverage import shares
from sweep.store.job import METHODS, Method
from sweep.target import Target

if TYPE_CHECKING:
    from typing import Unpack

    from sweep.execution import driver
    from sweep.prepare.options import Options, Settings
    from sweep.prepare.prepared import PreparedSweep
    from sweep.search.open import SweepSearch
    from sweep.study.loading import StudySource


STORAGE = "LCSWEEP_STORAGE"
SEARCH, SEEDS, MACHINES, RESULTS = "What to run", "Seeds", "Where it runs", "Where results go"
"""The groups of the options in the help."""


HOW = f"How to compress: {'; '.join(f'{name}, {words}' for name, words in METHODS.items())}."


@with_target
def run(
    study: Annotated[
        str,
        typer.Argument(metavar="STUDY", help="A module (studies.digits_mlp), module:name, or a path to a .py file."),
    ],
    search: Annotated[
        SearchName,
        typer.Option(
            rich_help_panel=SEARCH,
            help="grid: run the study's whole grid; smallest: find the smallest model that meets the target; tpe: the "
            "same with Optuna's TPE sampler; pareto: trade error against bytes.",
        ),
    ] = "grid",
    target: Target | None = None,
    trials: Annotated[
        int | None, typer.Option(rich_help_panel=SEARCH, min=1, metavar="N", help="Start at most N jobs.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=MACHINES, min=1, metavar="N", help="Run N jobs at a time; by default as many as fit."
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(rich_help_panel=SEEDS, min=1, metavar="R", help="Seeds for each configuration.")
    ] = 1,
    seed: Annotated[int, typer.Option(rich_help_panel=SEEDS, min=0, metavar="S", help="The first seed.")] = 0,
    confirm: Annotated[
        int,
        typer.Option(
            rich_help_panel=SEEDS,
            min=0,
            metavar="R",
            help="Confirm a search's winner on at least R further seeds; 0: do not.",
        ),
    ] = 3,
    macs: Annotated[
        bool,
        typer.Option(
            "--macs", rich_help_panel=SEARCH, help="With --search pareto: minimise multiply-accumulates (MACs) too."
        ),
    ] = False,
    by: Annotated[
        SearchBy,
        typer.Option(rich_help_panel=SEARCH, help="What a search for a target minimises; ties go to fewer bytes."),
    ] = "bytes",
    job: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=SEARCH,
            metavar="ID",
            help="Run only the configuration of this job, by the start of its id, on the seeds that confirm it.",
        ),
    ] = None,
    method: Annotated[
        Method,
        typer.Option(rich_help_panel=SEARCH, help=HOW),
    ] = "lc",
    out: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=RESULTS, metavar="DIR", help="The sweep's folder or URL; by default runs/<study>."
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=RESULTS,
            metavar="URL",
            envvar=STORAGE,
            help="Where Optuna keeps its study; by default DIR/study.db.",
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(rich_help_panel=MACHINES, metavar="ADDR", help="Run on this Ray cluster: auto or HOST:PORT."),
    ] = None,
    gpus_per_job: Annotated[
        float, typer.Option(rich_help_panel=MACHINES, min=0, metavar="F", help="GPUs for each job; may be a fraction.")
    ] = 0.0,
    job_timeout: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=MACHINES,
            metavar="SECONDS",
            help="A job that has not ended by then fails; by default ten times the median of the jobs that are done, "
            "at least 600.",
        ),
    ] = None,
    track: Annotated[
        Tracker | None, typer.Option(rich_help_panel=RESULTS, help="Log every LC step to this tracker too.")
    ] = None,
    data: DataFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the jobs with their sizes, the time and the disk space; run none.")
    ] = False,
) -> int:
    """Run the jobs of STUDY that have no result yet.

    Runs all jobs of its grid, or those that a search needs. To continue an interrupted sweep, run the same command
    again; it runs failed jobs again too.
    """
    from sweep.execution.process import keep_secret

    keep_secret(storage, STORAGE)  # before the imports that take seconds
    from sweep.prepare.prepared import outline

    named = use_data(data)
    options = options_of(
        study,
        os.getcwd(),
        out=out,
        workers=workers,
        search=search,
        target=target,
        trials=trials,
        repeats=repeats,
        seed=seed,
        storage=storage,
        address=address,
        method=method,
        confirm=confirm,
        macs=macs,
        by=by,
        job=job,
        gpus_per_job=gpus_per_job,
        track=track,
        job_timeout=job_timeout,
    )
    if dry_run:
        print(run_text.outline(outline(options), limit=trials, aimed=options.aimed))
        return DONE
    return _run(options, data=named)


def _run(options: "Options", *, data: Path | None) -> int:
    """Runs the sweep and prints what it does; the exit code."""
    from sweep.cli.next_steps import next_steps
    from sweep.execution.process import own_stream

    with own_stream(sys.stdout) as stream:
        sweep, outcome = carry_out(options, say=say, stream=stream, steps=steps)
    failed = outcome.summary.failed
    say(next_steps(sweep, outcome, data=data))
    if failed:
        return SOME_FAILED
    choice = outcome.choice
    known = choice is None or choice.state == CONFIRMED or (choice.feasible and not options.seeds[1])
    return DONE if known or not options.aimed else NO_MODEL


def carry_out(
    options: "Options",
    *,
    say: Callable[[str], None],
    stream: TextIO,
    steps: Callable[[], AbstractContextManager[Callable[[str], None]]],
) -> "tuple[PreparedSweep, driver.Outcome]":
    """Makes a sweep ready and runs it.

    `say` gets what it does, line by line, `steps` shows what it does now until it is ready, and `stream` gets its jobs
    as they end.
    """
    from sweep.execution import driver
    from sweep.execution.progress import Progress
    from sweep.prepare.prepared import prepare

    with steps() as step:
        sweep = prepare(options, say=say, step=step)
    say(reference(sweep.manifest))
    for line in shares(sweep.coverage):
        say(line)

    def watch(search: "SweepSearch") -> Progress:
        say(run_text.plan(search, workers=options.workers, target=sweep.target, metric=sweep.manifest.metric))
        return Progress(
            total=search.left(),
            workers=options.workers,
            stream=stream,
            known=search.records(),
            least_score=sweep.threshold,
            metric=sweep.manifest.metric,
        )

    outcome = driver.run(sweep, watch=watch)
    say(search_summary(outcome.summary))
    if outcome.asked is not None:
        say(run_text.asked(outcome.asked, outcome.choice, sweep.manifest))
    if outcome.choice is not None:
        say(run_text.chosen(outcome.choice, sweep.manifest))
    return sweep, outcome


def options_of(
    study: "StudySource",
    user_folder: str,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    **settings: "Unpack[Settings]",
) -> "Options":
    """The options of a run.

    Raises:
        UsageError: one is wrong.
        ValueError: one is to be a number and is none.
    """
    from lc_core.fields import check_number
    from sweep.prepare.options import Options, Settings
    from sweep.search.protocol import FOR_A_TARGET

    check_number("workers", workers, int | None)
    for name, value in settings.items():
        check_number(name, value, Settings.__annotations__.get(name))
    if settings.get("macs") and settings.get("search") != "pareto":
        raise UsageError("macs: expected search pareto beside it")
    if settings.get("by", "bytes") != "bytes" and settings.get("search") not in FOR_A_TARGET:
        raise UsageError("by: expected search smallest or tpe beside it")
    if settings.get("job") is not None and settings.get("search", "grid") != "grid":
        raise UsageError("job: expected no search beside it, since it runs one configuration")
    timeout = settings.get("job_timeout")
    if timeout is not None and not 0 < timeout < math.inf:
        raise UsageError(f"job_timeout: expected a number of seconds above 0, got {timeout}")
    url = str(out) if out is not None and remote.is_url(str(out)) else None
    workers = _workers_at_once(workers, settings.get("address"), settings.get("gpus_per_job", 0.0))
    folder = remote.begin(url) if url is not None else Path(out) if out is not None else None
    return Options(study, user_folder, workers, folder, url, **settings)


def _workers_at_once(wanted: int | None, address: str | None, gpus_per_job: float) -> int:
    """How many jobs run at a time: `wanted`, or as many as fit."""
    if address is None:
        from sweep.execution.process import cores

        return wanted or cores()
    from sweep.execution.cluster import capacity_at

    capacity = capacity_at(address, gpus_per_job=gpus_per_job)
    if not capacity.token:
        say(
            f"the cluster at {address} gets no token from this run: if it asks for none, whoever reaches its ports can "
            "run code as you; see docs/cluster.md"
        )
    if not capacity.free:
        say(f"the cluster at {address} is busy: jobs wait until it can run one")
    return wanted or capacity.jobs
