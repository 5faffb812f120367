"""ONNX files: the packed model's outputs, its size, decoding at load; other files are refused in one line."""

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import GraphProto, ModelProto, TensorProto, helper
from torch import Tensor, nn

import lc_core.onnx.build
from lc_core import (
    Cast,
    Chain,
    Circulant,
    Codebook,
    GroupPruning,
    Joint,
    L0Pruning,
    LowRank,
    NMPruning,
    Sum,
    Tucker2,
    UniformQuantization,
)
from lc_core.compression import Dense
from lc_core.file.artifact import Artifact, ArtifactError, encode, fill
from lc_core.file.artifact import read as read_packed
from lc_core.numerics.packing import pack_codes
from lc_core.onnx.build import build, decoded_at_run, difference, parity
from lc_core.onnx.decoders import Decoder
from lc_core.onnx.file import Runtime, folded, read, seal
from lc_core.onnx.functions import DOMAIN, OPSET, needed
from lc_core.onnx.graph import ExportError, open_graph
from lc_core.onnx.int8 import quantized
from lc_core.plan import Plan
from lc_core.structure.restructure import restructured
from lc_core.structure.weights import Weight
from lc_core.training.data import Forward, call
from lc_core.training.nest import Nest, leaves, map_nest, told_of
from studies.digits_zoo import ROWS, DigitsNet
from tests.lc_core.models import compressed, mlp, randn, seeded

RUNS_OTHERWISE = {
    name for name in ROWS if any(word in name for word in ("Group", "LowRank", "Tucker2", "CP", "Separable"))
}
"""Fast rows whose models have other layers than the dense one, and so need an export of their own."""
FAST = {"GroupPruning, jointly", "Chain of LowRank and Codebook"}


class Block(nn.Module):
    """A residual block with batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class ResNet(nn.Module):
    """(n, 3, 16, 16) -> (n, 10): a stem, four residual blocks, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 32, 2), Block(32, 32, 1))
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        features = self.blocks(torch.relu(self.norm(self.stem(x))))
        return self.head(features.mean(dim=(2, 3)))


def normed(build_model: Callable[[], nn.Module], inputs: Tensor) -> nn.Module:
    """A model of seed 0 whose batch-norm buffers are not what they begin with."""
    model = seeded(build_model, seed=0).train()
    model(inputs)
    return model.eval()


@pytest.fixture(scope="session")
def graphs() -> dict[str, GraphProto]:
    """Graphs that torch has exported, by the model's layers: it takes seconds for each."""
    return {}


@pytest.fixture(autouse=True)
def _exported_once(graphs: dict[str, GraphProto], monkeypatch: pytest.MonkeyPatch) -> None:
    def remembered(model: nn.Module, example: Nest, *, names: list[str], forward: Forward) -> GraphProto:
        key = f"{model} {names} {told_of(map_nest(lambda leaf: leaf[:1], example))} {forward}"
        if key not in graphs:
            graphs[key] = open_graph(model, example, names=names, forward=forward)
        graph = GraphProto()
        graph.CopyFrom(graphs[key])
        return graph

    monkeypatch.setattr(lc_core.onnx.build, "open_graph", remembered)


@pytest.fixture
def pack(tmp_path) -> Callable[[nn.Module, Plan], Artifact]:
    """The packed model of a plan, read back from its file."""

    def packed(model: nn.Module, plan: Plan) -> Artifact:
        tasks, thetas = compressed(model, plan)
        path = tmp_path / "model.lcz"
        path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
        return read_packed(path)

    return packed


def check(artifact: Artifact, model: nn.Module, inputs: Tensor, tmp_path) -> ModelProto:
    """The ONNX file of a packed model, read back and checked."""
    data = seal(build(artifact, model, inputs), {"study": "none"})
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    file = read(path)
    assert (file.claims, file.data) == ({"study": "none"}, data)
    assert len(data) <= 1.05 * artifact.payload_bytes + 4096
    assert parity(data, artifact, model, inputs) <= 1e-5
    assert decoded_at_run(data) == []
    return onnx.load_from_string(data)


