"""What stopping hopeless jobs saves, on a grid that is replayed: each job has run to its end, and its curve is known.

The grid's jobs start in their order, two at once, each LC step taking one unit of time. Rows: `front-saved`, the share
of LC steps that the rule of `--search pareto` would have saved, and `front-stopped`, points of the eventual front that
it would have stopped; `drop-1-saved`, what it would have saved in a search for a drop of at most one point, and
`drop-1-stopped`, jobs that meet it and would have been stopped; half a point and two points likewise. The grid is that
of studies.digits_mlp with three seeds, run here, or of any sweep's folder.
"""

import heapq
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rows import Row, options, speak
from sweep.pick.pareto import front
from sweep.search.stopping import Finished, bars, needed_beside
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Record
from sweep.store.records import read_records

WORKERS = 2
DROPS = (0.005, 0.01, 0.02)
NAMES = [
    f"{which}-{what}" for which in ("front", *(f"drop-{100 * d:g}" for d in DROPS)) for what in ("saved", "stopped")
]
STUDY, SEEDS = "studies.digits_mlp", 3
COMMAND = "import sys; from sweep.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Replayed:
    """Jobs that a rule would have stopped, and LC steps that this saves of all."""

    stopped: list[Record]
    saved: int
    steps: int


def replay(
    jobs: Sequence[tuple[Record, Finished]], needed: Callable[[Sequence[Finished], Finished], float | None]
) -> Replayed:
    """The jobs in their order; what is `needed` of one follows from those that have finished when it starts."""
    finished: list[Finished] = []
    running: list[tuple[int, int]] = []
    ends: dict[int, int | None] = {}
    stopped, saved, now = [], 0, 0
    for place, (_, job) in enumerate([*jobs, *[(None, None)] * WORKERS]):
        if len(running) == WORKERS:
            now, done = heapq.heappop(running)
            if ends[done] is None:
                finished.append(jobs[done][1])
        if job is None:
            continue
        bar = bars(finished, needed=needed(finished, job))
        last = len(job.curve) - 1
        ends[place] = next((step for step, found in enumerate(job.curve) if bar.hopeless(step, found)), None)
        end = ends[place]
        if end is not None:
            stopped.append(jobs[place][0])
            saved += last - end
        heapq.heappush(running, (now + (last if end is None else end), place))
    return Replayed(stopped, saved, sum(len(job.curve) - 1 for _, job in jobs))


def measured(root: Path) -> Iterator[Row]:
    """The rows of the sweep in `root`."""
    folder = SweepFolder(root)
    accuracy = read_manifest(root)["reference"]["val"]["accuracy"]
    records = [r for r in read_records(root) if r["status"] == "done" and r["method"] == "lc"]
    records.sort(key=lambda record: (record["finished"], record["id"]))
    jobs = [(record, Finished((record["nominal_bytes"],), _curve(folder, record))) for record in records]
    costs = np.array([[record["artifact_bytes"], 1 - record["val"]["accuracy"]] for record in records])
    eventual = {record["id"] for record, on_it in zip(records, front(costs), strict=True) if on_it}
    found = replay(jobs, lambda finished, job: needed_beside(finished, job.sizes))
    lost = [record["id"] for record in found.stopped if record["id"] in eventual]
    note = f"{len(found.stopped)} of {len(jobs)} jobs stopped"
    yield Row("front-saved", found.saved, found.steps, found.saved / found.steps, 0.0, True, "steps", note=note)
    yield Row("front-stopped", len(lost), len(eventual), 0.0, 0.0, not lost, "jobs")
    for drop in DROPS:
        threshold = accuracy - drop
        found = replay(jobs, lambda *_, threshold=threshold: threshold)
        wrong = [record["id"] for record in found.stopped if record["val"]["accuracy"] >= threshold]
        missed = sum(record["val"]["accuracy"] < threshold for record in records)
        note = f"{len(found.stopped)} jobs stopped of {missed} that miss, {len(jobs)} in all"
        name = f"drop-{100 * drop:g}"
        yield Row(f"{name}-saved", found.saved, found.steps, found.saved / found.steps, 0.0, True, "steps", note=note)
        yield Row(f"{name}-stopped", len(wrong), len(records) - missed, 0.0, 0.0, not wrong, "jobs")


def _curve(folder: SweepFolder, record: Record) -> tuple[float, ...]:
    steps = json.loads(folder.diagnostics(record["id"]).read_text())["steps"]
    return tuple(1 - step["val_error"] for step in steps)


if __name__ == "__main__":
    parser = options(__doc__, names=NAMES)
    parser.add_argument("--sweep", type=Path, metavar="DIR", help="a sweep's folder, in place of a grid run here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = given.sweep or Path(temporary, "grid")
        if given.sweep is None:
            words = ["run", STUDY, "--repeats", str(SEEDS), "--out", str(root)]
            subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, stdout=sys.stderr)
        speak((row for row in measured(root) if row.name in given.only), as_json=given.json)
