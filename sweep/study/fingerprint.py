"""The hash of what decides a study's numbers. It tells whether a study has changed since a sweep began."""

import ast
import functools
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from lc_core.training.data import Split, call
from lc_core.training.loop import Recipe
from lc_core.training.nest import leaves
from lc_core.training.reading import Indexed, separate
from sweep.study import Checkpoint, Data, Study
from sweep.study.checkpoint import weights_hash
from sweep.study.seeds import seed_all
from sweep.study.source import source_of

PROBED = 64
"""How many examples of a split that is not in memory count for the hash."""


class Names(Protocol):
    """Names in the hashed text the code whose source is not read."""

    def of(self, code: Callable[..., Any]) -> str:
        """The name of a function or class of lcsweep or a library, or of one of the user's that refers to itself."""
        ...

    def fields(self, thing: object) -> dict[str, Any] | None:
        """The values of an object (not of a function or class) that count; None where its class's name alone does."""
        ...


class PublicNames:
    """Names lcsweep's and the user's code without its module, so that it may move; a library's with its module."""

    def of(self, code: Callable[..., Any]) -> str:
        return f"{code.__module__}.{code.__qualname__}" if _of_a_library(code) else code.__qualname__

    def fields(self, thing: object) -> dict[str, Any] | None:
        """The fields of a dataclass of lcsweep's or the user's."""
        if not is_dataclass(thing) or _of_a_library(type(thing)):
            return None
        return {field.name: getattr(thing, field.name) for field in fields(thing)}


PUBLIC = PublicNames()


def study_parts(study: Study, data: Data, *, names: Names = PUBLIC) -> dict[str, str]:
    """The hash of each part that decides the study's numbers: model, data and split, loss and metrics, reference.

    The user's code is hashed as its syntax tree, without docstrings, comments and layout, together with the values that
    it closes over and with the constants, functions and classes of the user's that it names. Functions and classes of
    lcsweep count by their name. The module or file that code lies in does not count. The initial weights count by their
    norm to four digits: another initialisation changes it, another machine does not. A `Checkpoint` counts by its
    weights, wherever they lie.

    `names` are today's, or those of an earlier release (`sweep.study.earlier`).
    """
    seed_all(0)  # the reference's seed belongs to the part `reference`
    model = study.build_model()
    state = model.state_dict()
    shapes = [(name, tuple(tensor.shape), str(tensor.dtype)) for name, tensor in state.items()]
    norm = sum(float(tensor.double().square().sum()) for tensor in state.values()) ** 0.5
    layers = sorted({_code(type(module), names) for module in model.modules()})
    metrics = [(name, _code(metric, names)) for name, metric in sorted(study.metrics.items())]
    first = next(iter(study.metrics))  # it decides
    followed: list[Any] = [] if first == "accuracy" else [first]
    for part, default in ((study.separate, separate), (study.forward, call)):
        if part is not default:
            followed.append(_code(part, names))
    if study.distillation:
        followed.append({name: value for name, value in asdict(study.distillation).items() if value != {}})
    followed += [study.autocast] if study.autocast else []
    followed += ["tidy"] if study.tidy else []
    if study.augment:
        followed.append(_code(study.augment, names))
    return {
        "model": _hash([_code(study.build_model, names), repr(model), shapes, layers, f"{norm:.4g}"]),
        "data": _hash(_examples(data, names)),
        "loss": _hash([_code(study.loss, names), metrics, *followed]),
        "reference": _reference(study, model),
    }


def plainly_trained(study: Study, parts: Mapping[str, str]) -> bool:
    """Whether a sweep with these parts has a reference trained without the augmentation that its jobs have."""
    return study.augment is not None and isinstance(study.reference, Recipe) and parts["reference"] == _plain(study)


def footing(study: Study, parts: Mapping[str, str]) -> dict[str, Any]:
    """How the reference was trained otherwise than the jobs, by the names of `sweep.store.manifest.Reference`."""
    return {
        "plainly_trained": plainly_trained(study, parts),
        "rates": _unequal(study, "lr"),
        "decays": _unequal(study, "weight_decay"),
    }


def _unequal(study: Study, setting: Literal["lr", "weight_decay"]) -> list[float]:
    """The setting of the reference's training and of the LC jobs, where they differ; else empty."""
    if not isinstance(study.reference, Recipe):
        return []
    own, jobs = (getattr(each, setting) for each in (study.reference, study.schedule))
    return [own, jobs] if own != jobs else []


def _reference(study: Study, model: nn.Module) -> str:
    """The hash of how the reference is trained, or of the checkpoint's weights, which are loaded into `model`."""
    if isinstance(study.reference, Checkpoint):
        study.reference.load_into(model)
        return _hash(["checkpoint", weights_hash(model)])
    augmented = study.augment is not None and study.augment_reference
    return _hash(["augmented", asdict(study.reference)]) if augmented else _plain(study)


