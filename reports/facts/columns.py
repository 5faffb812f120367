"""The columns of the table of candidates: what each means, and how its values are written."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reports.facts.findings import Findings
from reports.facts.numbers import count, percent, ratio, seconds
from reports.facts.rows import Row
from reports.facts.units import Units
from sweep.criteria import MEANINGS

NONE = "\u2013"
YES = "\u2713"


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        key: its name in the page's script.
        title: at its head.
        meaning: what it holds.
        align: "n" for numbers, on the right; "c" for marks, in the centre; "" for words.
        text: what it shows of a row.
    """

    key: str
    title: str
    meaning: str
    align: str
    text: Callable[[Row], str]


MADE: Sequence[Column] = (
    Column("family", "Family", "how the model was compressed", "", lambda row: row.series),
    Column("configuration", "Configuration", "the family's knobs", "", lambda row: row.candidate.label),
    Column("seeds", "Seeds", "how many seeds are done; those that failed do not count", "n", lambda row: row.seeds),
)


def measured(units: Units) -> tuple[Column, Column]:
    """The columns of what was measured on validation: of the model, and of direct compression."""

    cells = units.bare

    def direct(row: Row) -> str:
        return NONE if row.candidate.direct_error is None else cells.error(row.candidate.direct_error)

    return (
        Column(
            "error",
            units.head,
            f"validation {units.noun}, mean over the fresh seeds, all but the first (least to most of all)",
            "n",
            lambda row: cells.errors(row.candidate.errors),
        ),
        Column(
            "direct",
            f"DC {units.noun}",
            f"validation {units.noun} of direct compression: the same configuration before any training",
            "n",
            direct,
        ),
    )


SIZES: Sequence[Column] = (
    Column(
        "nominal",
        "Nominal bytes",
        "size of the file before coding, known before training",
        "n",
        lambda row: count(row.best.nominal_bytes),
    ),
    Column(
        "bytes",
        "Artifact bytes",
        "size of the exported file",
        "n",
        lambda row: count(row.candidate.artifact_bytes),
    ),
    Column(
        "ratio",
        "Ratio",
        "size of the reference's packed file over that of the exported file",
        "n",
        lambda row: ratio(row.compression_ratio),
    ),
    Column("macs", "MACs", "multiply-accumulates of one example", "n", lambda row: count(row.candidate.macs)),
)

LATENCY = Column(
    "latency",
    "Latency",
    "as a fraction of the reference's, in ONNX Runtime, for one example on one thread",
    "n",
    lambda row: NONE if row.candidate.latency is None else f"{row.candidate.latency:.2f}",
)

VERDICTS: Sequence[Column] = (
    Column(
        "gap",
        "Gap",
        "relative distance of the weights from their compressed form after training; the largest over the seeds",
        "n",
        lambda row: percent(row.gap),
    ),
    Column(
        "time",
        "Time",
        "time of the whole job with evaluation and packing, summed over the seeds",
        "n",
        lambda row: seconds(row.seconds) if row.seconds else NONE,
    ),
    Column(
        "front",
        "Front",
        "no other candidate has both a smaller file and a lower error",
        "c",
        lambda row: YES if row.on_front else "",
    ),
    Column(
        "target",
        "Target",
        "; ".join(f"{state}: {meaning}" for state, meaning in MEANINGS.items()),
        "",
        lambda row: row.state or "",
    ),
)


def reference_cells(findings: Findings) -> Mapping[str, str]:
    """The reference's line of the table, by column; columns that say nothing of it are missing."""
    reference = findings.reference
    return defaultdict(str) | {
        "family": "reference",
        "configuration": "not compressed",
        "error": findings.units.error(reference.val.error),
        "bytes": count(reference.bytes),
        "ratio": ratio(1.0),
        "macs": count(reference.macs),
        "latency": "1.00",
    }


def columns_of(findings: Findings) -> list[Column]:
    """The columns of the table, with the latency's only where it was measured."""
    latency = [LATENCY] if any(row.candidate.latency is not None for row in findings.rows) else []
    return [*MADE, *measured(findings.units), *SIZES, *latency, *VERDICTS]
