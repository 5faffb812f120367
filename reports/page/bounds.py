"""The 95 % bounds of scores and drops for the page: counts, from which its script computes them, or the bounds."""

from collections.abc import Sequence
from typing import Any

from reports.facts.rows import Row
from sweep.intervals import Z95, paired_drop, wilson
from sweep.store.manifest import Reference


def bounds(rows: Sequence[Row], reference: Reference) -> dict[str, Any]:
    """The 95 % bounds of each job's score and of its drop: what the page's script computes them from, else they."""
    lost = _lost_answers(rows, reference)
    if lost is not None:
        return {"lost": lost}
    found = [row.candidate for row in rows]
    return {"lows": [low for each in found for low in each.lows], "drops": [high for c in found for high in c.drops]}


def _lost_answers(rows: Sequence[Row], reference: Reference) -> list[float | int | None] | None:
    """For each job, how many of the reference's right answers it loses.

    From that and the accuracy, the page's script computes exactly the bound of the drop. Where that is not so, it is
    the bound itself; None where there is no bound. None in place of the list where the script cannot compute the bounds
    of scores, which it can where they are Wilson's.
    """
    found: list[float | int | None] = []
    for row in rows:
        candidate, n = row.candidate, row.best.val.n
        if any(not _is_wilson(share, low, n=n) for share, low in zip(candidate.scores, candidate.lows, strict=True)):
            return None
        found += [_lost(a, high, reference, n) for a, high in zip(candidate.scores, candidate.drops, strict=True)]
    return found


def _is_wilson(share: float, low: float, *, n: int) -> bool:
    return 0 <= share <= 1 and low == wilson(share, n=n)[0]


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
