"""Loads a study and its data."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from sweep.study import Data, Study
from sweep.study.splits import splits_of


class StudyError(ValueError):
    """A study cannot be found, imported or used; the message is one line that says why and what was expected."""


EXPECTED = "a module (studies.digits_mlp), module:name, or a path to a .py file"


def load_study(reference: str, *, user_folder: str, also: str | None = None) -> Study:
    """The study that `reference` names: a module, `module:name`, or a path to a .py file (or `path:name`).

    Args:
        reference: without a name, the module's `study` is taken.
        user_folder: the user's current folder. Paths are relative to it. It is appended to `sys.path`, never put first.
        also: another folder to append to `sys.path`.

    Raises:
        StudyError: there is no such module, it does not import, or it holds no such study.
    """
    location, _, name = reference.partition(":")
    name = name or "study"
    for folder in (user_folder, also):
        if folder is not None and folder not in sys.path:
            sys.path.append(folder)
    module = _import(location, user_folder)
    found = getattr(module, name, None)
    if not isinstance(found, Study):
        names = [key for key, value in vars(module).items() if isinstance(value, Study)]
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise StudyError(
            f"study {reference!r}: expected a Study called {name!r} in {location}, found {what}; "
            f"its studies: {', '.join(names) or 'none'}"
        )
    return found


def lasting_reference(reference: str, *, user_folder: str) -> str:
    """`reference` in a form that works from any folder: a path becomes absolute, a module's name stays."""
    location, colon, name = reference.partition(":")
    return f"{Path(user_folder, location).resolve()}{colon}{name}" if location.endswith(".py") else reference


@contextlib.contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turns an error in the user's code into a StudyError of one line: `what` failed, the error, its file and line."""
    try:
        yield
    except StudyError:
        raise
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        reason = " ".join(str(error).split())
        raise StudyError(f"{what}: {type(error).__name__}: {reason}{_where(error)}") from error


def load_splits(study: Study) -> Data:
    """The study's data, each split as a `lc_core.training.data.Source`.

    StudyError where it cannot be loaded, or a split is empty or has unequal inputs and targets.
    """
    with users_code(f"study {study.name}: load_data failed"):
        data = study.load_data()
    try:
        return splits_of(data, study)
    except (TypeError, ValueError) as error:
        raise StudyError(f"study {study.name}: {error}") from error


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


def _where(error: BaseException) -> str:
    """ " (file:line)" of where `error` was raised; "" for a SyntaxError, whose text says it."""
    if isinstance(error, SyntaxError):
        return ""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StudyError(f"study {str(path)!r}: no such file; expected {EXPECTED}")
    name = f"study_file_{path.stem}"  # a name that no package has, so that it hides none
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
