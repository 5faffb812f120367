"""The report's page: one HTML file that needs no network. Its script draws the figure; else it shows front.svg."""

import base64
import hashlib
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reports.facts import numbers
from reports.facts.columns import columns_of, reference_cells
from reports.facts.costs import COSTS, costs_of
from reports.facts.findings import Findings, Measurement
from reports.facts.numbers import NO_BREAK
from reports.facts.rows import Row
from reports.facts.target import rule_words, target_words
from reports.facts.units import Units, capital
from reports.figures.front import definitions
from reports.figures.style import marks
from reports.page.data import bound_kind, command_starts, page_data
from sweep.criteria import best_of
from sweep.store.coverage import shares
from sweep.store.job import name_of
from sweep.store.record import Record

# The files of the page's script, in their order in it.
SCRIPTS = (
    "numbers",
    "rows",
    "rule",
    "drawing",
    "figure",
    "table",
    "details",
    "parallel",
    "beside",
    "target",
    "card",
    "main",
)


# Figure -> what it shows, with the noun of what was measured. The page links those that are there.
FIGURES: Mapping[str, str] = {
    "front": "{noun} against bytes",
    "macs": "{noun} against MACs",
    "latency": "{noun} against latency",
    "progress": "the sweep, job by job",
    "run": "the pick over its LC steps",
    "layers": "what the pick's layers consist of",
}


def render(findings: Findings, *, curves: Iterable[str], figures: Collection[str] = ()) -> str:
    """The page of a sweep, with every text escaped.

    `curves` names the scripts of reports.page.curves beside it, and `figures` the figures, which it links. The page
    loads nothing else.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "count": numbers.count,
        "counted": numbers.counted,
        "ratio": numbers.ratio,
        "duration": numbers.seconds,
    }
    script, costs = page_script(), costs_of(findings.rows)
    return environment.from_string(_asset("page.html.j2")).render(
        found=findings,
        pick=findings.pick,
        choice=findings.choice,
        reference=findings.reference,
        columns=columns_of(findings),
        costs=costs,
        marks=marks(findings.series, families=findings.families, size=1.0),
        target=target_words(findings),
        rule=rule_words(findings),
        commands=commands(findings),
        look_of_pick=look_of_pick(findings),
        shares=shares(findings.manifest.coverage),
        failures=by_message(findings.failures),
        units=findings.units,
        capital=capital,
        bound_kind=bound_kind(findings.manifest.metric),
        best=COSTS[findings.by].best,
        speed=speed,
        seeds_words=seeds_words,
        own_words=own_words,
        chosen_words=chosen_words,
        name_of=name_of,
        of_reference=reference_cells(findings),
        figures={name: words.format(noun=findings.units.noun) for name, words in FIGURES.items() if name in figures},
        hidden_unless=lambda shown: "" if shown else Markup(" hidden"),
        description=describe_figure(findings),
        definitions={cost.key: definitions(findings, by=cost.key) for cost in costs},
        style=Markup(_asset("page.css")),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(page_data(findings, curves=curves)),  # escapes what it holds itself
    )


def speed(row: Row) -> str:
    """How fast a model is, to follow its MACs; empty where it is not known."""
    return f", {row.speed}" if row.speed else ""


def seeds_words(row: Row) -> str:
    """Of what the first number is the mean."""
    count = len(row.candidate.seeds)
    failed = f"; {row.candidate.failed} more failed" if row.candidate.failed else ""
    if count == 1:
        return f"of the one seed by which it was chosen{failed}"
    return f"mean of {numbers.counted(count - 1, 'fresh seed')}{failed}"


def chosen_words(row: Row, count: int) -> str:
    """What the choice has looked at, and what that does to the first number."""
    one = "Its one score made it the choice, so that score is a little too good on average."
    several = "The mean leaves out the first seed, which may have made it the choice."
    among = f"Chosen on the validation split among {numbers.counted(count, 'configuration')}."
    return f"{among} {one if len(row.candidate.seeds) == 1 else several} No choice has used the test split."


def own_words(row: Row, units: Units) -> str:
    """What the exported file itself measures."""
    score, count = row.best.val, len(row.candidate.seeds)
    interval = f"95{NO_BREAK}% interval {units.value_range(score.low, score.high)}, n{NO_BREAK}={NO_BREAK}{score.n:,}"
    if count == 1:
        return interval
    return f"the file's own: {units.value(score.value)} (seed {row.best.seed}, {best_of(count)}); {interval}"


def page_script() -> str:
    """The page's script: its files in one strict scope, without comments and indentation."""
    lines = "\n".join(_asset(f"{name}.js") for name in SCRIPTS).splitlines()
    kept = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("//")]
    return "\n".join(["(() => {", '"use strict";', *kept, "})();"])


def by_message(failures: Sequence[Record]) -> dict[str, list[Record]]:
    """Message -> the jobs that failed with it, the most frequent one first."""
    groups: dict[str, list[Record]] = {}
    for job in failures:
        groups.setdefault(job.error.message if job.error else "", []).append(job)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def commands(findings: Findings) -> list[str]:
    """The commands that choose again and that export the choice, quoted for a shell."""
    start = command_starts(findings)
    options = _target_options(findings) + ([] if findings.by == "bytes" else ["--by", findings.by])
    typed = [f"{start['pick']} {shlex.join(options)}"]
    if findings.pick is not None:
        typed.append(f"{start['export']} --job {shlex.quote(findings.pick.candidate.best_id)} {start['out']}")
    return typed


def look_of_pick(findings: Findings) -> Measurement | None:
    """The last measurement of the pick on the test split; None before the first."""
    picked = None if findings.pick is None else findings.pick.candidate.best_id
    return next((look for look in reversed(findings.measurements) if look.id == picked), None)


def describe_figure(findings: Findings) -> str:
    """The figure in a few sentences, for readers who cannot see it."""
    front = [row for row in findings.rows if row.on_front]
    units = findings.units
    words = [f"Validation {units.noun} against artifact size of {numbers.count(len(findings.rows))} configurations."]
    if front:
        small, large = front[0], front[-1]
        words.append(
            f"The Pareto front has {len(front)}, from {numbers.count(small.candidate.artifact_bytes)} bytes at "
            f"{units.error(small.candidate.mean_error)} {units.noun} to "
            f"{numbers.count(large.candidate.artifact_bytes)} bytes at {units.error(large.candidate.mean_error)}."
        )
    words.append(
        f"The reference has {numbers.count(findings.reference.bytes)} bytes and "
        f"{units.error(findings.reference.val.error)} {units.noun}."
    )
    if findings.pick is not None:
        chosen = findings.pick.candidate
        words.append(f"The pick is {name_of(chosen)}, {numbers.count(chosen.artifact_bytes)} bytes.")
    return " ".join(words)


def _target_options(findings: Findings) -> list[str]:
    target = findings.target
    if target is None:
        return command_starts(findings)["default"].split()
    return target.options(fraction=findings.manifest.metric.fraction)


def _asset(name: str) -> str:
    return files("reports.page").joinpath(name).read_text(encoding="utf-8")
