"""The packed file `.lcz`: a compressed model's weights in the bytes that they need.

One zstd frame (level 19, with checksum) around one safetensors payload: `zstd -d` gives a file that safetensors reads.
Its arrays are those of every Theta's `pack`, named "<task number>:<array>", and the uncompressed parameters and buffers
under their own names. Its metadata has one key, "lcz", whose value is JSON: the format's version, the tasks with the
forms of their Thetas, the writer's information on the model, and the SHA-256 of all that and of the arrays. The content
determines every byte of the payload, and a reader refuses other bytes for the same content. docs/artifact.md describes
the format. Reading runs no code from a file.
"""

import hashlib
import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import zstandard
from safetensors import SafetensorError
from torch import Tensor, nn

from lc_core.compression import Compressed, Form, FormError, numel
from lc_core.compressions.budget import Budget
from lc_core.compressions.cast import WEIGHTS
from lc_core.file.forms import unpack
from lc_core.file.limits import check_sizes, decompressed, header_of
from lc_core.file.metadata import FORMAT, metadata_of
from lc_core.numerics.packing import DamagedError
from lc_core.task import CompressionTask, Governed, by_layer

LEVEL = 19
NO_HASH = "0" * 64
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
        payload_bytes: the file's size before zstd.
        file_bytes: the file's size.
    """

    info: dict[str, Any]
    governed: tuple[Governed, ...]
    thetas: tuple[Compressed, ...]
    uncompressed: dict[str, Tensor]
    tied: dict[str, str]
    payload_bytes: int
    file_bytes: int

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
) -> bytes:
    """The bytes of the packed file: `thetas` of `tasks`, and the other `weights` uncompressed.

    Args:
        tasks: the compressions and their parameters.
        thetas: Theta of each task.
        weights: the model's parameters and buffers, by name, as `state_dict` gives them; those of a task are ignored.
            Names of tensors that share their memory are tied, and stored once.
        info: JSON data to store with the model.

    Raises:
        ValueError: `info` holds a number that is not finite, or is too long; the file has no type for a tensor.
    """
    tasks, thetas = by_layer(tasks, thetas)
    tied = _tied(tasks, weights)
    arrays = _arrays(tasks, thetas, weights, tied)
    arrays = {name: array.detach().cpu().contiguous() for name, array in arrays.items()}
    metadata = _metadata([task.governed for task in tasks], thetas, tied, info)
    text = _dumps(metadata | {"sha256": _digest(metadata, arrays)})
    payload = safetensors.torch.save(arrays, metadata={"lcz": text})
    header_of(payload)
    assert payload.startswith(_header(arrays, text)), "expected safetensors to write the header as format 1 says"
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(payload)


def nominal_bytes(tasks: Sequence[CompressionTask], weights: Mapping[str, Tensor], *, info: Mapping[str, Any]) -> int:
    """Bytes of the payload of `encode`, before zstd, from shapes and hyperparameters alone.

    Exact where every task has a fixed size and the JSON of `info` has its final length. Otherwise an upper bound: tasks
    of unknown size count as uncompressed, plus HEADER_ALLOWANCE for each parameter. A budget of bytes counts as
    that, with the longest header that its layers can choose.
    """
    outlines: list[Compressed] = []
    allowance = 0
    for task in tasks:
        shape, budget = task.governed.shape, task.compression
        if isinstance(budget, Budget):
            longest, most = budget.longest(shape), 4 * numel(shape)
            outlines.append(longest)
            allowance += OFFSETS_ALLOWANCE * len(longest.pack()) - longest.storage_bits() // 8
            allowance += most if budget.bytes is None else min(most, budget.bytes)
        else:
            outlines.append(task.outline_or_dense())
            allowance += HEADER_ALLOWANCE * len(task.governed.names) if task.outline() is None else 0
    tasks, thetas = by_layer(tasks, outlines)
    tied = _tied(tasks, weights)
    arrays = _arrays(tasks, thetas, weights, tied)
    metadata = _metadata([task.governed for task in tasks], thetas, tied, info) | {"sha256": NO_HASH}
    size = sum(_byte_size(array) for array in arrays.values())
    return len(_header(arrays, _dumps(metadata))) + size + allowance


def read(path: str | Path) -> Artifact:
    """The content of the packed file `path`.

    Raises:
        ArtifactError: the file cannot be read, or is cut, damaged, of another format or of a later version.
    """
    data = read_regular(path)
    try:
        return _decode(data)
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
    try:
        model.load_state_dict(artifact.weights())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"does not fit the model {type(model).__name__}: {reason}") from error


_ORDER = {
    dtype: (place, name)
    for place, (dtype, name) in enumerate(
        [
            (torch.bool, "BOOL"),
            (torch.uint8, "U8"),
            (torch.int8, "I8"),
            (torch.float8_e5m2, "F8_E5M2"),
            (torch.float8_e4m3fn, "F8_E4M3"),
            (torch.int16, "I16"),
            (torch.uint16, "U16"),
            (torch.float16, "F16"),
            (torch.bfloat16, "BF16"),
            (torch.int32, "I32"),
            (torch.uint32, "U32"),
            (torch.float32, "F32"),
            (torch.complex64, "C64"),
            (torch.float64, "F64"),
            (torch.int64, "I64"),
            (torch.uint64, "U64"),
        ]
    )
}
"""safetensors stores arrays in the reverse order of these dtypes, then by name."""


def _tied(tasks: Sequence[CompressionTask], weights: Mapping[str, Tensor]) -> dict[str, str]:
    """Name in `weights` -> the name of the same memory that is stored: that of a task, or else the first."""
    governed = {name for task in tasks for name in task.governed.names}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in sorted(weights.items(), key=lambda item: item[0] not in governed):  # stable
        first.setdefault(_memory(name, tensor), name)
    found = {name: first[_memory(name, tensor)] for name, tensor in weights.items()}
    return {name: found[name] for name in sorted(found) if found[name] != name and name not in governed}


def _memory(name: str, tensor: Tensor) -> tuple[Any, ...]:
    """What two names of one tensor have in common, and no two tensors."""
    if tensor.is_meta or not tensor.numel():
        return (name,)
    return tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride()


def _arrays(
    tasks: Sequence[CompressionTask],
    thetas: Sequence[Compressed],
    weights: Mapping[str, Tensor],
    tied: Mapping[str, str],
) -> dict[str, Tensor]:
    elsewhere = {name for task in tasks for name in task.governed.names} | tied.keys()
    arrays = {name: tensor for name, tensor in weights.items() if name not in elsewhere}
    for name, array in arrays.items():
        if array.dtype not in _ORDER:
            raise ValueError(f"{name}: expected a tensor of a type that the packed file has, got {array.dtype}")
    for number, theta in enumerate(thetas):
        arrays |= {f"{number}:{name}": array for name, array in theta.pack().items()}
    return arrays


def _metadata(
    governed: Sequence[Governed], thetas: Sequence[Compressed], tied: Mapping[str, str], info: Mapping[str, Any]
) -> dict[str, Any]:
    described = [
        {"names": each.names, "shapes": each.shapes, "theta": theta.form()}
        for each, theta in zip(governed, thetas, strict=True)
    ]
    noted = {"tied": {name: tied[name] for name in sorted(tied)}} if tied else {}
    return {"format": FORMAT, "tasks": described} | noted | {"info": info}


def _header(arrays: Mapping[str, Tensor], text: str) -> bytes:
    """The payload up to its arrays, as safetensors writes it: the length of the JSON, then the JSON padded with spaces.

    Args:
        arrays: on any device.
        text: the metadata.
    """
    header: dict[str, Any] = {"__metadata__": {"lcz": text}}
    offset = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-_ORDER[item[1].dtype][0], item[0])):
        end = offset + _byte_size(array)
        header[name] = {"dtype": _ORDER[array.dtype][1], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    written = _dumps(header).encode()
    length = -(-len(written) // 8) * 8
    return length.to_bytes(8, "little") + written.ljust(length)


def _byte_size(array: Tensor) -> int:
    return array.numel() * array.element_size()


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _digest(metadata: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_dumps(metadata).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _decode(data: bytes) -> Artifact:
    payload = decompressed(data)
    text, metadata = metadata_of(payload)
    arrays = _arrays_of(payload)
    if not payload.startswith(_header(arrays, text)):
        raise FormError("its header is not written as this format's")
    claimed = metadata.pop("sha256")
    if _digest(metadata, arrays) != claimed:
        raise FormError("its contents do not match its SHA-256")
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
    if _dumps(_metadata(governed, thetas, tied, metadata["info"]) | {"sha256": claimed}) != text:
        raise FormError("its metadata are not written as this format's")
    sizes = {"payload_bytes": len(payload), "file_bytes": len(data)}
    return Artifact(metadata["info"], governed, thetas, uncompressed, tied, **sizes)


def _arrays_of(payload: bytes) -> dict[str, Tensor]:
    """The arrays. FormError where safetensors refuses them, or a dtype is not in format 1."""
    try:
        arrays: dict[str, Tensor] = safetensors.torch.load(payload)
    except (KeyError, OverflowError, RuntimeError, ValueError) as error:  # of safetensors, which alone runs here
        raise FormError(f"expected arrays as safetensors writes them, got others: {error}") from error
    if not all(array.dtype in _ORDER for array in arrays.values()):
        raise FormError("it holds arrays of a type that no layer has")
    return arrays


def _theta(form: Form, arrays: Mapping[str, Tensor]) -> Compressed:
    theta = unpack(form, arrays)
    if theta.dtype not in WEIGHTS.values():
        raise FormError(f"expected weights of a type that layers have, got {theta.dtype}")
    stored = 8 * sum(_byte_size(array) for array in arrays.values())
    if theta.storage_bits() != stored:
        raise FormError(f"expected {theta.storage_bits()} bits of arrays for {str(form)[:80]}, got {stored}")
    return theta