# Every compression


@pytest.mark.slow
@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if name in RUNS_OTHERWISE - FAST else [], id=name) for name in ROWS
])  # fmt: skip
def test_every_compression_of_the_zoo_is_exported(name, pack, tmp_path):
    level, plan = ROWS[name]
    inputs = randn(40, 1, 8, 8)
    model = normed(DigitsNet, inputs)
    made = check(pack(model, plan(level)), model, inputs, tmp_path)

    dense = ["Conv", "Relu", "Conv", "Relu", "MaxPool", "Reshape", "Gemm", "Relu", "Gemm"]
    run = [node.op_type for node in folded(made.SerializeToString()).graph.node]
    if name in RUNS_OTHERWISE:
        assert [kind for kind in run if kind not in ("Conv", "Gemm")] == ["Relu", "Relu", "MaxPool", "Reshape", "Relu"]
    else:
        assert run == dense


@pytest.mark.slow
@pytest.mark.parametrize("name, plan", {
    "nothing": {},
    "two values": {"*": Codebook(2)},
    "sixteen values": {"*": Codebook(16)},
    "pruned by layer": {"*": L0Pruning(0.01)},
    "pruned jointly": {"*": Joint(L0Pruning(0.05))},
    "pruned and quantized": {"*": Joint(Chain(L0Pruning(0.1), Codebook(4)))},
    "low rank": {"blocks.*": LowRank(2)},
    "low rank, spatial": {"blocks.*.conv?": LowRank(4, scheme="spatial")},
    "Tucker, quantized": {"blocks.*.conv?": Chain(Tucker2((4, 4)), UniformQuantization(4))},
    "groups": {"blocks.*.conv1": GroupPruning(0.5)},
    "groups, all through": {"*": GroupPruning(0.75)},
    "groups, jointly, cast": {"*": Joint(Chain(GroupPruning(0.5), Cast("bfloat16")))},
}.items())  # fmt: skip
def test_a_residual_network_with_batch_norm_is_exported(name, plan, pack, tmp_path):
    inputs = randn(20, 3, 16, 16)
    model = normed(ResNet, inputs)
    made = check(pack(model, plan), model, inputs, tmp_path)
    layers = sum(node.op_type == "Conv" for node in made.graph.node)
    assert layers == {"low rank": 19, "low rank, spatial": 18, "Tucker, quantized": 26}.get(name, 10)


@pytest.mark.slow
def test_lenet5_is_exported(pack, tmp_path):
    from studies.mnist_lenet5 import build_model

    inputs, model = randn(20, 1, 28, 28), seeded(build_model, seed=0)
    for plan in ({"*": Joint(L0Pruning(0.02))}, {"[037]": GroupPruning(0.5)}, {"[37]": LowRank(10)}):
        made = check(pack(model, plan), model, inputs, tmp_path)
        if "[037]" in plan:
            assert sorted(each.dims[0] for each in made.graph.initializer if len(each.dims) == 4) == [10, 25]


# What runs


@pytest.mark.parametrize("stride, padding, dilation, mode", [
    (1, 0, 1, "zeros"), (2, 1, 1, "zeros"), ((2, 1), (0, 2), (1, 2), "zeros"), (1, "same", 2, "zeros"),
    (1, 1, 1, "reflect"), (3, 2, 1, "circular"),
])  # fmt: skip
@pytest.mark.parametrize("compression", [
    LowRank(2), LowRank(2, scheme="spatial"), Tucker2((3, 2)), lc_core.CP(3), lc_core.Separable(2),
])  # fmt: skip
def test_factors_run_as_layers_that_give_the_same(stride, padding, dilation, mode, compression, pack):
    def model() -> nn.Module:
        layer = nn.Conv2d(8, 12, (3, 5), stride, padding, dilation, padding_mode=mode)
        return nn.Sequential(layer, nn.Flatten(), nn.LazyLinear(2))

    inputs = randn(3, 8, 14, 13)
    whole = seeded(model, seed=0)
    whole(inputs)
    artifact = pack(whole, {"0": compression})
    made = restructured(artifact, whole, inputs)
    assert isinstance(made.model[0], nn.Sequential)
    whole.load_state_dict(artifact.weights())
    torch.testing.assert_close(made.model(inputs), whole(inputs), rtol=1e-4, atol=1e-5)


