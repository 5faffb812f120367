"""The report's page: one HTML file that needs nothing else, no network and no script."""

import re
import shlex
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from reports import numerals
from reports.findings import Findings, Measurement
from reports.inline_svg import inline
from reports.marks import marks
from reports.tables import COLUMNS, target_words


def render(findings: Findings, *, svg: bytes) -> str:
    """The page of a sweep, its Pareto figure (an SVG that reports.figures encoded) inside. Every text is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "count": numerals.count,
        "counted": numerals.counted,
        "percent": numerals.percent,
        "points": numerals.points,
        "ratio": numerals.ratio,
        "duration": numerals.seconds,
    }
    template = environment.from_string(files("reports").joinpath("template.html.j2").read_text(encoding="utf-8"))
    return template.render(
        found=findings,
        pick=findings.pick,
        choice=findings.choice,
        reference=findings.reference,
        columns=COLUMNS,
        marks=marks(findings.series, size=1.0),
        target=target_words(findings),
        commands=commands(findings),
        looks_of_pick=looks_of_pick(findings),
        percent_range=numerals.percent_range,
        # The writer of inline() has escaped every text in it.
        figure=Markup(inline(svg, title=f"Pareto front of {findings.study}", description=describe_figure(findings))),
    )


def commands(findings: Findings) -> list[str]:
    """What to type to choose again and to export the choice, quoted for a shell."""
    words = ["lcsweep", "pick", findings.folder, *_target_options(findings)]
    if findings.by != "bytes":
        words += ["--by", findings.by]
    typed = [shlex.join(words)]
    if findings.pick is not None:
        name = re.sub(r"[^\w.-]+", "_", findings.study).strip("._-") or "model"
        shipped = findings.pick.candidate.shipped
        typed.append(shlex.join(["lcsweep", "export", findings.folder, "--trial", shipped, "--out", f"{name}.lcz"]))
    return typed


def looks_of_pick(findings: Findings) -> list[Measurement]:
    """The looks at the test split that the pick had; none before the first."""
    if findings.pick is None:
        return []
    return [look for look in findings.measurements if look.id == findings.pick.candidate.shipped]


def describe_figure(findings: Findings) -> str:
    """The figure in a few sentences, for who cannot see it."""
    front = [row for row in findings.rows if row.on_front]
    words = [f"Validation error against artifact size of {numerals.count(len(findings.rows))} configurations."]
    if front:
        small, large = front[0], front[-1]
        words.append(
            f"The Pareto front has {len(front)}, from {numerals.count(small.candidate.artifact_bytes)} bytes at "
            f"{numerals.percent(small.candidate.mean_error)} error to {numerals.count(large.candidate.artifact_bytes)} "
            f"bytes at {numerals.percent(large.candidate.mean_error)}."
        )
    words.append(
        f"The reference has {numerals.count(findings.reference.artifact_bytes)} bytes and "
        f"{numerals.percent(findings.reference.error)} error."
    )
    if findings.pick is not None:
        chosen = findings.pick.candidate
        words.append(
            f"The pick is {findings.pick.series}, {chosen.label}, {numerals.count(chosen.artifact_bytes)} bytes."
        )
    return " ".join(words)


def _target_options(findings: Findings) -> list[str]:
    target = findings.target
    if target is None:
        return ["--max-drop", "0.01"]
    if target.min_accuracy is not None:
        return ["--min-accuracy", repr(target.min_accuracy)]
    return ["--max-drop", repr(target.max_drop)]
