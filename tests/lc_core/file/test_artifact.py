"""The packed file: gives the same model back, has the stated size, and is refused in one line where it is damaged.

What is in both formats, and in format 1. test_format_2.py has the other.
"""

import json
import re

import pytest
import safetensors.torch
import torch
import zstandard
from torch import nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank
from lc_core.compression import Dense
from lc_core.compressions.pruning import Sparse
from lc_core.compressions.quantization import Quantized
from lc_core.file.artifact import FORMATS, ArtifactError, encode, load, nominal_bytes, read
from lc_core.file.content import ORDER, dumps
from lc_core.file.format_1 import digest
from lc_core.plan import plan_tasks
from lc_core.structure.folding import fold
from tests.lc_core.models import compressed, conv_net, mlp, randn

CHAIN = Chain(L0Pruning(keep=0.5), Codebook(size=4))
PLANS = {
    "nothing": {},
    "prune": {"*": L0Pruning(keep=0.1)},
    "prune jointly": {"*": Joint(L0Pruning(keep=0.03))},
    "prune everything": {"*": L0Pruning(keep=0.0)},
    "prune nothing": {"*": Joint(L0Pruning(keep=1.0))},
    "quantize": {"*": Codebook(size=2)},
    "quantize to one value": {"*": Codebook(size=1)},
    "quantize jointly": {"*": Joint(Codebook(size=5))},
    "quantize to more values than there are": {"*": Codebook(size=500)},
    "low rank": {"*": LowRank(rank=2)},
    "full rank": {"*": LowRank(rank=99)},
    "chain": {"*": CHAIN},
    "chain jointly": {"*": Joint(Chain(L0Pruning(keep=0.05), Codebook(size=3)))},
    "chain to one value": {"*": Chain(L0Pruning(keep=0.2), Codebook(size=1))},
}
CONV_PLANS = PLANS | {
    "mixed, a layer left alone": {"stem.*": LowRank(rank=1), "head": CHAIN},
    "mixed, two together": {"stem.*": Codebook(size=3), "*": Joint(L0Pruning(keep=0.2))},
}
INFO = {
    "study": "digits",
    "note": 'Größe "x"\n\t\\ ☃ \x01',
    "accuracy": 0.1 + 0.2,
    "levels": [1, None, True, {"a": 1e-9}],
}


def trained_conv_net():
    """A conv net whose batch-norm buffers are not what they begin with."""
    model = conv_net(seed=1).train()
    model(randn(10, 2, 6, 6))
    return model.eval()


def packed(model, plan, *, format=1):
    tasks, thetas = compressed(model, plan)
    return encode(tasks, thetas, model.state_dict(), info=INFO, format=format)


@pytest.fixture
def file(tmp_path):
    """A small packed model: pruned, quantized, factored, uncompressed parameters and buffers."""
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 9), nn.Linear(9, 10))
    path = tmp_path / "model.lcz"
    path.write_bytes(packed(model, {"0": L0Pruning(keep=0.1), "2": Codebook(size=3), "3": LowRank(rank=1)}))
    return path


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("build, inputs, plan", [
    *[pytest.param(mlp, randn(5, 6), plan, id=f"mlp-{name}") for name, plan in PLANS.items()],
    *[pytest.param(trained_conv_net, randn(5, 2, 6, 6), plan, id=f"conv-{name}") for name, plan in CONV_PLANS.items()],
])  # fmt: skip
def test_a_model_comes_back_bit_for_bit_in_the_bytes_stated_before(build, inputs, plan, format, tmp_path):
    model = build()
    tasks, thetas = compressed(model, plan)
    weights = dict(model.state_dict())
    for task, theta in zip(tasks, thetas, strict=True):
        weights |= task.governed.scatter(theta.decompress())

    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info=INFO, format=format))
    loaded = build()
    nn.init.constant_(next(loaded.parameters()), 7.0)
    artifact = load(path, loaded)

    assert artifact.info == INFO
    assert artifact.file_bytes == path.stat().st_size
    nominal = nominal_bytes(plan_tasks(build(), plan), build().state_dict(), info=INFO)
    assert artifact.payload_bytes == nominal > artifact.file_bytes
    assert [governed.names for governed in artifact.governed] == [task.governed.names for task in tasks]
    assert [theta.storage_bits() for theta in artifact.thetas] == [theta.storage_bits() for theta in thetas]
    assert artifact.weights().keys() == weights.keys()
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == weights[name].dtype, name
        assert torch.equal(tensor, weights[name]), name
    model.load_state_dict(weights)
    assert torch.equal(loaded.eval()(inputs), model.eval()(inputs))