def test_factors_that_save_no_work_run_as_the_dense_layer(pack):
    model, inputs = mlp(), randn(5, 6)
    made = restructured(pack(model, {"0": Chain(LowRank(5), Codebook(2))}), model, inputs)
    assert isinstance(made.model[0], nn.Linear)


def test_groups_are_cut_out_and_what_stays_keeps_its_form(pack):
    model, inputs = seeded(lambda: nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4)), seed=1), randn(5, 20)
    artifact = pack(model, {"0": Chain(GroupPruning(0.5), Codebook(4)), "2": Codebook(2)})
    made = restructured(artifact, model, inputs)
    weights = {name: tuple(tensor.shape) for name, tensor in made.model.state_dict().items()}
    assert weights == {"0.weight": (15, 20), "0.bias": (15,), "2.weight": (4, 15), "2.bias": (4,)}
    assert {name for name, weight in made.weights.items() if isinstance(weight.theta, Dense)} == {"0.bias", "2.bias"}


def test_a_model_that_is_not_traced_keeps_its_groups_and_runs(pack):
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(20, 30), nn.Linear(30, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.first(x)) if x.sum() > -1e9 else x)

    model, inputs = seeded(Branching, seed=0), randn(5, 20)
    artifact = pack(model, {"last": Chain(GroupPruning(0.5, axis="input"), Codebook(4)), "first": L0Pruning(0.1)})
    made = restructured(artifact, model, inputs)
    assert made.weights["last.weight"].shape == (4, 30)
    names = ("first.weight", "last.weight")
    for name, got in zip(names, decode([made.weights[name] for name in names]), strict=True):
        assert torch.equal(got, artifact.weights()[name])


# Decoding


def graph_of(decoder: Decoder, values: list[str]) -> bytes:
    """A model without inputs whose outputs are these values."""
    outputs = [helper.make_empty_tensor_value_info(name) for name in values]
    graph = helper.make_graph(decoder.nodes, "g", [], outputs, list(decoder.initializers.values()))
    domains = [helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)]
    functions = needed(decoder.functions)
    return helper.make_model(graph, opset_imports=domains, functions=functions, ir_version=10).SerializeToString()


def outputs_of(data: bytes) -> list[Tensor]:
    import onnxruntime

    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return [torch.from_numpy(np.array(each)) for each in session.run(None, {})]


def decode(weights: list[Weight]) -> list[Tensor]:
    decoder = Decoder()
    return outputs_of(graph_of(decoder, [decoder.weight(f"w{i}", weight) for i, weight in enumerate(weights)]))


@pytest.mark.parametrize("width", [*range(1, 18), 24, 30])
def test_codes_of_any_width_come_back(width):
    generator = torch.Generator().manual_seed(width)
    for count in (1, 7, 8, 1001):
        codes = torch.randint(1 << width, (count,), generator=generator)
        codes[-1] = (1 << width) - 1
        decoder = Decoder()
        name = decoder._codes(pack_codes(codes, width=width), width=width, count=count)
        assert torch.equal(outputs_of(graph_of(decoder, [name]))[0].long(), codes)


