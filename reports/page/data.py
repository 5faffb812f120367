"""The data that the page's script works on: JSON inside the page, in columns, which keeps a thousand rows small."""

import json
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from reports.facts.costs import Cost, costs_of
from reports.facts.findings import Findings
from reports.facts.numbers import round_ratio
from reports.facts.rows import Row
from reports.facts.target import rule_words
from reports.figures.axes import error_range, size_range
from reports.figures.scales import Window, round_values
from reports.figures.style import marks
from sweep.intervals import CONFIDENCE, Z95, paired_drop, student, wilson
from sweep.store.manifest import Reference

# Values that the page only shows, as whole numbers of these parts of 1: finer than the page writes them.
SHOWN: Mapping[str, tuple[int, Callable[[Row], float | None]]] = {
    "low": (10**5, lambda row: row.best.val.low),
    "high": (10**5, lambda row: row.best.val.high),
    "direct": (10**6, lambda row: row.candidate.direct_error),
    "gap": (10**6, lambda row: row.gap),
    "seconds": (10, lambda row: row.seconds),
}


def page_data(findings: Findings, *, curves: Iterable[str]) -> str:
    """The data, safe inside a `script` element: ASCII, and without `<`, `>` and `&`.

    Rows are ordered by bytes, MACs, mean error and job, so that a pick by bytes is the first that meets the target.
    Accuracies are exact; values that the page only shows are rounded. `curves` names the scripts beside the page.
    """
    rows = sorted(findings.rows, key=_order)
    lost = lost_answers(rows, findings.reference)
    content = {
        "n": findings.reference.val.n,
        "reference": {"bytes": findings.reference.bytes, "macs": findings.reference.macs}
        | {"accuracy": findings.reference.val.value, "latency": 1},
        "rule": {
            "repeats": findings.manifest.repeats,
            "confirm": findings.manifest.confirm,
            "student": _student(findings),
        }
        | {"words": rule_words(findings), "z": Z95, "square": Z95**2, "bounds": lost is not None},
        "target": _target(findings),
        "by": findings.by,
        "commands": command_starts(findings),
        "error": error_axis(findings),
        "costs": [_cost_axis(findings, cost, rows=rows) for cost in costs_of(rows)],
        "series": _series(findings),
        **_columns(rows, findings),
        "lost": lost,
        "tests": {look.id: [look.accuracy, look.low, look.high, look.n] for look in findings.measurements},
        "curves": list(curves),
    }
    written = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def command_starts(findings: Findings) -> dict[str, str]:
    """The commands, quoted for a shell, without the target and the job, which the page's script adds."""
    name = re.sub(r"[^\w.-]+", "_", findings.manifest.study).strip("._-") or "model"
    return {
        "pick": shlex.join(["lcsweep", "pick", findings.folder]),
        "export": shlex.join(["lcsweep", "export", findings.folder]),
        "out": shlex.join(["--out", f"{name}.lcz"]),
    }


def error_axis(findings: Findings) -> dict[str, Any]:
    """The vertical axis: range, scale and labelled ticks, as in the figure."""
    window = error_range(findings)
    scale = "log scale" if window.log else "linear scale"
    ticks = [[value, f"{100 * value:.4g}"] for value in round_values(window, most=9)]
    return _window(window) | {"title": f"validation error (%, {scale})", "ticks": ticks}


def _cost_axis(findings: Findings, cost: Cost, *, rows: Sequence[Row]) -> dict[str, Any]:
    window, bend = size_range(findings.known(cost.key), cost=cost), findings.knee(cost.key)
    whole = max(cost.of_reference(findings.reference), cost.least)
    ratios = round_values(Window(whole / window.high, whole / window.low, log=True), most=9)
    return _window(window) | {
        "key": cost.key,
        "noun": cost.noun,
        "best": cost.best,
        "least": cost.least,
        "digits": cost.digits,
        "title": cost.title,
        "ratio": cost.ratio,
        "ticks": [[value, cost.tick(value)] for value in round_values(window, most=9)],
        "ratios": [[value, round_ratio(value)] for value in ratios],
        "front": [index for index, row in enumerate(rows) if cost.key in row.fronts],
        "knee": None if bend is None else rows.index(bend),
    }


def _window(window: Window) -> dict[str, Any]:
    slope = None if window.bend is None else window.slope()
    return {"low": window.low, "high": window.high, "log": window.log, "bend": window.bend, "slope": slope}


def _series(findings: Findings) -> list[dict[str, str]]:
    return [
        {"name": name, "colour": mark.variable, "shape": mark.shape, "glyph": mark.glyph}
        for name, mark in marks(findings.series, size=1.0).items()
    ]


