"""Format 1 of the packed file: one zstd frame (level 19, with checksum) around one safetensors payload.

Its metadata has one key, "lcz", whose value is the JSON of the content, with the format and the SHA-256 of that and of
the arrays. The content determines every byte of the payload, and a reader refuses other bytes for the same content.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
import zstandard
from torch import Tensor

from lc_core.compression import FormError
from lc_core.file.content import ORDER, Content, byte_size, dumps
from lc_core.file.frames import LEVEL
from lc_core.file.limits import decompressed, header_of
from lc_core.file.metadata import check_metadata, json_of

FORMAT = 1
NO_HASH = "0" * 64


def encode(content: Content) -> bytes:
    """The bytes of a file. ValueError where the JSON holds a number that is not finite, or is too long."""
    metadata = {"format": FORMAT} | content.metadata
    text = dumps(metadata | {"sha256": digest(metadata, content.arrays)})
    payload = safetensors.torch.save(content.arrays, metadata={"lcz": text})
    header_of(payload)
    assert payload.startswith(_header(content, text)), "expected safetensors to write the header as format 1 says"
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(payload)


def payload_bytes(content: Content) -> int:
    """The size of a file of `content` before zstd; the arrays need no values."""
    text = dumps({"format": FORMAT} | content.metadata | {"sha256": NO_HASH})
    return len(_header(content, text)) + sum(map(byte_size, content.arrays.values()))


def decode(data: bytes) -> Content:
    """The content of a file. FormError, SafetensorError or ZstdError where it is not as `encode` writes it."""
    payload = decompressed(data)
    text, metadata = _metadata_of(payload)
    arrays = _arrays_of(payload)
    content = Content(metadata, arrays)
    if not payload.startswith(_header(content, text)):
        raise FormError("its header is not written as this format's")
    claimed = metadata.pop("sha256")
    if digest(metadata, arrays) != claimed:
        raise FormError("its contents do not match its SHA-256")
    if dumps(metadata | {"sha256": claimed}) != text:
        raise FormError("its metadata are not written as this format's")
    del metadata["format"]
    return content


def _header(content: Content, text: str) -> bytes:
    """The payload up to its arrays, as safetensors writes it: the length of the JSON, then the JSON padded with spaces.

    Args:
        content: its arrays may be on any device.
        text: the metadata.
    """
    header: dict[str, Any] = {"__metadata__": {"lcz": text}}
    offset = 0
    for name, array in content.sorted_arrays:
        end = offset + byte_size(array)
        header[name] = {"dtype": ORDER[array.dtype][1], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    written = dumps(header).encode()
    length = -(-len(written) // 8) * 8
    return length.to_bytes(8, "little") + written.ljust(length)


def _metadata_of(payload: bytes) -> tuple[str, dict[str, Any]]:
    """The metadata as written and as JSON. FormError where they have other fields than format 1."""
    header = json_of(header_of(payload))
    held = header.get("__metadata__") if isinstance(header, dict) else None
    text = held.get("lcz") if isinstance(held, dict) else None
    if not isinstance(text, str):
        raise FormError('expected the text "lcz" in __metadata__, got none')
    return text, check_metadata(json_of(text), ("sha256",), format=FORMAT)


def _arrays_of(payload: bytes) -> dict[str, Tensor]:
    """The arrays. FormError where safetensors refuses them, or a dtype is not in format 1."""
    try:
        arrays: dict[str, Tensor] = safetensors.torch.load(payload)
    except (KeyError, OverflowError, RuntimeError, ValueError) as error:  # of safetensors, which alone runs here
        raise FormError(f"expected arrays as safetensors writes them, got others: {error}") from error
    if not all(array.dtype in ORDER for array in arrays.values()):
        raise FormError("it holds arrays of a type that no layer has")
    return arrays


def digest(metadata: Mapping[str, Any], arrays: Mapping[str, Tensor]) -> str:
    """The SHA-256 of the metadata and the arrays, in hexadecimal digits."""
    digest = hashlib.sha256(dumps(metadata).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
