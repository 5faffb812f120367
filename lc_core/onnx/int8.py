"""ONNX models that compute in eight bits: ONNX Runtime's tools quantize weights and activations."""

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import ModelProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

from lc_core.compressions.uniform import Granularity
from lc_core.onnx.file import arrays, folded
from lc_core.onnx.graph import quiet, stripped
from lc_core.training.data import Split
from lc_core.training.nest import Nest, leaves, map_nest

Int8 = Literal["static", "dynamic"]
EXAMPLES = 512
"""The number of examples that give the ranges of activations."""
BATCH = 64


def quantized(
    data: bytes, *, kind: Int8, inputs: Nest, granularity: Granularity = "channel", symmetric: bool = False
) -> ModelProto:
    """The model of an ONNX file in eight bits. Weights are stored in eight bits, however they were stored before.

    Weights are symmetric and use seven of the eight bits: on processors without VNNI, sums of eight-by-eight-bit
    products saturate, and results would depend on the processor. Static: some of `inputs` give fixed ranges of the
    activations. Dynamic: every run measures the ranges.

    Args:
        data: the file's bytes.
        kind: how activations are quantized.
        inputs: training data, (n, ...).
        granularity: "channel" for a scale of each output channel's weights, "tensor" for one of all.
        symmetric: whether static ranges of the activations reach as far below 0 as above.
    """
    per_channel = granularity == "channel"
    with tempfile.TemporaryDirectory() as folder, quiet():
        made = Path(folder) / "int8.onnx"
        model = folded(data)
        if kind == "dynamic":
            quantize_dynamic(model, made, per_channel=per_channel, reduce_range=True, weight_type=QuantType.QInt8)
        else:
            quantize_static(
                model,
                made,
                _Examples(inputs, read={each.name for each in model.graph.input}),
                quant_format=QuantFormat.QDQ,
                per_channel=per_channel,
                reduce_range=True,
                activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"ActivationSymmetric": symmetric},
            )
        return stripped(onnx.load(made, load_external_data=False))


class _Examples(CalibrationDataReader):  # type: ignore[misc] # ONNX Runtime has no type hints
    """Batches of a fixed sample of the inputs."""

    def __init__(self, inputs: Nest, *, read: Collection[str]) -> None:
        n = len(next(leaves(inputs)))
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0))[:EXAMPLES]
        sample = map_nest(lambda leaf: leaf[order.to(leaf.device)], inputs)
        self._read, self._batches = read, Split(sample, None).parts(BATCH)

    def get_next(self) -> dict[str, np.ndarray] | None:
        inputs, _ = next(self._batches, (None, None))
        return None if inputs is None else arrays(inputs, self._read)
