"""What `lcsweep run` prints."""

from typing import TYPE_CHECKING

from sweep.cli.text import count_jobs, fresh_seeds, table
from sweep.criteria import MISSED, TOO_CLOSE, meaning
from sweep.execution.progress import duration
from sweep.pick.choice import By, Candidate, Choice
from sweep.pick.size_and_speed import speed, times
from sweep.store.job import label, name_of, series_of
from sweep.store.manifest import Manifest
from sweep.store.metric import Metric
from sweep.target import Target

if TYPE_CHECKING:
    from sweep.prepare.estimate import Estimate
    from sweep.prepare.prepared import Outline
    from sweep.search.open import SweepSearch


def plan(search: "SweepSearch", *, workers: int, target: Target | None, metric: Metric) -> str:
    """What a run is about to do, in a line."""
    what = str(search.plan.name)
    if search.plan.criteria is not None and target:
        least = "smallest model" if search.plan.by == "bytes" else "model with the fewest MACs"
        what = f"{least} for {target.told(metric)}" + (" by TPE" if what == "tpe" else "")
    count, configurations = search.left(), len(search.plan.entries)
    to_run = f"{count_jobs(count)} to run" if count is not None else "jobs chosen as results come in"
    return f"{what}: {configurations:,} configurations, {search.known:,} results known, {to_run}, {workers} at a time"


def chosen(choice: Choice, manifest: Manifest) -> str:
    """What a search chose, in a line; and what is better but unconfirmed, in another."""
    found = choice.candidate
    if found is None:
        return "no job is done, so there is no model to choose"
    reference, metric = manifest.reference, manifest.metric
    what = _told(found, choice.by, manifest)
    if choice.state is None or choice.criteria is None:
        return f"at the knee of the front: {what}"
    aim = f"{metric.label} {metric.told(metric.value(choice.criteria.threshold), gap='')}"
    if choice.state == MISSED:
        missed = metric.told_change(-choice.margin)
        return f"no model meets the target, {aim}; the nearest misses it by {missed}: {what}"
    known = {"macs": found.macs, "reference_macs": reference.macs}
    least = {"bytes": "smallest", "macs": "fewest MACs", "latency": "fastest"}[choice.by]
    state = f"{choice.state}, {meaning(choice.state, method=found.method)}"
    line = f"{least} that meets the target ({state}): {what}; speed: {speed(known)}"
    if choice.better is None:
        return line
    close = choice.criteria.seeds_to_confirm(choice.better) is None
    how = f"it {TOO_CLOSE}" if close else "pick says how to confirm it"
    return f"{line}\nbetter, but unconfirmed: {_told(choice.better, choice.by, manifest)}; {how}"


def asked(found: Candidate, choice: Choice | None, manifest: Manifest) -> str:
    """What is known by now of the configuration whose further seeds a run was asked for, in a line."""
    what = _told(found, "bytes", manifest)
    if choice is None or choice.criteria is None:
        return what
    metric, state = manifest.metric, choice.states[found.best_id]
    aim = metric.told(metric.value(choice.criteria.threshold), gap="")
    return f"{what}; for {metric.label} {aim}: {state}, {meaning(state, method=found.method)}"


def _told(found: Candidate, by: By, manifest: Manifest) -> str:
    """A configuration, its costs and its metric."""
    metric = manifest.metric
    worst = "lowest" if metric.higher_is_better else "highest"
    size = f"{found.artifact_bytes:,} bytes ({times(found.artifact_bytes, manifest.reference.bytes)})"
    size += f", {found.macs:,} MACs" if by == "macs" else ""
    seeds, mean, lowest = len(found.seeds), found.mean_value, found.metric.value(min(found.scores))
    over = f", mean of {fresh_seeds(seeds)} ({worst} of all {metric.told(lowest, gap='')})" if seeds > 1 else ""
    over += f", {found.failed} more failed" if found.failed else ""
    return f"{name_of(found)}, {size}, validation {metric.label} {metric.told(mean, gap='')}{over}"


def outline(outline: "Outline", *, limit: int | None, aimed: bool) -> str:
    """The jobs that a run would have, with their bytes before coding; what the missing ones cost; the notes."""
    rows = [("job", "family", "configuration", "seed", "bytes uncoded", "MACs", "")]
    for entry in outline.entries:
        for job in entry.jobs:
            known = "done" if job.id in outline.done else "ruled out" if job.id in outline.needless else ""
            most = "" if entry.fixed else "at most "
            size, macs = f"{most}{entry.nominal_bytes:,}", f"{most}{entry.macs:,}"
            rows.append((job.id, series_of(job), label(entry.configuration), str(job.seed), size, macs, known))
    missing = sum(row[-1] != "done" for row in rows[1:])
    bound = f", of which this run starts at most {limit:,}" if limit is not None else ""
    bound = f", of which the results rule out {len(outline.needless):,}{bound}" if outline.needless else bound
    lines = [table(rows, right={3, 4, 5}), f"{count_jobs(len(rows) - 1)}, {missing:,} without a result{bound}"]
    if outline.over:
        lines.append("the search is over: it would start no job")
    elif outline.cost is not None:
        lines += _cost(outline.cost, aimed=aimed)
    elif aimed:
        lines.append("time: unknown, since only further seeds of the best are left to run")
    return "\n".join([*lines, *outline.notes])


def _cost(cost: "Estimate", *, aimed: bool) -> list[str]:
    """What the missing jobs cost in time and on disk."""
    time = "time: unknown, because training from scratch diverged"
    if cost.seconds is not None and cost.wall_seconds is not None:
        each, together = (
            f"{seconds:.1f} s" if seconds < 10 else duration(seconds) for seconds in (cost.seconds, cost.wall_seconds)
        )
        all_of_them = "a search needs only some of those left; all" if aimed else "all of them"
        time = (
            f"time: about {each} a job (measured here on one LC step of {cost.timed}), "
            f"{all_of_them} about {together} with {cost.workers} at a time"
        )
    disk = f"disk: at most {_size(cost.bytes)} to keep, and {_size(cost.passing_bytes)} more while jobs run"
    return [time, disk, *(["both without the further seeds that confirm the winner"] if aimed else [])]


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"
