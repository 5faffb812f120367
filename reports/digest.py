"""A sweep's result for a pull request: a Markdown page with the front as a table, and the figure beside it."""

from pathlib import Path
from typing import Any

from reports.facts.columns import NONE
from reports.facts.costs import COSTS, amount
from reports.facts.findings import Findings, read_findings
from reports.facts.numbers import count, counted, ratio, smaller
from reports.facts.rows import Row
from reports.facts.target import rule_words, target_words
from reports.facts.units import capital
from reports.figures.formats import encode
from reports.figures.front import draw_front
from reports.markdown import escape, table
from sweep.criteria import MEANINGS, MISSED, TOO_CLOSE
from sweep.pick.choice import By
from sweep.store.coverage import shares
from sweep.store.files import write_whole
from sweep.store.folder import SweepFolder
from sweep.store.job import name_of
from sweep.store.printable import on_a_line
from sweep.target import Target


def write_digest(
    folder: Path, *, target: Target | None = None, by: By = "bytes", place: str | None = None
) -> dict[str, Any]:
    """Writes `report/report.md` and `report/front.png` into a sweep's folder, and returns a summary for JSON.

    Where no configuration is done there is no figure. The arguments are those of `write_report`. ValueError
    where the folder is no sweep or cannot be written.
    """
    findings = read_findings(folder, target=target, by=by, place=place)
    report = SweepFolder(folder).report
    contents = {"md": ("report.md", digest(findings).encode("utf-8", "replace"))}
    if findings.rows:
        contents["png"] = ("front.png", encode(draw_front(findings), format="png"))
    for name, content in contents.values():
        write_whole(report / name, content)
    return {
        "paths": {kind: str(report / name) for kind, (name, _) in contents.items()},
        "front": [row.candidate.best_id for row in findings.rows if row.on_front],
        "pick": None if findings.pick is None else findings.pick.candidate.best_id,
    }


