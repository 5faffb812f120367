"""The bundle that a cluster's nodes are sent: the study's file, with the modules and small files beside it.

No bundle is sent for a study that is an installed module: the nodes have it installed too.
"""

import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sweep.study import Study
from sweep.study.errors import StudyError
from sweep.study.loading import StudySource

FOLDER = "lcsweep_users_folder"  # a package without code, by which a worker finds where Ray unpacked it
# Ray names a package by its content, and unpacks a job's working directory with the same content to the same place, but
# in another layout. With this file in it, our content is never that of a working directory.
MARK = "sent_by_lcsweep"
LARGEST_FILE = 1 << 20  # bytes; a larger one is data, which workers get through the object store
LARGEST = 20 << 20  # bytes of all files
MOST_FILES = 5000
LEFT_OUT = ("__pycache__", "build", "dist", "mlruns", "node_modules", "runs", "wandb")
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # a folder that holds one of these is a Python environment
SWEEP = "sweep.json"


@contextlib.contextmanager
def packed(study_reference: StudySource, *, user_folder: str) -> Iterator[Path | None]:
    """The bundle, in a temporary folder that is removed at the end; None where the nodes need none.

    Raises:
        StudyError: the study lies outside the user's folder, or the folder holds too much.
    """
    if not _needed(study_reference, Path(user_folder)):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="lcs-") as temporary:
        copy = Path(temporary, FOLDER)
        copy.mkdir()
        (copy / MARK).touch()
        for path in _files(Path(user_folder)):
            to = copy / path.relative_to(user_folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
        yield copy


def unpacked() -> str | None:
    """The folder in which Ray unpacked the bundle for this process; None where it was sent none."""
    spec = importlib.util.find_spec(FOLDER)
    return None if spec is None else next(iter(spec.submodule_search_locations or ()))


def _needed(study_reference: StudySource, user_folder: Path) -> bool:
    if isinstance(study_reference, Study):
        return True  # it may use the user's modules
    location = study_reference.partition(":")[0]
    if location.endswith(".py"):
        if not (user_folder / location).resolve().is_relative_to(user_folder.resolve()):
            raise StudyError(
                f"study {location!r}: expected one below the folder you stand in, which a cluster's nodes are sent, "
                f"got one outside {user_folder}; give the command in its folder, or name an installed module"
            )
        return True
    origin = sys.modules[location].__file__ if location in sys.modules else None
    own = user_folder.joinpath(*location.split("."))
    return origin is not None and Path(origin) in (own.with_suffix(".py"), own / "__init__.py")


def _files(user_folder: Path) -> list[Path]:
    """The files to send: all but hidden and large files, caches, environments and sweeps."""
    found: list[Path] = []
    size = 0
    for root, folders, names in os.walk(user_folder):
        folders[:] = [name for name in folders if not _left_out(Path(root, name))]
        for name in names:
            path = Path(root, name)
            if name.startswith(".") or not path.is_file() or path.stat().st_size > LARGEST_FILE:
                continue
            found.append(path)
            size += path.stat().st_size
            if size > LARGEST or len(found) > MOST_FILES:
                raise StudyError(
                    f"{user_folder}: expected at most {LARGEST >> 20} MiB in {MOST_FILES} files to send to the "
                    f"cluster's nodes (files over {LARGEST_FILE >> 20} MiB are left out), got more, the last in "
                    f"{root}; give the command in the study's own folder"
                )
    return found


def _left_out(folder: Path) -> bool:
    name, data = folder.name, os.environ.get("LCSWEEP_DATA")
    return (
        name.startswith(".")
        or name in LEFT_OUT
        or name.endswith(".egg-info")
        or any((folder / sign).exists() for sign in (*ENVIRONMENTS, SWEEP))
        or (data is not None and folder.resolve() == Path(data).resolve())
    )
