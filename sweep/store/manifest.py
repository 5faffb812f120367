"""What sweep.json holds of a sweep."""

from pathlib import Path
from typing import Any

from sweep.store.files import StoreError, _checked, _read_json
from sweep.store.folder import SweepFolder

MANIFEST_FACTS = (
    *("study", "reference_study", "user_folder", "sweep", "study_hash", "study_parts", "repeats", "target", "splits"),
    *("reference", "versions"),
)


def read_manifest(root: Path) -> dict[str, Any]:
    """sweep.json of the sweep in `root`. StoreError where there is none that we wrote."""
    path = SweepFolder(root).manifest
    if not root.is_dir():
        raise StoreError(f"{root}: no such folder; expected a sweep's, such as runs/digits_mlp after `lcsweep run`")
    if not path.is_file():
        raise StoreError(f"{root}: not a sweep (it has no {path.name}); expected the folder that `lcsweep run` filled")
    return _checked(path, _read_json(path), MANIFEST_FACTS)
