"""A sweep's folder read for its report: every candidate, failure, search and measurement, and the choice among them.

It reads files only: the records, and the JSON that searches and `pick` leave beside them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from reports.facts.rows import Row, families_of, rows_of
from reports.facts.units import Units
from sweep.pick.choice import By, Choice, candidates, check_known, chosen
from sweep.pick.confirming import confirming, parts
from sweep.pick.pareto import knee
from sweep.search.summary import SearchSummary
from sweep.store.fields import from_file
from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.manifest import Manifest, Reference, read_manifest
from sweep.store.metric import Metric
from sweep.store.record import Done, Record
from sweep.store.records import finished, read_records
from sweep.target import Target

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Measurement:
    """One look at the test split, as a file in the sweep's folder holds it.

    Attributes:
        id: the job, or "reference".
        artifact_sha256: of the file that was measured.
        value: of the metric, on the test split.
        low: lower end of its 95 % interval.
        high: upper end of it.
        n: how many examples.
        finished: when; ISO 8601, in UTC.
        name: what a reader calls the model; the file does not hold it.
    """

    id: str
    artifact_sha256: str
    value: float
    low: float
    high: float
    n: int
    finished: str
    name: str = ""


@dataclass(frozen=True)
class Findings:
    """Everything that a report says.

    Attributes:
        place: how the user names the sweep: by its folder, or by its URL.
        manifest: of the sweep.
        by: the cost that the choice minimises.
        target: that of the choice; None without one.
        choice: None without a target or without candidates.
        rows: the candidates, the smallest file first.
        jobs: those that are done, in the order in which they finished.
        failures: the jobs that failed.
        searches: what each search did.
        measurements: looks at the test split, the first one first.
        versions: package -> its versions, more than one where it was upgraded during the sweep.
        devices: on which jobs ran.
        finished: when the last job ended; None before that.
    """

    place: str
    manifest: Manifest
    by: By
    target: Target | None
    choice: Choice | None
    rows: tuple[Row, ...]
    jobs: tuple[Done, ...]
    failures: tuple[Record, ...]
    searches: tuple[SearchSummary, ...]
    measurements: tuple[Measurement, ...]
    versions: Mapping[str, tuple[str, ...]]
    devices: tuple[str, ...]
    finished: str | None

    @property
    def reference(self) -> Reference:
        """The reference model."""
        return self.manifest.reference

    @property
    def units(self) -> Units:
        """How the metric's values are written."""
        return Units(self.manifest.metric)

    @property
    def threshold(self) -> float | None:
        """The least score that meets the target; None without a target."""
        return None if self.target is None else self.target.threshold(self.reference.val.score)

    @property
    def limit(self) -> float | None:
        """The largest error that meets the target; None without a target."""
        metric = self.manifest.metric
        return None if self.threshold is None else metric.error(metric.value(self.threshold))

    @property
    def pick(self) -> Row | None:
        """The row of the choice: one that meets the target, else the nearest miss. None without a choice."""
        return next((row for row in self.rows if row.picked), None)

    @property
    def confirm(self) -> str | None:
        """The command that would confirm `Choice.to_confirm`; None where nothing is expected to be."""
        found = None if self.choice is None else self.choice.to_confirm
        if self.choice is None or self.choice.criteria is None or found is None or self.target is None:
            return None
        return confirming(found, self.choice.criteria, self.manifest, target=self.target, place=self.place)

    @property
    def confirm_parts(self) -> tuple[str, str, str, str, str]:
        """The texts of such a command around its job, its seeds and its target."""
        return parts(self.manifest, place=self.place)

    @property
    def job_ids(self) -> list[str]:
        """The jobs of all candidates."""
        return [job for row in self.rows for job in row.candidate.ids]

    @property
    def exported(self) -> set[str]:
        """The jobs whose files are exported."""
        return {row.candidate.best_id for row in self.rows}

    def known(self, by: By) -> "Findings":
        """The same, with only those rows whose cost is known."""
        return replace(self, rows=tuple(row for row in self.rows if row.candidate.cost(by) < math.inf))

    def knee(self, by: By) -> Row | None:
        """The row at the knee of the front, which a pick without a target chooses; None without rows."""
        rows = [row for row in self.rows if by in row.fronts]
        return rows[knee([(row.candidate.cost(by), row.candidate.mean_error) for row in rows])] if rows else None

    @property
    def knees(self) -> dict[By, Row]:
        """Cost -> the row at the knee, for each front of three rows or more. A front of two is a line without one."""
        bent = (by for by in get_args(By) if sum(by in row.fronts for row in self.rows) > 2)
        return {by: row for by in bent if (row := self.knee(by)) is not None}

    @property
    def series(self) -> dict[str, str]:
        """The series in alphabetical order: name -> family."""
        return dict(sorted({row.series: row.candidate.family for row in self.rows}.items()))

    @property
    def families(self) -> tuple[str, ...]:
        """The study's families in alphabetical order, by which they have colours, whether or not they have results."""
        return families_of(self.manifest, (row.candidate for row in self.rows))

    @property
    def seeds_range(self) -> tuple[int, int]:
        """The fewest and the most seeds of a candidate; (0, 0) without candidates."""
        counts = [len(row.candidate.seeds) for row in self.rows] or [0]
        return min(counts), max(counts)


def read_findings(folder: Path, *, target: Target | None, by: By, place: str | None = None) -> Findings:
    """What the sweep in `folder` found. Where `target` is None, its study's own counts.

    `place` is the sweep's URL, where `folder` mirrors it.

    Raises:
        ValueError: a file is damaged, or the cost `by` was not measured.
    """
    files = SweepFolder(folder)
    manifest, records = read_manifest(folder), read_records(folder)
    target = manifest.target if target is None else target
    found, done = candidates(records), finished(records)
    check_known(found, by)
    choice = chosen(found, manifest, target=target, by=by) if target is not None and found else None
    return Findings(
        place=place or str(folder),
        manifest=manifest,
        by=by,
        target=target,
        choice=choice,
        rows=rows_of(found, done={job.id: job for job in done}, reference=manifest.reference, choice=choice),
        jobs=tuple(sorted(done, key=lambda job: (job.finished, job.id))),
        failures=tuple(record for record in records if record.status == "failed"),
        searches=tuple(_read_all(files.searches, SearchSummary)),
        measurements=_measurements(files, records, manifest.metric),
        versions=_versions([manifest.versions, *(record.versions for record in records)]),
        devices=tuple(sorted({record.device for record in records if record.device})),
        finished=max((record.finished for record in records), default=None),
    )


def _measurements(files: SweepFolder, records: Sequence[Record], metric: Metric) -> tuple[Measurement, ...]:
    names = {record.id: record.job.label for record in records}
    read = _read_all(files.test, Measurement, of=lambda data: {"value": data.get(metric.name), **data})
    found = [replace(look, name=names.get(look.id, look.id)) for look in read]
    return tuple(sorted(found, key=lambda look: (look.finished, look.id)))


def _versions(sources: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Package -> every version of it in `sources`."""
    seen: dict[str, set[str]] = {}
    for source in sources:
        for package, version in source.items():
            seen.setdefault(package, set()).add(version)
    return {package: tuple(sorted(seen[package])) for package in sorted(seen)}


def _read_all(
    folder: Path, kind: type[Kind], *, of: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
) -> list[Kind]:
    """What each JSON file of a folder holds, in the order of their names; nothing where there is no such folder."""
    found = []
    for path in sorted(folder.glob("[!.]*.json")):
        data = read_optional(path)
        if data is not None:
            found.append(from_file(kind, of(data), path))
    return found
