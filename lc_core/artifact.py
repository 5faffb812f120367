"""The packed file `.lcz`: a compressed model's weights in the bytes that they need.

One zstd frame (level 19, with checksum) around one safetensors payload: `zstd -d` gives a file that safetensors reads.
Its arrays are those of every Theta's `pack`, under "<task number>:<array>", and the uncompressed parameters and buffers
under their own names. Its metadata has one key, "lcz", whose value is JSON: the format's version, the tasks with the
forms of their Thetas, what the writer said of the model, and the SHA-256 of all that and of the arrays.
Reading runs nothing that a file names.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import zstandard
from safetensors import SafetensorError
from torch import Tensor, nn

from lc_core.compression import Compressed, numel
from lc_core.forms import unpack
from lc_core.task import CompressionTask, Governed

FORMAT = 1
LEVEL = 19
LARGEST_RATIO = 2048
SLACK = 64 << 20
"""A frame may declare LARGEST_RATIO times its own bytes and SLACK more; anything larger is taken for an attack."""
NO_HASH = "0" * 64
HEADER_ALLOWANCE = 512
"""Bytes of the header that name a parameter's arrays and forms: more than any takes."""


class ArtifactError(ValueError):
    """A file is not a whole, undamaged packed model; the message is one line that names it."""


@dataclass(frozen=True, eq=False)
class Artifact:
    """What a packed file holds.

    Attributes:
        info: what the writer said of the model (study, configuration, metrics, ...).
        governed: the parameters under each Theta.
        thetas: one for each of `governed`.
        uncompressed: parameters and buffers stored as they are, by name.
        payload_bytes: the file's size before zstd.
        file_bytes: the file's size.
    """

    info: dict[str, Any]
    governed: tuple[Governed, ...]
    thetas: tuple[Compressed, ...]
    uncompressed: dict[str, Tensor]
    payload_bytes: int
    file_bytes: int

    def weights(self) -> dict[str, Tensor]:
        """All parameters and buffers, decompressed, by name."""
        weights = dict(self.uncompressed)
        for governed, theta in zip(self.governed, self.thetas, strict=True):
            weights |= governed.scatter(theta.decompress())
        return weights


def encode(
    tasks: Sequence[CompressionTask],
    thetas: Sequence[Compressed],
    weights: Mapping[str, Tensor],
    *,
    info: Mapping[str, Any],
) -> bytes:
    """The packed file's bytes: `thetas` of `tasks`, and all of `weights` that no task governs.

    Args:
        tasks: what governs which parameters.
        thetas: one a task.
        weights: the model's parameters and buffers, by name; those that a task governs are ignored.
        info: JSON data that travels with the model.
    """
    arrays = _arrays(tasks, thetas, weights)
    arrays = {name: array.detach().cpu().contiguous() for name, array in arrays.items()}
    metadata = _metadata(tasks, thetas, info)
    metadata["sha256"] = _digest(metadata, arrays)
    payload = safetensors.torch.save(arrays, metadata={"lcz": _dumps(metadata)})
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(payload)


