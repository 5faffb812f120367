"""Loads a study and its data."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from sweep.store.manifest import UNNAMED
from sweep.study import Checkpoint, Data, Study
from sweep.study.errors import StudyError, users_code
from sweep.study.families import completed
from sweep.study.named import folder_of, script
from sweep.study.seeds import seed_all
from sweep.study.splits import VAL_SEED, splits_of

StudySource = str | Study
"""A study: the object, or how to load it (a module, `module:name`, or a path to a .py file)."""

EXPECTED = "a module (studies.digits_mlp), module:name, or a path to a .py file"


_LOADING: ContextVar[bool] = ContextVar("loading", default=False)
_FOLDERS: set[str] = set()
"""The folders that were appended to `sys.path` for a study."""


def load_study(reference: StudySource, *, user_folder: str) -> Study:
    """The study that `reference` names: a module, `module:name`, or a path to a .py file (or `path:name`).

    Args:
        reference: without a name, the module's `study` is taken. A Study is returned with its families.
        user_folder: the user's current folder. Paths are relative to it. It is appended to `sys.path`, never put first,
            and so is the folder of the study's file.

    Raises:
        StudyError: there is no such module, it does not import, it holds no such study, or names no families and the
            standard ones do not fit its model.
    """
    if isinstance(reference, Study):
        return completed(reference)
    if reference == UNNAMED:
        raise StudyError(
            "the sweep was run with a Study object that no file holds, so it cannot be loaded again: "
            "load_sweep(DIR, study=study) in Python, or name a file that holds it with --study"
        )
    location, _, name = reference.partition(":")
    name = name or "study"
    folders = [user_folder]
    if location.endswith(".py"):
        folders.append(str(Path(user_folder, location).resolve().parent))
    make_importable(*folders)
    token = _LOADING.set(True)
    try:
        module = _import(location, user_folder)
    finally:
        _LOADING.reset(token)
    _check_neighbours(module, folders, what=f"study {reference!r}")
    found = getattr(module, name, None)
    if not isinstance(found, Study):
        names = [key for key, value in vars(module).items() if isinstance(value, Study)]
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise StudyError(
            f"study {reference!r}: expected a Study called {name!r} in {location}, found {what}; "
            f"its studies: {', '.join(names) or 'none'}"
        )
    if isinstance(found.reference, Checkpoint) and module.__file__:
        found = replace(found, reference=found.reference.within(Path(module.__file__).parent))
    return completed(found)


def make_importable(*folders: str) -> None:
    """Appends the users' folders to `sys.path`, but for those that it has."""
    new = [folder for folder in dict.fromkeys(folders) if folder not in sys.path]
    _FOLDERS.update(new)
    sys.path += new


def is_loading() -> bool:
    """Whether a study is being imported: a script that runs a sweep must not do so then."""
    return _LOADING.get()


def lasting_reference(reference: StudySource, *, user_folder: str) -> str:
    """`reference` in a form that works from any folder: a path becomes absolute, a module's name stays.

    Of a Study object: the script that holds it, else UNNAMED.
    """
    if isinstance(reference, Study):
        found = script(reference)
        return UNNAMED if found is None else found.reference
    location, colon, name = reference.partition(":")
    return f"{Path(user_folder, location).resolve()}{colon}{name}" if location.endswith(".py") else reference


def load_splits(study: Study, *, say: Callable[[str], None] = lambda _: None) -> Data:
    """The study's data, each split as a `lc_core.training.data.Source`.

    `load_data` is called with the random seeds set, so that each process has the same splits. `say` gets a line where
    the validation split is cut off the training split.

    StudyError where it cannot be loaded, or a split is empty or has unequal inputs and targets.
    """
    seed_all(0)
    with users_code(f"study {study.name}: load_data failed"):
        data = study.load_data()
    try:
        splits = splits_of(data, study)
    except (TypeError, ValueError) as error:
        raise StudyError(f"study {study.name}: load_data: {error}") from error
    if data.val is None:
        cut = len(splits.val)
        say(
            f"load_data gives no validation split: {cut:,} of the {len(splits.train) + cut:,} training examples, drawn "
            f"with seed {VAL_SEED}, are kept from training and serve as one"
        )
    return splits


def _import(location: str, user_folder: str) -> ModuleType:
    with users_code(f"study {location!r} does not import"):
        try:
            if location.endswith(".py"):
                return _import_file(Path(user_folder, location))
            return importlib.import_module(location)
        except ModuleNotFoundError as error:
            if error.name and (location == error.name or location.startswith(f"{error.name}.")):
                raise StudyError(f"study {location!r}: no such module; expected {EXPECTED}") from error
            raise StudyError(
                f"study {location!r} does not import: {error}; is a package that it needs missing?"
            ) from error


def _check_neighbours(module: ModuleType, folders: list[str], *, what: str) -> None:
    """StudyError where the study uses another study's module in place of one of the same name beside it."""
    for value in vars(module).values():
        used = value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
        root = None if used is None else folder_of(used)
        if used is None or root is None or str(root) not in _FOLDERS or str(root) in folders:
            continue
        top = used.__name__.partition(".")[0]
        if any(Path(folder, top).is_dir() or Path(folder, f"{top}.py").is_file() for folder in folders):
            raise StudyError(
                f"{what}: expected the module {top} beside it, got the one in {root}, which a study there has loaded "
                "into this process before; load each of them in a process of its own"
            )


def module_name(path: Path) -> str:
    """The name of the module of a study's file: one that no package has and no file of that name elsewhere."""
    return f"study_file_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StudyError(f"study {str(path)!r}: no such file; expected {EXPECTED}")
    name = module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
