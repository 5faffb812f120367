"""Simulates a sweep on many workers: jobs take virtual time, the driver real time.

`Simulated.run` replaces `runner.run`, with the same search, index, progress and records, but without Ray. A job takes
random time on a virtual clock. The driver's work between two events (asking, telling, drawing, writing the index) takes
its real processor time; meanwhile it serves no other worker.
"""

import heapq
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweep.execution.context import RunContext
from sweep.execution.progress import Watch
from sweep.intervals import wilson
from sweep.job.compress import stamped
from sweep.search.protocol import Search
from sweep.store.job import Job
from sweep.store.record import Done, Record, Score

N_VAL = 10_000


@dataclass
class Simulated:
    """A runner for `driver.run`, and its measurements.

    Attributes:
        seconds: mean seconds of a job; each takes from 0.5 to 1.5 times as long.
        per_job: further seconds of the driver that Tune and Ray would take for a job.
        jobs: the number of finished jobs.
        driver: all seconds of the driver.
        busy: share of the workers' time that was spent in jobs, while there were enough jobs for all workers.
    """

    seconds: float
    per_job: float = 0.0
    jobs: int = 0
    driver: float = 0.0
    busy: float = 0.0
    _usual: dict[str, Any] = field(default_factory=dict, repr=False)

    def run(
        self,
        search: Search,
        context: RunContext,
        *,
        watch: Watch,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Runs the jobs that `search` asks for, as `runner.run` does."""
        workers = context.workers
        now = work = 0.0  # virtual seconds: when the driver is free; total of the started jobs
        running: list[tuple[float, int, Job, str]] = []
        full: list[tuple[float, float]] = []  # times when all workers had a job, and the work done by then
        begun = 0
        while True:
            spent = time.process_time()
            asked: list[Job] = []
            while len(running) + len(asked) < workers and (job := search.next()) is not None:
                watch.on_start(job)
                asked.append(job)
            now = self._count(now, time.process_time() - spent, jobs=len(asked))
            for job in asked:
                takes = self.takes(job)
                work += takes
                heapq.heappush(running, (now + takes, begun, job, json.dumps(self.record(job, takes).to_json())))
                begun += 1
            if len(running) == workers:  # the running jobs have this much left
                full.append((now, work - sum(max(0.0, end - now) for end, *_ in running)))
            if not running:
                break
            end, _, job, told = heapq.heappop(running)
            spent = time.process_time()
            record = Record.from_json(json.loads(told), Path(job.id))  # as it comes from a worker
            search.tell(job, record)
            watch.on_finish(job, record)
            self.jobs += 1
            now = self._count(max(now, end), time.process_time() - spent, jobs=0)
        if len(full) > 1:
            (start, before), (stop, after) = full[0], full[-1]
            self.busy = (after - before) / (workers * (stop - start))

    def takes(self, job: Job) -> float:
        """Seconds of `job`."""
        return self.seconds * random.Random(job.id).uniform(0.5, 1.5)

    def record(self, job: Job, seconds: float) -> Record:
        """The record that a worker would publish. The error grows from 2 to 3 % as the knobs of the study tighten."""
        if not self._usual:
            self._usual = stamped(job)
        accuracy = 0.99 - 20 / float(job.configuration["kept"]) - (float(job.configuration["turn"]) - 1000) / 40_000
        low, high = wilson(accuracy, n=N_VAL)
        val = Score(value=accuracy, n=N_VAL, low=low, high=high)
        facts = {"id": job.id, "family": job.family, "configuration": job.configuration, "seed": job.seed}
        sizes = {"nominal_bytes": 1000, "artifact_bytes": 900, "macs": 1000}
        sizes |= {"reference_bytes": 1_000_000, "reference_macs": 250_000}
        known = {"plan": "0" * 16, "artifact_sha256": "0" * 64, "device": "cpu", "gap": 0.01, "epochs": 1.0}
        return Done(status="done", val=val, direct=val, seconds=seconds, **self._usual | facts | sizes | known)

    def _count(self, now: float, spent: float, *, jobs: int) -> float:
        """The virtual time after `spent` seconds of the driver and Tune's and Ray's time for so many jobs."""
        self.driver += spent + jobs * self.per_job
        return now + spent + jobs * self.per_job
