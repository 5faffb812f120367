"""A packed model as an ONNX file, which stands alone: the graph, and its weights in the bytes that they need.

`build` makes it of the packed file and the model that the user builds; `lc_core.onnx.file` writes, reads and runs it.
"""

import copy

from onnx import ModelProto, helper
from torch import Tensor, nn

from lc_core.file.artifact import Artifact, ArtifactError, fill
from lc_core.onnx.decoders import Decoder
from lc_core.onnx.file import Runtime, folded
from lc_core.onnx.functions import DOMAIN, OPSET, needed
from lc_core.onnx.graph import INPUT, IR_VERSION, open_graph
from lc_core.structure.restructure import restructured
from lc_core.training.loop import predict

TOLERANCE = 1e-5


def build(artifact: Artifact, model: nn.Module, example: Tensor) -> ModelProto:
    """The graph of the packed model `artifact`, for batches of any size, with what decodes its weights.

    Codes, sparse indices and narrow types stay as the packed file has them and are decoded by functions of the file's
    own, which ONNX Runtime computes once, at load. Low rank, Tucker and CP run as layers where that is fewer
    multiply-accumulates; pruned groups are cut out; circulant blocks become dense weights at load.

    Args:
        artifact: what the packed file holds.
        model: the one it was made from, built by the caller; left as it is.
        example: inputs, (n, ...).

    Raises:
        ArtifactError: the model has other parameters than the file.
        ExportError: torch cannot export the model.
        StructureError: the model, once restructured, has other outputs.
    """
    running = restructured(artifact, model, example, spectral_from=None)
    graph = open_graph(running.model.eval(), example, names=list(running.weights))
    decoder = Decoder()
    values = {each.name: decoder.weight(each.name, running.weights[each.name]) for each in graph.input[1:]}
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
    """How far ONNX Runtime's outputs of an ONNX file are from torch's of the packed model, at most, on `inputs`.

    As a part of the largest output, or of 1 where that is smaller.

    Raises:
        ArtifactError: it is more than TOLERANCE, or the model has other parameters than the packed file.
    """
    whole = copy.deepcopy(model).eval()
    fill(whole, artifact)
    expected, got = predict(whole, inputs), predict(Runtime(data), inputs)
    if got.shape != expected.shape:
        raise ArtifactError(f"ONNX: expected outputs of shape {tuple(expected.shape)}, got {tuple(got.shape)}")
    difference = float((got - expected).abs().max() / expected.abs().max().clamp(min=1))
    if not difference <= TOLERANCE:
        raise ArtifactError(
            f"ONNX: expected outputs within {TOLERANCE:g} of torch's, relative to the largest, got {difference:.3g}"
        )
    return difference


def decoded_at_run(data: bytes) -> list[str]:
    """The operators of an ONNX file that need no input and that ONNX Runtime still leaves for every run.

    None, unless a weight is so large that what decodes it makes more than the gigabyte that it computes at load.
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