@pytest.mark.parametrize("compression, shape", [
    *[(L0Pruning(keep), (40, 50)) for keep in (0.0, 0.0005, 0.001, 0.02, 0.3, 0.9, 1.0)],
    *[(Codebook(size), (12, 11)) for size in (1, 2, 3, 4, 5, 9, 16, 17, 40)],
    (Codebook(300), (50, 60)), (Chain(L0Pruning(0.1), Codebook(1)), (30, 30)),
    (NMPruning(2, 4), (8, 16, 3)), (NMPruning(2, 4), (8, 18, 3)), (NMPruning(8, 16), (8, 32)),
    (NMPruning(1, 3), (5, 9)),
    (UniformQuantization(1), (9, 9)), (UniformQuantization(5, granularity="channel"), (6, 4, 3, 3)),
    (UniformQuantization(7, symmetric=True, granularity="channel"), (6, 40)),
    *[(Cast(dtype), (6, 5)) for dtype in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")],
    (Circulant(4), (10, 7)), (Circulant(4), (8, 12, 3, 3)), (Circulant(5), (5, 5)),
    (Sum(L0Pruning(0.02), Codebook(2)), (20, 30)),
])  # fmt: skip
def test_a_stored_weight_is_decoded_bit_for_bit(compression, shape, pack):
    layer = nn.Linear(shape[1], shape[0]) if len(shape) == 2 else None
    layer = layer or (nn.Conv1d if len(shape) == 3 else nn.Conv2d)(shape[1], shape[0], shape[2])
    model = seeded(lambda: nn.Sequential(layer), seed=0)
    (theta,) = pack(model, {"0": compression}).thetas
    rows, columns = torch.tensor([0, 2, 4]), torch.tensor([1, 3])
    taken = Weight.of(theta).pick(0, rows).pick(1, columns)
    placed = Weight.of(theta).placed(0, torch.arange(1, shape[0] + 1), size=shape[0] + 2)
    whole = theta.decompress()
    got = decode([Weight.of(theta), taken, placed])
    assert torch.equal(got[0], whole)
    assert torch.equal(got[1], whole[rows][:, columns])
    assert torch.equal(got[2], torch.nn.functional.pad(whole, (*[0, 0] * (whole.dim() - 1), 1, 1)))


@pytest.mark.parametrize("compression", [
    LowRank(2), LowRank(2, scheme="spatial"), Tucker2((3, 2)), lc_core.CP(3), lc_core.Separable(2),
    Chain(LowRank(3), Codebook(4)), Sum(LowRank(2), L0Pruning(0.02)),
])  # fmt: skip
def test_factors_that_run_dense_are_multiplied_at_load(compression, pack):
    model = seeded(lambda: nn.Sequential(nn.Conv2d(9, 12, 3)), seed=0)
    (theta,) = pack(model, {"0": compression}).thetas
    torch.testing.assert_close(decode([Weight.of(theta)])[0], theta.decompress(), rtol=0, atol=1e-6)


def test_denormal_numbers_are_exported_as_zeros():
    weight = Weight.of(Dense(torch.tensor([1e-40, -1e-39, 1.5e-38, 1.0])))
    assert decode([weight])[0].tolist() == [0.0, 0.0, pytest.approx(1.5e-38), 1.0]


# The file


@pytest.fixture
def file(pack, tmp_path):
    """An ONNX file whose weights are pruned and quantized."""
    model = mlp()
    made = build(pack(model, {"0": Chain(L0Pruning(0.5), Codebook(3)), "2": Codebook(4)}), model, randn(5, 6))
    path = tmp_path / "file.onnx"
    path.write_bytes(seal(made, {"job": "a"}))
    return path


def test_a_file_says_nothing_of_where_it_was_made(file):
    data = file.read_bytes()
    for word in (b"torch", b"/home", b"/tmp", b"packages", b".py", b"Traceback", b"stack", b"doc"):
        assert word not in data
    model = onnx.load_from_string(data)
    assert (model.producer_name, model.producer_version, model.doc_string) == ("", "", "")
    assert {domain.domain: domain.version for domain in model.opset_import} == {"": 21, "lcsweep": 1}
    (given,) = model.graph.input
    assert [size.dim_param or size.dim_value for size in given.type.tensor_type.shape.dim] == ["n", 6]
    for count in (1, 2, 33):
        assert Runtime(data)(randn(count, 6)).shape == (count, 3)


def test_the_same_file_each_time(file, pack, monkeypatch):
    monkeypatch.setattr(lc_core.onnx.build, "open_graph", open_graph)  # the exporter too
    model = mlp()
    made = build(pack(model, {"0": Chain(L0Pruning(0.5), Codebook(3)), "2": Codebook(4)}), model, randn(5, 6))
    assert seal(made, {"job": "a"}) == file.read_bytes()


def test_a_cut_or_changed_file_is_refused(file, tmp_path):
    data = file.read_bytes()
    spoilt = [data[:length] for length in range(0, len(data), 37)] + [data[:-1], data + b"x", b"a text", data + data]
    for place in range(0, len(data), 23):
        spoilt.append(data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :])
    path = tmp_path / "spoilt.onnx"
    for each in spoilt:
        path.write_bytes(each)
        with pytest.raises(ArtifactError, match=r"spoilt.onnx: expected a whole ONNX file") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def external_in_a_function(model: ModelProto) -> None:
    constant = next(node for node in model.functions[0].node if node.op_type == "Constant" and node.attribute[0].t.dims)
    constant.attribute[0].t.external_data.add(key="location", value="secret")


