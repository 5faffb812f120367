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
from reports.facts.units import Units
from reports.figures.axes import bend_words, error_range, error_title, size_range
from reports.figures.scales import Window, round_values
from reports.figures.style import marks
from reports.page.bounds import bounds
from sweep.criteria import CONFIRM, MOST_SEEDS, TOO_CLOSE, UNTRAINED
from sweep.intervals import CONFIDENCE, Z95, student
from sweep.store.metric import ACCURACY, Metric

# Values that the page only shows, as whole numbers of these parts of 1: finer than the page writes them.
SHOWN: Mapping[str, tuple[int, Callable[[Row], float | None]]] = {
    "gap": (10**6, lambda row: row.gap),
    "seconds": (10, lambda row: row.seconds),
}
# The same of the metric, where its values are fractions.
MEASURED: Mapping[str, tuple[int, Callable[[Row], float | None]]] = {
    "low": (10**5, lambda row: row.best.val.low),
    "high": (10**5, lambda row: row.best.val.high),
    "direct": (10**6, lambda row: row.candidate.direct_error),
}


def page_data(findings: Findings, *, curves: Iterable[str]) -> str:
    """The data, safe inside a `script` element: ASCII, and without `<`, `>` and `&`.

    Rows are ordered by bytes, MACs, mean error and job, so that a pick by bytes is the first that meets the target.
    Values of the metric are exact; what the page only shows is rounded. `curves` names the scripts beside the page.
    """
    rows = sorted(findings.rows, key=_order)
    content = {
        "n": findings.reference.val.n,
        "reference": {"bytes": findings.reference.bytes, "macs": findings.reference.macs}
        | {"value": findings.reference.val.value, "latency": 1},
        "metric": _metric(findings.units),
        "rule": {
            "confirm": findings.manifest.confirm or CONFIRM,
            "most": MOST_SEEDS,
            "untrained": sorted(UNTRAINED),
            "student": _student(findings),
        }
        | {"words": rule_words(findings), "close": TOO_CLOSE, "z": Z95, "square": Z95**2},
        "target": _target(findings),
        "by": findings.by,
        "commands": {**command_starts(findings), "confirm": findings.confirm_parts},
        "error": error_axis(findings),
        "costs": [_cost_axis(findings, cost, rows=rows) for cost in costs_of(rows)],
        "series": _series(findings),
        **_columns(rows, findings),
        **bounds(rows, findings.reference),
        "tests": {look.id: [look.value, look.low, look.high, look.n] for look in findings.measurements},
        "curves": list(curves),
    }
    written = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def command_starts(findings: Findings) -> dict[str, str]:
    """The commands, quoted for a shell, without the target and the job, which the page's script adds."""
    name = re.sub(r"[^\w.-]+", "_", findings.manifest.study).strip("._-") or "model"
    return {
        "pick": shlex.join(["lcsweep", "pick", findings.place]),
        "export": shlex.join(["lcsweep", "export", findings.place]),
        "out": shlex.join(["--out", f"{name}.lcz"]),
        "default": f"--max-drop 0.01{'' if findings.manifest.metric.fraction else ' --relative'}",
    }


def bound_kind(metric: Metric) -> str:
    """The target, beside `max_drop`, that fits the metric, as the option of `lcsweep pick` is called."""
    if metric == ACCURACY:
        return "min_accuracy"
    return "at_least" if metric.higher_is_better else "at_most"


def _metric(units: Units) -> dict[str, Any]:
    """The metric, for the functions that the page's script makes of it."""
    metric = units.metric
    return {
        "name": metric.name,
        "label": metric.label,
        "noun": units.noun,
        "unit": metric.unit,
        "best": metric.best,
    } | {
        "fraction": metric.fraction,
        "higher": metric.higher_is_better,
        "by_error": units.by_error,
        "kind": bound_kind(metric),
    }


