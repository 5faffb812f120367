"""How files are written, whole or not at all, and how JSON is read back."""

import hashlib
import json
import math
import os
import stat
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1
MOST_JSON = 256 << 20
"""Bytes of the largest JSON file that is read."""


class StoreError(ValueError):
    """A sweep's file or folder is missing or damaged, or cannot be read or written; one line that names it."""


def write_whole(path: Path, data: bytes | str) -> None:
    """Writes `data` beside `path`, flushes it to the disk and renames it there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """As `write_whole`, but a StoreError where `path` already holds other bytes."""
    if path.exists() and read_regular(path) != data:
        raise StoreError(f"{path}: another file of that name exists; move it away or choose another name")
    write_whole(path, data)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """`data` as JSON, by `write_whole`. NaN and infinity are refused: a ValueError."""
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_regular(path: Path) -> bytes:
    """The content of a regular file. StoreError where it cannot be read or is another kind, such as a pipe or a device.

    Reading a pipe may wait for ever, and a device may have no end.
    """
    content = _read(path)
    if content is None:
        raise StoreError(f"{path}: cannot be read: no such file")
    return content


def _read(path: Path, *, most: float = math.inf) -> bytes | None:
    """As `read_regular`; None where there is no such file. StoreError too where it has more than `most` bytes."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # one look: another process may remove the file between two
            raise StoreError(f"{path}: expected a regular file, got {kind_of(path)}; remove it")
        if found.st_size > most:
            raise StoreError(f"{path}: expected at most {most:,} bytes, got {found.st_size:,}; restore it or remove it")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a regular file, in hexadecimal digits. StoreError as `read_regular`."""
    return hashlib.sha256(read_regular(path)).hexdigest()


def kind_of(path: Path) -> str:
    """What lies at `path`, in words, where it is no regular file."""
    kinds = {"a folder": path.is_dir, "a pipe": path.is_fifo, "a socket": path.is_socket}
    return next((kind for kind, holds in kinds.items() if holds()), "a device")


def read_optional(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None where there is no such file. StoreError where it is damaged."""
    content = _read(path, most=MOST_JSON)
    return None if content is None else _parsed(path, content)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. StoreError where there is none."""
    data = read_optional(path)
    if data is None:
        raise StoreError(f"{path}: cannot be read: no such file")
    return data


def check_format(data: Mapping[str, Any], path: Path) -> None:
    """StoreError where `data`, read from `path`, is of a format that this release does not know."""
    if data.get("format") != FORMAT:
        raise StoreError(f"{path}: expected format {FORMAT}, got {data.get('format')!r}; a later lcsweep may read it")


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path}: not the JSON that lcsweep wrote ({error}); restore it or remove it") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}: expected a JSON object, got {type(data).__name__}; restore it or remove it")
    return data
