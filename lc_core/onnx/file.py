"""Writes, checks and runs the ONNX files of lcsweep.

Reading runs no code from a file and opens no other file.
"""

import functools
import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from lc_core.training.nest import Nest, leaves, map_nest, named_leaves

FORMAT = 1
KEY = "lcsweep"
INPUT, OUTPUT = "input", "output"
MOST_INPUTS = 1 << 22
"""The numbers of one example; `bench` makes up to 64 examples of a file's own shapes."""


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

    It takes inputs as the study has them, in one argument: a tensor, or a nest of them, of which it reads those that
    the file names. It gives a tensor or a tuple of them; with `like`, a nest of that kind.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file or, when called, cannot run it on these inputs.
    """

    def __init__(self, data: bytes, *, threads: int = 1, like: Nest = None) -> None:
        super().__init__()
        self._session, self._like = _session(data, _options(threads)), like

    def example(self, n: int) -> Nest:
        """`n` inputs of the shapes and types that the file states: normal numbers of seed 0, or zeros for integers.

        ArtifactError where it states none, or an example has more than MOST_INPUTS numbers.
        """
        stated = {each.name: (_dtype(each.type), list(each.shape)[1:]) for each in self._session.get_inputs()}
        shapes = [shape for _, shape in stated.values()]
        sizes = [size for shape in shapes for size in shape]
        if not all(type(size) is int and size > 0 for size in sizes) or sum(map(math.prod, shapes)) > MOST_INPUTS:
            raise ArtifactError(
                f"ONNX Runtime: expected inputs of stated sizes, at most {MOST_INPUTS:,} numbers, "
                f"got {str(shapes)[:70]}"
            )
        generator = torch.Generator().manual_seed(0)
        made = {name: _numbers((n, *shape), dtype, generator) for name, (dtype, shape) in stated.items()}
        if [*made] == [INPUT]:
            return made[INPUT]
        return {name.removeprefix(f"{INPUT}."): tensor for name, tensor in made.items()}

    def forward(self, inputs: Nest) -> Nest:
        """The outputs (n, ...) of `inputs` (n, ...)."""
        device = next((leaf.device for leaf in leaves(inputs)), "cpu")
        outputs = _attempt(lambda: tuple(torch.from_numpy(each).to(device) for each in self.bound(inputs)()))
        if self._like is None:
            return outputs if len(outputs) > 1 else outputs[0]
        if (expected := len(list(leaves(self._like)))) != len(outputs):
            raise ArtifactError(f"ONNX Runtime: expected a model of {expected} outputs, got {len(outputs)}")
        each = iter(outputs)
        return map_nest(lambda _: next(each), self._like)

    def named(self, outputs: Nest) -> dict[str, Tensor]:
        """The outputs by their names in the file."""
        return dict(zip((each.name for each in self._session.get_outputs()), leaves(outputs), strict=True))

    def bound(self, inputs: Nest) -> Callable[[], Any]:
        """A function without arguments that computes the outputs of `inputs`, with no overhead around it."""
        return functools.partial(self._session.run, None, self.arrays(inputs))

    def arrays(self, inputs: Nest) -> dict[str, npt.NDArray[Any]]:
        """Those of `inputs` that the file reads, by their names in it."""
        return arrays(inputs, {each.name for each in self._session.get_inputs()})


def run_file(runtime: nn.Module, inputs: Nest) -> Nest:
    """How a `Runtime` runs in place of the model that its file was made from, whatever forward that one has."""
    return runtime(inputs)


def arrays(inputs: Nest, names: Collection[str]) -> dict[str, npt.NDArray[Any]]:
    """Those of a file's inputs that have one of `names`, for ONNX Runtime."""
    return {name: leaf.detach().cpu().numpy() for name, leaf in named_leaves(inputs, INPUT) if name in names}


def _dtype(kind: str) -> torch.dtype:
    """The torch type of an ONNX type such as "tensor(float)"."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    dtype = {"float": torch.float32, "double": torch.float64}.get(name) or getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ArtifactError(f"ONNX Runtime: expected a model of numbers, got one that takes {name[:40]!r}")
    return dtype


def _numbers(shape: Sequence[int], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    if not dtype.is_floating_point:
        return torch.zeros(shape, dtype=dtype)
    return torch.randn(shape, generator=generator).to(dtype)


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