def test_the_payload_is_a_safetensors_file_with_every_array_billed(file):
    payload = zstandard.ZstdDecompressor().decompress(file.read_bytes())
    arrays = safetensors.torch.load(payload)
    artifact = read(file)
    header = 8 + int.from_bytes(payload[:8], "little")
    uncompressed = sum(a.numel() * a.element_size() for a in artifact.uncompressed.values())
    bits = sum(theta.storage_bits() for theta in artifact.thetas)
    assert artifact.payload_bytes == len(payload) == header + uncompressed + bits // 8
    assert {name for name in arrays if ":" in name} == {
        *("0:low", "0:high", "0:values.dense", "1:codes", "1:codebook", "2:left.dense", "2:right.dense")
    }
    assert arrays.keys() - artifact.uncompressed.keys() == {name for name in arrays if ":" in name}
    assert {"0.bias", "1.running_mean", "1.num_batches_tracked", "3.bias"} <= artifact.uncompressed.keys()


def test_the_frame_carries_its_size_and_a_checksum_for_zstd_itself(file):
    frame = zstandard.get_frame_parameters(file.read_bytes())
    assert frame.has_checksum
    assert frame.content_size == read(file).payload_bytes


def test_more_than_ten_tasks_keep_their_arrays_apart(tmp_path):
    """Task 1 does not take the arrays of task 10."""
    model = nn.Sequential(*(nn.Linear(6, 6) for _ in range(12)))
    path = tmp_path / "model.lcz"
    path.write_bytes(packed(model, {"*": Codebook(size=2)}))
    artifact = load(path, loaded := nn.Sequential(*(nn.Linear(6, 6) for _ in range(12))))
    assert len(artifact.thetas) == 12
    assert torch.equal(loaded[10].weight, Codebook(size=2).compress(model[10].weight, mu=0.0).decompress())


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("dtype", list(ORDER), ids=str)
def test_uncompressed_parameters_keep_their_type(dtype, format, tmp_path):
    weights = {"table": torch.tensor([[0.0, 1.5], [2.0, 3.0]]).to(dtype), "one": torch.tensor(1).to(dtype)}
    weights |= {"other": torch.tensor([1.0, 2.0])}
    path = tmp_path / "model.lcz"
    path.write_bytes(encode([], [], weights | {"empty": torch.zeros(0, 3)}, info={}, format=format))
    artifact = read(path)
    assert artifact.payload_bytes == nominal_bytes([], weights | {"empty": torch.zeros(0, 3)}, info={})
    for name, tensor in weights.items():
        found = artifact.uncompressed[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert found.reshape(-1).view(torch.uint8).tolist() == tensor.reshape(-1).view(torch.uint8).tolist()


def test_a_type_that_the_file_has_not_is_refused_by_the_tensors_name():
    weights = {"phase": torch.zeros(2, dtype=torch.complex128)}
    for call in (lambda: encode((), (), weights, info={}), lambda: nominal_bytes((), weights, info={})):
        with pytest.raises(ValueError, match=r"^phase: expected a tensor of a type .*, got torch\.complex128$"):
            call()


@pytest.mark.parametrize("format", FORMATS)
def test_buffers_of_every_type_travel(format, tmp_path):
    def build(value: float) -> nn.Module:
        model = mlp()
        for number, dtype in enumerate((torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.complex64)):
            model.register_buffer(f"buffer{number}", torch.full((3,), value).to(dtype))
        return model

    path = tmp_path / "model.lcz"
    path.write_bytes(packed(build(1.0), {"*": Codebook(size=2)}, format=format))
    load(path, loaded := build(0.0))
    assert all(torch.equal(mine, other) for mine, other in zip(loaded.buffers(), build(1.0).buffers(), strict=True))


@pytest.mark.parametrize("format", FORMATS)
def test_the_bytes_are_the_same_every_time(format):
    assert packed(conv_net(), {"*": CHAIN}, format=format) == packed(conv_net(), {"*": CHAIN}, format=format)


def test_nominal_bytes_need_only_shapes():
    tasks = plan_tasks(mlp(), {"*": CHAIN})
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in mlp().state_dict().items()}
    assert nominal_bytes(tasks, shapes, info={}) == nominal_bytes(tasks, mlp().state_dict(), info={})


def test_zstd_makes_the_payload_smaller_where_there_is_something_to_gain(tmp_path):
    path = tmp_path / "model.lcz"
    path.write_bytes(packed(nn.Linear(400, 300), {"*": Joint(L0Pruning(keep=0.001))}))
    artifact = read(path)
    assert artifact.file_bytes < 0.9 * artifact.payload_bytes


