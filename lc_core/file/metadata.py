"""Reads the JSON of a packed file, and checks that it has the fields of its format."""

import json
from collections.abc import Sequence
from typing import Any

from lc_core.compression import FormError
from lc_core.file.forms import check_form
from lc_core.file.limits import is_shape


def check_metadata(metadata: Any, more: Sequence[str], *, format: int) -> dict[str, Any]:
    """`metadata`. FormError where they are no JSON object of `format`, or lack the fields of a content or `more`."""
    metadata = _object(metadata, ("format",))
    if metadata["format"] != format:
        raise FormError(f"expected format {format}, got {metadata['format']!r}; a later lcsweep may read it")
    _object(metadata, ("tasks", "info", *more))
    _object(metadata["info"], ())
    tied = _object(metadata.get("tied", {}), ())
    if not all(isinstance(name, str) for name in tied.values()):
        raise FormError(f"expected names of tied parameters, got {str(tied)[:80]}")
    if not isinstance(metadata["tasks"], list):
        raise FormError(f"expected a list of tasks, got {str(metadata['tasks'])[:80]}")
    for task in metadata["tasks"]:
        names, shapes = (_object(task, ("names", "shapes", "theta"))[key] for key in ("names", "shapes"))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise FormError(f"expected a list of names, got {str(names)[:80]}")
        if not isinstance(shapes, list) or not all(map(is_shape, shapes)):
            raise FormError(f"expected shapes in whole numbers, got {str(shapes)[:80]}")
        check_form(task["theta"])
    return _object(metadata, ())


def _object(data: Any, names: Sequence[str]) -> dict[str, Any]:
    """`data`. FormError where it is no JSON object, or one of `names` is not in it."""
    if not isinstance(data, dict) or any(name not in data for name in names):
        raise FormError(f"expected a JSON object with {', '.join(names)}, got {str(data)[:80]}")
    return data


def json_of(text: str | bytes) -> Any:
    """The JSON data of `text`. FormError where it is not JSON, or holds a NaN or half a character."""
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:  # of the JSON module, which alone runs here
        raise FormError(f"expected JSON of finite numbers, got other text: {error}") from error
    return data
