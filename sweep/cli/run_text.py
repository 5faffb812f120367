"""What `lcsweep run` prints."""

from pathlib import Path
from typing import TYPE_CHECKING

from sweep.cli.text import count_jobs, describe_target, in_seeds, table
from sweep.criteria import Target
from sweep.execution.progress import duration
from sweep.pick.choice import Choice
from sweep.pick.size_and_speed import speed, times
from sweep.store.job import label
from sweep.store.manifest import Manifest
from sweep.store.metric import Metric

if TYPE_CHECKING:
    from sweep.prepare.estimate import Estimate
    from sweep.prepare.prepared import Outline
    from sweep.search.open import SweepSearch


def plan(search: "SweepSearch", *, workers: int, target: Target | None, metric: Metric) -> str:
    """What a run is about to do, in a line."""
    what = str(search.plan.name)
    if search.plan.criteria is not None and target:
        what = f"smallest model for {describe_target(target, metric)}" + (" by TPE" if what == "tpe" else "")
    count, configurations = search.left(), len(search.plan.entries)
    to_run = f"{count_jobs(count)} to run" if count is not None else "jobs chosen as results come in"
    return f"{what}: {configurations:,} configurations, {search.known:,} results known, {to_run}, {workers} at a time"


def what_next(root: Path | str, *, failed: int) -> str:
    """The commands to go on with."""
    why = f"; to see why jobs failed: lcsweep status {root}" if failed else ""
    return f"next: lcsweep report {root}; lcsweep pick {root}{why}"


def chosen(choice: Choice, manifest: Manifest) -> str:
    """What a search chose, in a line."""
    found = choice.candidate if choice.feasible else choice.unconfirmed or choice.candidate
    if found is None:
        return "no job is done, so there is no model to choose"
    reference, metric = manifest.reference, manifest.metric
    worst = "lowest" if metric.higher_is_better else "highest"
    size = f"{found.artifact_bytes:,} bytes ({times(found.artifact_bytes, reference.bytes)})"
    seeds, mean, least = len(found.seeds), found.mean_value, found.metric.value(min(found.scores))
    over = f", mean of {seeds} seeds ({worst} {metric.told(least, gap='')})" if seeds > 1 else ""
    what = f"{found.family}: {found.label}, {size}, validation {metric.label} {metric.told(mean, gap='')}{over}"
    criteria = choice.criteria
    if choice.feasible:
        further = f", confirmed on {seeds - 1} further seeds" if criteria and criteria.confirm and seeds > 1 else ""
        known = {"macs": found.macs, "reference_macs": reference.macs}
        return f"smallest that meets the target: {what}{further}; speed: {speed(known)}"
    assert criteria is not None, "only a choice with a target can miss it"
    aim = f"{metric.label} {metric.told(metric.value(criteria.threshold), gap='')}"
    if choice.unconfirmed:
        needed = 1 + criteria.confirm if criteria.confirm else criteria.repeats
        return (
            f"no model is confirmed to meet the target, {aim}; one meets it so far "
            f"{in_seeds(seeds)}, and {needed} or more are needed: {what}"
        )
    return f"no model meets the target, {aim}; the nearest misses it by {metric.told_change(-choice.margin)}: {what}"


def outline(outline: "Outline", *, limit: int | None, aimed: bool) -> str:
    """The jobs that a run would have, with their bytes before zstd; what those without a result will cost."""
    rows = [("job", "family", "configuration", "seed", "bytes before zstd", "MACs", "")]
    done = set(outline.done)
    for entry in outline.entries:
        for job in entry.jobs:
            known = "done" if job.id in done else ""
            most = "" if entry.fixed else "at most "
            size, macs = f"{most}{entry.nominal_bytes:,}", f"{most}{entry.macs:,}"
            rows.append((job.id, entry.family, label(entry.configuration), str(job.seed), size, macs, known))
    missing = sum(row[-1] == "" for row in rows[1:])
    bound = f", of which this run starts at most {limit:,}" if limit is not None else ""
    lines = [table(rows, right={3, 4, 5}), f"{count_jobs(len(rows) - 1)}, {missing:,} without a result{bound}"]
    return "\n".join(lines + (_cost(outline.cost, aimed=aimed) if outline.cost else []))


def _cost(cost: "Estimate", *, aimed: bool) -> list[str]:
    """What the missing jobs cost in time and on disk."""
    time = "time: unknown, because training from scratch diverged"
    if cost.seconds is not None and cost.wall_seconds is not None:
        each, together = (
            f"{seconds:.1f} s" if seconds < 10 else duration(seconds) for seconds in (cost.seconds, cost.wall_seconds)
        )
        all_of_them = "a search needs only some of them; all" if aimed else "all of them"
        time = (
            f"time: about {each} a job (measured here on one LC step of {cost.timed}), "
            f"{all_of_them} about {together} with {cost.workers} at a time"
        )
    return [time, f"disk: at most {_size(cost.bytes)} to keep, and {_size(cost.passing_bytes)} more while jobs run"]


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
