"""What a model costs: bytes, MACs or latency. A figure has a cost on its horizontal axis, and a pick minimises one."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from reports.facts.numbers import count, round_bytes, round_count
from reports.facts.rows import Row
from sweep.pick.choice import By
from sweep.store.manifest import Reference


@dataclass(frozen=True)
class Cost:
    """One cost of a model, and the words for it.

    Attributes:
        key: its name in the code.
        of_reference: the reference's.
        title: of its axis, with the unit.
        ratio: the title of the axis on top, the reference's cost over the model's.
        definition: a sentence for the figure's footer, given the reference.
        tick: writes a round value on the axis.
        noun: what follows a number, as in "3,100 bytes".
        name: without a number.
        best: describes the model with the least cost.
        least: smaller costs are drawn here.
        digits: after the decimal point.
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
        """The cost of a candidate; infinite where it was not measured."""
        return row.candidate.cost(self.key)


COSTS: Mapping[By, Cost] = {
    "bytes": Cost(
        key="bytes",
        of_reference=lambda reference: reference.bytes,
        title="size of the packed model file (bytes, log scale)",
        ratio="compression ratio (reference file / model file)",
        definition=lambda reference: (
            "Size is that of the exported file, which loads (1\u00a0kB = 1000\u00a0bytes); "
            f"the ratio is to the reference's own file, {count(reference.bytes)} bytes."
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
            "MACs are those of one example as the model runs: low rank and structure save some, "
            f"zeros and codebooks none. The reference has {count(reference.macs)}{reference.not_counted}."
        ),
        tick=round_count,
        noun="MACs",
        name="MACs",
        best="Fewest MACs",
    ),
    "latency": Cost(
        key="latency",
        of_reference=lambda reference: 1.0,
        title="latency as a fraction of the reference's (ONNX Runtime, one example, one thread; log scale)",
        ratio="times as fast (reference latency / model latency)",
        definition=lambda reference: (
            "Latency is a fraction of the dense reference's: the median of runs that alternate with the reference's on "
            "the same machine, measured by lcsweep bench."
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
    """Bytes and MACs, and latency where it was measured for one of `rows` or more."""
    known = list(rows)
    return [cost for cost in COSTS.values() if any(cost.of(row) < math.inf for row in known) or cost.key != "latency"]


def amount(cost: Cost, value: float) -> str:
    """A cost with its unit."""
    return f"{value:,.{cost.digits}f} {cost.noun}"
