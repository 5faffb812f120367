"""Writes, checks and runs the ONNX files of lcsweep.

Reading runs no code from a file and opens no other file.
"""

import functools
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import ModelProto, StringStringEntryProto, TensorProto, checker, inliner, shape_inference
from torch import Tensor, nn

from lc_core.compression import FormError
from lc_core.file.artifact import ArtifactError, read_regular
from lc_core.file.limits import most
from lc_core.file.metadata import json_of
from lc_core.onnx.functions import DOMAIN, OPSET
from lc_core.onnx.limits import check_work, messages

FORMAT = 1
KEY = "lcsweep"


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """The content of an ONNX file.

    Attributes:
        claims: the writer's information on the model.
        data: the file's bytes.
    """

    claims: dict[str, Any]
    data: bytes


def seal(model: ModelProto, claims: Mapping[str, Any]) -> bytes:
    """The bytes of an ONNX file of `model` and JSON data `claims`, with a SHA-256 of both."""
    sealed = ModelProto()
    sealed.CopyFrom(model)
    del sealed.metadata_props[:]
    metadata: dict[str, Any] = {"format": FORMAT, "claims": dict(claims)}
    metadata["sha256"] = _digest(sealed, metadata)
    sealed.metadata_props.append(StringStringEntryProto(key=KEY, value=_dumps(metadata)))
    data: bytes = sealed.SerializeToString(deterministic=True)
    return data


def read(path: str | Path) -> OnnxFile:
    """The content of the ONNX file `path`, after checking that it is whole and refers to nothing else.

    Raises:
        ArtifactError: the file cannot be read, is cut, damaged, not lcsweep's or of a later version, refers to other
            files or to operators outside ONNX, or does not pass ONNX's checker.
    """
    data = read_regular(path)
    try:
        return OnnxFile(_checked(data), data)
    except (FormError, DecodeError, checker.ValidationError, shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ArtifactError(
            f"{path}: expected a whole ONNX file of lcsweep's, got one that cannot be read: {reason}; export it again"
        ) from error


class Runtime(nn.Module):
    """An ONNX file as a torch module: ONNX Runtime computes it, by default on one thread.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file or, when called, cannot run it on these inputs.
    """

    def __init__(self, data: bytes, *, threads: int = 1) -> None:
        super().__init__()
        self._session = _session(data, _options(threads))

    def example(self, *shape: int) -> Tensor:
        """Inputs of `shape` and of the file's input type: normal numbers of seed 0, or zeros for integers."""
        name = self._session.get_inputs()[0].type.removeprefix("tensor(").removesuffix(")")
        dtype = {"float": torch.float32, "double": torch.float64}.get(name) or getattr(torch, name, None)
        if not isinstance(dtype, torch.dtype):
            raise ArtifactError(f"ONNX Runtime: expected a model of numbers, got one that takes {name[:40]!r}")
        if not dtype.is_floating_point:
            return torch.zeros(shape, dtype=dtype)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs (n, ...) of `inputs` (n, ...)."""
        return torch.from_numpy(_attempt(self.bound(inputs))[0]).to(inputs.device)

    def bound(self, inputs: Tensor) -> Callable[[], Any]:
        """A function without arguments that computes the outputs of `inputs`, with no overhead around it."""
        return functools.partial(
            self._session.run, None, {self._session.get_inputs()[0].name: inputs.detach().cpu().numpy()}
        )


class RuntimeLacksError(ArtifactError):
    """ONNX Runtime cannot run a model: it lacks an operator for the model's types, say."""


def _attempt(call: Callable[[], Any]) -> Any:
    """The result of `call`. RuntimeLacksError where ONNX Runtime fails."""
    try:
        return call()
    except Exception as error:  # ONNX Runtime's own kinds, which have no other base
        reason = " ".join(str(error).split())[:300]
        raise RuntimeLacksError(f"ONNX Runtime: expected a model that it can run, got: {reason}") from error


def _session(data: bytes, options: Any) -> Any:
    """A session of the model. RuntimeLacksError where ONNX Runtime cannot load it."""
    providers = ["CPUExecutionProvider"]
    return _attempt(lambda: onnxruntime.InferenceSession(data, options, providers=providers, enable_fallback=0))


def folded(data: bytes) -> ModelProto:
    """The model as ONNX Runtime has it after loading: constants are computed and norms are merged into convolutions."""
    options = _options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(path)
        _session(data, options)
        return onnx.load(path, load_external_data=False)


def _options(threads: int = 1) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.force_spinning_stop", "1")  # frees the cores between runs
    options.log_severity_level = 4  # fatal errors: others are raised, and hold bytes of the file as they are
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _checked(data: bytes) -> dict[str, Any]:
    """The claims of a file. Raises the errors that `read` turns into one line."""
    model = ModelProto.FromString(data)
    for tensor in messages(model, TensorProto):
        if tensor.external_data or tensor.data_location != TensorProto.DEFAULT:
            raise FormError(f"its tensor {tensor.name[:80]!r} refers to another file")
        if min(tensor.dims, default=1) < 0 or math.prod(tensor.dims) > most(len(data)):
            raise FormError(f"its tensor {tensor.name[:80]!r} has {list(tensor.dims)[:8]} numbers in {len(data)} bytes")
    found = [entry.value for entry in model.metadata_props]
    if [entry.key for entry in model.metadata_props] != [KEY]:
        raise FormError(f"expected one metadata property, {KEY}, got {[e.key[:40] for e in model.metadata_props][:5]}")
    metadata = json_of(found[0])
    if not isinstance(metadata, dict) or not metadata.keys() >= {"format", "sha256", "claims"}:
        raise FormError("its metadata are not lcsweep's")
    if metadata["format"] != FORMAT:
        raise FormError(f"expected format {FORMAT}, got {metadata['format']!r}; a later lcsweep may read it")
    claimed = metadata.pop("sha256")
    del model.metadata_props[:]
    if _digest(model, metadata) != claimed:
        raise FormError("its contents do not match its SHA-256")
    domains = {domain.domain: domain.version for domain in model.opset_import}
    if domains.pop(DOMAIN, 1) != 1 or domains != {"": OPSET}:
        raise FormError(f"expected operators of ONNX's opset {OPSET} alone, got {domains}")
    check_work(model, len(data))
    _check(model, len(data))
    claims = metadata["claims"]
    if not isinstance(claims, dict):
        raise FormError("expected claims by name")
    return claims


def _check(model: ModelProto, file_bytes: int) -> None:
    """FormError where ONNX refuses the model, or loading it would make more numbers than the file's size can account
    for."""
    try:
        checker.check_model(model, full_check=True)
        inferred = shape_inference.infer_shapes(inliner.inline_local_functions(model), data_prop=True)
    except (RuntimeError, ValueError, MemoryError) as error:  # of ONNX, which alone runs here
        raise FormError(str(error)) from error
    total = 0
    for value in inferred.graph.value_info:
        sizes = [max(size.dim_value, 1) for size in value.type.tensor_type.shape.dim]
        total += int(np.prod(sizes, dtype=object)) if sizes else 1
    if total > most(file_bytes):
        raise FormError(f"it makes {total} numbers of {file_bytes} bytes")


def _digest(model: ModelProto, metadata: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(_dumps(metadata).encode())
    digest.update(model.SerializeToString(deterministic=True))
    return digest.hexdigest()


def _dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
