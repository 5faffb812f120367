"""The target, and what a candidate must show to meet it, in words."""

from reports.facts.findings import Findings
from reports.facts.numbers import NO_BREAK, percent
from sweep.intervals import CONFIDENCE


def target_words(findings: Findings) -> str:
    """The target in words, as in `validation accuracy of at least 95.00 %`; empty without one."""
    target, threshold = findings.target, findings.threshold
    if target is None or threshold is None:
        return ""
    words = f"validation accuracy of at least {percent(threshold)}"
    if target.min_accuracy is None and target.max_drop is not None:
        from_reference = percent(findings.reference.val.value)
        drop = f"{100 * target.allowed(findings.reference.val.score):.4g}"
        words += f" (the reference's {from_reference} less {drop} point{'' if drop == '1' else 's'})"
    return words


def rule_words(findings: Findings) -> str:
    """What the seeds of a candidate must show to meet the target: sweep.criteria.Criteria.met_by, in words."""
    repeats, confirm = findings.manifest.repeats, findings.manifest.confirm
    if confirm:
        return (
            f"confirmed on {confirm} or more further seeds ({100 * CONFIDENCE:g}{NO_BREAK}% confidence in their mean)"
        )
    return "in every seed" + (f", with {repeats} seeds or more" if repeats > 1 else "")
