"""The report of 100, 1,000 and 10,000 records: its time, the growth of its time, and the size of its page.

    python benchmarks/report.py [--json] [--only ROW ...]

A row `report-N` is the time of `lcsweep report` in a process of its own, in seconds. It is compared with the row
before, grown by n log n; the first row with matplotlib drawing as many points in the same three formats. A report has
up to five figures, a page and the curves. The note has the page's size.
"""

import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from many_records import write_sweep
from rows import Row, options, seconds, speak

COUNTS = (100, 1000, 10_000)
NAMES = [f"report-{count}" for count in COUNTS]
REPORT = """
import sys
from pathlib import Path
from reports import write_report
from sweep.target import Target
write_report(Path(sys.argv[1]), target=Target(max_drop=0.01))
"""
CLOUD = """
import io, sys
import matplotlib
matplotlib.use("agg")
from matplotlib import pyplot
figure, axes = pyplot.subplots(figsize=(9.6, 6.9))
n = int(sys.argv[1])
axes.loglog(range(1, n + 1), range(1, n + 1), "o")
for form in ("png", "svg", "pdf"):
    figure.savefig(io.BytesIO(), format=form, dpi=200)
"""


def rows(names: list[str], *, rounds: int) -> Iterator[Row]:
    """The rows of these names."""
    before: tuple[int, float] | None = None
    for count in COUNTS:
        if f"report-{count}" not in names:
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "sweep"
            write_sweep(root, jobs=count)
            runs, clouds = zip(*((_took(REPORT, root), _took(CLOUD, count)) for _ in range(rounds)), strict=True)
            page = (root / "report" / "index.html").stat().st_size / 1000
        took = statistics.median(runs)
        if before is None:
            against, target, beside = statistics.median(clouds), 5.0, "a cloud of points"
        else:
            growth = count * math.log(count) / (before[0] * math.log(before[0]))
            against, target, beside = growth * before[1], 1.0, f"{before[0]} records grown by n log n"
        before = count, took
        ratio, note = took / against, f"against {beside}; page {page:.0f} kB"
        yield Row(f"report-{count}", took, against, ratio, target, ratio <= target, "s", list(runs), note)


def _took(program: str, argument: object) -> float:
    command = [sys.executable, "-c", program, str(argument)]
    environment = os.environ | {"MPLBACKEND": "agg"}
    return seconds(lambda: subprocess.run(command, check=True, env=environment))


if __name__ == "__main__":
    parser = options(__doc__ or "", names=NAMES)
    parser.add_argument("--rounds", type=int, default=3, help="rounds; each time is their median")
    given = parser.parse_args()
    speak(rows(given.only, rounds=given.rounds), as_json=given.json)
