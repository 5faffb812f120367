"""Which studies a command may import unasked: reading a sweep's folder must not run code that came with it."""

import importlib.util
import sys
from pathlib import Path

from sweep.store.folder import SweepFolder
from sweep.store.manifest import UNNAMED
from sweep.study.errors import StudyError


def check_trusted(reference: str, *, root: Path, user_folder: str) -> None:
    """Checks that the study that the sweep in `root` names may be imported.

    A file must lie in the folder that the user stands in, but in no sweep's folder. A module must be there too, or be
    installed; Python's own modules are no studies.

    Raises:
        StudyError: it is neither; the message says how to name it.
    """
    location = reference.partition(":")[0]
    if reference == UNNAMED:
        return  # `load_study` says what to do
    if location.endswith(".py"):
        place = Path(user_folder, location).resolve()
        held = place.is_relative_to(Path(user_folder).resolve()) and not _in_a_sweep(place)
    else:
        held = _is_module_of_users(location, user_folder=user_folder)
    if not held:
        raise StudyError(
            f"{root}: its study {reference!r} is code that is neither installed nor in the folder you stand in, so it "
            f"was not run; if you trust it, name it: --study {reference}"
        )


def _is_module_of_users(location: str, *, user_folder: str) -> bool:
    """Whether a module of this name is installed or in the user's folder. Finding it does not run it."""
    names = location.split(".")
    top = names[0]
    if top in sys.stdlib_module_names or not top.isidentifier():
        return False
    if any(Path(user_folder, name).exists() for name in (top, f"{top}.py")):
        return not _in_a_sweep(Path(user_folder, *names).resolve())  # any folder is a package: runs.theirs.code
    return importlib.util.find_spec(top) is not None


def _in_a_sweep(path: Path) -> bool:
    return any(SweepFolder(parent).manifest.exists() for parent in path.parents)
