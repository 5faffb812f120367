"""What a job left in its diagnostics.json: how its LC steps went, and what its layers consist of."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder

STEP = ("step", "mu", "loss", "gap", "val_error")
"""The columns of a job's curves, in this order. Each is a list with a number or None for each LC step."""

Curves = list[list[float | None]]

_JOB = re.compile(r"[0-9a-f]{8,}")


@dataclass(frozen=True)
class Layer:
    """What one layer of a compressed model consists of.

    Attributes:
        name: of its weights in the model.
        shape: of these.
        kept: how many of them are not zero.
        bits: of storage for each weight, before zstd.
        ranks: of its low-rank parts; empty without one.
        values: (value, how often it occurs), where the values are few; else empty.
        counts: the histogram of the reference's weights, over bins of equal width.
        low: where the first bin begins.
        high: where the last bin ends.
        chosen: the compression that it chose under a budget; empty without one.
        alone: the validation error when only this layer is compressed, without training; None where not measured.
        alone_reference: the reference's error on the same examples.
        alone_n: how many these are.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    bits: float
    ranks: tuple[int, ...]
    values: tuple[tuple[float, int], ...]
    counts: tuple[float, ...]
    low: float
    high: float
    chosen: str = ""
    alone: float | None = None
    alone_reference: float | None = None
    alone_n: int = 0


def read_diagnostics(
    folder: SweepFolder, ids: Iterable[str], *, exported: Collection[str]
) -> tuple[dict[str, Curves], dict[str, list[Layer]]]:
    """Job -> the columns of its curves, for those that left diagnostics; each of `exported` -> its model's layers."""
    curves, layers = {}, {}
    for job in ids:
        content = read_optional(folder.diagnostics(job)) if _JOB.fullmatch(job) else None
        if steps := _mappings(content, "steps"):
            curves[job] = [[_rounded(step.get(name)) for step in steps] for name in STEP]
        if job in exported:
            layers[job] = [layer_of(data) for data in _mappings(content, "layers")]
    return curves, layers


def last_step(folder: SweepFolder, job: str) -> Mapping[str, Any]:
    """What a job's diagnostics say of its last step; nothing where there are none."""
    return next(reversed(_mappings(read_optional(folder.diagnostics(job)), "steps")), {})


def layer_of(data: Mapping[str, Any]) -> Layer:
    """The layer that JSON data hold, as lc_core.structure.contents writes them."""
    alone = data.get("alone") or {}
    return Layer(
        name=str(data["name"]),
        shape=tuple(data["shape"]),
        kept=data["kept"],
        bits=data["bits"],
        ranks=tuple(data["ranks"]),
        values=tuple((value, times) for value, times in data["values"]),
        counts=tuple(data["histogram"]["counts"]),
        low=data["histogram"]["low"],
        high=data["histogram"]["high"],
        chosen=str(data.get("chosen", "")),
        alone=alone.get("error"),
        alone_reference=alone.get("reference"),
        alone_n=alone.get("n", 0),
    )


def _mappings(content: Mapping[str, Any] | None, name: str) -> list[Mapping[str, Any]]:
    """One list of a job's diagnostics; empty where there is none."""
    return [] if content is None else [each for each in content.get(name, []) if isinstance(each, Mapping)]


def _rounded(value: object) -> float | None:
    """To five digits, as fine as a curve is drawn."""
    return float(f"{value:.5g}") if isinstance(value, int | float) else None
