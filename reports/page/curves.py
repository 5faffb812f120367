"""The jobs' curves as scripts beside the page, which loads one when a reader opens a candidate.

They are scripts and not JSON, since a page that is opened from a disk may not fetch a file. They hold numbers only.
"""

import json
from collections.abc import Mapping

from reports.facts.diagnostics import Curves


def curve_scripts(curves: Mapping[str, Curves]) -> dict[str, bytes]:
    """Start of an id, two digits -> the script with the jobs that begin so.

    A file a job would be thousands to write, one for all would be megabytes to load.
    """
    shards: dict[str, dict[str, Curves]] = {}
    for job, columns in curves.items():
        shards.setdefault(job[:2], {})[job] = columns
    return {
        start: f"lcsweepCurves({json.dumps(jobs, separators=(',', ':'), allow_nan=False)});\n".encode()
        for start, jobs in sorted(shards.items())
    }
