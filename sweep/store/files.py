"""How files are written, whole or not at all, and how JSON is read back."""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = 1


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
    if path.exists() and path.read_bytes() != data:
        raise StoreError(f"{path}: another file of that name exists; move it away or choose another name")
    write_whole(path, data)


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """`data` as JSON, by `write_whole`. NaN and infinity are refused: a ValueError."""
    write_whole(path, json.dumps(data, indent=1, allow_nan=False) + "\n")


def read_optional(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None where there is no such file. StoreError where it is damaged."""
    try:
        return _parsed(path, path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. StoreError where there is none."""
    try:
        return _parsed(path, path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error


def check_format(data: Mapping[str, Any], path: Path) -> None:
    """StoreError where `data`, read from `path`, is of a format that this release does not know."""
    if data.get("format") != FORMAT:
        raise StoreError(f"{path}: expected format {FORMAT}, got {data.get('format')!r}; a later lcsweep may read it")


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    try:
        data = json.loads(content.decode())
    except ValueError as error:
        raise StoreError(f"{path}: not the JSON that lcsweep wrote ({error}); restore it or remove it") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path}: expected a JSON object, got {type(data).__name__}; restore it or remove it")
    return data
