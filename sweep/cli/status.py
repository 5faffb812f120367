"""`lcsweep status`: how far a sweep is."""

from dataclasses import dataclass, replace
from typing import Any

from sweep.cli.console import DONE, Folder, Json, show
from sweep.cli.text import count_jobs, reference, search_summary, verdict
from sweep.pick.picked import Picked, known_now, read_looks, read_picked
from sweep.pick.size_and_speed import speed, times
from sweep.search.summary import SearchSummary
from sweep.store import remote
from sweep.store.fields import from_file, to_json
from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.job import name_of
from sweep.store.manifest import Manifest, read_manifest
from sweep.store.printable import on_a_line
from sweep.store.record import Record
from sweep.store.records import read_records


@dataclass(frozen=True)
class SweepStatus:
    """How far a sweep is.

    Attributes:
        name: its folder, as the user named it if that is a URL.
        folder: its files.
        manifest: its sweep.json.
        records: of all its jobs that have ended.
        searches: the last of each kind.
        picked: with what is known of it by now; None if nothing was picked.
        looks: at the test split, the reference's among them.
    """

    name: str
    folder: SweepFolder
    manifest: Manifest
    records: list[Record]
    searches: list[SearchSummary]
    picked: Picked | None
    looks: list[dict[str, Any]]

    def ended(self, status: str) -> list[Record]:
        """The records with this status: "done", "failed" or "stopped"."""
        return [record for record in self.records if record.status == status]

    def to_json(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "folder": self.name,
            "study": self.manifest.study,
            "reference": to_json(self.manifest.reference),
            "done": len(self.ended("done")),
            "stopped": len(self.ended("stopped")),
            "failed": [
                {
                    "id": record.id,
                    "family": record.family,
                    "configuration": record.configuration,
                    "seed": record.seed,
                    "error": to_json(record.error),
                    "record": str(self.folder.record(record.id)),
                }
                for record in self.ended("failed")
            ],
            "searches": [search.to_json() for search in self.searches],
            "pick": self.picked.to_json() if self.picked else None,
            "test_looks": len(self.looks),
        }


def status(folder: Folder, as_json: Json = False) -> int:
    """Show how far a sweep is.

    Shows the reference model, how many jobs are done, which failed and why, the searches, and the picked model.
    """
    root = remote.local(folder, but_for=remote.LARGE)
    files, manifest, records = SweepFolder(root), read_manifest(root), read_records(root)
    read = ((path, read_optional(path)) for path in sorted(files.searches.glob("[!.]*.json")))
    searches = [from_file(SearchSummary, data, path) for path, data in read if data is not None]
    picked = read_picked(files)
    if picked and remote.is_url(folder):  # the local mirror has no large files
        picked = replace(picked, artifact=f"{folder.rstrip('/')}/{files.name_of(picked.artifact)}")
    picked = None if picked is None else known_now(picked, records, manifest)
    name = folder if remote.is_url(folder) else str(root)
    found = SweepStatus(name, files, manifest, records, searches, picked, read_looks(files))
    show(found.to_json(), describe(found), as_json=as_json)
    return DONE


def describe(found: SweepStatus) -> str:
    """How far a sweep is, in words."""
    done, stopped, failed = (found.ended(status) for status in ("done", "stopped", "failed"))
    early = f", {len(stopped):,} stopped early" if stopped else ""
    lines = [reference(found.manifest), f"{count_jobs(len(done))} done{early}, {len(failed):,} failed"]
    for record in failed:
        why = on_a_line(record.error.message if record.error else "unknown")
        lines.append(f"  failed: {record.job.label}: {why}")
        lines.append(f"    traceback: {found.folder.record(record.id)}")
    lines += [search_summary(search) for search in found.searches]
    if picked := found.picked:
        size = f"{picked.artifact_bytes:,} bytes ({times(picked.artifact_bytes, picked.speed['reference_bytes'])})"
        what = f"{name_of(picked)}, {size}"
        lines.append(
            f"picked: {what}, {picked.artifact}; {verdict(picked)}; speed: {speed(picked.speed | picked.parity)}"
        )
    looks = len(found.looks)
    models = f"{looks} models have been" if looks != 1 else "1 model has been"
    lines.append(f"test split: {models} measured on it" + (", the reference included" if looks else ""))
    return "\n".join(lines)
