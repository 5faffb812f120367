"""A sweep's folder in the cloud (s3://, gs://, file://), and its mirror on this machine's disk.

All other code works on the mirror, an ordinary folder. The cloud holds the truth: the worker that ran a job uploads its
files, record.json last. Optuna's index, checkpoints, logs and the lock stay on the disk.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sweep.store.files import StoreError, write_whole
from sweep.store.folder import SweepFolder
from sweep.store.record import Record
from sweep.store.records import read_record

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

SECRET = re.compile(r"(?i)(key|secret|token|password|credential|signature|sig|sas)\w*=")
"""Names of a URL's options that hold a key."""
LARGE = ("model.lcz", "diagnostics.json")  # files of a job that a run does not read


def is_url(where: str) -> bool:
    """Whether `where` is a URL and not a path."""
    return "://" in where


def mirror(url: str) -> Path:
    """The path of the mirror of the folder at `url`. StoreError where `url` holds keys."""
    _check_keyless(url)
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = url.partition("?")[0].rstrip("/").rpartition("/")[2]
    return Path(caches, "lcsweep", f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}")


def _check_keyless(url: str) -> None:
    """StoreError, without the keys, for a URL that holds some: logs, messages and the process list show it."""
    kind, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    user, at, bucket = place.rpartition("@")
    if (at and ":" in user) or SECRET.search(query):
        raise StoreError(
            f"{kind}://{'***@' * bool(at)}{bucket}: expected a URL without keys, which others could read; set them in "
            "the environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on each node of a cluster too"
        )


def local(where: str, *, but_for: tuple[str, ...] = ()) -> Path:
    """The sweep's folder on this machine's disk: the path `where` or, for a URL, the mirror that `bring` fills."""
    return bring(where, but_for=but_for) if is_url(where) else Path(where)


def bring(url: str, *, but_for: tuple[str, ...] = ()) -> Path:
    """Downloads what the mirror lacks, but for files named in `but_for`. Returns the mirror.

    Raises:
        StoreError: there is no sweep at `url`, or it cannot be read.
    """
    root = _filled(url, but_for)
    if not SweepFolder(root).manifest.exists():
        raise StoreError(f"{url}: not a sweep (it has no sweep.json); expected the folder that `lcsweep run` filled")
    return root


def begin(url: str) -> Path:
    """The mirror for a run: the sweep without the jobs' large files. It is empty where the cloud's folder is empty."""
    return _filled(url, LARGE)


def put(url: str, *names: str) -> None:
    """Uploads these files or folders of the mirror."""
    root = mirror(url)
    with _cloud(url) as (files, base):
        for name in names:
            for path in sorted([root / name, *(root / name).rglob("*")]):
                if path.is_file():
                    _write(files, f"{base}/{path.relative_to(root).as_posix()}", path.read_bytes())


def put_back(where: str, *paths: Path) -> None:
    """Uploads files or folders of the mirror where `where` is a URL."""
    if is_url(where):
        put(where, *(path.name for path in paths))


def put_job(url: str, folder: SweepFolder, *, job_id: str) -> Record:
    """Uploads the job's files in `folder` unless the cloud has a done record of it. Returns the cloud's record."""
    found = folder.record(job_id).parent
    record = read_record(found / "record.json")
    assert record is not None
    with _cloud(url) as (files, base):
        there = f"{base}/{found.relative_to(folder.root).as_posix()}"
        standing = _read_record(files, f"{there}/record.json")
        if standing is not None and standing.status == "done":
            return standing
        names = sorted(path.name for path in found.iterdir() if path.is_file() and path.name != "record.json")
        for name in (*names, "record.json"):
            _write(files, f"{there}/{name}", (found / name).read_bytes())
    return record


def fetch_file(url: str, name: str, *, to: Path) -> None:
    """Downloads the file `name` to the path `to`."""
    with _cloud(url) as (files, base), files.open_input_stream(f"{base}/{name}") as stream:
        write_whole(to, stream.read())


def _filled(url: str, but_for: tuple[str, ...]) -> Path:
    root = mirror(url)
    with _cloud(url) as (files, base):
        there = {info.path[len(base) + 1 :]: info for info in _listing(files, base)}
        if "sweep.json" not in there and root.exists():
            shutil.rmtree(root)  # the sweep was removed from the cloud
        _drop_jobs(SweepFolder(root), {name.split("/")[1] for name in there if name.startswith("artifacts/")})
        for name, info in there.items():
            path = root / name
            if ".." in path.parts:
                raise StoreError(f"{url}: expected files below the folder, got {name!r}; remove it")
            if path.name in but_for or _current(path, info):
                continue
            with files.open_input_stream(info.path) as stream:
                write_whole(path, stream.read())
            os.utime(path, ns=(info.mtime_ns, info.mtime_ns))
    return root


def _drop_jobs(folder: SweepFolder, known: set[str]) -> None:
    """Removes the jobs that are not in the cloud."""
    for found in folder.artifacts.glob("[!.]*"):
        if found.name not in known:
            shutil.rmtree(found)


def _current(path: Path, info: "FileInfo") -> bool:
    if not path.is_file():
        return False
    state = path.stat()
    return bool(state.st_size == info.size and state.st_mtime_ns == info.mtime_ns)


def _listing(files: "FileSystem", base: str) -> "list[FileInfo]":
    from pyarrow.fs import FileSelector

    found = files.get_file_info(FileSelector(base, recursive=True, allow_not_found=True))
    return [info for info in found if info.is_file and not info.base_name.startswith(".")]


def _read_record(files: "FileSystem", path: str) -> Record | None:
    try:
        with files.open_input_stream(path) as stream:
            return Record.from_json(json.loads(stream.read()), Path(path))
    except FileNotFoundError:
        return None


def _write(files: "FileSystem", path: str, data: bytes) -> None:
    """Writes the file whole or not at all: an object appears when its stream is closed, a file by a rename."""
    if files.type_name == "local":
        write_whole(Path(path), data)
        return
    with files.open_output_stream(path) as stream:
        stream.write(data)


@contextlib.contextmanager
def _cloud(url: str) -> "Iterator[tuple[FileSystem, str]]":
    """The file system of `url` and the folder's path in it. Errors within the block become a StoreError."""
    from pyarrow.fs import FileSystem

    try:
        files, base = FileSystem.from_uri(url)
        yield files, base.rstrip("/")
    except StoreError:
        raise
    except (OSError, ValueError) as error:  # Arrow's errors are of these types
        raise StoreError(
            f"{url.partition('?')[0]}: expected a folder that can be read and written there, such as "
            f"s3://bucket/sweeps/digits_mlp, got {' '.join(str(error).split())}"
        ) from error
