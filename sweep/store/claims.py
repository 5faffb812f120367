"""What a packed file or an ONNX file claims that its model measures on validation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sweep.store.fields import from_json, to_json
from sweep.store.metric import ACCURACY, Metric


@dataclass(frozen=True)
class Claim:
    """A claim, as it is read from a file.

    Attributes:
        metric: what was measured; the accuracy where the file does not say.
        exact: its value as text.
        n: on how many examples; None where the file does not say.
        best_of: among how many seeds the file was chosen by it; 1 where the file does not say.
    """

    metric: Metric
    exact: str
    n: int | None
    best_of: int = 1

    @property
    def value(self) -> float:
        return float(self.exact)


def claim(metric: Metric, value: float, *, n: int) -> dict[str, Any]:
    """The JSON of a claim. Its length depends on the metric and on n alone."""
    said = {metric.name: metric.exact(value), "n": n}
    return said if metric == ACCURACY else said | {"metric": to_json(metric)}


def read_claim(info: Mapping[str, Any]) -> Claim | None:
    """What a file's JSON claims at "val" and "best_of"; None where it claims nothing. ValueError where it is wrong."""
    said = info.get("val")
    if not isinstance(said, Mapping):
        return None
    metric = from_json(Metric, said["metric"]) if "metric" in said else ACCURACY
    if metric.name not in said:
        return None
    exact = str(said[metric.name])
    try:
        float(exact)
    except ValueError:
        raise ValueError(f"expected a number as the claimed {metric.label[:40]}, got {exact[:40]!r}") from None
    best_of = info.get("best_of")
    return Claim(metric, exact, said.get("n"), best_of=best_of if type(best_of) is int else 1)
