"""The search that runs each configuration once, in an order that tells most first."""

from collections import OrderedDict
from collections.abc import Collection

from sweep.search.protocol import Entries
from sweep.search.space import Flags, spread
from sweep.store.job import Job, Level
from sweep.store.record import Record


class Grid:
    """A `Strategy` that runs each job of each configuration once, in the order of `space.spread`.

    Args:
        entries: the configurations.
        known: ids of the jobs that are done.
    """

    def __init__(self, entries: Entries, *, known: Collection[str]) -> None:
        self._queue = Queue(entries, known=known)
        self._running: set[str] = set()

    def next(self) -> Job | None:
        if not self._queue.jobs:
            return None
        job = self._queue.start(self._queue.first())
        self._running.add(job.id)
        return job

    def tell(self, job: Job, record: Record | None) -> None:
        self._running.discard(job.id)
        if record is None:
            self._queue.put_back(job)

    def finished(self) -> bool:
        return not self._running and not self._queue.jobs

    def left(self) -> int:
        return self._queue.jobs

    def skipped(self, untouched: Flags) -> dict[str, int]:
        return {}

    def ties(self) -> None:
        """None: there is no target."""


class Queue:
    """The jobs that a search without a target has still to start, in the order of `space.spread`.

    A configuration that has begun comes first, until each of its jobs has started.

    Attributes:
        configurations: number of the entry -> its jobs that have not started.
        jobs: how many jobs have not started.
    """

    def __init__(self, entries: Entries, *, known: Collection[str]) -> None:
        self.configurations: OrderedDict[int, list[Job]] = OrderedDict()
        self._entries = entries
        self._begun: list[int] = []
        for number in _spread(entries):
            jobs = [job for job in entries[number].jobs if job.id not in known]
            if jobs:
                self.configurations[number] = jobs
        self.jobs = sum(map(len, self.configurations.values()))

    def begun(self) -> int | None:
        """A configuration that has begun and still has jobs to start; None where there is none."""
        return self._begun[0] if self._begun else None

    def first(self) -> int:
        """The configuration that comes next."""
        return self._begun[0] if self._begun else next(iter(self.configurations))

    def start(self, number: int) -> Job:
        """Takes the next job of the configuration out of the queue."""
        jobs = self.configurations[number]
        job = jobs.pop(0)
        self.jobs -= 1
        if not jobs:
            del self.configurations[number]
        self._note(number)
        return job

    def put_back(self, job: Job) -> None:
        """Puts a job that was started and lost back into the queue."""
        number = self._entries.of(job)
        self.configurations.setdefault(number, []).insert(0, job)
        self.jobs += 1
        self._note(number)

    def _note(self, number: int) -> None:
        """Notes whether the configuration, one of whose jobs has started, still has jobs to start."""
        if number not in self.configurations:
            self._begun = [other for other in self._begun if other != number]
        elif number not in self._begun:
            self._begun.append(number)


def _spread(entries: Entries) -> list[int]:
    """The numbers of `entries` in the order of `space.spread`. A knob's levels are those that occur in `entries`."""
    places: dict[tuple[str, str], dict[Level, int]] = {}
    levels = []
    for entry in entries:
        found = [(places.setdefault((entry.family, knob), {}), level) for knob, level in entry.configuration.items()]
        levels.append([known.setdefault(level, len(known)) for known, level in found])
    families = list(dict.fromkeys(entry.family for entry in entries))
    return spread([families.index(entry.family) for entry in entries], levels)
