"""A study from its name, and the hash of what makes its numbers."""

import ast
import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from sweep.study import Data, Study


class StudyError(ValueError):
    """A study cannot be found or imported; the message is one line that says why and what was expected."""


EXPECTED = "a module (studies.digits_mlp), module:name, or a path to a .py file"


def load_study(reference: str, *, user_folder: str) -> Study:
    """The study that `reference` names: a module, `module:name`, or a path to a .py file (or `path:name`).

    Args:
        reference: without a name, the module's `study` is taken.
        user_folder: where the user stands: paths are relative to it, and it is appended to `sys.path`, never put first.

    Raises:
        StudyError: there is no such module, it does not import, or it holds no such study.
    """
    location, _, name = reference.partition(":")
    name = name or "study"
    if user_folder not in sys.path:
        sys.path.append(user_folder)
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
    """`reference` as it can be loaded from any folder: a path made absolute, a module as it is."""
    location, colon, name = reference.partition(":")
    return f"{Path(user_folder, location).resolve()}{colon}{name}" if location.endswith(".py") else reference


def study_parts(study: Study, data: Data) -> dict[str, str]:
    """Part -> hash of what makes the study's numbers: model, data and split, loss and metrics, reference.

    Code is hashed as its syntax tree without docstrings, so comments and layout do not count.
    """
    model = study.seeded_model()
    shapes = [(name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in model.state_dict().items()]
    layers = [_code(type(module)) for module in model.modules()]
    return {
        "model": _hash([repr(model), shapes, sorted(set(layers))]),
        "data": _hash(_tensors(data)),
        "loss": _hash([_code(study.loss), [(name, _code(metric)) for name, metric in sorted(study.metrics.items())]]),
        "reference": _hash(asdict(study.reference)),
    }


def _import(location: str, user_folder: str) -> ModuleType:
    try:
        if location.endswith(".py"):
            return _import_file(Path(user_folder, location))
        return importlib.import_module(location)
    except StudyError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (location == error.name or location.startswith(f"{error.name}.")):
            raise StudyError(f"study {location!r}: no such module; expected {EXPECTED}") from error
        raise StudyError(f"study {location!r} does not import: {error}; is a package of its missing?") from error
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        where = _where(error)
        reason = " ".join(str(error).split())
        raise StudyError(f"study {location!r} does not import: {type(error).__name__}: {reason}{where}") from error


def _where(error: BaseException) -> str:
    """(file:line) where `error` was raised, or nothing."""
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno})" if trace else ""


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise StudyError(f"study {str(path)!r}: no such file; expected {EXPECTED}")
    name = f"study_file_{path.stem}"  # never that of a package, whose place it would take
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tensors(data: Data) -> Iterable[Any]:
    for name in ("train", "val", "test"):
        split = getattr(data, name)
        for tensor in (split.inputs, split.targets):
            digest = hashlib.sha256(tensor.contiguous().cpu().numpy().tobytes()).hexdigest()
            yield name, str(tensor.dtype), tuple(tensor.shape), digest


def _code(thing: Callable[..., Any] | nn.Module) -> str:
    """What `thing` does, as text: its name where a library made it, else its syntax tree without docstrings."""
    made_by = thing if inspect.isfunction(thing) or inspect.isclass(thing) else type(thing)
    where = f"{made_by.__module__}.{made_by.__qualname__}"
    if where.partition(".")[0] in ("torch", "builtins", "sweep", "lc_core"):
        return where if made_by is thing else f"{where} {thing!r}"
    if isinstance(thing, functools.partial):
        return f"{_code(thing.func)} {thing.args!r} {thing.keywords!r}"
    source = textwrap.dedent(inspect.getsource(made_by))
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a lambda inside a longer expression
        return f"{where} {source}"
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree) if made_by is thing else f"{ast.dump(tree)} {thing!r}"


def _hash(data: Any) -> str:
    return hashlib.sha256(repr(list(data) if not isinstance(data, dict) else data).encode()).hexdigest()[:16]