def assert_refused(path, *, because=None):
    """The message with which `path` is refused: one line that names it."""
    with pytest.raises(ArtifactError, match=because) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    return message


@pytest.mark.parametrize("more", [b"\0", b"some more", zstandard.ZstdCompressor().compress(b"another frame")])
def test_bytes_after_the_end_are_refused(file, more):
    file.write_bytes(file.read_bytes() + more)
    assert_refused(file, because=f"contains {len(more)} bytes of unused data")


@pytest.mark.parametrize("declared", [2**63, 2**50, 200 << 20])
def test_a_huge_declared_size_is_refused_without_memory_for_it(file, declared):
    frame = zstandard.FRAME_HEADER + bytes([0b11_1_0_0_0_00]) + declared.to_bytes(8, "little") + bytes(20)
    file.write_bytes(frame)
    assert_refused(file, because=f"it declares {declared} bytes in a frame of {len(frame)}")


def test_a_frame_that_does_not_declare_its_size_is_refused(file):
    payload = zstandard.ZstdDecompressor().decompress(file.read_bytes())
    file.write_bytes(zstandard.ZstdCompressor(write_content_size=False).compress(payload))
    assert_refused(file, because="it declares")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 some zip", b"\x28\xb5\x2f", b"\x28\xb5\x2f\xfd"])
def test_what_is_no_packed_model_is_refused(tmp_path, content):
    path = tmp_path / "other.lcz"
    path.write_bytes(content)
    assert "expected a whole packed model (.lcz)" in assert_refused(path)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    assert_refused(tmp_path, because="expected a regular file")
    assert_refused(tmp_path / "missing.lcz", because="cannot be read: No such file")


def rewritten(file, change):
    """`file` with its metadata changed by `change` and everything around it made right again, but for the SHA-256."""
    payload = zstandard.ZstdDecompressor().decompress(file.read_bytes())
    arrays = safetensors.torch.load(payload)
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    metadata = change(json.loads(header["__metadata__"]["lcz"]))
    file.write_bytes(zstandard.ZstdCompressor().compress(safetensors.torch.save(arrays, metadata=metadata)))


@pytest.mark.parametrize(
    "change, because",
    [
        (lambda data: {"lcz": json.dumps(data | {"format": 2})}, "expected format 1, got 2"),
        (lambda data: {"lcz": json.dumps(data | {"info": {}})}, "do not match its SHA-256"),
        (lambda data: {"lcz": json.dumps(data | {"tasks": []})}, "do not match its SHA-256"),
        (lambda data: {"lcz": json.dumps({k: v for k, v in data.items() if k != "sha256"})}, "sha256"),
        (lambda data: {"lcz": "[" * 100_000}, "recursion"),
        (lambda data: {"lcz": "7"}, "expected a JSON object with format, got 7"),
        (lambda data: {"lcz": "[]"}, "expected a JSON object with format, got"),
        (lambda data: {"lcz": "{}"}, "format"),
        (lambda data: {"other": "{}"}, "lcz"),
        (lambda data: None, "__metadata__"),
    ],
)
def test_other_metadata_is_refused(file, change, because):
    rewritten(file, change)
    assert_refused(file, because=because)


@pytest.mark.parametrize("build, plan", [(lambda: nn.Linear(6, 8), {}), (conv_net, {}), (lambda: nn.Linear(5, 8), {})])
def test_another_model_is_refused_by_name(tmp_path, build, plan):
    path = tmp_path / "model.lcz"
    path.write_bytes(packed(mlp(), {"*": Codebook(size=2)}))
    model = build()
    with pytest.raises(ArtifactError, match=re.escape(f"{path}: does not fit the model {type(model).__name__}: ")) as e:
        load(path, model)
    assert "\n" not in str(e.value)


COMPUTED = [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm]


@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
def test_a_model_that_computes_a_weight_is_refused_with_the_way_out(tmp_path, computed):
    path, plain = tmp_path / "model.lcz", mlp()
    path.write_bytes(packed(plain, {"*": Codebook(size=2)}))
    model, name = mlp(), next(name for name, layer in plain.named_modules() if isinstance(layer, nn.Linear))
    computed(model.get_submodule(name))
    with pytest.raises(ArtifactError, match=f"computes {name}.weight from others.*call lc_core.fold") as e:
        load(path, model)
    assert "\n" not in str(e.value)
    fold(model)
    load(path, model)


CODED = {"form": "codebook"}


def no_bits(prefix):
    """A codebook of one entry, whose codes take no bits whatever their number."""
    return {f"{prefix}codes": torch.zeros(0, dtype=torch.uint8), f"{prefix}codebook": torch.zeros(1)}