def error_axis(findings: Findings) -> dict[str, Any]:
    """The vertical axis: range, scale and labelled ticks, as in the figure."""
    window, units = error_range(findings), findings.units
    ticks = [[value, units.tick(value)] for value in round_values(window, most=9)]
    beyond = "" if window.bend is None else bend_words(units.bare, window.bend)
    return _window(window) | {"title": error_title(units, window), "ticks": ticks, "beyond": beyond}


def _cost_axis(findings: Findings, cost: Cost, *, rows: Sequence[Row]) -> dict[str, Any]:
    window, bend = size_range(findings.known(cost.key), cost=cost), findings.knee(cost.key)
    whole = max(cost.of_reference(findings.reference), cost.least)
    ratios = round_values(Window(whole / window.high, whole / window.low, log=True), most=9)
    return _window(window) | {
        "key": cost.key,
        "noun": cost.noun,
        "name": cost.name,
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
        for name, mark in marks(findings.series, families=findings.families, size=1.0).items()
    ]


def _columns(rows: Sequence[Row], findings: Findings) -> dict[str, Any]:
    """The rows in columns. A form is what many rows share: series, method and names of knobs."""
    forms = sorted({_form(row) for row in rows})
    order = {form: index for index, form in enumerate(forms)}
    series = {name: index for index, name in enumerate(findings.series)}
    seeds = [len(row.candidate.seeds) for row in rows]
    speeds = sorted({row.speed for row in rows})
    fraction = findings.manifest.metric.fraction
    rounded, exact = {**SHOWN, **(MEASURED if fraction else {})}, {} if fraction else MEASURED
    shares = all(0 <= value <= 1 for row in rows for value in row.candidate.values)

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
            "speed": column(lambda row: speeds.index(row.speed)),
            "nominal": column(lambda row: row.best.nominal_bytes),
            "seeds": _column(seeds),
            "failed": column(lambda row: row.candidate.failed),
            "best": column(lambda row: row.candidate.ids.index(row.candidate.best_id)),
            "n": column(lambda row: row.best.val.n),
        }
        | {name: _column([_parts(of(row), parts) for row in rows]) for name, (parts, of) in rounded.items()}
        | {name: column(of) for name, (_, of) in exact.items()},
        "speeds": speeds,
        "parts": {name: parts for name, (parts, _) in rounded.items()},
        # One value for each knob or job, row after row.
        "levels": [_level(level) for row in rows for level in row.candidate.configuration.values()],
        "values": [
            _right_answers(value, row.best.val.n) if shares else value for row in rows for value in row.candidate.values
        ],
        "shares": shares,
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


def _right_answers(share: float, n: int) -> float | int:
    """The number of right answers where that over n is exactly their share; else the share."""
    right = round(share * n)
    return right if right / n == share else share


def _level(level: object) -> int | float | str:
    """A knob's level: a number where JavaScript writes it as Python does, else the text that Python writes."""
    plain = isinstance(level, int) and not isinstance(level, bool) and abs(level) < 2**53
    broken = isinstance(level, float) and level % 1 != 0 and 1e-4 <= abs(level) < 1e15
    return level if plain or broken else str(level)  # type: ignore[return-value]


def _student(findings: Findings) -> float | None:
    """The quantile that sweep.intervals.least_mean takes. It is the same for every target."""
    dof = _degrees(row.candidate.scores for row in findings.rows if row.candidate.method not in UNTRAINED)
    return student(CONFIDENCE, dof=dof) if dof else None


def _degrees(groups: Iterable[Sequence[float]]) -> int:
    return sum(len(results) - 1 for results in groups)


def _target(findings: Findings) -> dict[str, Any] | None:
    """The target; a relative drop as an absolute one."""
    target = findings.target
    if target is None:
        return None
    if target.max_drop is not None:
        return {"kind": "max_drop", "value": target.allowed(findings.reference.val.score)}
    metric = findings.manifest.metric
    return {"kind": bound_kind(metric), "value": metric.value(target.threshold(findings.reference.val.score))}
