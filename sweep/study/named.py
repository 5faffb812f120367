"""A Study object's name: how another process, or a later one, can load it again."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from sweep.study import Study


@dataclass(frozen=True)
class Named:
    """How to load a study.

    Attributes:
        reference: `module:name` or `file.py:name`.
        folder: where Python finds its module.
    """

    reference: str
    folder: str


def importable(study: Study) -> Named | None:
    """The name of a study that a module holds; None for one from a script, from a notebook or from within a function.

    A worker could load a script's study only by running the script, which runs the sweep.
    """
    for module, name in _holders(study):
        file = getattr(module, "__file__", None)
        if module.__name__ == "__main__" or file is None:
            continue
        if module.__name__.startswith("study_file_"):  # of sweep.study.loading
            return Named(f"{file}:{name}", os.getcwd())
        return Named(f"{module.__name__}:{name}", str(folder_of(module)))
    return None


def script(study: Study) -> Named | None:
    """The name of a study that the script holds which this process runs; None where there is no such script."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    for module, name in _holders(study):
        if module.__name__ == "__main__" and file is not None and file.endswith(".py"):
            return Named(f"{Path(file).resolve()}:{name}", str(Path(file).resolve().parent))
    return None


def folder_of(module: ModuleType) -> Path | None:
    """The folder in which Python found the module's topmost package; None of one without a file."""
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    above = module.__name__.count(".") + (Path(file).name == "__init__.py")
    return Path(file).resolve().parents[above]


def _holders(study: Study) -> Iterator[tuple[ModuleType, str]]:
    """The modules that have the object under a name, and the name."""
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if value is study and not name.startswith("_"):
                    yield module, name
