"""`lcsweep status`: how far a sweep is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sweep.cli.console import DONE, Folder, Json, show
from sweep.cli.text import count_jobs, reference, search_summary, verdict
from sweep.pick.picked import read_picked
from sweep.pick.size_and_speed import speed, times
from sweep.search.summary import SearchSummary
from sweep.store import remote
from sweep.store.files import read_optional
from sweep.store.folder import SweepFolder
from sweep.store.manifest import read_manifest
from sweep.store.record import Record, label
from sweep.store.records import read_records


def status(folder: Folder, as_json: Json = False) -> int:
    """Show how far a sweep is.

    Shows the reference model, how many jobs are done, which failed and why, the searches, and the picked model.
    """
    root = remote.local(folder, but_for=remote.LARGE)
    manifest, records = read_manifest(root), read_records(root)
    searches = [read_optional(path) or {} for path in sorted(SweepFolder(root).searches.glob("*.json"))]
    facts = {
        "folder": folder if remote.is_url(folder) else str(root),
        "study": manifest["study"],
        "reference": manifest["reference"],
        "done": sum(record["status"] == "done" for record in records),
        "stopped": sum(record["status"] == "stopped" for record in records),
        "failed": [
            {name: record[name] for name in ("id", "family", "configuration", "seed", "error")}
            | {"record": str(SweepFolder(root).record(record["id"]))}
            for record in records
            if record["status"] == "failed"
        ],
        "searches": searches,
        "pick": _pick(root, records),
    }
    show(facts, describe(facts, manifest), as_json=as_json)
    return DONE


def _pick(root: Path, records: list[Record]) -> dict[str, Any] | None:
    """The pick, with what is known of its speed by now."""
    picked = read_picked(SweepFolder(root))
    if picked is None:
        return None
    own = [record for record in records if record["id"] == picked.id and record["status"] == "done"]
    return (picked.with_speed_of(own[0]) if own else picked).to_json()


def describe(facts: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """How far a sweep is, in words."""
    stopped = f", {facts['stopped']:,} stopped early" if facts["stopped"] else ""
    lines = [reference(manifest), f"{count_jobs(facts['done'])} done{stopped}, {len(facts['failed']):,} failed"]
    for job in facts["failed"]:
        what = f"{job['family']}: {label(job['configuration'])}, seed {job['seed']}"
        lines += [f"  failed: {what}: {job['error']['message']}", f"    traceback: {job['record']}"]
    lines += [search_summary(SearchSummary.from_json(search)) for search in facts["searches"]]
    if facts["pick"]:
        pick = facts["pick"]
        size = f"{pick['artifact_bytes']:,} bytes ({times(pick['artifact_bytes'], pick['reference_bytes'])})"
        what = f"{pick['family']}: {label(pick['configuration'])}, {size}"
        lines.append(f"picked: {what}, {pick['artifact']}; {verdict(pick)}; speed: {speed(pick)}")
    return "\n".join(lines)
