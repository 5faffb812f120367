"""A packed model in each form that it can run as: by ONNX Runtime, and in torch, dense and in its structure.

Without the extra `onnx`, in torch alone.
"""

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from lc_core.file.artifact import fill, read
from lc_core.onnx import has_onnx
from lc_core.structure.restructure import restructured
from sweep.bench.latency import Call
from sweep.study import Study

Runs = Literal["onnx", "torch", "torch, structured"]
"""How a model runs."""

SMALLEST = torch.finfo(torch.float32).smallest_normal


@dataclass(frozen=True, eq=False)
class Model:
    """A model that is timed.

    Attributes:
        name: of the job, or of the file.
        path: of the file, packed or ONNX.
        modules: in torch, in evaluation mode.
        onnx: the bytes of its ONNX file; None where there is none.
        denormals: how many of its weights are denormal numbers; None where it has no weights in torch.
    """

    name: str
    path: Path
    modules: Mapping[Runs, nn.Module]
    onnx: bytes | None
    denormals: int | None = None

    @property
    def forms(self) -> tuple[Runs, ...]:
        """How it can run."""
        return (*(("onnx",) if self.onnx is not None else ()), *self.modules)

    def call(self, runs: Runs, inputs: Tensor, *, threads: int) -> Call:
        """What computes its outputs of `inputs` when called: a copy of its own. torch takes the threads that it has."""
        if runs == "onnx":
            from lc_core.onnx.file import Runtime

            assert self.onnx is not None
            return Runtime(self.onnx, threads=threads).bound(inputs)
        module = copy.deepcopy(self.modules[runs])
        return lambda: module(inputs)


def packed_model(name: str, path: Path, study: Study, example: Tensor) -> Model:
    """The model in the packed file `path`.

    Raises:
        ArtifactError: the file is damaged, or of another model.
    """
    artifact, model = read(path), study.build_model().eval()
    fill(model, artifact)
    small = model
    with contextlib.suppress(ValueError):  # it does not run in its structure: it is measured dense
        small = restructured(artifact, model, example).model
    onnx = None
    if has_onnx():
        from lc_core.onnx.build import build
        from lc_core.onnx.file import seal

        with contextlib.suppress(ValueError):  # torch cannot export it: it is measured in torch alone
            onnx = seal(build(artifact, model, example), {})
    modules: dict[Runs, nn.Module] = {"torch": model}
    if _shapes(small) != _shapes(model):
        modules["torch, structured"] = small
    return Model(name, path, modules, onnx, _denormals(model))


def _shapes(model: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in model.state_dict().items()}


def _denormals(model: nn.Module) -> int:
    """Counted while they are not taken for zeros, as processes that are settled do."""
    torch.set_flush_denormal(False)
    try:
        floats = [tensor.double().abs() for tensor in model.state_dict().values() if tensor.is_floating_point()]
        return sum(int(((tensor > 0) & (tensor < SMALLEST)).sum()) for tensor in floats)
    finally:
        torch.set_flush_denormal(True)
