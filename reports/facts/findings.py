"""A sweep's folder read for its report: every candidate, failure, search and measurement, and the choice among them.

Reads files only: the store's records, and the JSON that searches and `pick` leave beside them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from reports.facts.rows import Record, Reference, Row, rows_of, series_name
from sweep.criteria import Target, own_target
from sweep.pick.choice import By, Choice, candidates, check_known, chosen
from sweep.pick.pareto import knee
from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import label
from sweep.store.records import read_records


@dataclass(frozen=True)
class Failure:
    """A job that failed: what it was, one line of why, and the traceback."""

    id: str
    series: str
    label: str
    seed: int
    message: str
    traceback: str


@dataclass(frozen=True)
class Stop:
    """A job that was stopped as hopeless: after which of its LC steps, with which accuracy (a fraction) there, and what
    it would have ended below."""

    id: str
    series: str
    label: str
    seed: int
    step: int
    steps: int
    accuracy: float
    below: float


@dataclass(frozen=True)
class Job:
    """A job that is done, as one point: bytes of its file, validation error (a fraction)."""

    id: str
    artifact_bytes: int
    error: float


@dataclass(frozen=True)
class Measurement:
    """One look at the test split: of which model, and the accuracy with its 95 % interval and n (fractions)."""

    id: str
    name: str
    artifact_sha256: str
    accuracy: float
    low: float
    high: float
    n: int
    finished: str


@dataclass(frozen=True)
class Findings:
    """Everything a report says, with nothing left to compute but its looks. `rows` go by size, smallest first.

    `jobs` go by when they finished. `repeats` and `confirm` are the seeds that a candidate needs (`Criteria`).
    """

    folder: str
    study: str
    study_hash: str
    reference_study: str
    splits: Mapping[str, int]
    reference: Reference
    by: By
    target: Target | None
    threshold: float | None
    choice: Choice | None
    repeats: int
    confirm: int
    rows: tuple[Row, ...]
    jobs: tuple[Job, ...]
    failures: tuple[Failure, ...]
    stops: tuple[Stop, ...]
    searches: tuple[Mapping[str, Any], ...]
    measurements: tuple[Measurement, ...]
    versions: Mapping[str, tuple[str, ...]]
    devices: tuple[str, ...]
    finished: str | None

    @property
    def jobs_done(self) -> int:
        return len(self.jobs)

    @property
    def left_out(self) -> int:
        """Finished jobs of configurations that are no candidates, because another seed failed or was stopped."""
        return self.jobs_done - sum(len(row.candidate.ids) for row in self.rows)

    @property
    def pick(self) -> Row | None:
        """The row that was chosen: the smallest that meets the target, else the nearest miss; None without either."""
        return next((row for row in self.rows if row.picked), None)

    def known(self, by: By) -> "Findings":
        """The same without the rows of which what a pick `by` this minimises is not known."""
        return replace(self, rows=tuple(row for row in self.rows if row.candidate.cost(by) < math.inf))

    def knee(self, by: By) -> Row | None:
        """The row that a pick without a target takes, at the bend of the front; None without rows."""
        rows = [row for row in self.rows if by in row.fronts]
        return rows[knee([(row.candidate.cost(by), row.candidate.mean_error) for row in rows])] if rows else None

    @property
    def knees(self) -> dict[By, Row]:
        """For each cost, that row, where the front has three and so a bend."""
        bent = (by for by in get_args(By) if sum(by in row.fronts for row in self.rows) > 2)
        return {by: row for by in bent if (row := self.knee(by)) is not None}

    @property
    def series(self) -> tuple[str, ...]:
        """The names of the series, in the order of the alphabet, so that a resumed sweep keeps its colours."""
        return tuple(sorted({row.series for row in self.rows}))

    @property
    def seeds_range(self) -> tuple[int, int]:
        """The fewest and the most seeds that a candidate has; (0, 0) without candidates."""
        counts = [len(row.candidate.seeds) for row in self.rows] or [0]
        return min(counts), max(counts)


def read_findings(folder: Path, *, target: Target | None, by: By) -> Findings:
    """What the sweep in `folder` found. `target` None takes the sweep's own. ValueError where `by` was not measured."""
    files = SweepFolder(folder)
    manifest, records = read_manifest(folder), read_records(folder)
    reference = reference_of(manifest["reference"])
    aim = target if target is not None else own_target(manifest)
    found = candidates(records)
    repeats, confirm = manifest["repeats"], manifest.get("confirm", 0)
    check_known(found, by)
    choice = chosen(found, manifest, target=aim, by=by) if aim is not None and found else None
    threshold = None if aim is None else aim.threshold(reference.accuracy)
    by_id = {record["id"]: record for record in records}
    return Findings(
        folder=str(folder),
        study=str(manifest["study"]),
        study_hash=str(manifest["study_hash"]),
        reference_study=str(manifest["reference_study"]),
        splits=manifest["splits"],
        reference=reference,
        by=by,
        target=aim,
        threshold=threshold,
        choice=choice,
        repeats=repeats,
        confirm=confirm,
        rows=rows_of(found, by_id=by_id, reference=reference, choice=choice),
        jobs=_jobs(records),
        failures=tuple(_failure(record) for record in records if record["status"] == "failed"),
        stops=tuple(_stop(record) for record in records if record["status"] == "stopped"),
        searches=tuple(_read_folder(files.searches)),
        measurements=_measurements(files.test, by_id=by_id),
        versions=_versions([manifest, *records]),
        devices=tuple(sorted({str(record["device"]) for record in records if record.get("device")})),
        finished=max((record["finished"] for record in records if record.get("finished")), default=None),
    )


