"""The command that would confirm a candidate."""

import itertools
import shlex

from sweep.criteria import Criteria
from sweep.pick.choice import Candidate
from sweep.store.manifest import Manifest
from sweep.study.loading import StudySource
from sweep.study.named import UNNAMED


def confirming(
    candidate: Candidate, criteria: Criteria, manifest: Manifest, *, place: str, study: StudySource | None = None
) -> str:
    """The command, quoted for a shell, that runs the further seeds of `candidate` (`Criteria.seeds_to_confirm`).

    Of a study that no file holds, it is the call in Python. `place` is the sweep's folder or URL, and `study` where the
    study is now if it has moved.
    """
    repeats = seeds_from_first(candidate.seeds, needed=criteria.seeds_to_confirm(candidate))
    reference = study if isinstance(study, str) else manifest.reference_study
    first = candidate.seeds[0]
    if reference == UNNAMED:
        seed = f", seed={first}" if first else ""
        return f"sweep.run(study, out={place!r}, job={candidate.best_id!r}, repeats={repeats}{seed})"
    command = ["lcsweep", "run", reference, "--out", place, "--job", candidate.best_id, "--repeats", str(repeats)]
    return shlex.join(command + (["--seed", str(first)] if first else []))


def seeds_from_first(seeds: tuple[int, ...], *, needed: int) -> int:
    """How many seeds, counted on from the first of `seeds`, make `needed` together with those that are there."""
    counts = itertools.count(1)
    return next(count for count in counts if len({*range(seeds[0], seeds[0] + count), *seeds}) >= needed)
