"""The output of every benchmark: rows of ours against theirs, measured in one run, as a table or as JSON."""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

import torch

from sweep.execution.process import cpu

HEADING = f"{'':24}{'ours':>12}{'against':>12}  {'unit':6}{'ratio':>9}{'target':>9}  holds"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        name: the name of the row.
        ours: lcsweep's number, in `unit`.
        against: the number that it is compared with.
        ratio: how many times better ours is, or what the benchmark's docstring says.
        target: the target of `ratio`, or of `ours` where there is no target ratio.
        holds: whether the target is met and the results are as good as required.
        unit: the unit of `ours` and `against`.
        runs: the ratio of each round, or the result of each seed.
        note: other facts, for the table.
    """

    name: str
    ours: float
    against: float
    ratio: float
    target: float
    holds: bool
    unit: str
    runs: list[float] = field(default_factory=list)
    note: str = ""


def compared(
    name: str,
    ours: Callable[[], Any],
    against: Callable[[], Any],
    *,
    target: float,
    rounds: int,
    times: float = 1.0,
    as_good: bool = True,
    note: str = "",
) -> Row:
    """The row of how many times faster `ours` is than `against`: medians over rounds in which both run in turn.

    The row shows the milliseconds of a run multiplied by `times`, such as 1/n for a run that does n things.
    """
    pairs = [(seconds(ours), seconds(against)) for _ in range(rounds)]
    ratios = [theirs / own for own, theirs in pairs]
    ratio = statistics.median(ratios)
    own, theirs = (1000 * times * statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(name, own, theirs, ratio, target, as_good and ratio >= target, "ms", ratios, note)


def seconds(run: Callable[[], Any]) -> float:
    """Seconds that `run` takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def machine() -> dict[str, Any]:
    """Facts on this machine and its libraries."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
    } | {name: version(name) for name in ("torch", "numpy", "scikit-learn")}


def speak(rows: Iterable[Row], *, as_json: bool) -> None:
    """Prints each row as it is measured, or one JSON object at the end."""
    if as_json:
        print(json.dumps({"machine": machine(), "rows": [asdict(row) for row in rows]}))
        return
    print(said(machine()))
    print(HEADING)
    for row in rows:
        print(line(row), flush=True)


def said(facts: dict[str, Any]) -> str:
    """`machine` as text."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def line(row: Row) -> str:
    """A row of the table."""
    numbers = f"{row.ours:12.4g}{row.against:12.4g}  {row.unit:6}{row.ratio:9.4g}{row.target:9.4g}"
    return f"{row.name:24}{numbers}  {'yes' if row.holds else 'NO ':5}  {row.note}".rstrip()


def options(description: str, *, names: Sequence[str]) -> argparse.ArgumentParser:
    """The options of every benchmark: --json, and --only with names of its rows."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.add_argument("--only", nargs="+", choices=names, default=list(names), metavar="ROW", help=" ".join(names))
    return parser
