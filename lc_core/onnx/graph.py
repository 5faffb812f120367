"""Exports a model through torch to an ONNX graph whose weights are inputs."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from onnx import GraphProto, ModelProto, helper, inliner
from torch import Tensor, nn

from lc_core.onnx.functions import OPSET

IR_VERSION = 10
INPUT, OUTPUT, BATCH = "input", "output", "n"


class ExportError(ValueError):
    """A model that torch.onnx cannot export."""


class _Opened(nn.Module):
    """A model that takes its weights as inputs, so that the exporter cannot merge them with other constants."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self._hidden = (model,)  # in a tuple: its parameters are not this module's
        self._names = tuple(names)

    def forward(self, inputs: Tensor, weights: list[Tensor]) -> Tensor:
        outputs: Tensor = torch.func.functional_call(
            self._hidden[0], dict(zip(self._names, weights, strict=True)), (inputs,)
        )
        return outputs


def open_graph(model: nn.Module, example: Tensor, *, names: Sequence[str]) -> GraphProto:
    """The graph of `model` in evaluation mode, of opset 21, for batches of any size, which takes INPUT and `names`.

    It contains no paths, stack traces or source code.

    Args:
        model: in evaluation mode.
        example: inputs, (n, ...).
        names: parameters and buffers that become inputs of the graph; unused ones are left out.

    Raises:
        ExportError: torch cannot export the model.
    """
    weights = [model.state_dict()[name] for name in names]
    batch = (example if len(example) > 1 else example.repeat(2, *[1] * (example.dim() - 1)))[:2]
    shapes: Any = ({0: torch.export.Dim(BATCH)}, [{} for _ in weights])
    with quiet():
        try:
            program = torch.onnx.export(
                _Opened(model, names).eval(),
                (batch, weights),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=shapes,
                verbose=False,
            )
        except Exception as error:  # the exporter runs the user's code, which may raise anything
            raise ExportError(
                f"{type(model).__name__}: expected a model that torch.onnx can export, got: {_reason(error)}"
            ) from error
    assert program is not None
    graph = stripped(program.model_proto).graph
    given = [each.name for each in graph.input]
    _rename(graph, dict(zip(given, [INPUT, *names], strict=True)) | {graph.output[0].name: OUTPUT})
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.input if each.name == INPUT or each.name in used]
    del graph.input[:]
    graph.input.extend(kept)
    return graph


def _reason(error: BaseException) -> str:
    """What stopped the exporter: the first lines of the error that its own, which say how to report it, come from."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip() or type(error).__name__  # without colours
    return " ".join(text.split("\n\n")[0].split())[:300]


def stripped(model: ModelProto) -> ModelProto:
    """The model without doc strings, stack traces, producer and unused names; opset 21 alone."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    bare = helper.make_model(model.graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    graph = bare.graph
    graph.name = "model"
    for field in ("doc_string", "metadata_props", "value_info"):
        graph.ClearField(field)
    for node in graph.node:
        for field in ("doc_string", "metadata_props", "name"):
            node.ClearField(field)
        for attribute in node.attribute:
            attribute.ClearField("doc_string")
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    return bare


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    """Renames values; intermediate values get short names."""
    for number, node in enumerate(graph.node):
        for place, output in enumerate(node.output):
            if output:
                names.setdefault(output, f"{number}.{place}" if place else f"{number}")
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences the warnings of torch and ONNX Runtime on their versions and on missing libraries, and the graphs that
    torch prints where it fails."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