def unknown_operators(model: ModelProto) -> None:
    model.opset_import.add(domain="com.microsoft", version=1)
    model.graph.node[0].domain = "com.microsoft"


def other_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 7


def enormous(model: ModelProto) -> None:
    sizes = helper.make_tensor("sizes", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    model.graph.initializer.extend([sizes, one])
    model.graph.node.append(helper.make_node("Expand", ["one", "sizes"], ["huge"]))


def no_such_value(model: ModelProto) -> None:
    model.graph.node[-1].input[0] = "nothing"


@pytest.mark.parametrize("spoil, reason", [
    (external, "refers to another file"), (external_in_a_function, "refers to another file"),
    (unknown_operators, "opset 21 alone"), (other_opset, "opset 21 alone"), (enormous, "numbers of"),
    (no_such_value, "nothing"),
])  # fmt: skip
def test_a_hostile_file_whose_hash_is_right_is_refused(spoil, reason, file):
    model = onnx.load_from_string(file.read_bytes())
    spoil(model)
    file.write_bytes(seal(model, {"job": "a"}))
    with pytest.raises(ArtifactError, match=reason) as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_a_later_format_and_a_file_of_others_are_refused(file):
    model = onnx.load_from_string(file.read_bytes())
    entry = model.metadata_props[0]
    entry.value = json.dumps(json.loads(entry.value) | {"format": 2})
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="expected format 1, got 2"):
        read(file)
    del model.metadata_props[:]
    file.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match="expected one metadata property, lcsweep"):
        read(file)
    with pytest.raises(ArtifactError, match="cannot be read: No such file"):
        read(file.with_name("none.onnx"))


def test_other_weights_than_the_packed_ones_are_found_out(file, pack):
    model = mlp()
    artifact = pack(model, {"0": Chain(L0Pruning(0.5), Codebook(3)), "2": Codebook(3)})
    with pytest.raises(ArtifactError, match="within 1e-05 of torch's"):
        parity(file.read_bytes(), artifact, model, randn(5, 6))


