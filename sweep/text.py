"""What the commands print: facts in, lines of text out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.pick import Choice, Target
from sweep.store import label

if TYPE_CHECKING:
    from sweep.search import Entry, IndexedSearch

Facts = Mapping[str, Any]


def reference(manifest: Facts) -> str:
    """The reference in a line."""
    facts = manifest["reference"]
    return (
        f"{manifest['study']}: reference {_accuracy(facts['val'])} on validation, {facts['bytes']:,} bytes, "
        f"{facts['parameters']:,} parameters, {facts['macs']:,} MACs"
    )


def plan(search: "IndexedSearch", *, workers: int, target: Target | None) -> str:
    """What a run is about to do, in a line."""
    what = str(search.name)
    if search.threshold is not None and target:
        what = f"smallest model for {describe_target(target)}" + (" by TPE" if what == "tpe" else "")
    count = search.left()
    to_run = f"{_jobs(count)} to run" if search.threshold is None else "jobs as results ask for them"
    return (
        f"{what}: {len(search.entries):,} configurations, {search.known:,} records known, {to_run}, {workers} at once"
    )


def summary(facts: Facts) -> str:
    """What a run did."""
    counts = [f"{_jobs(facts['started'])} started", f"{facts['known']:,} already known"]
    if facts["skipped"]:
        never = sum(facts["skipped"].values())
        counts.append(f"{never:,} of {facts['configurations']:,} configurations never had to run")
    if facts["left"]:
        counts.append(f"{facts['left']:,} configurations left")
    lines = [f"{facts['name']}: {', '.join([*counts, str(facts['failed']) + ' failed'])}, {facts['seconds']:.0f} s"]
    lines += [f"  {count:,} never had to run: {reason}" for reason, count in facts["skipped"].items()]
    return "\n".join(lines)


def what_next(root: Path | str, *, failed: int) -> str:
    """The commands that go on from here."""
    why = f"; why jobs failed: lcsweep status {root}" if failed else ""
    return f"next: lcsweep report {root}; lcsweep pick {root}{why}"


def chosen(choice: Choice, manifest: Facts) -> str:
    """What a search chose, in a line."""
    found = choice.candidate if choice.feasible else choice.unconfirmed or choice.candidate
    if found is None:
        return "no job has finished: there is no model to choose"
    what = f"{found.family}: {found.label}, {found.artifact_bytes:,} bytes ({_ratio(manifest, found.artifact_bytes)})"
    accuracy = f"validation accuracy {min(found.accuracies):.2%}"
    if choice.feasible:
        mean, seeds = 1 - found.mean_error, len(found.seeds)
        over = f", mean of {seeds} seeds {mean:.2%}" if seeds > 1 else ""
        return f"smallest that meets the target: {what}, {accuracy}{over}"
    if choice.unconfirmed:
        return (
            f"no model is confirmed to meet the target, accuracy {choice.threshold:.2%}; so far one does, on too few "
            f"seeds ({len(found.seeds)}): {what}, {accuracy}"
        )
    return (
        f"no model meets the target, accuracy {choice.threshold:.2%}; the nearest miss: {what}, {accuracy}, "
        f"short by {_points(choice.shortfall)}"
    )


def jobs(entries: Sequence["Entry"], done: Sequence[str], *, limit: int | None) -> str:
    """The jobs that a run would have, with their nominal bytes."""
    rows = [("job", "family", "configuration", "seed", "nominal bytes", "MACs", "")]
    for entry in entries:
        for job in entry.jobs:
            known = "done" if job.id in done else ""
            most = "" if entry.fixed else "at most "
            size, macs = f"{most}{entry.nominal_bytes:,}", f"{most}{entry.macs:,}"
            rows.append((job.id, entry.family, label(entry.configuration), str(job.seed), size, macs, known))
    missing = sum(row[-1] == "" for row in rows[1:])
    bound = f", at most {limit:,} started" if limit is not None else ""
    return f"{_table(rows, right={3, 4, 5})}\n{_jobs(len(rows) - 1)}, {missing:,} without a record{bound}"


def status(facts: Facts, manifest: Facts) -> str:
    """How far a sweep is."""
    lines = [reference(manifest), f"{_jobs(facts['done'])} done, {len(facts['failed']):,} failed"]
    for job in facts["failed"]:
        what = f"{job['family']}: {label(job['configuration'])}, seed {job['seed']}"
        lines += [f"  failed: {what}: {job['error']['message']}", f"    traceback: {job['record']}"]
    lines += [summary(search) for search in facts["searches"]]
    if facts["pick"]:
        pick = facts["pick"]
        lines.append(f"picked: {pick['family']}: {label(pick['configuration'])}, {pick['artifact']}; {verdict(pick)}")
    return "\n".join(lines)


def report(facts: Facts) -> str:
    """Where a report is."""
    paths = facts["paths"]
    return _table([("page", paths["html"]), ("figure", f"{paths['png']}, also .svg and .pdf")], right=set())


def picked(facts: Facts, page: Path) -> str:
    """The picked model: what it is, its true size, its accuracy on validation and on test."""
    val, test = facts["val"], facts["test"]
    how = "by LC" if facts["method"] == "lc" else "by direct compression, untrained"
    rows = [
        ("picked", f"{facts['family']}: {label(facts['configuration'])}, {how} (job {facts['id']})"),
        ("target", verdict(facts)),
        ("file", f"{facts['artifact']}"),
        (
            "size",
            f"{facts['artifact_bytes']:,} bytes, {facts['compression_ratio']:.1f} times smaller than the "
            f"reference's {facts['reference_bytes']:,}",
        ),
        ("MACs", f"{facts['macs']:,} of the reference's {facts['reference_macs']:,}"),
        ("validation", f"{_accuracy(val)}{_by_seed(facts['accuracies'])}"),
        ("test", f"{_accuracy(test)}; reference {test['reference_accuracy']:.2%}"),
        (
            "test drop",
            f"{_points(test['drop'])} (paired 95 % interval {100 * test['drop_low']:.2f} to "
            f"{100 * test['drop_high']:.2f})",
        ),
        ("looks at test", f"{test['looks']} models so far, the reference among them"),
    ]
    if page.exists():
        rows.append(("report", str(page)))
    return _table(rows, right=set())


def verdict(facts: Facts) -> str:
    """Whether a pick met its target."""
    met = "meets" if facts["meets_target"] else f"MISSES by {_points(facts['shortfall'])}"
    seeds = "1 seed" if len(facts["seeds"]) == 1 else f"{len(facts['seeds'])} seeds"
    return f"{met}: {describe_target(Target(**facts['target']))}, on validation, in {seeds}"


def artifact(facts: Facts) -> str:
    """What a packed file is."""
    info = {"study": "?", "family": "?", "job": "?", **facts["info"]}
    rows = [
        ("file", f"{facts['file']}: {facts['bytes']:,} bytes ({facts['payload_bytes']:,} before zstd)"),
        ("sha256", facts["sha256"]),
        ("holds", f"{facts['parameters']:,} numbers, decoded"),
    ]
    if "configuration" in info:
        rows.append(
            ("made by", f"{info['study']}, {info['family']}: {label(info['configuration'])} (job {info['job']})")
        )
    if "val" in info and "accuracy" in info["val"]:
        proof = "proved" if "outputs" in facts else "claimed; --study STUDY proves it"
        rows.append(
            ("validation", f"accuracy {float(info['val']['accuracy']):.2%} (n {info['val'].get('n', '?')}), {proof}")
        )
    return _table(rows, right=set())


def describe_target(target: Target) -> str:
    """A target in words."""
    if target.max_drop is not None:
        return f"a drop of at most {_points(target.max_drop)}"
    return f"an accuracy of at least {target.min_accuracy:.2%}"


def _points(difference: float) -> str:
    """A difference of accuracies: in points, since a percentage could be of either."""
    return f"{100 * difference:.2f} points"


def _by_seed(accuracies: Sequence[float]) -> str:
    return f"; by seed {', '.join(f'{accuracy:.2%}' for accuracy in accuracies)}" if len(accuracies) > 1 else ""


def _jobs(count: int) -> str:
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"


def _accuracy(measured: Facts) -> str:
    interval = f"95 % interval {measured['low']:.2%} to {measured['high']:.2%}"
    return f"accuracy {measured['accuracy']:.2%} ({interval}, n {measured['n']})"


def _ratio(manifest: Facts, size: int) -> str:
    return f"{manifest['reference']['bytes'] / size:.1f} times smaller"


def _table(rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
