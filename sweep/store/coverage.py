"""What share of a model's parameters each family compresses, and the largest that it leaves dense."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from sweep.store.fields import Says

ENOUGH = 0.9
"""Below this share, the largest parameters that stay dense are listed."""
LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseParameter:
    """A parameter that a family leaves as it is."""

    name: Annotated[str, Says("Its name in the model")]
    share: Annotated[float, Says("Of all parameters of the model", unit="fraction")]
    why: Annotated[str, Says("Why no compression takes it: norm, bias, frozen, type, too small, no pattern")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyCoverage:
    """What a family governs at its loosest level."""

    share: Annotated[float, Says("Of all parameters of the model", unit="fraction")]
    dense: Annotated[list[DenseParameter], Says("The largest that stay dense, the largest first")]
    others: Annotated[int, Says("How many further ones stay dense")]


def uncovered(families: Mapping[str, FamilyCoverage]) -> list[str]:
    """A line for each share under 90 %, with the families that have it and the largest parameters that stay dense."""
    alike: dict[str, list[str]] = {}
    for name, found in families.items():
        if found.share < ENOUGH:
            alike.setdefault(_left(found), []).append(name)
    return [f"{_named(names)} {said}" for said, names in alike.items()]


def shares(families: Mapping[str, FamilyCoverage]) -> list[str]:
    """The lines of `uncovered`; one short line where there are none, and none without families."""
    found = [each.share for each in families.values()]
    if not found or min(found) < ENOUGH:
        return uncovered(families)
    low, high = f"{min(found):.1%}", f"{max(found):.1%}"
    range_ = low if low == high else f"{low} to {high}"
    return [f"{'the family governs' if len(found) == 1 else 'the families govern'} {range_} of the parameters"]


def _left(found: FamilyCoverage) -> str:
    named = ", ".join(f"{each.name} ({each.share:.1%}, {each.why})" for each in found.dense)
    more = f" and {found.others} more" if found.others else ""
    return f"{found.share:.1%} of the parameters; the rest stays dense: {named}{more}"


def _named(names: list[str]) -> str:
    if len(names) == 1:
        return f"{names[0]} governs"
    return f"{', '.join(names[:-1])} and {names[-1]} govern"
