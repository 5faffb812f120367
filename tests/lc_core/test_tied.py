"""A tied parameter is one Theta: in the LC run, in the packed file and its bytes, in loaded models, in ONNX files."""

import copy
import json

import pytest
import safetensors.torch
import torch
import zstandard
from torch import Tensor, nn
from torch.nn import functional as F

from lc_core import (
    ArtifactError,
    Codebook,
    Joint,
    L0Pruning,
    LowRank,
    Schedule,
    deploy,
    encode,
    load,
    load_structured,
    nominal_bytes,
    plan_tasks,
    read,
    run_lc,
)
from lc_core.file.artifact import FORMATS
from lc_core.file.format_1 import digest
from lc_core.parameters import load_weights, tied_names
from lc_core.structure.restructure import restructured
from lc_core.training.data import Split
from tests.lc_core.models import compressed, randn, seeded

WORDS, WIDTH = 19, 16


class Tied(nn.Module):
    """(n, 5) words -> (n, 19): the head reads with the table of the embedding, and one layer stands under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.head = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WORDS)
        self.head.weight = self.embed.weight
        self.again = self.mix

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.again(torch.tanh(self.mix(self.embed(words).mean(1)))))


class Written(nn.Module):
    """The same, with each parameter once."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.weight, self.bias = (
            nn.Parameter(randn(*s)) for s in ((WORDS, WIDTH), (WIDTH, WIDTH), (WIDTH,))
        )
        self.last = nn.Parameter(randn(WORDS))

    def forward(self, words: Tensor) -> Tensor:
        seen = torch.tanh(F.linear(F.embedding(words, self.table).mean(1), self.weight, self.bias))
        return F.linear(F.linear(seen, self.weight, self.bias), self.table, self.last)


def tied(*, seed: int = 0) -> Tied:
    return seeded(Tied, seed=seed)


def words(count: int, *, seed: int = 0) -> Tensor:
    return torch.randint(WORDS, (count, 5), generator=torch.Generator().manual_seed(seed))


ALIASES = {"head.weight": "embed.weight", "again.weight": "mix.weight", "again.bias": "mix.bias"}


def test_tied_names_say_the_first_name_of_each():
    assert tied_names(tied()) == ALIASES
    assert tied_names(copy.deepcopy(tied())) == ALIASES
    assert tied_names(Written()) == {}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_lc_run_is_that_of_the_model_with_each_parameter_once(optimizer):
    model, once = tied(), Written()
    with torch.no_grad():
        for mine, its in ((once.table, "embed.weight"), (once.weight, "mix.weight"), (once.bias, "mix.bias")):
            mine.copy_(model.get_parameter(its))
        once.last.copy_(model.head.bias)
    inputs = words(64)
    targets = inputs[:, 0]
    schedule = Schedule(epochs=6, lr=0.05 if optimizer == "sgd" else 0.01, batch_size=16, optimizer=optimizer)
    plans = (
        {"head": Codebook(size=3), "mix": L0Pruning(keep=0.5)},
        {
            "table": Codebook(size=3),
            "weight": L0Pruning(keep=0.5),
        },
    )
    runs = []
    for each, plan in zip((model, once), plans, strict=True):
        tasks = plan_tasks(each, plan)
        states = list(run_lc(each, tasks, Split(inputs, targets), loss=F.cross_entropy, schedule=schedule, seed=0))
        deploy(each, tasks, states[-1], data=Split(inputs, None), batch_size=16)
        runs.append((states, tasks))
    for mine, its in zip(runs[0][0], runs[1][0], strict=True):
        assert (mine.gaps, mine.loss, mine.mu) == (its.gaps, its.loss, its.mu)
        assert mine.weights.keys() == {"embed.weight", "mix.weight", "mix.bias", "head.bias"}
    assert model.head.weight is model.embed.weight
    assert len(model.head.weight.unique()) <= 3
    assert torch.equal(model(inputs), once(inputs))

    middle = runs[0][0][len(runs[0][0]) // 2]
    again, tasks = tied(), runs[0][1]
    later = list(
        run_lc(again, tasks, Split(inputs, targets), loss=F.cross_entropy, schedule=schedule, seed=0, resume=middle)
    )
    assert later[-1].gaps == runs[0][0][-1].gaps


def test_load_weights_needs_a_tied_tensor_under_its_first_name_alone():
    given, model = tied(seed=1), tied()
    load_weights(model, {name: w for name, w in given.state_dict().items() if name not in ALIASES})
    assert torch.equal(model(words(3)), given(words(3)))


PLANS = {
    "nothing": {},
    "head": {"head": Codebook(size=4)},
    "factors": {"head": LowRank(rank=2), "again": LowRank(rank=1)},
    "all": {"*": Codebook(size=2)},
    "joint": {"*": Joint(L0Pruning(keep=0.1))},
}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_file_stores_a_tied_parameter_once_and_loads_into_a_tied_model(plan, format, tmp_path):
    model = tied()
    tasks, thetas = compressed(model, plan)
    weights = dict(model.state_dict())
    for task, theta in zip(tasks, thetas, strict=True):
        weights |= task.governed.scatter(theta.decompress())
    load_weights(model, weights)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}, format=format))
    artifact = load(path, loaded := tied(seed=1))
    assert artifact.tied == ALIASES
    assert artifact.payload_bytes == nominal_bytes(tasks, model.state_dict(), info={})
    assert artifact.payload_bytes == nominal_bytes(tasks, artifact.weights(), info={})
    assert loaded.head.weight is loaded.embed.weight
    assert torch.equal(loaded(words(7)), model(words(7)))
    numbers = sum(array.numel() for array in artifact.uncompressed.values())
    assert plan or numbers == sum(parameter.numel() for parameter in model.parameters())

    apart = tied(seed=1)
    apart.head.weight = nn.Parameter(torch.zeros(WORDS, WIDTH))  # a model that does not tie gets the same values twice
    load(path, apart)
    assert torch.equal(apart(words(7)), model(words(7)))


