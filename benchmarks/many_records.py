"""Makes sweeps of thousands of made-up records, and measures reading them, each reader in a process of its own."""

import atexit
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sweep.intervals import wilson
from sweep.pick.choice import candidates, choose
from sweep.pick.pareto import front
from sweep.store.files import write_json
from sweep.store.folder import SweepFolder
from sweep.store.manifest import Manifest, Reference, read_manifest
from sweep.store.record import Done, Record, Score
from sweep.store.records import read_records
from sweep.target import Target

if TYPE_CHECKING:  # torch and Optuna would count in the cost of reading
    from sweep.search.open import SweepSearch

N_VAL = 10_000
STUDY_HASH = "0" * 16
FAMILIES, KNOBS = ("prune", "quantize", "low rank", "all"), ("keep", "size", "rank")
PEAK = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(open("/proc/self/status").read()))
"""  # the peak of wait4 is never below that of the parent process
STATUS = "import sys; from sweep.cli import main; raise SystemExit(main(['status', sys.argv[1], '--json']))"
TABLE = (
    "import sys; from pathlib import Path; from sweep.store.table import table; print(len(table(Path(sys.argv[1]))))"
)
READERS = ("store", "status", "pick", "front", "resume")
"""`store` reads the table; `pick` chooses; `front` finds both fronts; `status` is the command; `resume` makes the
search that knows all records, and its index."""


@dataclass(frozen=True)
class Cost:
    """Wall seconds, processor seconds and peak resident MB of a process."""

    wall: float
    processor: float
    megabytes: float


def write_sweep(root: Path, *, jobs: int, seed: int = 0) -> None:
    """Writes a sweep of so many finished jobs into `root`, three seeds a configuration."""
    folder = SweepFolder(root)
    val = Score(value=0.98, n=N_VAL, low=0.977, high=0.9826)
    manifest = Manifest(
        study="many",
        reference_study="many",
        study_hash=STUDY_HASH,
        study_parts={},
        user_folder=".",
        sweep="0" * 32,
        repeats=3,
        target=None,
        splits={"train": 1, "val": N_VAL, "test": 1},
        reference=Reference(bytes=1_000_000, parameters=250_000, macs=250_000, val=val),
        versions={},
    )
    write_json(folder.manifest, manifest.to_json())
    for record in _records(jobs, seed=seed):
        path = folder.record(record.id)
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record.to_json(), indent=1) + "\n")  # as `write_json`, without the flush to the disk


def cost_of(reader: str, root: Path) -> Cost:
    """The cost of `reader` on the sweep in `root`."""
    programs = {"status": ["-c", PEAK + STATUS], "store": ["-c", PEAK + TABLE]}
    command = [sys.executable, *programs.get(reader, [__file__, reader]), str(root)]
    clock = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    peak = re.search(r"VmHWM:\s+(\d+) kB", said)
    if process.returncode or peak is None:
        raise RuntimeError(f"{reader} ended with exit code {process.returncode}: {said}")
    wall, processor = time.perf_counter() - clock, usage.ru_utime + usage.ru_stime
    return Cost(wall, processor, int(peak.group(1)) / 1024)


def _records(jobs: int, *, seed: int) -> Iterator[Done]:
    """Records of four families of three knobs, as `sweep.job` makes them. Smaller files have larger, noisy errors."""
    from sweep.job.compress import stamped
    from sweep.store.job import Job

    draw = random.Random(seed)
    schedule = {"epochs": 40, "lr": 0.1, "batch_size": 256}
    usual = stamped(Job(STUDY_HASH, "", {}, "lc", 0, schedule))
    usual |= {"status": "done", "reference_bytes": 1_000_000, "reference_macs": 250_000, "plan": "0" * 16}
    usual |= {"gap": 0.01, "epochs": 40.0, "device": "cpu"}
    for number in range(-(-jobs // 3)):
        family, levels = FAMILIES[number % 4], number // 4
        configuration: dict[str, Any] = dict(zip(KNOBS, (levels % 40, levels // 40 % 16, levels // 640), strict=True))
        size = int(1_000_000 * 2.0 ** -(7 * draw.random()))
        error = 0.02 + 60 / size + 0.05 * draw.random() ** 3
        for repeat in range(min(3, jobs - 3 * number)):
            job = Job(STUDY_HASH, family, configuration, "lc", repeat, schedule)
            accuracy = 1 - round(error * N_VAL * draw.uniform(0.99, 1.01)) / N_VAL
            low, high = wilson(accuracy, n=N_VAL)
            val = Score(value=accuracy, n=N_VAL, low=low, high=high)
            sizes = {"nominal_bytes": size + 100, "artifact_bytes": size, "macs": draw.randrange(1000, 250_000)}
            found = {"artifact_sha256": hashlib.sha256(job.id.encode()).hexdigest(), "seconds": 60 * draw.random()}
            yield Done(**usual | job.as_dict() | {"id": job.id, "val": val, "direct": val} | sizes | found)


def search_of(records: Sequence[Record], root: Path) -> "SweepSearch":
    """Opens a grid as a run does: all `records` are known, and its index is made anew."""
    from sweep.search.index import index_url, open_index
    from sweep.search.open import open_search
    from sweep.search.protocol import Entries, Entry, SearchPlan
    from sweep.store.job import Job

    groups: dict[tuple[Any, ...], list[Job]] = {}
    levels: dict[str, dict[str, dict[Any, None]]] = {}
    for record in records:
        job = record.job
        groups.setdefault((job.family, *job.configuration.values()), []).append(job)
        for knob, level in job.configuration.items():
            levels.setdefault(job.family, {}).setdefault(knob, {})[level] = None
    families = {family: {knob: tuple(found) for knob, found in knobs.items()} for family, knobs in levels.items()}
    index = SweepFolder(root).index
    index.unlink(missing_ok=True)
    entries = [Entry(jobs[0].family, jobs[0].configuration, 1, 1, True, "0", tuple(jobs)) for jobs in groups.values()]
    plan = SearchPlan("grid", Entries(entries), families)
    kept = open_index(index_url(index), study="many", search="grid", target={}, space="0")
    return open_search(plan, records=records, index=kept)


if __name__ == "__main__":
    atexit.register(lambda: sys.stderr.write(Path("/proc/self/status").read_text()))
    reader, root = sys.argv[1], Path(sys.argv[2])
    known = read_records(root)
    if reader == "pick":
        accuracy = read_manifest(root).reference.val.value
        print(choose(candidates(known), target=Target(max_drop=0.01), reference_score=accuracy).candidate)
    elif reader == "front":
        columns = [(c.artifact_bytes, c.mean_error, c.macs) for c in candidates(known)]
        costs = np.array(columns, dtype=np.float64).reshape(-1, 3)
        print(front(costs[:, :2]).sum(), front(costs).sum())
    elif reader == "resume":
        import sweep.search  # noqa: F401 - what importing costs is no growth: it is so without records too

        print(search_of(known, root).left() if known else 0)
