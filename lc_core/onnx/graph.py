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

from lc_core.onnx.file import INPUT, OUTPUT
from lc_core.onnx.functions import OPSET
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest, cloned, leaves, map_nest, named_leaves, told_of

IR_VERSION = 10
BATCH = "n"


class ExportError(ValueError):
    """A model that torch.onnx cannot export."""


class _Opened(nn.Module):
    """A model that takes its weights as inputs, so that the exporter cannot merge them with other constants.

    What it takes and gives are the tensors of nests.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], example: Nest, forward: Forward) -> None:
        super().__init__()
        self._hidden = (_Run(model, forward), example)  # in a tuple: its parameters are not this module's
        self._names = tuple(f"model.{name}" for name in names)

    def forward(self, inputs: list[Tensor], weights: list[Tensor]) -> tuple[Tensor, ...]:
        run, example = self._hidden
        each = iter(inputs)
        given = map_nest(lambda _: next(each), example)
        outputs = torch.func.functional_call(run, dict(zip(self._names, weights, strict=True)), (given,))
        return tuple(leaves(outputs))


class _Run(nn.Module):
    """A model as `forward` runs it."""

    def __init__(self, model: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.model, self._forward = model, forward

    def forward(self, inputs: Nest) -> Nest:
        return self._forward(self.model, inputs)


def open_graph(model: nn.Module, example: Nest, *, names: Sequence[str], forward: Forward = call) -> GraphProto:
    """The graph of `model` in evaluation mode, of opset 21, for batches of any size, which takes inputs and `names`.

    The inputs are INPUT, and the outputs OUTPUT; of several tensors each has its place in their nest: "input.0" and
    "input.1" of a tuple, "output.logits" of a mapping. What the graph does not use is left out. It contains no paths,
    stack traces or source code.

    Args:
        model: in evaluation mode.
        example: inputs, (n, ...), a tensor or a nest of tensors.
        names: parameters and buffers that become inputs of the graph, after the model's own.
        forward: how the model runs on the inputs.

    Raises:
        ExportError: torch cannot export the model, or it takes or gives something else than tensors.
    """
    weights = [model.state_dict()[name] for name in names]
    inputs = _tensors(model, "inputs", example, INPUT)
    batch = map_nest(lambda leaf: leaf[:2] if len(leaf) > 1 else leaf.repeat(2, *[1] * (leaf.dim() - 1)), example)
    shapes: Any = ([{0: torch.export.Dim(BATCH)} for _ in inputs], [{} for _ in weights])
    with quiet():
        try:
            with torch.no_grad():
                outputs = _tensors(model, "outputs", forward(model, cloned(batch)), OUTPUT)
            program = torch.onnx.export(
                _Opened(model, names, batch, forward).eval(),
                (list(leaves(batch)), weights),
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=shapes,
                verbose=False,
            )
        except ExportError:
            raise
        except Exception as error:  # the exporter runs the user's code, which may raise anything
            raise ExportError(
                f"{type(model).__name__}: expected a model that torch.onnx can export, got: {_reason(error)}"
            ) from error
    assert program is not None
    graph = stripped(program.model_proto).graph
    given, made = [each.name for each in graph.input], [each.name for each in graph.output]
    _rename(graph, dict(zip((*given, *made), (*inputs, *names, *outputs), strict=True)))
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.input if each.name in used]
    del graph.input[:]
    graph.input.extend(kept)
    return graph


def _tensors(model: nn.Module, what: str, nest: Nest, name: str) -> list[str]:
    """The names of a nest's tensors. ExportError where it holds anything else."""
    found = dict(named_leaves(nest, name))
    if not found or not all(isinstance(leaf, Tensor) for leaf in found.values()):
        raise ExportError(f"{type(model).__name__}: expected {what} of tensors alone for ONNX, got {told_of(nest)}")
    return list(found)


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