def test_a_file_of_a_model_without_tied_parameters_does_not_mention_them(tmp_path):
    path = tmp_path / "model.lcz"
    path.write_bytes(encode((), (), Written().state_dict(), info={}, format=1))
    assert b"tied" not in zstandard.ZstdDecompressor().decompress(path.read_bytes())
    assert read(path).tied == {}


REFUSED = {
    "an unknown name": ({"b": "c"}, "a parameter is tied to one that is not in it"),
    "an alias of an alias": ({"b": "a", "c": "b"}, "a parameter is tied to one that is not in it"),
    "a name of its own": ({"a": "a"}, "a parameter is in it twice"),
    "none": ({}, "not written as this format's"),
    "another order": ({"c": "a", "b": "a"}, "not written as this format's"),
    "no names": ({"b": 7}, "expected names of tied parameters"),
    "a list": (["b"], "expected a JSON object"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_file_whose_tied_names_are_not_as_written_is_refused(what, tmp_path):
    names, because = REFUSED[what]
    arrays = {"a": torch.zeros(3)}
    metadata = {"format": 1, "tasks": [], "tied": names, "info": {}}
    metadata["sha256"] = digest(metadata, arrays)
    text = json.dumps(metadata, separators=(",", ":"))
    path = tmp_path / "odd.lcz"
    path.write_bytes(
        zstandard.ZstdCompressor(write_checksum=True).compress(safetensors.torch.save(arrays, metadata={"lcz": text}))
    )
    with pytest.raises(ArtifactError, match=because):
        read(path)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_structured_model_computes_the_same(plan, tmp_path):
    model = tied()
    tasks, thetas = compressed(model, plan)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    load(path, dense := tied(seed=1))
    small = load_structured(path, tied(seed=1), words(4))
    torch.testing.assert_close(small(words(7, seed=3)), dense(words(7, seed=3)))
    factored = plan == PLANS["factors"]
    assert [isinstance(layer, nn.Sequential) for layer in (small.mix, small.again, small.head)] == [factored] * 3


@pytest.mark.parametrize("name", PLANS)
def test_the_onnx_file_computes_the_same_and_stores_it_once(name, tmp_path):
    onnx_build, onnx_file = pytest.importorskip("lc_core.onnx.build"), pytest.importorskip("lc_core.onnx.file")
    model = tied()
    tasks, thetas = compressed(model, PLANS[name])
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    artifact = read(path)
    assert "head.weight" not in restructured(artifact, tied(), words(4)).weights
    data = onnx_file.seal(onnx_build.build(artifact, tied(), words(4)), {})
    assert onnx_build.parity(data, artifact, tied(), words(9)) <= 1e-5
    if name == "nothing":
        sizes = [len(each.raw_data) for each in onnx_file.folded(data).graph.initializer]
        assert sizes.count(4 * WORDS * WIDTH) == 1
