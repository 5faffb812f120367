"""What a model costs: the figure's horizontal axis, and what a pick is smallest in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reports.numerals import count, round_bytes, round_count
from reports.rows import Reference, Row
from sweep.pick import By


@dataclass(frozen=True)
class Cost:
    """One cost of a model, in whole units, and its words.

    Attributes:
        of_reference: the reference's.
        title: of its axis, with the unit.
        ratio: of the axis on top, the reference's cost over the model's.
        definition: a sentence for the figure's footer, given the reference.
        tick: a round value on the axis.
        noun: after a number, as in "3,100 bytes".
    """

    key: By
    of_reference: Callable[[Reference], int]
    title: str
    ratio: str
    definition: Callable[[Reference], str]
    tick: Callable[[float], str]
    noun: str

    def of(self, row: Row) -> int:
        """A candidate's."""
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
    ),
}
