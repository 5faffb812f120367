"""The packed file `.lcz`: a compressed model's weights in the bytes that they need.

A file holds the arrays of every Theta's `pack`, the uncompressed parameters and buffers, and JSON that describes them.
Format 1 packs these in fixed-length codes, then zstd; format 2 codes them arithmetically, and is what is written by
default. docs/artifact.md describes both. Reading runs no code from a file.
"""

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import zstandard
from safetensors import SafetensorError
from torch import Tensor, nn

from lc_core.compression import Compressed, Form, FormError, numel
from lc_core.compressions.budget import Budget
from lc_core.compressions.cast import WEIGHTS
from lc_core.file import format_1, format_2
from lc_core.file.content import Content, byte_size, content_of, dumps, metadata_of, theta_arrays
from lc_core.file.forms import unpack
from lc_core.file.limits import check_sizes
from lc_core.numerics.packing import DamagedError
from lc_core.task import CompressionTask, Governed, by_layer

FORMATS = {1: format_1, 2: format_2}
HEADER_ALLOWANCE = 512
"""An upper bound of the header bytes for the arrays and forms of one parameter."""
OFFSETS_ALLOWANCE = 16
"""An upper bound of the digits by which the two places of an array in the payload may be longer."""


class ArtifactError(ValueError):
    """A file is not a whole, undamaged packed model; the message is one line that names it."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """The content of a packed file.

    Attributes:
        info: the writer's information on the model (study, configuration, metrics, ...).
        governed: the parameters of each Theta.
        thetas: the Theta of each of `governed`.
        uncompressed: uncompressed parameters and buffers, by name.
        tied: each further name of a tied parameter or buffer -> the name under which it is stored.
        payload_bytes: the size of its content in fixed-length codes: a file of format 1 before zstd. No file is larger.
        file_bytes: the file's size.
        format: the file's format.
    """

    info: dict[str, Any]
    governed: tuple[Governed, ...]
    thetas: tuple[Compressed, ...]
    uncompressed: dict[str, Tensor]
    tied: dict[str, str]
    payload_bytes: int
    file_bytes: int
    format: int

    def weights(self) -> dict[str, Tensor]:
        """All parameters and buffers, decompressed, by name. The names of a tied one have the same tensor."""
        weights = dict(self.uncompressed)
        for governed, theta in zip(self.governed, self.thetas, strict=True):
            weights |= governed.scatter(theta.decompress())
        return weights | {name: weights[first] for name, first in self.tied.items()}


def encode(
    tasks: Sequence[CompressionTask],
    thetas: Sequence[Compressed],
    weights: Mapping[str, Tensor],
    *,
    info: Mapping[str, Any],
    format: int = 2,
) -> bytes:
    """The bytes of the packed file: `thetas` of `tasks`, and the other `weights` uncompressed.

    Args:
        tasks: the compressions and their parameters.
        thetas: Theta of each task.
        weights: the model's parameters and buffers, by name, as `state_dict` gives them; those of a task are ignored.
            Names of tensors that share their memory are tied, and stored once.
        info: JSON data to store with the model.
        format: 1 or 2.

    Raises:
        ValueError: `info` holds a number that is not finite, or is too long; the file has no type for a tensor.
    """
    tasks, thetas = by_layer(tasks, thetas)
    content = content_of(tasks, thetas, weights, info=info)
    arrays = {name: array.detach().cpu().contiguous() for name, array in content.arrays.items()}
    packed: bytes = FORMATS[format].encode(replace(content, arrays=arrays))
    return packed


def encode_again(artifact: Artifact, thetas: Sequence[Compressed], uncompressed: Mapping[str, Tensor]) -> bytes:
    """The bytes of a file like that of `artifact`, of the same format, with other Thetas and uncompressed tensors."""
    metadata = metadata_of(artifact.governed, thetas, artifact.tied, artifact.info)
    content = Content(metadata, dict(uncompressed) | theta_arrays(thetas))
    packed: bytes = FORMATS[artifact.format].encode(content)
    return packed


def nominal_bytes(tasks: Sequence[CompressionTask], weights: Mapping[str, Tensor], *, info: Mapping[str, Any]) -> int:
    """`Artifact.payload_bytes` of the file that `encode` will write, from shapes and hyperparameters alone.

    No file is larger. Exact where every task has a fixed size and the JSON of `info` has its final length. Otherwise an
    upper bound: tasks of unknown size count as uncompressed, plus HEADER_ALLOWANCE for each parameter. A budget of
    bytes counts as that, with the longest header that its layers can choose.
    """
    outlines: list[Compressed] = []
    allowance = 0
    for task in tasks:
        shape, budget = task.governed.shape, task.compression
        if isinstance(budget, Budget):
            longest, most = budget.longest(shape), numel(shape) * (task.dtype or torch.float32).itemsize
            outlines.append(longest)
            allowance += OFFSETS_ALLOWANCE * len(longest.pack()) - longest.storage_bits() // 8
            allowance += most if budget.bytes is None else min(most, budget.bytes)
        else:
            outlines.append(task.outline_or_dense())
            allowance += HEADER_ALLOWANCE * len(task.governed.names) if task.outline() is None else 0
    tasks, thetas = by_layer(tasks, outlines)
    return format_1.payload_bytes(content_of(tasks, thetas, weights, info=info)) + allowance


def read(path: str | Path) -> Artifact:
    """The content of the packed file `path`.

    Raises:
        ArtifactError: the file cannot be read, or is cut, damaged, of another format or of a later version.
    """
    data = read_regular(path)
    try:
        return decode(data)
    except (FormError, DamagedError, SafetensorError, zstandard.ZstdError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(
            f"{path}: expected a whole packed model (.lcz), got one that cannot be read: {reason}; make it again"
        ) from error


def read_regular(path: str | Path) -> bytes:
    """The content of a regular file. ArtifactError where it cannot be read; reading a pipe may wait for ever."""
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise ArtifactError(f"{path}: expected a regular file, got a folder, a pipe or a device")
        return Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error


def load(path: str | Path, model: nn.Module) -> Artifact:
    """Writes the weights of `path` into `model`, which the caller builds. Returns the content of the file.

    Raises:
        ArtifactError: as `read`, or the model has other parameters than the file.
    """
    artifact = read(path)
    try:
        fill(model, artifact)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return artifact


def fill(model: nn.Module, artifact: Artifact) -> None:
    """Writes the weights of `artifact` into `model`. ArtifactError where that has other parameters."""
    weights = artifact.weights()
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        if computed := next((name for name in weights if _computes(model, name)), None):
            reason = (
                f"it computes {computed} from others, as with weight_norm, and the file has {computed} itself; call "
                "lc_core.fold(model) first, or build the model with new_model() of its Study"
            )
        raise ArtifactError(f"does not fit the model {type(model).__name__}: {reason}") from error


def _computes(model: nn.Module, name: str) -> bool:
    """Whether `model` has the weights that weight_norm and its like compute the weight `name` from."""
    module, _, kind = name.rpartition(".")
    parametrized, names = f"{module}.parametrizations.{kind}.".lstrip("."), model.state_dict()
    return name not in names and any(
        own.startswith(parametrized) or own in (f"{name}_v", f"{name}_orig") for own in names
    )


def decode(data: bytes) -> Artifact:
    """The content of a packed file's bytes; errors as those of its parts, which `read` puts in a line."""
    format = format_2.FORMAT if data.startswith(format_2.NAME) else format_1.FORMAT
    content = FORMATS[format].decode(data)
    metadata, arrays = content.metadata, content.arrays
    described = metadata["tasks"]
    check_sizes(described, len(data))
    prefixes = tuple(f"{number}:" for number in range(len(described)))
    thetas = tuple(
        _theta(task["theta"], {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        for prefix, task in zip(prefixes, described, strict=True)
    )
    governed = tuple(Governed(tuple(task["names"]), tuple(map(tuple, task["shapes"]))) for task in described)
    uncompressed = {name: array for name, array in arrays.items() if not name.startswith(prefixes)}
    tied = metadata.get("tied", {})
    stored = [name for each in governed for name in each.names] + list(uncompressed)
    names = [*stored, *tied]
    if len(set(names)) != len(names):
        raise FormError("a parameter is in it twice")
    if not set(tied.values()) <= set(stored):
        raise FormError("a parameter is tied to one that is not in it")
    if dumps(metadata_of(governed, thetas, tied, metadata["info"])) != dumps(metadata):
        raise FormError("its metadata are not written as this format's")
    sizes = {"payload_bytes": format_1.payload_bytes(content), "file_bytes": len(data), "format": format}
    return Artifact(metadata["info"], governed, thetas, uncompressed, tied, **sizes)


def _theta(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    theta = unpack(form, arrays)
    if theta.dtype not in WEIGHTS.values():
        raise FormError(f"expected weights of a type that layers have, got {theta.dtype}")
    stored = 8 * sum(byte_size(array) for array in arrays.values())
    if theta.storage_bits() != stored:
        raise FormError(f"expected {theta.storage_bits()} bits of arrays for {str(form)[:80]}, got {stored}")
    return theta