def _columns(rows: Sequence[Row], findings: Findings) -> dict[str, Any]:
    """The rows in columns. A form is what many rows share: series, method and names of knobs."""
    forms = sorted({_form(row) for row in rows})
    order = {form: index for index, form in enumerate(forms)}
    series = {name: index for index, name in enumerate(findings.series)}
    seeds = [len(row.candidate.seeds) for row in rows]

    def column(value: Callable[[Row], Any]) -> Any:
        return _column([value(row) for row in rows])

    return {
        "count": len(rows),
        "forms": [[series[name], method, knobs] for name, method, knobs in forms],
        "columns": {
            "form": column(lambda row: order[_form(row)]),
            "bytes": column(lambda row: row.candidate.artifact_bytes),
            "macs": column(lambda row: row.candidate.macs),
            "latency": column(lambda row: row.candidate.latency),
            "faster": column(lambda row: row.faster),
            "nominal": column(lambda row: row.best.nominal_bytes),
            "seeds": _column(seeds),
            "best": column(lambda row: row.candidate.ids.index(row.candidate.best_id)),
            "n": column(lambda row: row.best.val.n),
        }
        | {name: _column([_parts(of(row), parts) for row in rows]) for name, (parts, of) in SHOWN.items()},
        "parts": {name: parts for name, (parts, _) in SHOWN.items()},
        # One value for each knob or job, row after row.
        "levels": [_level(level) for row in rows for level in row.candidate.configuration.values()],
        "accuracies": [_accuracy(accuracy, row.best.val.n) for row in rows for accuracy in row.candidate.scores],
        "seeds": _column([seed for row in rows for seed in row.candidate.seeds]),
        "ids": [job for row in rows for job in row.candidate.ids],
    }


def _form(row: Row) -> tuple[str, str, tuple[str, ...]]:
    return row.series, row.candidate.method, tuple(row.candidate.configuration)


def _order(row: Row) -> tuple[float, float, float, str]:
    candidate = row.candidate
    return candidate.artifact_bytes, candidate.macs, candidate.mean_error, candidate.best_id


def _column(values: Sequence[Any]) -> Any:
    """The values; where all are equal, only one."""
    return values[0] if values and all(value == values[0] for value in values) else list(values)


def _parts(value: float | None, parts: int) -> int | None:
    """The value as a whole number of parts, of which 1 has `parts`."""
    return None if value is None else round(value * parts)


def _accuracy(accuracy: float, n: int) -> float | int:
    """The number of right answers where that over n is exactly the accuracy; else the accuracy."""
    right = round(accuracy * n)
    return right if right / n == accuracy else accuracy


def lost_answers(rows: Sequence[Row], reference: Reference) -> list[float | int | None] | None:
    """For each job, how many of the reference's right answers it loses.

    From that and the accuracy, the page's script computes exactly the bound of the drop. Where that is not so, it is
    the bound itself; None where there is no bound. None in place of the list where the script cannot compute the bounds
    of accuracies.
    """
    found: list[float | int | None] = []
    for row in rows:
        candidate, n = row.candidate, row.best.val.n
        if any(low != wilson(right, n=n)[0] for right, low in zip(candidate.scores, candidate.lows, strict=True)):
            return None
        found += [_lost(a, high, reference, n) for a, high in zip(candidate.scores, candidate.drops, strict=True)]
    return found


def _lost(accuracy: float, high: float | None, reference: Reference, n: int) -> float | int | None:
    """The number of lost answers: the inverse of sweep.intervals.paired_drop."""
    if high is None:
        return None
    less = round(reference.val.value * n) - round(accuracy * n)
    half = high - less / (n + 2)
    apart = (half * (n + 2) / Z95) ** 2 + less**2 / (n + 2)  # lost + won + 1
    lost = round((apart - 1 + less) / 2)
    fits = lost >= max(less, 0) and paired_drop(lost, lost - less, n=n)[1] == high
    return lost if fits else high


def _level(level: object) -> int | float | str:
    """A knob's level: a number where JavaScript writes it as Python does, else the text that Python writes."""
    plain = isinstance(level, int) and not isinstance(level, bool) and abs(level) < 2**53
    broken = isinstance(level, float) and level % 1 != 0 and 1e-4 <= abs(level) < 1e15
    return level if plain or broken else str(level)  # type: ignore[return-value]


def _student(findings: Findings) -> float | None:
    """The quantile that sweep.intervals.least_mean takes. It is the same for every target."""
    dof = _degrees(row.candidate.scores for row in findings.rows if row.candidate.method == "lc")
    return student(CONFIDENCE, dof=dof) if findings.manifest.confirm and dof else None


def _degrees(groups: Iterable[Sequence[float]]) -> int:
    return sum(len(results) - 1 for results in groups)


def _target(findings: Findings) -> dict[str, Any] | None:
    """The target; a relative drop as an absolute one."""
    target = findings.target
    if target is None:
        return None
    if target.min_accuracy is not None:
        kind, value = "min_accuracy", target.min_accuracy
    else:
        kind, value = "max_drop", target.allowed(findings.reference.val.score)
    return {"kind": kind, "value": value}
