"""The cost of orchestration: trivial jobs, workers that wait, many records, and a thousand simulated workers.

- trivial-job: wall milliseconds of a job that does almost nothing, on two workers that have imported torch, after the
  first twenty jobs. It is compared with the same job (`compress.run_job`, its record published) as a bare `ray.remote`
  task on as many workers: no Tune, no search, no index, and Ray gets all tasks at once. Both run in turn, each on a Ray
  of its own. The ratio is the median over rounds, at most 2.
- workers-busy: the share of two workers' time that is spent in jobs of five seconds, without the start of Ray and the
  last round. eight-busy: the same with eight workers, whose jobs sleep.
- store-, status-, pick-, front-, resume-growth: processor seconds of a process that reads a sweep of 100,000 made-up
  records (10,000 with --small), less those for no records; against those for a tenth of the records, times the growth
  of n log n (12.5). At most 1. The note has the wall seconds, the exponent and the peak resident MB.
- simulated-busy: the mean share of 1,000 workers' time that is spent in jobs of a minute. The driver's own code runs on
  a virtual clock (virtual_time.py); trivial-job gives the time that Tune and Ray take for a job.
- simulated-saturation: jobs a second that this driver can handle, against the rate that 1,000 workers with jobs of a
  minute need. simulated-search: the same for a search for the smallest, without Tune.
"""

import math
import os
import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import many_records
import on_ray
from rows import Row, options, speak
from sweep.execution import driver
from sweep.execution.progress import Progress
from sweep.search.protocol import SearchName
from sweep.target import Target
from sweeps import prepared, study_in
from virtual_time import Simulated

GROWTH = tuple(f"{reader}-growth" for reader in many_records.READERS)
SIMULATED = ("simulated-busy", "simulated-saturation", "simulated-search")
NAMES = ("trivial-job", "workers-busy", "eight-busy", *GROWTH, *SIMULATED)
MINUTE = 60.0
NOISE = 0.01
"""Equal processes differ by this many processor seconds, more than a few records cost."""


@cache
def paces(rounds: int, jobs: int) -> list[tuple[on_ray.Pace, on_ray.Pace]]:
    """The pace of ours and of the bare task in each round."""
    return [on_ray.trivial(workers=2, jobs=jobs) for _ in range(rounds)]


def trivial_job(found: Sequence[tuple[on_ray.Pace, on_ray.Pace]]) -> Row:
    """A trivial job's wall time against a bare Ray task's."""
    ratios = [ours.wall / bare.wall for ours, bare in found]
    ours, bare, own, theirs = (
        1000 * statistics.median(column)
        for column in zip(*((a.wall, b.wall, a.driver, b.driver) for a, b in found), strict=True)
    )
    ratio = statistics.median(ratios)
    note = f"the driver's processor: {own:.1f} and {theirs:.1f} ms a job"
    return Row("trivial-job", ours, bare, ratio, 2.0, ratio <= 2.0, "ms", ratios, note)


def busy(name: str, *, workers: int, jobs: int, seconds: float) -> Row:
    """The share of the workers' time that is spent in jobs."""
    share = on_ray.busy(workers=workers, jobs=jobs, seconds=seconds)
    note = f"{workers} workers, {jobs} jobs of {seconds:g} s"
    return Row(name, share, 1.0, share, 0.95, share >= 0.95, "share", [share], note)