def nominal_bytes(tasks: Sequence[CompressionTask], weights: Mapping[str, Tensor], *, info: Mapping[str, Any]) -> int:
    """Bytes of the payload, before zstd, that `encode` will make: from shapes and hyperparameters alone.

    Exact where every task has a fixed size, given an `info` whose JSON has the length that it will have. The other
    tasks count as if they compressed nothing, and took HEADER_ALLOWANCE a parameter to say how: an upper bound.
    """
    outlines = [task.outline_or_dense() for task in tasks]
    unknown = sum(len(task.governed.names) for task in tasks if task.outline() is None)
    arrays = _arrays(tasks, outlines, weights)
    metadata = _metadata(tasks, outlines, info) | {"sha256": NO_HASH}
    header: dict[str, Any] = {"__metadata__": {"lcz": _dumps(metadata)}}
    offset = 0
    for name, array in sorted(arrays.items(), key=lambda item: (-_ORDER[item[1].dtype][0], item[0])):
        end = offset + array.numel() * array.element_size()
        header[name] = {"dtype": _ORDER[array.dtype][1], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    length = len(_dumps(header).encode())
    return 8 + -(-length // 8) * 8 + offset + HEADER_ALLOWANCE * unknown


def read(path: str | Path) -> Artifact:
    """What the packed file `path` holds.

    Raises:
        ArtifactError: the file cannot be read, or is cut, damaged, of another format or of a later version.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return _decode(data)
    except (ValueError, KeyError, TypeError, RecursionError, SafetensorError, zstandard.ZstdError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ArtifactError(
            f"{path}: expected a whole packed model (.lcz), got one that cannot be read: {reason}; make it again"
        ) from error


def load(path: str | Path, model: nn.Module) -> Artifact:
    """What `path` holds, after writing its weights into `model`, which the caller builds.

    Raises:
        ArtifactError: as `read`, or the model has other parameters than the file.
    """
    artifact = read(path)
    try:
        model.load_state_dict(artifact.weights())
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise ArtifactError(f"{path}: does not fit the model {type(model).__name__}: {reason}") from error
    return artifact


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
            (torch.float16, "F16"),
            (torch.bfloat16, "BF16"),
            (torch.int32, "I32"),
            (torch.float32, "F32"),
            (torch.float64, "F64"),
            (torch.int64, "I64"),
        ]
    )
}
"""safetensors lays arrays out from the last of these to the first, then by name."""


def _arrays(
    tasks: Sequence[CompressionTask], thetas: Sequence[Compressed], weights: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    governed = {name for task in tasks for name in task.governed.names}
    arrays = {name: tensor for name, tensor in weights.items() if name not in governed}
    for number, theta in enumerate(thetas):
        arrays |= {f"{number}:{name}": array for name, array in theta.pack().items()}
    return arrays


def _metadata(
    tasks: Sequence[CompressionTask], thetas: Sequence[Compressed], info: Mapping[str, Any]
) -> dict[str, Any]:
    described = [
        {"names": task.governed.names, "shapes": task.governed.shapes, "theta": theta.form()}
        for task, theta in zip(tasks, thetas, strict=True)
    ]
    return {"format": FORMAT, "tasks": described, "info": info}


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)


def _digest(metadata: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(_dumps(metadata).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _decode(data: bytes) -> Artifact:
    payload = _decompress(data)
    header_length = int.from_bytes(payload[:8], "little")
    if header_length > len(payload) - 8:
        raise ValueError("its header is cut")
    header = json.loads(payload[8 : 8 + header_length])
    metadata = json.loads(header["__metadata__"]["lcz"])
    if metadata["format"] != FORMAT:
        raise ValueError(f"expected format {FORMAT}, got {metadata['format']!r}; a later lcsweep may read it")
    arrays = safetensors.torch.load(payload)
    claimed = metadata.pop("sha256")
    if _digest(metadata, arrays) != claimed:
        raise ValueError("its contents do not match its SHA-256")
    described = metadata["tasks"]
    _check_sizes(described, len(payload))
    prefixes = tuple(f"{number}:" for number in range(len(described)))
    thetas = [
        unpack(task["theta"], {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        for prefix, task in zip(prefixes, described, strict=True)
    ]
    return Artifact(
        info=metadata["info"],
        governed=tuple(Governed(tuple(task["names"]), tuple(map(tuple, task["shapes"]))) for task in described),
        thetas=tuple(thetas),
        uncompressed={name: array for name, array in arrays.items() if not name.startswith(prefixes)},
        payload_bytes=len(payload),
        file_bytes=len(data),
    )


def _check_sizes(described: Sequence[Mapping[str, Any]], payload_bytes: int) -> None:
    """ValueError where a file of these tasks would take more memory than its size can account for.

    A code takes no bits where the codebook has one entry, and an index none where nothing is kept, so shapes alone
    would let a small file fill any memory.
    """
    total = 0
    for task in described:
        shapes = [tuple(shape) for shape in task["shapes"]]
        governed = Governed(tuple(task["names"]), tuple(shapes))
        if len(set(governed.names)) != len(shapes) or not shapes:
            raise ValueError(f"expected a shape for each of {list(governed.names)}, got {shapes}")
        total += _declared(task["theta"], list(governed.shape))
    if total > LARGEST_RATIO * payload_bytes + SLACK:
        raise ValueError(f"it declares {total} numbers in {payload_bytes} bytes")


def _declared(form: Mapping[str, Any], shape: list[int]) -> int:
    """How many numbers a form makes of `shape`, those on the way included. ValueError where it has another shape."""
    if form["shape"] != shape or not all(type(size) is int and size >= 0 for size in form["shape"]):
        raise ValueError(f"expected the shape {shape} in whole numbers, got {form['shape']}")
    listed = [value if isinstance(value, list) else [value] for value in form.values()]
    children = [child for values in listed for child in values if isinstance(child, dict)]
    return numel(tuple(shape)) + _on_the_way(form) + sum(_declared(child, list(child["shape"])) for child in children)


def _on_the_way(form: Mapping[str, Any]) -> int:
    """How many numbers decompressing a form makes besides those of its shape and its children."""
    match form:
        case {"form": "circulant", "shape": [n, m, *kernel], "block": int(block)} if block > 0:
            rows, columns = -(-n // block) * block, -(-m // block) * block
            whole: int = rows * columns * numel(tuple(kernel)) + block**2
            return whole
        case {"form": "cp", "shape": [_, *others], "factors": [{"shape": [_, int(rank)]}, *_]}:
            return numel(tuple(others)) * rank
    return 0


def _decompress(data: bytes) -> bytes:
    if data[:4] != zstandard.FRAME_HEADER:
        raise ValueError("it does not begin as a zstd frame")
    declared = zstandard.get_frame_parameters(data).content_size
    if not 0 < declared <= LARGEST_RATIO * len(data) + SLACK:
        raise ValueError(f"it declares {declared} bytes in a frame of {len(data)}")
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    payload = decompressor.decompress(data)
    if not decompressor.eof or len(payload) != declared:
        raise ValueError("it is cut short")
    if decompressor.unused_data:
        raise ValueError(f"it has {len(decompressor.unused_data)} bytes after its end")
    return payload
