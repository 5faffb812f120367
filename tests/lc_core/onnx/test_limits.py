"""Crafted ONNX files whose hash is right: loops, functions that call themselves or too many others, huge inputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
from onnx import ModelProto, TensorProto, helper

from lc_core.file.artifact import ArtifactError
from lc_core.onnx.file import read, seal
from lc_core.onnx.functions import DOMAIN, OPSET
from sweep.pick.export import verify_onnx
from tests.sweep.tiny import lcsweep


def a_model(*sizes: int | str) -> ModelProto:
    """y = relu(input), of inputs (n, 3), or (n, *sizes)."""
    shape = ["n", *(sizes or (3,))]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["y"])], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def loop(model: ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["on_still"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("on_still", TensorProto.BOOL, [])],
    )
    model.graph.initializer.append(helper.make_tensor("many", TensorProto.INT64, [], [2**62]))
    model.graph.node.append(helper.make_node("Loop", ["many", ""], [], body=body))


def function(model: ModelProto, name: str, *called: str) -> None:
    """Adds a function that calls others, or ONNX's operators, one after the other."""
    values = ["a", *(f"v{number}" for number in range(len(called)))]
    nodes = [
        helper.make_node(each, [values[number]], [values[number + 1]], domain="" if each == "Relu" else DOMAIN)
        for number, each in enumerate(called)
    ]
    model.functions.append(helper.make_function(DOMAIN, name, ["a"], values[-1:], nodes, list(model.opset_import)))


def call(model: ModelProto, name: str) -> None:
    model.graph.node[0].CopyFrom(helper.make_node(name, ["input"], ["y"], domain=DOMAIN))


def itself(model: ModelProto) -> None:
    function(model, "f", "f")
    call(model, "f")


def each_other(model: ModelProto) -> None:
    function(model, "f", "g")
    function(model, "g", "Relu", "f")
    call(model, "f")


def ten_each(model: ModelProto) -> None:
    """Ten functions, each of which calls the next ten times: ten thousand million nodes in a few kilobytes."""
    for number in range(10):
        function(model, f"f{number}", *[f"f{number + 1}" if number < 9 else "Relu"] * 10)
    call(model, "f0")


def a_tensor_without_numbers(model: ModelProto) -> None:
    model.graph.initializer.append(TensorProto(name="t", data_type=TensorProto.INT64, dims=[1 << 40]))
    model.graph.node.append(helper.make_node("Expand", ["input", "t"], ["z"]))


def a_long_chain(model: ModelProto) -> None:
    for number in range(3000):
        function(model, f"f{number}", f"f{number + 1}" if number < 2999 else "Relu")
    call(model, "f0")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (loop, "expected a graph without loops"),
        (a_tensor_without_numbers, r"its tensor 't' has \[1099511627776\] numbers in \d+ bytes"),
        (itself, "its function 'f' calls itself"),
        (each_other, "calls itself"),
        (ten_each, "its functions come to 1[0-9]{10} nodes"),
        (a_long_chain, "expected functions that call each other 50 deep at most"),
    ],
)
def test_what_might_not_end_is_refused(tmp_path: Path, spoil: Callable[[ModelProto], None], reason: str) -> None:
    model, path = a_model(), tmp_path / "model.onnx"
    path.write_bytes(seal(model, {}))
    assert read(path).claims == {}
    spoil(model)
    path.write_bytes(seal(model, {}))
    with pytest.raises(ArtifactError, match=reason) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_functions_that_call_others_are_read(tmp_path: Path) -> None:
    model, path = a_model(), tmp_path / "model.onnx"
    function(model, "f", "g", "g")
    function(model, "g", "Relu")
    call(model, "f")
    path.write_bytes(seal(model, {}))
    assert verify_onnx(path, study_reference=None, user_folder=str(tmp_path))["output_shapes"] == {"y": [3]}


@pytest.mark.parametrize("shape", [[1 << 19, 1 << 19], [1 << 30], [0], [-1], ["x"]])
def test_an_input_that_takes_all_memory_is_refused(tmp_path: Path, shape: list[int | str]) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(seal(a_model(*shape), {}))
    for command in (("verify", path), ("bench", path, "--rounds", "1")):
        said = lcsweep(*command)
        assert (said.code, said.err.count("\n")) == (5, 1)
        assert "expected inputs of stated sizes, at most 4,194,304 numbers, got [" in said.err


def test_claims_of_any_type_are_shown(tmp_path: Path) -> None:
    claims = {"configuration": [1], "weights": {"a": 1}, "study": None, "job": "\x1b", "val": 3}
    (tmp_path / "model.onnx").write_bytes(seal(a_model(), claims))
    said = lcsweep("verify", tmp_path / "model.onnx")
    assert said.code == 0, said
    assert "None, ?: ? (job \ufffd)" in said.out


def test_a_claim_that_is_no_number_is_refused_in_a_line(tmp_path: Path) -> None:
    claims = {"val": {"accuracy": "a" * 10_000, "n": 3}}
    (tmp_path / "model.onnx").write_bytes(seal(a_model(), claims))
    said = lcsweep("verify", tmp_path / "model.onnx")
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert "expected a number as the claimed accuracy, got 'aaaa" in said.err
    assert len(said.err) < 200