def digest(findings: Findings) -> str:
    """The page: the sweep, the figure, the pick, the front as a table, what the columns mean, the versions."""
    parts = [
        f"### Compressed models of {escape(findings.manifest.study)}",
        f"{_swept(findings)} {_reference(findings)}",
        "\n".join(f"- {escape(line)}" for line in shares(findings.manifest.coverage)),
        *(_models(findings) if findings.rows else [_no_model(findings)]),
        _made_with(findings),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _models(findings: Findings) -> list[str]:
    figure = f"![Validation {findings.units.noun} against the bytes of the packed model](front.png)"
    return [figure, _pick(findings), _front(findings), _meanings(findings)]


def _no_model(findings: Findings) -> str:
    """What stands in place of the models, where there is none."""
    failed = len(findings.failures)
    if not failed:
        return "**No model yet.** No job has finished, so there is no model to choose."
    what = "The only job" if failed == 1 else f"All {count(failed)} jobs"
    return f"**{what} failed.** There is no model to choose, and there is no figure. `lcsweep status` says why."


def _swept(findings: Findings) -> str:
    said = f"{counted(len(findings.rows), 'configuration')}, {counted(len(findings.jobs), 'job')} done"
    return said + (f", {count(len(findings.failures))} failed." if findings.failures else ".")


def _reference(findings: Findings) -> str:
    reference, units = findings.reference, findings.units
    return (
        f"Reference: {count(reference.bytes)} bytes, {count(reference.parameters)} parameters, "
        f"{count(reference.macs)} MACs{escape(reference.not_counted)}, "
        f"validation {units.noun} {units.error(reference.val.error)} "
        f"(95 % interval {units.interval(reference.val)}, n {count(reference.val.n)}){reference.footing}."
    )


def _pick(findings: Findings) -> str:
    words, units = target_words(findings), findings.units
    if not words:
        return "No target was given, so nothing is picked."
    row, choice = findings.pick, findings.choice
    if row is None or choice is None:
        return f"**Target:** {words}. No model has enough seeds yet to meet or to miss it."
    verdict = f"missed by {units.change(-choice.margin)}" if choice.state == MISSED else f"{choice.state}"
    name = f"**{escape(name_of(row.candidate))}**"
    size = f"{count(row.candidate.artifact_bytes)} bytes, {smaller(row.compression_ratio)}"
    cost = "" if choice.by == "bytes" else f", {amount(COSTS[choice.by], row.candidate.cost(choice.by))}"
    cost += f", {row.speed}" if row.speed else ""
    several = len(row.candidate.seeds) > 1
    own = f" ({units.error(row.best.val.error)} of the file itself, the best of its seeds, which flatters)" * several
    return (
        f"**Target:** {words}.\n\n**{'Pick' if choice.feasible else 'Nearest miss'}** ({_least(choice.by)}): "
        f"{name}, {size}{cost}, validation {units.noun} {units.errors(row.candidate.errors)}{own}; {verdict}. "
        f"Job {escape(row.candidate.best_id)}.{_confirm(findings)}"
    )


def _confirm(findings: Findings) -> str:
    """How to confirm the pick, or a better one, in a paragraph of its own."""
    found = None if findings.choice is None else findings.choice.to_confirm
    if found is None:
        return ""
    assert findings.choice is not None
    name, by, better, command = escape(name_of(found)), findings.choice.by, findings.choice.better, findings.confirm
    words = "To confirm it:" if better else f"To confirm {name} on further seeds:"
    if command is None:
        words = f"{'It' if better else 'The pick'} {TOO_CLOSE}."
    if better is not None:
        cost = amount(COSTS[by], found.cost(by))
        words = f"Better, but unconfirmed: {name}, {cost}; it meets the target so far. {words}"
    return f"\n\n{words}" + ("" if command is None else f"\n\n```sh\n{on_a_line(command)}\n```")


def _least(by: By) -> str:
    return {"bytes": "fewest bytes", "macs": "fewest MACs", "latency": "least latency"}[by]


def _front(findings: Findings) -> str:
    rows = sorted(
        (row for row in findings.rows if row.on_front or row.picked), key=lambda row: row.candidate.artifact_bytes
    )
    noun = findings.units.noun
    columns = [
        "",
        "Target",
        "Family",
        "Configuration",
        "Bytes",
        "Ratio",
        findings.units.head,
        "95 % interval",
        "n",
        "Seeds",
        "MACs",
    ]
    columns.append(f"DC {noun}")
    return table(columns, [_cells(row, findings) for row in rows], right=set(range(4, len(columns))))


def _cells(row: Row, findings: Findings) -> list[str]:
    candidate, units = row.candidate, findings.units.bare
    met = findings.choice is not None and findings.choice.feasible
    return [
        ("pick" if met else "miss") if row.picked else "",
        row.state or NONE,
        escape(row.series),
        escape(candidate.label),
        count(candidate.artifact_bytes),
        ratio(row.compression_ratio),
        units.errors(candidate.errors),
        units.interval(row.best.val),
        count(row.best.val.n),
        row.seeds,
        count(candidate.macs),
        NONE if candidate.direct_error is None else units.error(candidate.direct_error),
    ]


def _meanings(findings: Findings) -> str:
    beside = " and, not on it, the pick" if any(row.picked and not row.on_front for row in findings.rows) else ""
    units = findings.units
    what = "Error is 1 − accuracy" if units.by_error else f"{capital(units.noun)} is measured"
    said = [
        f"The rows are the Pareto front{beside}: no other configuration has both a smaller file and a {units.better}.",
        f"{what} on the validation split, the mean over the fresh seeds, all but the first (least to largest of "
        "all). The interval is that of the exported model, of the best seed, on n examples.",
        "Bytes are those of the exported file. The ratio is the size of the reference's packed file over that.",
        f"DC {units.noun} is that of direct compression, the same configuration before any training.",
    ]
    if findings.choice is not None:
        said.append(f"Target: {'; '.join(f'{state}: {meaning}' for state, meaning in MEANINGS.items())}.")
        said.append(f"A model is {rule_words(findings)}.")
    if any(row.candidate.failed for row in findings.rows):
        said.append("Seeds that failed say nothing of the error, so they do not count.")
    return " ".join(said)


def _made_with(findings: Findings) -> str:
    made = ", ".join(f"{escape(name)} {escape(' or '.join(found))}" for name, found in findings.versions.items())
    devices = f" on {escape(', '.join(findings.devices))}" if findings.devices else ""
    return (
        f"Study {escape(findings.manifest.reference_study)} ({escape(findings.manifest.study_hash)}){devices}; {made}."
    )
