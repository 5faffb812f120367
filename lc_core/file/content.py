"""The content of a packed file, whatever its format: JSON that describes the model, and named arrays."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lc_core.compression import Compressed
from lc_core.task import CompressionTask, Governed

ORDER = {
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
"""dtype -> its place and its name in a file. Arrays are stored in the reverse order of these dtypes, then by name."""


@dataclass(frozen=True, eq=False)
class Content:
    """What a packed file holds.

    Attributes:
        metadata: "tasks" with the forms of their Thetas, "tied" where names are tied, and "info".
        arrays: those of every Theta's `pack`, named "<task number>:<array>"; the uncompressed parameters and buffers
            under their own names.
    """

    metadata: dict[str, Any]
    arrays: dict[str, Tensor]

    @property
    def sorted_arrays(self) -> list[tuple[str, Tensor]]:
        """The arrays in the order in which they are stored."""
        return sorted(self.arrays.items(), key=lambda item: (-ORDER[item[1].dtype][0], item[0]))


def content_of(
    tasks: Sequence[CompressionTask],
    thetas: Sequence[Compressed],
    weights: Mapping[str, Tensor],
    *,
    info: Mapping[str, Any],
) -> Content:
    """The content of the file of `thetas`, of `tasks`, and of the other `weights`; meta tensors stay without values.

    ValueError where the file has no type for a tensor.
    """
    tied = _tied(tasks, weights)
    metadata = metadata_of([task.governed for task in tasks], thetas, tied, info)
    return Content(metadata, _arrays(tasks, thetas, weights, tied))


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
        if array.dtype not in ORDER:
            raise ValueError(f"{name}: expected a tensor of a type that the packed file has, got {array.dtype}")
    return arrays | theta_arrays(thetas)


def theta_arrays(thetas: Sequence[Compressed]) -> dict[str, Tensor]:
    """The arrays of every Theta's `pack`, under their names in a file."""
    return {f"{number}:{name}": array for number, theta in enumerate(thetas) for name, array in theta.pack().items()}


def metadata_of(
    governed: Sequence[Governed], thetas: Sequence[Compressed], tied: Mapping[str, str], info: Mapping[str, Any]
) -> dict[str, Any]:
    """The JSON that describes a model."""
    described = [
        {"names": each.names, "shapes": each.shapes, "theta": theta.form()}
        for each, theta in zip(governed, thetas, strict=True)
    ]
    noted = {"tied": {name: tied[name] for name in sorted(tied)}} if tied else {}
    return {"tasks": described} | noted | {"info": info}


def byte_size(array: Tensor) -> int:
    """Bytes of the values of an array."""
    return array.numel() * array.element_size()


def dumps(data: Mapping[str, Any]) -> str:
    """JSON as packed files have it: without spaces, not escaped to ASCII. ValueError where a number is not finite."""
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
