"""The target, and what a candidate must show to meet it, in words."""

from reports.facts.findings import Findings
from reports.facts.numbers import NO_BREAK, plain
from reports.facts.units import Units
from sweep.criteria import CONFIRM, UNTRAINED
from sweep.intervals import CONFIDENCE


def target_words(findings: Findings) -> str:
    """The target in words, as in `validation accuracy of at least 95.00 %`; empty without one."""
    target, threshold = findings.target, findings.threshold
    if target is None or threshold is None:
        return ""
    words = f"validation {threshold_words(findings.units, threshold)}"
    if target.max_drop is not None:
        reference = findings.reference.val
        allowed = _allowed(findings.units, target.allowed(reference.score))
        words += f" (the reference's {findings.units.limit(reference.value)} {allowed})"
    return words


def threshold_words(units: Units, threshold: float) -> str:
    """The least score that meets a target: `accuracy of at least 96.49 %`, `MSE of at most 12.3 mm2`."""
    bound = "least" if units.metric.higher_is_better else "most"
    return f"{units.metric.label} of at {bound} {units.limit(units.metric.value(threshold))}"


def limit_words(findings: Findings) -> str:
    """The same within a sentence: `an accuracy of at least 96.49 %`."""
    assert findings.threshold is not None
    article = "an " if findings.units.by_error else ""
    return article + threshold_words(findings.units, findings.threshold)


def _allowed(units: Units, drop: float) -> str:
    """How far below the reference's score a target allows: `less 1 point`, `plus 0.5 mm2`."""
    unit = units.metric.unit
    if units.metric.fraction:
        drop, unit = 100 * drop, "point" if f"{100 * drop:.4g}" == "1" else "points"
    sign = "less" if units.metric.higher_is_better else "plus"
    shown = f"{drop:.4g}" if units.metric.fraction else plain(drop)
    return f"{sign} {shown} {unit}".rstrip()


def rule_words(findings: Findings) -> str:
    """What the seeds of a candidate must show to be confirmed: sweep.criteria.Criteria.state_of, in words."""
    seeds, sure = findings.manifest.confirm or CONFIRM, f"{100 * CONFIDENCE:g}{NO_BREAK}%"
    found = sorted({row.candidate.method for row in findings.rows} & UNTRAINED)
    alone = f" or, of {' and '.join(found)}, one seed does, since every seed gives the same model" if found else ""
    many = f"{seeds} or more fresh seeds show it ({sure} confidence in their mean)"
    return f"confirmed where {many}{alone}, else unconfirmed"
