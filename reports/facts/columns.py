"""The table of candidates: its columns, each with a title, what it means, and how a value is written."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.facts.findings import Findings
from reports.facts.numbers import count, mean_percent, percent, ratio, seconds
from reports.facts.rows import Row

NONE = "\u2013"
YES = "\u2713"


@dataclass(frozen=True)
class Column:
    """One column: the key that the page's script knows it by, its title, a sentence on what it holds, how it is
    aligned, and the text of a row's cell.
    """

    key: str
    title: str
    meaning: str
    align: str  # "n" for numbers, on the right; "c" for marks, in the centre; "" for words
    text: Callable[[Row], str]


COLUMNS: Sequence[Column] = (
    Column("family", "Family", "how the model was compressed", "", lambda row: row.series),
    Column("configuration", "Configuration", "the family's knobs", "", lambda row: row.candidate.label),
    Column("seeds", "Seeds", "how many seeds were trained", "n", lambda row: count(len(row.candidate.seeds))),
    Column(
        "error",
        "Error",
        "validation error, mean over the seeds (least to most)",
        "n",
        lambda row: mean_percent(row.candidate.errors),
    ),
    Column(
        "direct",
        "DC error",
        "validation error of direct compression: the same configuration before any training",
        "n",
        lambda row: NONE if row.candidate.direct_error is None else percent(row.candidate.direct_error),
    ),
    Column(
        "nominal",
        "Nominal bytes",
        "bytes known before training, before zstd",
        "n",
        lambda row: NONE if row.nominal_bytes is None else count(row.nominal_bytes),
    ),
    Column(
        "bytes",
        "Artifact bytes",
        "bytes of the packed file that ships",
        "n",
        lambda row: count(row.candidate.artifact_bytes),
    ),
    Column(
        "ratio",
        "Ratio",
        "the reference's packed file over the artifact's",
        "n",
        lambda row: ratio(row.compression_ratio),
    ),
    Column("macs", "MACs", "multiply-accumulates of one example", "n", lambda row: count(row.candidate.macs)),
    Column(
        "gap",
        "Gap",
        "how far the weights end from their compressed form, relative; worst over the seeds",
        "n",
        lambda row: NONE if row.gap is None else percent(row.gap),
    ),
    Column(
        "time",
        "Time",
        "time of the whole job, with its evaluation and packing, summed over the seeds",
        "n",
        lambda row: NONE if not row.seconds else seconds(row.seconds),
    ),
    Column(
        "front", "Front", "no other candidate is both smaller and better", "c", lambda row: YES if row.on_front else ""
    ),
    Column("target", "Target", "meets the target, with enough seeds", "c", lambda row: YES if row.meets_target else ""),
)


LATENCY = Column(
    "latency",
    "Latency",
    "of the reference's, in ONNX Runtime, one example on one thread",
    "n",
    lambda row: NONE if row.candidate.latency is None else f"{row.candidate.latency:.2f}",
)


def columns_of(findings: Findings) -> list[Column]:
    """The columns of the table: that of the latency where one was measured."""
    place = [column.key for column in COLUMNS].index("macs") + 1
    measured = any(row.candidate.latency is not None for row in findings.rows)
    return [*COLUMNS[:place], *([LATENCY] if measured else []), *COLUMNS[place:]]