def growths(readers: Sequence[str], *, jobs: int, rounds: int) -> Iterator[Row]:
    """The row of each reader: its time on so many records against that on a tenth of them."""
    with tempfile.TemporaryDirectory() as folder:
        none, few, many = (Path(folder, str(count)) for count in (0, jobs // 10, jobs))
        for root in (none, few, many):
            many_records.write_sweep(root, jobs=int(root.name))
        for reader in readers:
            found = [[many_records.cost_of(reader, root) for root in (none, few, many)] for _ in range(rounds)]
            yield growth(reader, jobs, [tuple(cost.processor for cost in costs) for costs in found], found[-1])


def growth(reader: str, jobs: int, seconds: Sequence[tuple[float, ...]], costs: Sequence[many_records.Cost]) -> Row:
    """The row of a reader from its costs on no records, on a tenth of `jobs`, and on `jobs`."""
    allowed = 10 * math.log(jobs) / math.log(jobs / 10)
    times = [(max(few - none, NOISE), max(many - none, NOISE)) for none, few, many in seconds]
    ratios = [many / (few * allowed) for few, many in times]
    few, many = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(ratios)
    note = f"{jobs:,}: {costs[2].wall:.1f} s, {costs[2].megabytes:.0f} MB; a tenth: {costs[1].wall:.1f} s, "
    note += f"{costs[1].megabytes:.0f} MB; none: {costs[0].wall:.1f} s; exponent {math.log10(many / few):.2f}"
    return Row(f"{reader}-growth", many, few * allowed, ratio, 1.0, ratio <= 1.0, "s", ratios, note)


def simulated(*, workers: int, configurations: int, per_job: float, search: SearchName) -> Simulated:
    """Simulates a sweep of three seeds a configuration, or a search, on so many workers."""
    aimed = search == "smallest"
    simulation = Simulated(seconds=MINUTE, per_job=per_job)
    with (
        tempfile.TemporaryDirectory() as folder,
        study_in(Path(folder, "study"), configurations=configurations) as study,
        open(os.devnull, "w") as nowhere,
    ):
        target = Target(min_accuracy=0.975) if aimed else None
        sweep = prepared(study, workers=workers, search=search, repeats=3, method="lc", target=target)
        seen = Progress(total=None, workers=workers, stream=nowhere)
        driver.run(sweep, watch=lambda _: seen, runner=simulation.run)
    return simulation


def simulations(
    only: Sequence[str], *, in_all: Callable[[], float], workers: int, configurations: int
) -> Iterator[Row]:
    """The rows of a simulated grid and search. `in_all`: the driver's seconds for a job on the real Ray."""
    wanted = workers / MINUTE
    if {"simulated-busy", "simulated-saturation"} & set(only):
        bare = simulated(workers=workers, configurations=configurations, per_job=0.0, search="grid")
        own = bare.driver / bare.jobs
        rest = max(0.0, in_all() - own)
        grid = simulated(workers=workers, configurations=configurations, per_job=rest, search="grid")
        rate, share = grid.jobs / grid.driver, grid.busy
        note = f"{grid.jobs:,} jobs; {1000 * rest:.1f} of {1000 / rate:.1f} ms a job are Tune's and Ray's"
        if "simulated-busy" in only:
            yield Row(SIMULATED[0], share, 1.0, share, 0.95, share >= 0.95, "share", [share], note)
        if "simulated-saturation" in only:
            note = (
                f"{rate * MINUTE:,.0f} workers with jobs of a minute; without Tune and Ray {1 / own:,.0f} jobs a second"
            )
            yield Row(SIMULATED[1], rate, wanted, rate / wanted, 1.0, rate >= wanted, "jobs/s", [rate / wanted], note)
    if "simulated-search" in only:
        aimed = simulated(workers=workers, configurations=configurations, per_job=0.0, search="smallest")
        rate = aimed.jobs / aimed.driver
        note = f"{aimed.jobs:,} jobs, {configurations:,} configurations"
        yield Row(SIMULATED[2], rate, wanted, rate / wanted, 1.0, rate >= wanted, "jobs/s", [rate / wanted], note)


def rows(only: Sequence[str], *, small: bool) -> Iterator[Row]:
    """Measures the rows of `only`. `small` only checks that the benchmark runs."""
    rounds, jobs = (1, 20) if small else (5, 150)

    def in_all() -> float:
        return statistics.median(ours.driver for ours, _ in paces(rounds, jobs))

    if "trivial-job" in only:
        yield trivial_job(paces(rounds, jobs))
    if "workers-busy" in only:
        yield busy("workers-busy", workers=2, jobs=6 if small else 24, seconds=0.5 if small else 5.0)
    if "eight-busy" in only:
        yield busy("eight-busy", workers=8, jobs=16 if small else 64, seconds=0.5 if small else 5.0)
    readers = [name.removesuffix("-growth") for name in GROWTH if name in only]
    if readers:
        yield from growths(readers, jobs=2000 if small else 100_000, rounds=1 if small else 3)
    size = {"workers": 50, "configurations": 60} if small else {"workers": 1000, "configurations": 2000}
    yield from simulations(only, in_all=in_all, **size)


if __name__ == "__main__":
    parser = options(__doc__, names=NAMES)
    parser.add_argument("--small", action="store_true", help="a hundredth of the size, to check that it runs")
    given = parser.parse_args()
    speak(rows(given.only, small=given.small), as_json=given.json)
