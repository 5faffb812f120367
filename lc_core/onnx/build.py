"""Builds an ONNX file of a packed model: the graph, and the weights in their compressed form.

`build` takes the packed file and the model that the user builds. `lc_core.onnx.file` writes, reads and runs the file.
"""

import copy
import math
from collections.abc import Mapping

import torch
from onnx import GraphProto, ModelProto, helper
from torch import Tensor, nn

from lc_core.file.artifact import Artifact, ArtifactError, fill
from lc_core.onnx.decoders import Decoder
from lc_core.onnx.file import Runtime, folded
from lc_core.onnx.functions import DOMAIN, OPSET, needed
from lc_core.onnx.graph import INPUT, IR_VERSION, ExportError, open_graph
from lc_core.structure.restructure import restructured
from lc_core.structure.weights import Weight
from lc_core.training.loop import predict
from lc_core.training.nest import told_of

TOLERANCE = 1e-5


def build(artifact: Artifact, model: nn.Module, example: Tensor) -> ModelProto:
    """The graph of the packed model `artifact`, for batches of any size, with the nodes that decode its weights.

    Codes, sparse indices and narrow dtypes are stored as in the packed file. Functions in the ONNX file decode them,
    and ONNX Runtime runs these once, at load. Low rank, Tucker and CP run as layers where that takes fewer
    multiply-accumulates. Pruned groups are removed. Circulant blocks become dense weights at load.

    Args:
        artifact: the content of the packed file.
        model: the model of the packed file, built by the caller; not changed.
        example: inputs, (n, ...).

    Raises:
        ArtifactError: the model has other parameters than the file.
        ExportError: torch cannot export the model.
        StructureError: the model, once restructured, has other outputs.
    """
    running = restructured(artifact, model, example, spectral_from=None)
    return filled(open_graph(running.model.eval(), example, names=list(running.weights)), running.weights)


def filled(opened: GraphProto, weights: Mapping[str, Weight]) -> ModelProto:
    """The graph `opened`, which takes weights as inputs, with the nodes that decode `weights` instead."""
    graph, decoder = GraphProto(), Decoder()
    graph.CopyFrom(opened)
    values = {each.name: decoder.weight(each.name, weights[each.name]) for each in graph.input[1:]}
    for node in graph.node:
        node.input[:] = [values.get(name, name) for name in node.input]
    nodes = [*decoder.nodes, *graph.node]
    del graph.node[:], graph.input[1:]
    graph.node.extend(nodes)
    graph.initializer.extend(decoder.initializers.values())
    functions = needed(decoder.functions)
    domains = [helper.make_opsetid("", OPSET), *[helper.make_opsetid(DOMAIN, 1)][: len(functions)]]
    return helper.make_model(graph, opset_imports=domains, functions=functions, ir_version=IR_VERSION)


def parity(data: bytes, artifact: Artifact, model: nn.Module, inputs: Tensor) -> float:
    """The largest difference between ONNX Runtime's outputs of an ONNX file and torch's of the packed model on
    `inputs`.

    It is relative to the largest output, or to 1 where that is smaller.

    Raises:
        ArtifactError: the difference is above TOLERANCE (in half precision: above two steps of its numbers near 1), or
            the model has other parameters than the packed file.
        ExportError: the model has other outputs than one tensor.
    """
    difference, types = _apart(data, artifact, model, inputs)
    half = [2 * torch.finfo(dtype).eps for dtype in types if dtype.itemsize < 4]
    allowed = max([TOLERANCE, *half])
    if not difference <= allowed:
        raise ArtifactError(
            f"ONNX: expected outputs within {allowed:g} of torch's, relative to the largest, got {difference:.3g}"
        )
    return difference


def difference(data: bytes, artifact: Artifact, model: nn.Module, inputs: Tensor) -> float:
    """The same without a limit, for a file that computes in eight bits. ArtifactError where it is no finite number."""
    found, _ = _apart(data, artifact, model, inputs)
    if not math.isfinite(found):
        raise ArtifactError("ONNX: expected finite outputs, got NaN or infinity")
    return found


def _apart(data: bytes, artifact: Artifact, model: nn.Module, inputs: Tensor) -> tuple[float, set[torch.dtype]]:
    """The largest difference of outputs, relative to the largest output or 1; and the types that torch computes in."""
    whole = copy.deepcopy(model).eval()
    fill(whole, artifact)
    expected, got = predict(whole, inputs), predict(Runtime(data), inputs)
    if not isinstance(expected, Tensor):
        raise ExportError(f"{type(model).__name__}: expected one output tensor for ONNX, got {told_of(expected)}")
    if got.shape != expected.shape:
        raise ArtifactError(f"ONNX: expected outputs of shape {tuple(expected.shape)}, got {tuple(got.shape)}")
    types = {tensor.dtype for tensor in (expected, *whole.parameters()) if tensor.is_floating_point()}
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1)), types


def decoded_at_run(data: bytes) -> list[str]:
    """The operators of an ONNX file that depend on no input but that ONNX Runtime repeats in every run.

    Only where decoding a weight makes more than a gigabyte, the most that ONNX Runtime computes at load.
    """
    graph = folded(data).graph
    depends = {INPUT}
    left = []
    for node in graph.node:
        if depends.isdisjoint(node.input):
            left.append(node.op_type)
        else:
            depends.update(node.output)
    return left
