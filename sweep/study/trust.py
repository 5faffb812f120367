"""Which studies a command may import unasked: reading a sweep's folder must not run code that came with it."""

import importlib.util
import sys
from pathlib import Path

from sweep.study.errors import StudyError
from sweep.study.named import UNNAMED


def check_trusted(reference: str, *, root: Path, user_folder: str) -> None:
    """Checks that the study that the sweep in `root` names may be imported.

    A file must lie in the folder that the user stands in, but outside of the sweep's own. A module must be there too,
    or be installed; Python's own modules are no studies.

    Raises:
        StudyError: it is neither; the message says how to name it.
    """
    location = reference.partition(":")[0]
    if reference == UNNAMED:
        return  # `load_study` says what to do
    if location.endswith(".py"):
        held = _within(Path(user_folder, location), Path(user_folder)) and not _within(Path(location), root)
    else:
        held = _is_module_of_users(location.partition(".")[0], root=root, user_folder=user_folder)
    if not held:
        raise StudyError(
            f"{root}: its study {reference!r} is code that is neither installed nor in the folder you stand in, so it "
            f"was not run; if you trust it, name it: --study {reference}"
        )


def folder_beside(reference: object, *, user_folder: str) -> str | None:
    """The folder of the study's file that the user names, whose modules it may import; None without a file."""
    location = reference.partition(":")[0] if isinstance(reference, str) else ""
    return str(Path(user_folder, location).resolve().parent) if location.endswith(".py") else None


def _is_module_of_users(top: str, *, root: Path, user_folder: str) -> bool:
    """Whether a module of this name is installed or in the user's folder. Finding it does not run it."""
    if top in sys.stdlib_module_names or not top.isidentifier():
        return False
    if any(Path(user_folder, name).exists() for name in (top, f"{top}.py")):
        return not _within(Path(user_folder), root)
    return importlib.util.find_spec(top) is not None


def _within(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())
