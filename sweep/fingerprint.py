"""The hash of what makes a study's numbers: by it, results are known again and changed studies are told apart."""

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from sweep.study import Data, Study


def study_parts(study: Study, data: Data) -> dict[str, str]:
    """Part -> hash of what makes the study's numbers: model, data and split, loss and metrics, reference.

    Code is hashed as its syntax tree without docstrings, so comments and layout do not count, together with the values
    it closes over and the constants, functions and classes of the user's that it names. The initial weights count by
    their norm to four digits, which tells another initialisation or checkpoint but not another machine.
    """
    torch.manual_seed(0)  # the reference's seed is the reference's part
    model = study.build_model()
    state = model.state_dict()
    shapes = [(name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in state.items()]
    norm = sum(float(tensor.double().square().sum()) for tensor in state.values()) ** 0.5
    layers = sorted({_code(type(module)) for module in model.modules()})
    metrics = [(name, _code(metric)) for name, metric in sorted(study.metrics.items())]
    followed: list[Any] = [asdict(study.distillation)] if study.distillation else []
    if study.augment:
        followed.append(_code(study.augment))
    return {
        "model": _hash([_code(study.build_model), repr(model), shapes, layers, f"{norm:.4g}"]),
        "data": _hash(_tensors(data)),
        "loss": _hash([_code(study.loss), metrics, *followed]),
        "reference": _hash(asdict(study.reference)),
    }


def _tensors(data: Data) -> list[str]:
    splits = (data.train, data.val, data.test)
    return [_tensor(tensor) for split in splits for tensor in (split.inputs, split.targets)]


def _code(thing: Any, seen: frozenset[str] = frozenset()) -> str:
    """What `thing`, a function, class or callable object, does, as text that is the same in every process."""
    if isinstance(thing, functools.partial):
        return f"{_code(thing.func, seen)} {_value(thing.args, seen)} {_value(thing.keywords, seen)}"
    if inspect.ismethod(thing):
        return f"{_code(thing.__func__, seen)} {_code(thing.__self__, seen)}"
    if inspect.isroutine(thing) or inspect.isclass(thing):
        return _source(thing, seen)
    state = dict(vars(thing)) if hasattr(thing, "__dict__") else {}
    if isinstance(thing, nn.Module):
        state |= thing.state_dict()
    held = [(name, _value(value, seen)) for name, value in sorted(state.items())]
    return f"{_source(type(thing), seen)} {held}"


def _source(code: Callable[..., Any], seen: frozenset[str]) -> str:
    where = f"{code.__module__}.{code.__qualname__}"
    if where in seen or _of_a_library(code):
        return where
    text = textwrap.dedent(inspect.getsource(code))
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda inside a longer expression
        return f"{text} {_named_by(code, seen | {where})}"
    documented = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return f"{ast.unparse(tree)} {_named_by(code, seen | {where})}"


def _named_by(code: Callable[..., Any], seen: frozenset[str]) -> list[tuple[str, str]]:
    """The values that a user's function, or a class's functions, close over and name in their module."""
    functions = [code] if inspect.isfunction(code) else [f for f in vars(code).values() if inspect.isfunction(f)]
    named: dict[str, Any] = {}
    for function in functions:
        variables = inspect.getclosurevars(function)
        named |= {**variables.globals, **variables.nonlocals}
    return [(name, _value(value, seen)) for name, value in sorted(named.items()) if not inspect.ismodule(value)]


def _value(value: Any, seen: frozenset[str]) -> str:
    match value:
        case bool() | int() | float() | str() | bytes() | None:
            return repr(value)
        case Tensor():
            return _tensor(value)
        case list() | tuple():
            return f"{type(value).__name__} {[_value(item, seen) for item in value]}"
        case set() | frozenset():
            return f"{type(value).__name__} {sorted(_value(item, seen) for item in value)}"
        case dict():
            return f"{[(repr(key), _value(item, seen)) for key, item in value.items()]}"
        case _ if callable(value):
            return _code(value, seen)
        case _:
            return f"{type(value).__module__}.{type(value).__qualname__}"


def _of_a_library(code: Callable[..., Any]) -> bool:
    package = code.__module__.partition(".")[0]
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    if package in ("sweep", "lc_core", "studies"):  # wherever they are installed
        return package != "studies"
    return file is None or file.startswith(_LIBRARIES)


# An environment may see the packages of another one, whose folder is then in the path.
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {folder for folder in sys.path if folder.endswith(("/site-packages", "/dist-packages"))}
)


def _tensor(tensor: Tensor) -> str:
    data = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(data.tobytes()).hexdigest()}"


def _hash(data: object) -> str:
    return hashlib.sha256(repr(data).encode()).hexdigest()[:16]
