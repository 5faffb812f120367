"""A reference that was trained elsewhere: its weights are read without running code, and put into the model."""

import hashlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lc_core.fields import check_numbers
from lc_core.structure.folding import computed_weights, fold
from sweep.study.errors import users_code

WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Names under which training scripts save the state_dict beside other things."""
PARALLEL, COMPILED = "module.", "_orig_mod."
"""What DataParallel puts before every name, and `torch.compile` before the names of what it compiled."""
OPTIONAL = "num_batches_tracked"
"""A counter of batch norm that no output depends on. It may be missing or too many."""
SHOWN = 3
TO_DO = 'load it where you trust it, and save its weights alone: torch.save(model.state_dict(), "weights.pt")'


class CheckpointError(ValueError):
    """A checkpoint cannot be read, or does not fit the model; one line that says why and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights that become the reference as they are. Nothing is trained.

    Attributes:
        source: a file, or a function that returns a state_dict (name -> tensor). A file is a .safetensors file, or one
            that `torch.save` wrote, with a state_dict alone or under "state_dict", "model_state_dict" or "model". A
            relative path starts at the folder of the study's file, and without a study's file at the current folder.
        expected: the validation score that you know. lcsweep says so where it measures another one.
        seed: torch's seed while the model is built.
    """

    source: str | Path | Callable[[], Mapping[str, Tensor]]
    expected: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (callable(self.source) or isinstance(self.source, str | Path)):
            raise ValueError(
                f"source: expected a path, or a function that returns a state_dict, got a {type(self.source).__name__}"
            )
        check_numbers(self)
        if self.expected is not None and not math.isfinite(self.expected):
            raise ValueError(f"expected: expected a number, got {self.expected!r}")

    def __str__(self) -> str:
        """What the weights come from, in words."""
        name = getattr(self.source, "__name__", "a function")
        return f"what {name} returns" if callable(self.source) else str(self.source)

    def within(self, folder: Path) -> "Checkpoint":
        """The same checkpoint, with a relative path made to start at `folder`."""
        return self if callable(self.source) else replace(self, source=Path(folder, self.source).resolve())

    def load_into(self, model: nn.Module) -> None:
        """Writes the weights into `model`.

        Where the model computes weights, as with weight_norm, and the checkpoint holds them as plain ones, the model is
        folded (`lc_core.fold`).

        Raises:
            CheckpointError: they cannot be read, hold a NaN or infinity, or do not fit the model.
            StudyError: the function that gives them failed.
        """
        state = _plain_names(self._state(), model)
        if (computed := computed_weights(model)) and computed.keys() <= state.keys():
            fold(model)
        _check_fit(state, model, where=str(self))
        buffers = dict(model.named_buffers(remove_duplicate=False))  # a mask may hold -inf
        if broken := [
            name
            for name, tensor in state.items()
            if bool((tensor.isnan() if name in buffers else ~tensor.isfinite()).any())
        ]:
            raise CheckpointError(f"checkpoint {self}: expected finite weights, got NaN or infinity in {_few(broken)}")
        model.load_state_dict(state, strict=False)

    def _state(self) -> Mapping[str, Tensor]:
        """The state_dict, as it was saved."""
        if callable(self.source):
            with users_code(f"checkpoint {self}"):
                given = self.source()
            return _state_dict(given, where=str(self))
        path = Path(self.source)
        if not path.is_file():
            raise CheckpointError(
                f"checkpoint {path}: no such file; a relative path starts at the folder of the study's file"
            )
        return _state_dict(_read(path), where=str(path))


def weights_hash(model: nn.Module) -> str:
    """The hash of the parameters and buffers of `model`, by name; batch norm's counters do not count."""
    return tensors_hash({name: each for name, each in model.state_dict().items() if not name.endswith(OPTIONAL)})


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """The hash of tensors with their names, types and shapes, in any order and on any device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        content = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode() + content.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> Any:
    """What the file holds. Nothing in it is run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of a file that is not theirs, both libraries raise all sorts
        reason = " ".join(str(error).split())
        if "TorchScript" in reason:
            raise CheckpointError(f"checkpoint {path}: a TorchScript program, not weights; {TO_DO}") from error
        if found := re.search(r"GLOBAL ([\w.]+)", reason):
            raise CheckpointError(
                f"checkpoint {path}: holds an object of {found[1]}, which only running code could read; {TO_DO}"
            ) from error
        raise CheckpointError(
            f"checkpoint {path}: expected a file of torch.save or .safetensors, found neither, or a damaged one"
        ) from error


def _state_dict(found: Any, *, where: str) -> Mapping[str, Tensor]:
    """The state_dict in what a file or function gave."""
    if isinstance(found, Mapping):
        for key in WRAPPERS:
            if isinstance(found.get(key), Mapping):
                return _state_dict(found[key], where=where)
        if found and all(isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in found.items()):
            return found
    held = _few([str(key) for key in found]) if isinstance(found, Mapping) else f"a {type(found).__name__}"
    names = ", ".join(f'"{key}"' for key in WRAPPERS)
    raise CheckpointError(
        f"checkpoint {where}: expected a state_dict (name -> tensor), alone or under {names}, found {held or 'nothing'}"
    )


def _plain_names(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """`state` under the model's names: without the prefixes of DataParallel and `torch.compile` that these do not have,
    and with weight_norm's tensors as the newer weight_norm calls them.
    """
    wanted = model.state_dict().keys()
    plain = dict(state)
    if not any(COMPILED in name for name in wanted):
        plain = {name.replace(COMPILED, ""): tensor for name, tensor in plain.items()}
    while plain and wanted.isdisjoint(plain) and all(name.startswith(PARALLEL) for name in plain):
        plain = {name.removeprefix(PARALLEL): tensor for name, tensor in plain.items()}
    return {name if name in wanted else _newer(name, wanted): tensor for name, tensor in plain.items()}


def _newer(name: str, wanted: Collection[str]) -> str:
    """What the newer weight_norm of torch calls a tensor of the older one, if the model has that; else `name`."""
    for end, place in (("_g", 0), ("_v", 1)):
        layer, dot, kind = name.removesuffix(end).rpartition(".")
        newer = f"{layer}{dot}parametrizations.{kind}.original{place}"
        if name.endswith(end) and newer in wanted:
            return newer
    return name


def _check_fit(state: Mapping[str, Tensor], model: nn.Module, *, where: str) -> None:
    """CheckpointError unless `state` has every tensor of `model`, in its shape, and no others."""
    wanted = model.state_dict(keep_vars=True)
    had = {id(tensor) for name, tensor in wanted.items() if name in state}  # a tied tensor is saved once
    missing = [name for name, tensor in wanted.items() if name not in state and id(tensor) not in had]
    unknown = [name for name in state if name not in wanted]
    shapes = [
        f"{name} {tuple(state[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    wrong = [
        f"{len(names)} {what} ({_few(names)})"
        for what, names in (
            ("missing", _counted(missing)),
            ("unknown", _counted(unknown)),
            ("of another shape", shapes),
        )
        if names
    ]
    if wrong:
        raise CheckpointError(
            f"checkpoint {where}: expected {len(wanted)} tensors of {type(model).__name__}, got {'; '.join(wrong)}; "
            "let build_model build the network of these weights, or let source be a function that returns a state_dict "
            "with the model's names"
        )


def _counted(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(OPTIONAL)]


def _few(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
