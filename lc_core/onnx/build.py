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
from lc_core.onnx.file import Runtime, folded, run_file
from lc_core.onnx.functions import DOMAIN, OPSET, needed
from lc_core.onnx.graph import IR_VERSION, open_graph
from lc_core.structure.restructure import restructured
from lc_core.structure.weights import Weight
from lc_core.training.data import Forward, Split, call
from lc_core.training.loop import predictions
from lc_core.training.nest import Nest, leaves, told_of

TOLERANCE = 1e-5


def build(artifact: Artifact, model: nn.Module, example: Nest, *, forward: Forward = call) -> ModelProto:
    """The graph of the packed model `artifact`, for batches of any size, with the nodes that decode its weights.

    Codes, sparse indices and narrow dtypes are stored as in the packed file. Functions in the ONNX file decode them,
    and ONNX Runtime runs these once, at load. Low rank, Tucker and CP run as layers where that takes fewer
    multiply-accumulates. Pruned groups are removed. Circulant blocks become dense weights at load.

    Args:
        artifact: the content of the packed file.
        model: the model of the packed file, built by the caller; not changed.
        example: inputs, (n, ...): a tensor, or a nest of several.
        forward: how the model runs on them.

    Raises:
        ArtifactError: the model has other parameters than the file.
        ExportError: torch cannot export the model.
        StructureError: the model, once restructured, has other outputs.
    """
    running = restructured(artifact, model, example, spectral_from=None, forward=forward)
    graph = open_graph(running.model.eval(), example, names=list(running.weights), forward=forward)
    return filled(graph, running.weights)


def filled(opened: GraphProto, weights: Mapping[str, Weight]) -> ModelProto:
    """The graph `opened`, which takes weights as inputs, with the nodes that decode `weights` instead."""
    graph, decoder = GraphProto(), Decoder()
    graph.CopyFrom(opened)
    own = [each for each in opened.input if each.name not in weights]
    opens = [each.name for each in opened.input if each.name in weights]
    values = {name: decoder.weight(name, weights[name]) for name in opens}
    for node in graph.node:
        node.input[:] = [values.get(name, name) for name in node.input]
    nodes = [*decoder.nodes, *graph.node]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(own)
    graph.initializer.extend(decoder.initializers.values())
    functions = needed(decoder.functions)
    domains = [helper.make_opsetid("", OPSET), *[helper.make_opsetid(DOMAIN, 1)][: len(functions)]]
    return helper.make_model(graph, opset_imports=domains, functions=functions, ir_version=IR_VERSION)


def parity(data: bytes, artifact: Artifact, model: nn.Module, inputs: Nest, *, forward: Forward = call) -> float:
    """The largest difference between ONNX Runtime's outputs of an ONNX file and torch's of the packed model on
    `inputs`.

    It is relative to the largest number of that output, or to 1 where that is smaller.

    Raises:
        ArtifactError: the difference is above TOLERANCE (in half precision: above two steps of its numbers near 1), or
            the model has other parameters than the packed file.
    """
    difference, types = _apart(data, artifact, model, inputs, forward)
    half = [2 * torch.finfo(dtype).eps for dtype in types if dtype.itemsize < 4]
    allowed = max([TOLERANCE, *half])
    if not difference <= allowed:
        raise ArtifactError(
            f"ONNX: expected outputs within {allowed:g} of torch's, relative to the largest, got {difference:.3g}"
        )
    return difference


def difference(data: bytes, artifact: Artifact, model: nn.Module, inputs: Nest, *, forward: Forward = call) -> float:
    """The same without a limit, for a file that computes in eight bits. ArtifactError where it is no finite number."""
    found, _ = _apart(data, artifact, model, inputs, forward)
    if not math.isfinite(found):
        raise ArtifactError("ONNX: expected finite outputs, got NaN or infinity")
    return found


def _apart(
    data: bytes, artifact: Artifact, model: nn.Module, inputs: Nest, forward: Forward
) -> tuple[float, set[torch.dtype]]:
    """The largest difference of outputs, relative to that output's largest or 1; and the types that torch computes in.

    Whole numbers, as classes, are compared where there are no others: near a tie rounding decides them.
    """
    whole = copy.deepcopy(model).eval()
    fill(whole, artifact)
    types = {parameter.dtype for parameter in whole.parameters() if parameter.is_floating_point()}
    found: list[list[tuple[float, float]]] = []
    split = Split(inputs, None)
    sides = predictions(whole, split, forward=forward), predictions(Runtime(data), split, forward=run_file)
    for (theirs, _), (ours, _) in zip(*sides, strict=True):
        expected, got = tuple(leaves(theirs)), tuple(leaves(ours))
        if [each.shape for each in got] != [each.shape for each in expected]:
            raise ArtifactError(f"ONNX: expected outputs {told_of(expected)}, got {told_of(got)}")
        types |= {each.dtype for each in expected if each.is_floating_point()}
        pairs = list(zip(got, expected, strict=True))
        found.append([_gap(*pair) for pair in pairs if pair[1].is_floating_point()] or [_gap(*pair) for pair in pairs])
    apart, largest = torch.tensor(found, dtype=torch.float64).amax(dim=0).unbind(dim=1)
    return float((apart / largest.clamp(min=1)).max()), types


def _gap(got: Tensor, expected: Tensor) -> tuple[float, float]:
    """The largest difference of two tensors, and the largest number of the second."""
    difference = got.double() - expected.double()
    return float(difference.abs().max()), float(expected.double().abs().max())


def decoded_at_run(data: bytes) -> list[str]:
    """The operators of an ONNX file that depend on no input but that ONNX Runtime repeats in every run.

    Only where decoding a weight makes more than a gigabyte, the most that ONNX Runtime computes at load.
    """
    graph = folded(data).graph
    depends = {each.name for each in graph.input}
    left = []
    for node in graph.node:
        if depends.isdisjoint(node.input):
            left.append(node.op_type)
        else:
            depends.update(node.output)
    return left