def test_a_model_that_cannot_be_exported_is_said_in_one_line(pack):
    class Branching(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.sum() > 0 else x[:, :3]

    model = Branching(nn.Linear(6, 3))
    with pytest.raises(ValueError, match=r"Branching: expected a model that torch.onnx can export") as caught:
        build(pack(model, {}), model, randn(5, 6))
    assert "\n" not in str(caught.value)


# Eight bits


@pytest.mark.parametrize("kind, operator", [("static", "QuantizeLinear"), ("dynamic", "DynamicQuantizeLinear")])
def test_eight_bits_compute_nearly_the_same(kind, operator, pack, tmp_path):
    inputs = randn(600, 1, 8, 8)
    model = normed(DigitsNet, inputs[:40])
    artifact = pack(model, {"*": Codebook(16)})
    data = seal(build(artifact, model, inputs), {})
    path = tmp_path / "int8.onnx"
    path.write_bytes(seal(quantized(data, kind=kind, inputs=inputs), {}))
    file = read(path)
    assert operator in [node.op_type for node in onnx.load_from_string(file.data).graph.node]
    weights = sum(tensor.numel() for tensor in model.parameters())
    assert weights < len(file.data) < 1.3 * weights + 4096
    before, after = Runtime(data)(inputs), Runtime(file.data)(inputs)
    assert 0 < float((after - before).abs().max()) < 0.1 * float(before.abs().max())
    assert (before.argmax(dim=1) == after.argmax(dim=1)).float().mean() > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("kind, symmetric", [("static", True), ("static", False), ("dynamic", False)])
def test_scales_are_of_channels_or_tensors_and_symmetric_ranges_are_signed(kind, symmetric, pack):
    inputs = randn(64, 6)
    artifact = pack(mlp(), {})
    data = seal(build(artifact, mlp(), inputs), {})
    largest = []
    for granularity in ("channel", "tensor"):
        graph = quantized(data, kind=kind, inputs=inputs, granularity=granularity, symmetric=symmetric).graph
        largest.append(max(math.prod(each.dims) for each in graph.initializer if each.name.endswith("scale")))
        zeros = {each.data_type for each in graph.initializer if each.name.endswith("zero_point")}
        assert (TensorProto.UINT8 in zeros) is (kind == "static" and not symmetric)
    assert largest == [8, 1]


def test_a_model_is_exported_as_it_runs_and_not_as_it_trains(pack, tmp_path):
    inputs = randn(6, 12)
    build_model = lambda: nn.Sequential(nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU(), nn.Linear(10, 3))  # noqa: E731
    artifact, fresh = pack(normed(build_model, inputs), {"*": Codebook(4)}), build_model()
    assert fresh.training
    sealed = seal(build(artifact, fresh, inputs), {})
    assert parity(sealed, artifact, fresh, inputs) < 1e-5
    assert fresh.training


def test_examples_are_of_the_type_that_a_file_takes(pack, tmp_path):
    words = seeded(lambda: nn.Sequential(nn.Embedding(7, 12), nn.Flatten(), nn.Linear(36, 3)), seed=2)
    inputs = torch.arange(6).reshape(2, 3)
    runtime = Runtime(seal(build(pack(words, {"2": Codebook(4)}), words, inputs), {}))
    assert torch.equal(runtime.example(2), torch.zeros(2, 3, dtype=torch.int64))
    assert runtime(runtime.example(2)).shape == (2, 3)


# Several inputs and outputs


class Branches(nn.Module):
    """Numbers and words, summed; classes and sizes of them, as `give` gives them."""

    def __init__(self, give: Callable[[Tensor, Tensor], Nest]) -> None:
        super().__init__()
        self.give = give
        self.numbers, self.words = nn.Linear(12, 8), nn.Embedding(7, 8)
        self.classes, self.sizes = nn.Linear(8, 3), nn.Linear(8, 1)

    def forward(self, values: Tensor, words: Tensor, labels: Tensor | None = None) -> Nest:
        hidden = torch.tanh(self.numbers(values) + self.words(words).mean(dim=1))
        return self.give(self.classes(hidden), self.sizes(hidden))


def pair(classes: Tensor, sizes: Tensor) -> Nest:
    return classes, 1e4 * sizes


def by_name(classes: Tensor, sizes: Tensor) -> Nest:
    return {"logits": classes, "more": [sizes, None], "class": classes.argmax(dim=1)}


BOTH = (randn(6, 12), torch.arange(24).reshape(6, 4) % 7)
NAMED = {"words": BOTH[1], "values": BOTH[0], "unread": torch.ones(6, 5)}


def by_hand(model: nn.Module, inputs: Nest) -> Nest:
    """As a study's own forward: the file holds what it does before and after the model."""
    return model(inputs["values"], words=inputs["words"])["logits"].softmax(dim=1)


@pytest.mark.parametrize(
    ("give", "inputs", "forward", "takes", "gives"),
    [
        (pair, BOTH, call, ["input.0", "input.1"], ["output.0", "output.1"]),
        (
            by_name,
            {name: NAMED[name] for name in ("words", "values")},
            call,
            ["input.words", "input.values"],
            ["output.logits", "output.more.0", "output.class"],
        ),
        (by_name, NAMED, by_hand, ["input.words", "input.values"], ["output"]),
    ],
    ids=["tuples", "mappings", "a forward of the user's own"],
)
def test_several_inputs_and_outputs_have_names_and_are_compared(give, inputs, forward, takes, gives, pack, tmp_path):
    model = seeded(lambda: Branches(give), seed=2)
    artifact = pack(model, {"*": Codebook(4)})
    path = tmp_path / "file.onnx"
    path.write_bytes(seal(build(artifact, model, inputs, forward=forward), {}))
    file = read(path)
    assert parity(file.data, artifact, model, inputs, forward=forward) <= 1e-5
    assert decoded_at_run(file.data) == []
    graph = onnx.load_from_string(file.data).graph
    assert [each.name for each in graph.input] == takes
    assert [each.name for each in graph.output] == gives
    alone = Runtime(file.data)
    assert {told_of(each.shape[0]) for each in leaves(alone.example(5))} == {told_of(5)}
    assert [*alone.named(alone(alone.example(5)))] == gives
    assert {len(each) for each in alone.named(alone(alone.example(5))).values()} == {5}

    fill(model, artifact)
    with torch.no_grad():
        expected = forward(model.eval(), inputs)
    got = Runtime(file.data, like=expected)(inputs)
    assert told_of(got) == told_of(expected)  # a tuple, or a mapping with None in it
    torch.testing.assert_close(list(leaves(got)), list(leaves(expected)))
    small = seal(quantized(file.data, kind="static", inputs=inputs), {})
    assert 0 < difference(small, artifact, model, inputs, forward=forward) < 0.1


def test_the_last_of_several_outputs_is_compared_too(pack, tmp_path):
    """Each relative to its own largest: the second output's numbers are ten thousand times the first's."""
    model = seeded(lambda: Branches(pair), seed=2)
    data = seal(build(pack(model, {}), model, BOTH), {})
    for layer in ("classes", "sizes"):
        other = copy.deepcopy(model)
        with torch.no_grad():
            other.get_submodule(layer).get_parameter("bias").add_(1e-3)
        with pytest.raises(ArtifactError, match=r"^ONNX: expected outputs within 1e-05 of torch's"):
            parity(data, pack(other, {}), other, BOTH)
    with pytest.raises(ArtifactError, match=r"expected outputs \(float32 \(6, 3\)\), got \(float32 \(6, 3\), float32"):
        parity(data, pack(model, {}), model, BOTH, forward=lambda model, inputs: model(*inputs)[0])
    with pytest.raises(ArtifactError, match="expected a model of 1 outputs, got 2"):
        Runtime(data, like=BOTH[0])(BOTH)


@pytest.mark.parametrize(
    ("give", "inputs", "why"),
    [
        (
            lambda classes, sizes: (classes, "a word"),
            BOTH,
            r"expected outputs of tensors alone for ONNX, got \(float32",
        ),
        (pair, (*BOTH, None, 3), r"expected inputs of tensors alone for ONNX, got \(float32 \(6, 12\), int64"),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(give, inputs, why, pack):
    model = seeded(lambda: Branches(give), seed=2)
    with pytest.raises(ExportError, match=f"^Branches: {why}"):
        open_graph(model.eval(), inputs, names=[])