def reference_of(content: Mapping[str, Any]) -> Reference:
    """The reference as a manifest holds it."""
    val = content["val"]
    return Reference(
        artifact_bytes=content["bytes"],
        parameters=content["parameters"],
        macs=content["macs"],
        accuracy=val["accuracy"],
        low=val["low"],
        high=val["high"],
        n=val["n"],
    )


def _jobs(records: Sequence[Record]) -> tuple[Job, ...]:
    done = sorted((r for r in records if r["status"] == "done"), key=lambda r: (r["finished"] or "", r["id"]))
    return tuple(Job(r["id"], r["artifact_bytes"], 1 - r["val"]["accuracy"]) for r in done)


def _failure(record: Record) -> Failure:
    return Failure(
        **_named(record),
        message=record["error"]["message"],
        traceback=record["error"].get("traceback") or "",
    )


def _stop(record: Record) -> Stop:
    return Stop(**_named(record), **{name: record["stopped"][name] for name in ("step", "steps", "accuracy", "below")})


def _named(record: Record) -> dict[str, Any]:
    """Which job it is of."""
    series = series_name(record["family"], method=record["method"])
    return {"id": record["id"], "series": series, "label": label(record["configuration"]), "seed": record["seed"]}


def _measurements(folder: Path, *, by_id: Mapping[str, Record]) -> tuple[Measurement, ...]:
    found = []
    for content in _read_folder(folder):
        record = by_id.get(content["id"])
        name = str(content["id"])
        if record is not None:
            series = series_name(record["family"], method=record["method"])
            name = f"{series} {label(record['configuration'])}, seed {record['seed']}"
        found.append(
            Measurement(
                id=content["id"],
                name=name,
                artifact_sha256=content["artifact_sha256"],
                accuracy=content["accuracy"],
                low=content["low"],
                high=content["high"],
                n=content["n"],
                finished=content["finished"],
            )
        )
    return tuple(sorted(found, key=lambda look: (look.finished, look.id)))


def _versions(sources: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Every version of every package that the sources name: more than one when a sweep outlived an upgrade."""
    seen: dict[str, set[str]] = {}
    for source in sources:
        for package, version in (source.get("versions") or {}).items():
            seen.setdefault(str(package), set()).add(str(version))
    return {package: tuple(sorted(seen[package])) for package in sorted(seen)}


def _read_folder(folder: Path) -> list[dict[str, Any]]:
    """Every JSON file of a folder that may not exist, by file name."""
    contents = [read_optional(path) for path in sorted(folder.glob("[!.]*.json"))]
    return [content for content in contents if content is not None]
