"""The target, and what a candidate must show to meet it, in words."""

from reports.facts.findings import Findings
from reports.facts.numbers import NO_BREAK, percent
from sweep.intervals import CONFIDENCE


def target_words(findings: Findings) -> str:
    """The target in words, as in `validation accuracy of at least 95.00 %`, with where it comes from; empty without."""
    target, threshold = findings.target, findings.threshold
    if target is None or threshold is None:
        return ""
    words = f"validation accuracy of at least {percent(threshold)}"
    if target.min_accuracy is None and target.max_drop is not None:
        from_reference = percent(findings.reference.accuracy)
        drop = f"{100 * target.allowed(findings.reference.accuracy):.4g}"
        words += f" (the reference's {from_reference} less {drop} point{'' if drop == '1' else 's'})"
    return words


def rule_words(findings: Findings) -> str:
    """What the seeds of a candidate have to do to meet the target: sweep.criteria.Criteria.met_by, in words."""
    if findings.confirm:
        return (
            f"with {100 * CONFIDENCE:g}{NO_BREAK}% confidence in the mean of the seeds after the first, "
            f"{findings.confirm} or more"
        )
    return "in every seed" + (f", of {findings.repeats} or more" if findings.repeats > 1 else "")
