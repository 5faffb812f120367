"""Words that several commands print: the reference, a search, a target and whether it is met; and tables."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sweep.criteria import MISSED, UNCONFIRMED, meaning
from sweep.pick.picked import Picked
from sweep.search.summary import SearchSummary, Ties
from sweep.store.manifest import Manifest
from sweep.store.metric import Metric
from sweep.store.printable import on_a_line

Facts = Mapping[str, Any]


class Measured(Protocol):
    """A metric that was measured on `n` examples, and its 95 % interval."""

    @property
    def metric(self) -> Metric: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...


def reference(manifest: Manifest) -> str:
    """The reference model in a line."""
    model = manifest.reference
    return (
        f"{manifest.study}: the reference has {model.parameters:,} parameters, {model.bytes:,} bytes, "
        f"{model.macs:,} multiply-accumulates (MACs{model.not_counted}), and validation "
        f"{measured(model.val)}{model.footing}"
    )


def search_summary(search: SearchSummary) -> str:
    """What a search did."""
    counts = [f"{count_jobs(search.started)} started", f"{search.known:,} already done"]
    if search.skipped:
        never = sum(search.skipped.values())
        counts.append(f"{never:,} of {search.configurations:,} configurations ruled out without running")
    if search.left:
        counts.append(f"{search.left:,} configurations left")
    lines = [f"{search.name}: {', '.join(counts)}, {search.failed:,} failed, {search.seconds:.0f} s"]
    lines += [f"  {count:,} ruled out: {reason}" for reason, count in search.skipped.items()]
    lines += [] if search.ties is None else [f"  {untold(search.ties)}"]
    return "\n".join(lines)


def untold(ties: Ties) -> str:
    """What a search could not tell from the target, and how to give it more seeds."""
    unit, one = "bytes" if ties.by == "bytes" else "MACs", ties.configurations == 1
    sizes = f"of {ties.least:,} {unit}" if one else f"between {ties.least:,} and {ties.most:,} {unit}"
    return (
        f"{ties.configurations:,} configuration{'' if one else 's'} {sizes} cannot be told from the target with "
        f"{'' if one else 'up to '}{ties.seeds:,} seeds; --confirm {2 * ties.confirm} gives more"
    )


def verdict(picked: Picked) -> str:
    """Whether a pick meets its target."""
    seeds = in_seeds(len(picked.seeds), failed=picked.failed)
    if picked.target is None:
        return f"no target: the knee of the front, on validation, {seeds}"
    metric = picked.val.metric
    state = MISSED if not picked.meets_target else picked.state or UNCONFIRMED
    missed = f"MISSED by {metric.told_change(-picked.margin)}"
    met = missed if state == MISSED else f"{state}, {meaning(state, method=picked.method)}"
    bound = ", with the 95 % bound of every seed" if picked.confident else ""
    return f"{met}{bound}: {picked.target.told(metric)}, on validation, {seeds}"


def parity(facts: Facts) -> list[tuple[str, str]]:
    """How far ONNX Runtime's outputs are from torch's; no row if they were not to be compared."""
    if facts.get("parity") is not None:
        return [("ONNX Runtime", outputs_apart(facts["parity"]))]
    return [("ONNX Runtime", f"not compared: {facts['no_parity']}")] if "no_parity" in facts else []


def outputs_apart(difference: float, *, of: str = "torch's") -> str:
    """A difference of outputs, as a part of the largest, in words."""
    return f"outputs differ from {of} by at most {difference:.1e} of the largest"


def measured(found: Measured) -> str:
    """A metric with its interval and its number of examples."""
    value, low, high = (found.metric.told(each, gap="") for each in (found.value, found.low, found.high))
    return f"{found.metric.label} {value} (95 % interval {low} to {high}, {found.n:,} examples)"


def in_seeds(count: int, *, failed: int = 0) -> str:
    """ "in 1 seed", "in 3 seeds (1 more failed)"."""
    return f"in {count} seed" + ("" if count == 1 else "s") + (f" ({failed} more failed)" if failed else "")


def fresh_seeds(count: int) -> str:
    """Those of `count` seeds after the first: "1 fresh seed", "3 fresh seeds"."""
    return f"{count - 1} fresh seed" + ("" if count == 2 else "s")


def count_jobs(count: int) -> str:
    """ "1 job", "3 jobs"."""
    return f"{count:,} job" if count == 1 else f"{count:,} jobs"


def table(rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """Rows of cells in columns; the columns in `right` are aligned to the right."""
    rows = [[on_a_line(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
