"""A packed model in each runtime: ONNX Runtime, torch with dense weights, and torch in the model's own structure.

Without the extra `onnx`, in torch alone.
"""

import contextlib
import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from lc_core.file.artifact import fill, read
from lc_core.onnx import has_onnx
from lc_core.structure.restructure import restructured
from lc_core.structure.surgery import StructureError
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest
from sweep.bench.latency import Call
from sweep.study import Study

RuntimeName = Literal["onnx", "torch", "torch, structured"]

SMALLEST = torch.finfo(torch.float32).smallest_normal


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is measured.

    Attributes:
        name: its job's id, or its file's name.
        path: of its file, packed or ONNX.
        modules: runtime -> the model in torch, in evaluation mode.
        onnx: the bytes of its ONNX file; None if there is none.
        denormals: how many of its weights are denormal numbers; None for an ONNX file.
        forward: how its modules run on the inputs.
        label: what it is called while it is measured; None for its name.
    """

    name: str
    path: Path
    modules: Mapping[RuntimeName, nn.Module]
    onnx: bytes | None
    denormals: int | None = None
    forward: Forward = call
    label: str | None = None

    @property
    def runtimes(self) -> tuple[RuntimeName, ...]:
        """Those that it can run in."""
        return (*(("onnx",) if self.onnx is not None else ()), *self.modules)

    def call(self, runtime: RuntimeName, inputs: Nest, *, threads: int) -> Call:
        """A function that computes the outputs of `inputs`, with a copy of the model of its own.

        `threads` is for ONNX Runtime; torch uses as many as the process has set.
        """
        if runtime == "onnx":
            from lc_core.onnx.file import Runtime

            assert self.onnx is not None
            return Runtime(self.onnx, threads=threads).bound(inputs)
        module = copy.deepcopy(self.modules[runtime])
        return functools.partial(self.forward, module, inputs)


def packed_model(name: str, path: Path, study: Study, example: Nest) -> Model:
    """The model in the packed file `path`.

    Raises:
        ArtifactError: the file is damaged, or of another model.
    """
    artifact, model, forward = read(path), study.new_model().eval(), study.forward
    fill(model, artifact)
    small = model
    with contextlib.suppress(StructureError):  # it does not run in its structure: it is measured dense
        small = restructured(artifact, model, example, forward=forward).model
    onnx = None
    if has_onnx():
        from lc_core.onnx.build import build
        from lc_core.onnx.file import seal
        from lc_core.onnx.graph import ExportError

        with contextlib.suppress(ExportError, StructureError):  # no ONNX file of it: it is measured in torch alone
            onnx = seal(build(artifact, model, example, forward=forward), {})
    modules: dict[RuntimeName, nn.Module] = {"torch": model}
    if _shapes(small) != _shapes(model):
        modules["torch, structured"] = small
    return Model(name, path, modules, onnx, _denormals(model), forward)


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _denormals(model: nn.Module) -> int:
    """How many weights are denormal numbers. Counted with flushing off, since it makes them equal to zero."""
    torch.set_flush_denormal(False)
    try:
        floats = [tensor.double().abs() for tensor in model.state_dict().values() if tensor.is_floating_point()]
        return sum(int(((tensor > 0) & (tensor < SMALLEST)).sum()) for tensor in floats)
    finally:
        torch.set_flush_denormal(True)
