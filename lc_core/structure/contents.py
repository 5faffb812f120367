"""The content of a compressed model, parameter by parameter, for diagnostics."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lc_core.compression import Compressed, numel
from lc_core.compressions.cp import Kruskal
from lc_core.compressions.lowrank import Factored
from lc_core.compressions.separable import Separated
from lc_core.compressions.structured import Grouped
from lc_core.compressions.sums import Summed
from lc_core.compressions.tucker import Tucker
from lc_core.task import Governed

BINS = 80
LARGEST_CODEBOOK = 64


def layer_contents(
    governed: Sequence[Governed], thetas: Sequence[Compressed], reference: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    """For each parameter under a Theta, as JSON data:

    - name, shape; kept: the number of nonzero entries
    - bits: storage bits for an entry before zstd, the mean over all that share its Theta
    - ranks: the ranks of its factors: one for each term of a sum, two for Tucker; empty without factors
    - values: [value, times] of Delta(Theta), ascending; empty where there are more than LARGEST_CODEBOOK values
    - histogram: low, high, and counts in BINS bins of the reference's weights

    Args:
        governed: the parameters of each Theta.
        thetas: the Thetas, in the same order.
        reference: the weights before compression, by name.
    """
    found = []
    for parameters, theta in zip(governed, thetas, strict=True):
        bits = theta.storage_bits() / max(numel(parameters.shape), 1)
        for place, (name, values) in enumerate(parameters.scatter(theta.decompress()).items()):
            part = theta.values[place] if isinstance(theta, Grouped) else theta
            found.append(
                {
                    "name": name,
                    "shape": list(values.shape),
                    "kept": int(values.count_nonzero()),
                    "bits": _rounded(bits),
                    "ranks": _ranks(part),
                    "values": _values(values),
                    "histogram": _histogram(reference[name]),
                }
            )
    return found


def _ranks(theta: Compressed) -> list[int]:
    match theta:
        case Factored(rank=rank) | Kruskal(rank=rank):
            return [rank]
        case Separated(multiplier=multiplier):
            return [multiplier]
        case Tucker(ranks=ranks):
            return list(ranks)
        case Summed(terms=terms):
            return [rank for term in terms for rank in _ranks(term)]
    return []


def _values(values: Tensor) -> list[list[float]]:
    flat = values.reshape(-1)
    if len(flat[: 16 * LARGEST_CODEBOOK].unique()) > LARGEST_CODEBOOK:  # cheap, and nearly always the answer
        return []
    found, times = flat.unique(return_counts=True)
    if len(found) > LARGEST_CODEBOOK:
        return []
    return [[_rounded(value), count] for value, count in zip(found.tolist(), times.tolist(), strict=True)]


def _histogram(weights: Tensor) -> dict[str, Any]:
    flat = weights.detach().float().reshape(-1).cpu()
    low, high = (float(end) for end in flat.aminmax())
    if not low < high:
        low, high = low - 0.5, high + 0.5
    counts = torch.histc(flat, bins=BINS, min=low, max=high)
    return {"low": _rounded(low), "high": _rounded(high), "counts": [int(count) for count in counts.tolist()]}


def _rounded(value: float) -> float:
    """`value` in six significant digits; 0 where it is not finite."""
    return float(f"{value:.6g}") if math.isfinite(value) else 0.0
