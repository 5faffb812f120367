"""The commands to go on with after a run: quoted for a shell, and only those that can succeed."""

import shlex
from pathlib import Path

from sweep.execution.driver import Outcome
from sweep.prepare.prepared import PreparedSweep
from sweep.study.errors import StudyError
from sweep.study.trust import check_trusted
from sweep.target import Target


def next_steps(sweep: PreparedSweep, outcome: Outcome, *, data: Path | None) -> str:
    """The line that ends a run. `data` is the folder of --data."""
    options = sweep.options
    place = options.url or str(sweep.folder.root)
    commands = [["report", place]]
    if outcome.models:
        by = [] if options.by == "bytes" else ["--by", options.by]
        commands.append(
            [
                "pick",
                place,
                *_aim(outcome, options.target, fraction=sweep.manifest.metric.fraction),
                *by,
                *_study(sweep),
                *_data(data),
            ]
        )
    words = "; ".join(shlex.join(["lcsweep", *command]) for command in commands)
    failed = outcome.summary.failed
    why = f"; to see why {'a job' if failed == 1 else 'jobs'} failed: {shlex.join(['lcsweep', 'status', place])}"
    return f"next: {words}{why if failed else ''}"


def _aim(outcome: Outcome, asked: Target | None, *, fraction: bool) -> list[str]:
    """The target of a pick that can be met: the study's own, that of the run, or the knee of the front."""
    if outcome.choice is None or not outcome.choice.feasible:
        return ["--knee"]
    return [] if asked is None else asked.options(fraction=fraction)


def _study(sweep: PreparedSweep) -> list[str]:
    """--study, where a command would not import the study unasked."""
    manifest, study = sweep.manifest, sweep.options.study
    try:
        check_trusted(manifest.reference_study, root=sweep.folder.root, user_folder=sweep.options.user_folder)
    except StudyError:
        return ["--study", study] if isinstance(study, str) else []
    return []


def _data(folder: Path | None) -> list[str]:
    return [] if folder is None else ["--data", str(folder)]
