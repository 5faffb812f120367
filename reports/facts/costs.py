"""What a model costs: the figure's horizontal axis, and what a pick is smallest in."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from reports.facts.numbers import count, round_bytes, round_count
from reports.facts.rows import Reference, Row
from sweep.pick.choice import By


@dataclass(frozen=True)
class Cost:
    """One cost of a model, in whole units or as a part of the reference's, and its words.

    Attributes:
        of_reference: the reference's.
        title: of its axis, with the unit.
        ratio: of the axis on top, the reference's cost over the model's.
        definition: a sentence for the figure's footer, given the reference.
        tick: a round value on the axis.
        noun: after a number, as in "3,100 bytes".
        name: alone.
        best: the model that has least of it.
        least: what is smaller is drawn as this.
        digits: after the point, in words.
    """

    key: By
    of_reference: Callable[[Reference], float]
    title: str
    ratio: str
    definition: Callable[[Reference], str]
    tick: Callable[[float], str]
    noun: str
    name: str
    best: str
    least: float = 1.0
    digits: int = 0

    def of(self, row: Row) -> float:
        """A candidate's; infinite where it was not measured."""
        return row.candidate.cost(self.key)


COSTS: Mapping[By, Cost] = {
    "bytes": Cost(
        key="bytes",
        of_reference=lambda reference: reference.artifact_bytes,
        title="size of the packed model file (bytes, log scale)",
        ratio="compression ratio (reference file / model file)",
        definition=lambda reference: (
            "Size is the whole file that ships and loads (1\u00a0kB = 1000\u00a0bytes); "
            f"the ratio is to the reference's own file, {count(reference.artifact_bytes)} bytes."
        ),
        tick=round_bytes,
        noun="bytes",
        name="bytes",
        best="Smallest",
    ),
    "macs": Cost(
        key="macs",
        of_reference=lambda reference: reference.macs,
        title="multiply-accumulates of one example (MACs, log scale)",
        ratio="ratio (reference MACs / model MACs)",
        definition=lambda reference: (
            "MACs count the linear and convolutional layers as they would run: rank and structure save some, "
            f"zeros and codes none. The reference has {count(reference.macs)}."
        ),
        tick=round_count,
        noun="MACs",
        name="MACs",
        best="Fewest MACs",
    ),
    "latency": Cost(
        key="latency",
        of_reference=lambda reference: 1.0,
        title="latency as a part of the reference's (ONNX Runtime, one example, one thread; log scale)",
        ratio="times as fast (reference latency / model latency)",
        definition=lambda reference: (
            "Latency is the median of runs that alternate with the dense reference's on the same machine, as a part of "
            "its: lcsweep bench measured it."
        ),
        tick=lambda value: f"{value:.4g}",
        noun="of the reference's latency",
        name="latency",
        best="Least latency",
        least=1e-6,
        digits=2,
    ),
}


def costs_of(rows: Iterable[Row]) -> list[Cost]:
    """The costs that are known of one of `rows` at least."""
    known = list(rows)
    return [cost for cost in COSTS.values() if any(cost.of(row) < math.inf for row in known) or cost.key != "latency"]


def amount(cost: Cost, value: float) -> str:
    """So much of a cost, in words."""
    return f"{value:,.{cost.digits}f} {cost.noun}"
