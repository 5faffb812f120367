"""The jobs' curves and layers as scripts beside the page, which loads one when a reader opens a candidate.

They are scripts and not JSON, since a page that is opened from a disk may not fetch a file. They hold numbers, and
names of layers as JSON text.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.facts.diagnostics import Curves, Layer
from sweep.store.printable import printable


def curve_scripts(curves: Mapping[str, Curves], layers: Mapping[str, Sequence[Layer]]) -> dict[str, bytes]:
    """Start of an id, two digits -> the script with the jobs that begin so; `layers` holds those of some jobs.

    A file a job would be thousands to write, one for all would be megabytes to load.
    """
    shards: dict[str, list[str]] = {}
    for job in curves:
        shards.setdefault(job[:2], []).append(job)
    return {
        start: _call("lcsweepCurves", {job: curves[job] for job in jobs})
        + _call("lcsweepLayers", {job: [_columns(layer) for layer in layers[job]] for job in jobs if job in layers})
        for start, jobs in sorted(shards.items())
    }


def _call(function: str, jobs: Mapping[str, Any]) -> bytes:
    return f"{function}({json.dumps(jobs, separators=(',', ':'), allow_nan=False)});\n".encode() if jobs else b""


def _columns(layer: Layer) -> list[Any]:
    """What the page shows of a layer, in the order of its script."""
    weights = max(math.prod(layer.shape), 1)
    alone = [layer.alone, layer.alone_reference, layer.alone_n]
    return [
        printable(layer.name, most=60),
        "\u00d7".join(map(str, layer.shape)),
        layer.kept / weights,
        layer.bits,
        *alone,
    ]
