"""Staging folders: a worker writes a job's files into one, and publishes them by a rename once the record is there.

Workers live on for seconds when their driver is killed, and then race the next driver's workers. Renames alone decide
which record stands: a rename fails where a folder with files is in the way. Not all shared file systems have locks.
"""

import errno
import re
import shutil
import uuid
from pathlib import Path

from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_record

TAKEN = (errno.ENOTEMPTY, errno.EEXIST)  # POSIX allows either where a folder is renamed to one with files
STAGED, RETIRED, GONE = "attempt", "retired", "gone"  # what the folders' names begin with; older releases know them


def new_staging(folder: SweepFolder, job_id: str) -> Path:
    """A new staging folder for the job."""
    path = _hidden(folder, STAGED, job_id)
    path.mkdir(parents=True)
    return path


def publish(folder: SweepFolder, staged: Path, *, job_id: str) -> Record:
    """Makes the staging folder `staged` the job's folder, unless the job has a done record. The record that stands.

    A failed record gives way to a later one. A done one stays, and `staged` is removed. The job's checkpoint is
    removed in both cases.

    Raises:
        FileNotFoundError: another driver removed `staged` or its model, as left by a driver that died.
    """
    final = folder.artifacts / job_id
    while True:
        own = read_record(staged / "record.json")
        if own is None or (own.status == "done" and not (staged / "model.lcz").is_file()):
            raise FileNotFoundError(errno.ENOENT, "cleared away by another driver", str(staged))
        try:
            staged.rename(final)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
        else:
            break
        standing = read_record(folder.record(job_id))
        if _is_done(standing):
            shutil.rmtree(staged, ignore_errors=True)
            own = standing
            break
        retired = _hidden(folder, RETIRED, job_id)
        try:
            final.rename(retired)
        except FileNotFoundError:  # another worker has retired it
            continue
        if _is_done(read_record(retired / "record.json")):  # published since we looked: it is put back
            staged, retired = retired, staged
        shutil.rmtree(retired, ignore_errors=True)
    folder.checkpoint(job_id).unlink(missing_ok=True)
    assert own is not None
    return own


def clear(folder: SweepFolder) -> None:
    """Removes what processes that died left half done. A done record that one of them had retired is put back.

    A folder is renamed before it is emptied, so that a worker that still writes into it publishes all of it or nothing.
    """
    for left in folder.artifacts.glob(".*"):
        match = re.fullmatch(rf"\.({STAGED}|{RETIRED}|{GONE})-(\w+)-\w+", left.name)
        if match is None:
            continue
        if match[1] == RETIRED and _is_done(read_record(left / "record.json")):
            publish(folder, left, job_id=match[2])
            continue
        gone = _hidden(folder, GONE, uuid.uuid4().hex)
        try:
            left.rename(gone)
        except FileNotFoundError:  # a worker that outlived its driver has published it
            continue
        shutil.rmtree(gone, ignore_errors=True)
    for parent in (folder.root, folder.reference.parent, folder.searches, folder.checkpoints):
        for left in parent.glob(".*.????????"):  # of `files.write_whole`
            left.unlink(missing_ok=True)
    for path in folder.checkpoints.glob("*"):
        if _is_done(read_record(folder.record(path.name))):
            path.unlink(missing_ok=True)
    if folder.checkpoints.is_dir() and not any(folder.checkpoints.iterdir()):
        folder.checkpoints.rmdir()


def _is_done(record: Record | None) -> bool:
    return record is not None and record.status == "done"


def _hidden(folder: SweepFolder, kind: str, job_id: str) -> Path:
    return folder.artifacts / f".{kind}-{job_id}-{uuid.uuid4().hex[:8]}"