def _plain(study: Study) -> str:
    assert isinstance(study.reference, Recipe)
    return _hash(asdict(study.reference))


def _examples(data: Data, names: Names) -> list[str]:
    """What the splits hold: all values of those in memory; of others the code, the size and some examples."""
    found: list[str] = []
    for _, split in data.items():
        if isinstance(split, Split):
            found += [_tensor(leaf) for leaf in leaves((split.inputs, split.targets))]
            continue
        seed_all(0)  # a dataset may draw
        some = next(split.parts(PROBED, most=PROBED))
        reader = split.dataset if isinstance(split, Indexed) else split.loader
        found += [_code(type(reader), names), str(len(split)), *(_tensor(leaf) for leaf in leaves(some))]
    return found


def _code(thing: Any, names: Names, seen: frozenset[str] = frozenset()) -> str:
    """The code of a function, class or callable object, as text that is the same in every process."""
    if isinstance(thing, functools.partial):
        given = [_value(each, names, seen) for each in (thing.args, thing.keywords)]
        return " ".join([_code(thing.func, names, seen), *given])
    if inspect.ismethod(thing):
        return f"{_code(thing.__func__, names, seen)} {_code(thing.__self__, names, seen)}"
    if inspect.isroutine(thing) or inspect.isclass(thing):
        return _source(thing, names, seen)
    state = dict(vars(thing)) if hasattr(thing, "__dict__") else {}
    if isinstance(thing, nn.Module):
        state |= thing.state_dict()
    held = [(name, _value(value, names, seen)) for name, value in sorted(state.items())]
    return f"{_source(type(thing), names, seen)} {held}"


def _source(code: Callable[..., Any], names: Names, seen: frozenset[str]) -> str:
    where = f"{code.__module__}.{code.__qualname__}"
    if where in seen or of_ours(code) or _of_a_library(code):
        return names.of(code)
    text = source_of(code)
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a lambda inside a longer expression
        return f"{text} {_named_by(code, names, seen | {where})}"
    documented = (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return f"{ast.unparse(tree)} {_named_by(code, names, seen | {where})}"


def _named_by(code: Callable[..., Any], names: Names, seen: frozenset[str]) -> list[tuple[str, str]]:
    """The values that a function or a class's functions close over, and the globals that they name."""
    functions = [code] if inspect.isfunction(code) else [f for f in vars(code).values() if _is_written(f)]
    named: dict[str, Any] = {}
    for function in functions:
        variables = inspect.getclosurevars(function)
        named |= {**variables.globals, **variables.nonlocals}
    return [(name, _value(value, names, seen)) for name, value in sorted(named.items()) if not inspect.ismodule(value)]


def _is_written(thing: object) -> bool:
    """Whether it is a function from a file, and not one that `dataclass` generated."""
    return inspect.isfunction(thing) and inspect.unwrap(thing).__code__.co_filename != "<string>"


def _value(value: Any, names: Names, seen: frozenset[str]) -> str:
    match value:
        case bool() | int() | float() | str() | bytes() | None:
            return repr(value)
        case Tensor():
            return _tensor(value)
        case list() | tuple():
            return f"{type(value).__name__} {[_value(item, names, seen) for item in value]}"
        case set() | frozenset():
            return f"{type(value).__name__} {sorted(_value(item, names, seen) for item in value)}"
        case dict():
            return f"{[(repr(key), _value(item, names, seen)) for key, item in value.items()]}"
        case _ if callable(value):
            return _code(value, names, seen)
    counted = names.fields(value)
    if counted is None:
        return names.of(type(value))
    held = [(name, _value(each, names, seen)) for name, each in counted.items()]
    return f"{_source(type(value), names, seen)} {held}"


def of_ours(code: Callable[..., Any]) -> bool:
    """Whether a function or class is lcsweep's."""
    return _package(code) in ("lc_core", "sweep")


def _of_a_library(code: Callable[..., Any]) -> bool:
    """Whether it is neither lcsweep's nor the user's; the studies that lcsweep comes with count as the user's."""
    if _package(code) in ("lc_core", "sweep", "studies"):  # wherever they are installed
        return False
    if code.__module__ == "__main__":  # a notebook's has no file
        return False
    file = getattr(sys.modules.get(code.__module__), "__file__", None)
    return file is None or file.startswith(_LIBRARIES)


def _package(code: Callable[..., Any]) -> str:
    return code.__module__.partition(".")[0]


# A virtual environment may use the packages of another one, whose folder is then in sys.path.
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {folder for folder in sys.path if folder.endswith(("/site-packages", "/dist-packages"))}
)


def _tensor(tensor: Tensor) -> str:
    data = tensor.detach().contiguous().cpu().reshape(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype} {tuple(tensor.shape)} {hashlib.sha256(data.tobytes()).hexdigest()}"


def _hash(data: object) -> str:
    return hashlib.sha256(repr(data).encode()).hexdigest()[:16]
