"""Attempts at jobs: a folder each, which becomes the job's by a rename once its record is in it.

Workers outlive a killed driver by seconds and race its successor's. What holds is decided by renames alone, which fail
where a folder with files is in the way: not all shared file systems have locks.
"""

import errno
import re
import shutil
import uuid
from pathlib import Path

from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_record

TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # either, says POSIX, where a folder is renamed to one with files


def new_attempt(folder: SweepFolder, job_id: str) -> Path:
    """A new folder for an attempt at the job."""
    path = _hidden(folder, "attempt", job_id)
    path.mkdir(parents=True)
    return path


def publish(folder: SweepFolder, attempt: Path, *, job_id: str) -> Record:
    """The record that holds: that of `attempt`, whose folder becomes the job's, unless the job has one that is done.

    A failed record gives way to a later attempt; a done one stays, and the attempt is dropped. The job's checkpoint
    goes either way.

    Raises:
        FileNotFoundError: `attempt`, or its model, was cleared away as that of a driver that died.
    """
    final = folder.artifacts / job_id
    while True:
        own = read_record(attempt / "record.json")
        if own is None or (own["status"] == "done" and not (attempt / "model.lcz").is_file()):
            raise FileNotFoundError(errno.ENOENT, "cleared away by another driver", str(attempt))
        try:
            attempt.rename(final)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            break
        standing = read_record(folder.record(job_id))
        if _is_done(standing):
            shutil.rmtree(attempt, ignore_errors=True)
            own = standing
            break
        retired = _hidden(folder, "retired", job_id)
        try:
            final.rename(retired)
        except FileNotFoundError:  # another attempt has retired it
            continue
        if _is_done(read_record(retired / "record.json")):  # come since we looked: back with it
            attempt, retired = retired, attempt
        shutil.rmtree(retired, ignore_errors=True)
    folder.checkpoint(job_id).unlink(missing_ok=True)
    assert own is not None
    return own


def clear(folder: SweepFolder) -> None:
    """Removes what processes that died left half made; a record that one had in its hands is put back.

    A folder is renamed before it is emptied, so that a worker that is still at it publishes a whole one or none.
    """
    for left in folder.artifacts.glob(".*"):
        match = re.fullmatch(r"\.(attempt|retired|gone)-(\w+)-\w+", left.name)
        if match is None:
            continue
        if match[1] == "retired" and _is_done(read_record(left / "record.json")):
            publish(folder, left, job_id=match[2])
            continue
        gone = _hidden(folder, "gone", uuid.uuid4().hex)
        try:
            left.rename(gone)
        except FileNotFoundError:  # published, by a worker that outlived its driver
            continue
        shutil.rmtree(gone, ignore_errors=True)
    for place in (folder.root, folder.reference.parent, folder.searches, folder.checkpoints):
        for left in place.glob(".*.????????"):  # `store.write_whole` was at it
            left.unlink(missing_ok=True)
    for path in folder.checkpoints.glob("*"):
        if _is_done(read_record(folder.record(path.name))):
            path.unlink(missing_ok=True)
    if folder.checkpoints.is_dir() and not any(folder.checkpoints.iterdir()):
        folder.checkpoints.rmdir()


def _is_done(record: Record | None) -> bool:
    return record is not None and record["status"] == "done"


def _hidden(folder: SweepFolder, what: str, job_id: str) -> Path:
    return folder.artifacts / f".{what}-{job_id}-{uuid.uuid4().hex[:8]}"
