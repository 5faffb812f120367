"""What the commands print: facts in, lines of text out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep.criteria import Target
from sweep.pick.choice import Choice
from sweep.pick.size_and_speed import speed, times
from sweep.run.progress import duration
from sweep.search.summary import SearchSummary
from sweep.store.record import label

if TYPE_CHECKING:
    from sweep.run.driver import Outline
    from sweep.run.estimate import Estimate
    from sweep.search.open import SweepSearch

Facts = Mapping[str, Any]


def reference(manifest: Facts) -> str:
    """The reference in a line."""
    facts = manifest["reference"]
    return (
        f"{manifest['study']}: reference {_accuracy(facts['val'])} on validation, {facts['bytes']:,} bytes, "
        f"{facts['parameters']:,} parameters, {facts['macs']:,} MACs"
    )


def plan(search: "SweepSearch", *, workers: int, target: Target | None) -> str:
    """What a run is about to do, in a line."""
    what = str(search.plan.name)
    if search.plan.criteria is not None and target:
        what = f"smallest model for {describe_target(target)}" + (" by TPE" if what == "tpe" else "")
    count, configurations = search.left(), len(search.plan.entries)
    to_run = f"{_jobs(count)} to run" if count is not None else "jobs as results ask for them"
    return f"{what}: {configurations:,} configurations, {search.known:,} records known, {to_run}, {workers} at once"


def summary(found: SearchSummary) -> str:
    """What a search did."""
    counts = [f"{_jobs(found.started)} started", f"{found.known:,} already known"]
    if found.skipped:
        never = sum(found.skipped.values())
        counts.append(f"{never:,} of {found.configurations:,} configurations never had to run")
    if found.left:
        counts.append(f"{found.left:,} configurations left")
    lines = [f"{found.name}: {', '.join([*counts, f'{found.failed} failed'])}, {found.seconds:.0f} s"]
    lines += [f"  {count:,} never had to run: {reason}" for reason, count in found.skipped.items()]
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
    seeds, mean, least = len(found.seeds), 1 - found.mean_error, min(found.accuracies)
    over = f", mean of {seeds} seeds (the least {least:.2%})" if seeds > 1 else ""
    accuracy = f"validation accuracy {mean:.2%}{over}"
    if choice.feasible:
        known = {"macs": found.macs, "reference_macs": manifest["reference"]["macs"]}
        return f"smallest that meets the target: {what}, {accuracy}; speed: {speed(known)}"
    assert choice.criteria is not None, "only a pick with a target can miss it"
    threshold = choice.criteria.threshold
    if choice.unconfirmed:
        return (
            f"no model is confirmed to meet the target, accuracy {threshold:.2%}; so far one does, on too few "
            f"seeds ({len(found.seeds)}): {what}, {accuracy}"
        )
    return (
        f"no model meets the target, accuracy {threshold:.2%}; the nearest miss: {what}, {accuracy}, "
        f"short by {_points(-choice.margin)}"
    )


def jobs(outline: "Outline", *, limit: int | None, aimed: bool) -> str:
    """The jobs that a run would have, with their nominal bytes, and what those without a record will cost."""
    rows = [("job", "family", "configuration", "seed", "nominal bytes", "MACs", "")]
    done = set(outline.done)
    for entry in outline.entries:
        for job in entry.jobs:
            known = "done" if job.id in done else ""
            most = "" if entry.fixed else "at most "
            size, macs = f"{most}{entry.nominal_bytes:,}", f"{most}{entry.macs:,}"
            rows.append((job.id, entry.family, label(entry.configuration), str(job.seed), size, macs, known))
    missing = sum(row[-1] == "" for row in rows[1:])
    bound = f", at most {limit:,} started" if limit is not None else ""
    lines = [table(rows, right={3, 4, 5}), f"{_jobs(len(rows) - 1)}, {missing:,} without a record{bound}"]
    return "\n".join(lines + (_cost(outline.cost, aimed=aimed) if outline.cost else []))


def _cost(cost: "Estimate", *, aimed: bool) -> list[str]:
    """What the missing jobs cost in time and on disk."""
    time = "time: unknown, since training from scratch diverged"
    if cost.seconds is not None and cost.wall_seconds is not None:
        each, together = (
            f"{seconds:.1f} s" if seconds < 10 else duration(seconds) for seconds in (cost.seconds, cost.wall_seconds)
        )
        all_of_them = "a search needs some of them; all" if aimed else "all of them"
        time = (
            f"time: about {each} a job (timed here: one LC step of {cost.timed}), "
            f"{all_of_them} about {together} with {cost.workers} at once"
        )
    return [time, f"disk: at most {_size(cost.bytes)} to keep, and {_size(cost.passing_bytes)} while jobs run"]


def status(facts: Facts, manifest: Facts) -> str:
    """How far a sweep is."""
    stopped = f", {facts['stopped']:,} stopped early" if facts["stopped"] else ""
    lines = [reference(manifest), f"{_jobs(facts['done'])} done{stopped}, {len(facts['failed']):,} failed"]
    for job in facts["failed"]:
        what = f"{job['family']}: {label(job['configuration'])}, seed {job['seed']}"
        lines += [f"  failed: {what}: {job['error']['message']}", f"    traceback: {job['record']}"]
    lines += [summary(SearchSummary.from_json(search)) for search in facts["searches"]]
    if facts["pick"]:
        pick = facts["pick"]
        size = f"{pick['artifact_bytes']:,} bytes ({times(pick['artifact_bytes'], pick['reference_bytes'])})"
        what = f"{pick['family']}: {label(pick['configuration'])}, {size}"
        lines.append(f"picked: {what}, {pick['artifact']}; {verdict(pick)}; speed: {speed(pick)}")
    return "\n".join(lines)


def exported(facts: Facts) -> str:
    """Where a sweep's records are."""
    return f"records: {facts['path']}, {facts['rows']:,} rows of {len(facts['columns'])} columns"