BOMBS = {
    "codes of no bits": (
        {"form": "codebook", "shape": [500_000_000]},
        {"codes": torch.zeros(0, dtype=torch.uint8), "codebook": torch.zeros(1)},
        "it declares 500000000 numbers",
    ),
    "an empty support": (
        {"form": "sparse", "shape": [10**12], "count": 0, "values": {"form": "dense", "shape": [0]}},
        {
            "low": torch.zeros(0, dtype=torch.uint8),
            "high": torch.zeros(1, dtype=torch.uint8),
            "values.dense": torch.zeros(0),
        },
        "it declares 1000000000000 numbers",
    ),
    "thin factors": (
        {
            "form": "factors",
            "shape": [10**6, 10**6],
            "left": {"form": "dense", "shape": [10**6, 1]},
            "right": {"form": "dense", "shape": [1, 10**6]},
        },
        {"left.dense": torch.zeros(10**6), "right.dense": torch.zeros(10**6)},
        "it declares 1000002000000 numbers",
    ),
    "blocks larger than the weights": (
        {"form": "circulant", "shape": [1, 1], "block": 200_000, "vectors": CODED | {"shape": [1, 1, 200_000]}},
        no_bits("vectors."),
        "it declares 80000",
    ),
    "a core of too many channels": (
        {
            "form": "tucker",
            "shape": [10**6, 1, 1],
            "core": CODED | {"shape": [1, 10**6, 1]},
            "left": CODED | {"shape": [10**6, 1]},
            "right": CODED | {"shape": [1, 10**6]},
        },
        no_bits("core.") | no_bits("left.") | no_bits("right."),
        "expected a core and factors",
    ),
    "a rank beyond the kernel's": (
        {
            "form": "cp",
            "shape": [1, 4000, 4000, 1],
            "factors": [CODED | {"shape": [size, 1000]} for size in (1, 4000, 4000, 1)],
        },
        no_bits("0.") | no_bits("1.") | no_bits("2.") | no_bits("3."),
        "it declares 16",
    ),
    "a negative size": ({"form": "dense", "shape": [-4]}, {"dense": torch.zeros(4)}, "in whole numbers"),
    "a size that is no integer": ({"form": "dense", "shape": [4.0]}, {"dense": torch.zeros(4)}, "in whole numbers"),
    "true for a size": ({"form": "dense", "shape": [True]}, {"dense": torch.zeros(1)}, "in whole numbers"),
    "a codebook in two dimensions": (
        {"form": "codebook", "shape": [4]},
        {"codes": torch.zeros(1, dtype=torch.uint8), "codebook": torch.zeros(2, 2)},
        "codebook",
    ),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_file_whose_hash_is_right_and_whose_sizes_are_not_is_refused_without_memory_for_it(tmp_path, what):
    form, arrays, because = BOMBS[what]
    arrays = {f"0:{name}": array for name, array in arrays.items()}
    metadata = {"format": 1, "tasks": [{"names": ["w"], "shapes": [form["shape"]], "theta": form}], "info": {}}
    metadata["sha256"] = digest(metadata, arrays)
    payload = safetensors.torch.save(arrays, metadata={"lcz": dumps(metadata)})
    path = tmp_path / "bomb.lcz"
    path.write_bytes(zstandard.ZstdCompressor(level=19, write_checksum=True).compress(payload))
    assert_refused(path, because=because)


@pytest.mark.parametrize("names, shapes", [(["w", "w"], [[2], [2]]), (["w"], [[2], [2]]), ([], [])])
def test_parameters_that_do_not_fit_their_shapes_are_refused(tmp_path, names, shapes):
    theta = {"form": "dense", "shape": [4]}
    arrays = {"0:dense": torch.zeros(4)}
    metadata = {"format": 1, "tasks": [{"names": names, "shapes": shapes, "theta": theta}], "info": {}}
    metadata["sha256"] = digest(metadata, arrays)
    payload = safetensors.torch.save(arrays, metadata={"lcz": dumps(metadata)})
    path = tmp_path / "odd.lcz"
    path.write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(payload))
    assert_refused(path, because="expected a shape for each of")


def test_a_bug_of_ours_is_not_taken_for_a_file_that_does_not_fit(file, monkeypatch):
    def wrong(*_):
        raise TypeError("a bug")

    monkeypatch.setattr(Quantized, "unpack", wrong)
    monkeypatch.setattr(Dense, "unpack", wrong)
    monkeypatch.setattr(Sparse, "unpack", wrong)
    with pytest.raises(TypeError, match="a bug"):
        read(file)
