"""The configurations that a run asks for, checked before any of them is trained."""

import dataclasses
from collections.abc import Sequence

from sweep.job.compress import job_sizes
from sweep.job.context import JobContext
from sweep.prepare.options import Options
from sweep.search.protocol import Entry
from sweep.store.files import StoreError
from sweep.store.folder import SweepFolder
from sweep.store.job import Job
from sweep.store.records import read_records
from sweep.study import Study
from sweep.study.errors import StudyError

LEEWAY, LEEWAY_BYTES = 0.01, 64
"""A file of a tighter level may be larger by this share, and by so many bytes."""


def entries_of(options: Options, context: JobContext, *, study_hash: str) -> tuple[Entry, ...]:
    """The configurations that `options` ask for, with their jobs and with their sizes before training.

    A search for a target leaves out the families whose sizes are not known before training.

    Raises:
        StudyError: none is left, or a knob's levels do not go from loosest to tightest.
    """
    study = context.study
    entries = []
    for family in study.families:
        for configuration in family.grid_configurations() if options.search == "grid" else family.configurations():
            jobs = tuple(
                Job(study_hash, family.name, configuration, options.method, seed, dataclasses.asdict(study.schedule))
                for seed in range(options.seed, options.seed + options.seeds[0])
            )
            sizes = job_sizes(jobs[0], context)
            if sizes.bounded or not options.aimed:
                facts = (sizes.nominal_bytes, sizes.macs, sizes.fixed, sizes.plan)
                entries.append(Entry(family.name, configuration, *facts, jobs))
    if not entries:
        raise StudyError(
            f"study {study.name}: expected a family whose sizes are known before training, for a search of the "
            "smallest; got none; run --search grid"
        )
    _check_order([entry for entry in entries if entry.fixed], study)
    return tuple(entries)


def _check_order(entries: Sequence[Entry], study: Study) -> None:
    """StudyError where a knob's levels do not go from loosest to tightest, as the sizes tell.

    The order of levels is the knob's own. Sizes need not follow it to the byte: an index may take a few bytes more as
    the weights on it become fewer.
    """
    sizes = {(entry.family, *entry.configuration.values()): entry.nominal_bytes for entry in entries}
    for entry in entries:
        for index, (knob, levels) in enumerate(study.family(entry.family).knobs.items()):
            for tighter in levels[levels.index(entry.configuration[knob]) + 1 :]:
                values = list(entry.configuration.values())
                values[index] = tighter
                size = sizes.get((entry.family, *values), 0)
                if size > (1 + LEEWAY) * entry.nominal_bytes + LEEWAY_BYTES:
                    raise StudyError(
                        f"study {study.name}, family {entry.family}: expected the levels of {knob} from loosest to "
                        f"tightest, got {entry.configuration[knob]} ({entry.nominal_bytes} bytes) before {tighter} "
                        f"({size} bytes)"
                    )


def check_plans(entries: Sequence[Entry], folder: SweepFolder) -> None:
    """StoreError where the plan of a family has changed since one of its records was made."""
    plans = {job.id: entry.plan for entry in entries for job in entry.jobs}
    for record in read_records(folder.root):
        if record.status == "done" and record.plan != plans.get(record.id, record.plan):
            what = f"family {record.family}, {record.label}"
            raise StoreError(
                f"{folder.root}: holds results of {what}, from when its plan said something else; give the family "
                "another name, or begin a new sweep with --out"
            )