def digest(facts: Facts) -> str:
    """Where the page for a pull request is."""
    return f"page: {facts['paths']['md']}, with {facts['paths']['png']} beside it"


def compared(
    tables: Sequence[tuple[Sequence[Sequence[str]], frozenset[int]]],
    meanings: Sequence[str],
    paths: Mapping[str, str],
) -> str:
    """A comparison: its tables, rows and the columns of numbers; what these are; where its files are."""
    parts = [table(rows, right=set(right)) for rows, right in tables]
    parts.append("\n".join(meanings))
    if paths:
        parts.append(f"page: {paths['md']}; figure: {paths['png']}, also .svg and .pdf")
    return "\n\n".join(parts).replace("\u00a0", " ")


def report(facts: Facts) -> str:
    """Where a report is."""
    paths = facts["paths"]
    return table([("page", paths["html"]), ("figure", f"{paths['png']}, also .svg and .pdf")], right=set())


def picked(facts: Facts, page: Path) -> str:
    """The picked model: what it is, its true size, its accuracy on validation and on test."""
    val, test = facts["val"], facts["test"]
    how = "by LC" if facts["method"] == "lc" else "by direct compression, untrained"
    rows = [
        ("picked", f"{facts['family']}: {label(facts['configuration'])}, {how} (job {facts['id']})"),
        ("target", verdict(facts)),
        *_beside(facts),
        ("file", f"{facts['artifact']}"),
        (
            "size",
            f"{facts['artifact_bytes']:,} bytes, {times(facts['artifact_bytes'], facts['reference_bytes'])} than the "
            f"reference's {facts['reference_bytes']:,}",
        ),
        ("MACs", f"{facts['macs']:,} of the reference's {facts['reference_macs']:,}"),
        ("speed", speed(facts)),
        *_parity(facts),
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
    return table(rows, right=set())


def _beside(facts: Facts) -> list[tuple[str, str]]:
    """Why this one and no other: what the next smaller one misses by, and what would be picked next."""
    rows, smaller = [], "next smaller"
    if facts.get("by") == "latency":
        smaller, (known, of) = "next faster", facts["measured"]
        rows.append(("measured", f"{known} of {of} candidates; lcsweep bench --trial ID measures others"))
    if facts.get("next_smaller"):
        other = facts["next_smaller"]
        short = f"misses by {_points(other['shortfall'])}" if other["shortfall"] else "meets it so far"
        rows.append((smaller, f"{_other(other, facts)}: {short}{_seeds(other['seeds'])}"))
    if facts.get("runner_up"):
        rows.append(("runner-up", _other(facts["runner_up"], facts)))
    return rows


def _other(other: Facts, facts: Facts) -> str:
    match facts["by"]:
        case "bytes":
            cost = f"{other['artifact_bytes']:,} bytes"
        case "macs":
            cost = f"{other['macs']:,} MACs"
        case _:
            cost = f"{other['latency']:.2f} of the reference's latency"
    return f"{other['family']}: {label(other['configuration'])}, {cost}"


def verdict(facts: Facts) -> str:
    """Whether a pick met its target."""
    if facts["target"] is None:
        return f"none: the knee of the front, on validation, {_seeds(len(facts['seeds'])).strip(' ,')}"
    met = "meets" if facts["meets_target"] else f"MISSES by {_points(facts['shortfall'])}"
    bound = " with its 95 % bound" if facts.get("confident") else ""
    return f"{met}{bound}: {describe_target(Target(**facts['target']))}, on validation{_seeds(len(facts['seeds']))}"


def _seeds(count: int) -> str:
    return f", in {count} seed" + ("" if count == 1 else "s")


def artifact(facts: Facts) -> str:
    """What a packed file is."""
    info = {"study": "?", "family": "?", "job": "?", **facts["info"]}
    whole, name = facts["dense_bytes"], "its weights as they are"
    if "reference_bytes" in facts:
        whole, name = facts["reference_bytes"], "the reference's packed file"
    rows = [
        ("file", f"{facts['file']}: {facts['bytes']:,} bytes ({facts['payload_bytes']:,} before zstd)"),
        ("size", f"{times(facts['bytes'], whole)} than {name}, {whole:,}"),
        *[(kind, _coded(sizes)) for kind, sizes in facts["coded"].items()],
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
    rows += _parity(facts)
    if "test" in facts:
        rows.append(("test", f"accuracy {facts['test']['accuracy']:.2%} (n {facts['test']['n']}), as measured before"))
    if "macs" in facts:
        rows.append(("speed", speed(facts)))
    return table(rows, right=set())


def _parity(facts: Facts) -> list[tuple[str, str]]:
    """How far ONNX Runtime is from torch, where that was measured."""
    if facts.get("parity") is not None:
        return [("ONNX Runtime", f"outputs {facts['parity']:.1e} of the largest from torch's, at most")]
    return [("ONNX Runtime", f"not compared: {facts['no_parity']}")] if "no_parity" in facts else []


def _coded(sizes: Facts) -> str:
    """What entropy coding would make of codes or supports; without its tables, so that zstd cannot always reach it."""
    return (
        f"{sizes['packed_bytes']:,} bytes packed, {sizes['zstd_bytes']:,} by zstd; the entropy is "
        f"{sizes['entropy_bytes']:,}, a Huffman code {sizes['huffman_bytes']:,}, without tables"
    )


def onnx_file(facts: Facts) -> str:
    """What an ONNX file is."""
    claims = {"study": "?", "family": "?", "job": "?", "configuration": {}, "weights": "?"} | facts["claims"]
    rows = [("file", f"{facts['file']}: {facts['bytes']:,} bytes"), ("sha256", facts["sha256"])]
    if "payload_bytes" in facts:
        sizes = f"{facts['payload_bytes']:,} bytes, {facts['packed_bytes']:,} under zstd"
        rows.append(("packed file", sizes))
    rows += [
        ("made by", f"{claims['study']}, {claims['family']}: {label(claims['configuration'])} (job {claims['job']})"),
        ("weights", claims["weights"]),
    ]
    if facts.get("decoded_at_run"):
        rows.append(("decoding", f"not all at load: {', '.join(facts['decoded_at_run'])} in every run"))
    if "parity" in facts:
        from_torch = f"{facts['parity']:.1e} of the largest output from torch's, at most"
        rows.append(("outputs", from_torch if claims["weights"] == "as packed" else f"{from_torch}, before int8"))
    if "val" in claims:
        proof = "proved" if "outputs" in facts else "claimed; --study STUDY proves it"
        accuracy = f"accuracy {float(claims['val']['accuracy']):.2%} (n {claims['val']['n']}), {proof}"
        before = f"; the packed model's {facts['packed_val']['accuracy']:.2%}" if "packed_val" in facts else ""
        rows.append(("validation", accuracy + before))
    if "test" in facts:
        rows.append(
            ("test", f"accuracy {facts['test']['accuracy']:.2%} (n {facts['test']['n']}), as the packed model's")
        )
    if "macs" in facts and claims["weights"] == "as packed":
        rows.append(("speed", speed(facts)))
    return table(rows, right=set())


def describe_target(target: Target) -> str:
    """A target in words."""
    if target.max_drop is not None and target.relative:
        return f"a drop of at most {target.max_drop:.2%} of the reference's accuracy"
    if target.max_drop is not None:
        return f"a drop of at most {_points(target.max_drop)}"
    return f"an accuracy of at least {target.min_accuracy:.2%}"


def _points(difference: float) -> str:
    """A difference of accuracies: in points, since a percentage could be of either."""
    return f"{100 * difference:.2f} points"


def _by_seed(accuracies: Sequence[float]) -> str:
    return f"; by seed {', '.join(f'{accuracy:.2%}' for accuracy in accuracies)}" if len(accuracies) > 1 else ""


def _size(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


def _jobs(count: int) -> str:
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"


def _accuracy(measured: Facts) -> str:
    interval = f"95 % interval {measured['low']:.2%} to {measured['high']:.2%}"
    return f"accuracy {measured['accuracy']:.2%} ({interval}, n {measured['n']})"


def _ratio(manifest: Facts, size: int) -> str:
    return times(size, manifest["reference"]["bytes"])


def table(rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Rows of cells in columns, those of numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
