"""The command that would confirm a candidate."""

import itertools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.criteria import Criteria
from sweep.pick.choice import Candidate
from sweep.store.manifest import UNNAMED, Manifest
from sweep.target import Target

if TYPE_CHECKING:
    from sweep.study.loading import StudySource


def confirming(
    candidate: Candidate,
    criteria: Criteria,
    manifest: Manifest,
    *,
    target: Target,
    place: str,
    study: "StudySource | None" = None,
    data: Path | None = None,
) -> str | None:
    """The command, quoted for a shell, that runs the further seeds of `candidate`; None where none are expected to do.

    Their number is `Criteria.seeds_to_confirm`. The command asks for `target`, to which the criteria belong, so that
    the run judges the seeds by it. Of a study that no file holds, it is the call in Python. `place` is the sweep's
    folder or URL, and `study` where the study is now if it has moved. `data` is the folder of --data, where the command
    needs it.
    """
    needed = criteria.seeds_to_confirm(candidate)
    if needed is None:
        return None
    repeats, first = seeds_from_first(candidate.seeds, needed=needed), candidate.seeds[0]
    before_job, before_repeats, before_seed, before_target, end = parts(manifest, place=place, study=study)
    seed = f"{before_seed}{first}" if first else ""
    if end:
        asked, from_folder = ", ".join(f"{name}={value}" for name, value in target.as_dict().items()), ""
    else:
        asked = shlex.join(target.options(fraction=manifest.metric.fraction))
        from_folder = f" {shlex.join(['--data', str(data)])}" if data is not None else ""
    return f"{before_job}{candidate.best_id}{before_repeats}{repeats}{seed}{before_target}{asked}{end}{from_folder}"


def parts(manifest: Manifest, *, place: str, study: "StudySource | None" = None) -> tuple[str, str, str, str, str]:
    """That command before the job, the number of seeds, a first seed that is not 0 and the target; and its end.

    Only the call in Python has an end.
    """
    reference = study if isinstance(study, str) else manifest.reference_study
    if reference == UNNAMED:
        return f"sweep.run(study, out={place!r}, job='", "', repeats=", ", seed=", ", target=sweep.Target(", "))"
    return f"{shlex.join(['lcsweep', 'run', reference, '--out', place])} --job ", " --repeats ", " --seed ", " ", ""


def seeds_from_first(seeds: tuple[int, ...], *, needed: int) -> int:
    """How many seeds, counted on from the first of `seeds`, make `needed` together with those that are there."""
    counts = itertools.count(1)
    return next(count for count in counts if len({*range(seeds[0], seeds[0] + count), *seeds}) >= needed)
