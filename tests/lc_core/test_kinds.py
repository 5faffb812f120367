"""Every kind of layer through the whole of lc_core: LC run, packed file, loaded model, structured model, ONNX file."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from lc_core import (
    Codebook,
    L0Pruning,
    LowRank,
    Schedule,
    coverage,
    deploy,
    encode,
    load,
    load_structured,
    nominal_bytes,
    plan_tasks,
    read,
    run_lc,
)
from lc_core.structure.accounting import count_macs, model_macs
from lc_core.structure.surgery import TOLERANCE
from lc_core.training.data import Split
from tests.lc_core.models import compressed, randn, seeded


class Run(nn.Module):
    """Layers by name, and what runs them."""

    def __init__(self, run: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def sequence(layer: Callable[[], nn.Module], width: int) -> Callable[[], nn.Module]:
    return lambda: Run(lambda m, x: m.head(m.layer(x)[0][:, -1]), layer=layer(), head=nn.Linear(width, 3))


def tokens(layer: Callable[[], nn.Module], then: Callable[[Tensor], Tensor]) -> Callable[[], nn.Module]:
    return lambda: Run(lambda m, x: m.head(then(m.layer(x))), layer=layer(), head=nn.Linear(12, 3))


WORDS = torch.randint(9, (20, 4), generator=torch.Generator().manual_seed(0))
KINDS = {
    "LSTM": (sequence(lambda: nn.LSTM(4, 12, batch_first=True), 12), randn(20, 7, 4)),
    "LSTM, deep and both ways": (
        sequence(lambda: nn.LSTM(4, 8, num_layers=2, bidirectional=True, batch_first=True), 16),
        randn(20, 7, 4),
    ),
    "GRU": (sequence(lambda: nn.GRU(4, 12, batch_first=True), 12), randn(20, 7, 4)),
    "RNN": (sequence(lambda: nn.RNN(4, 12, batch_first=True), 12), randn(20, 7, 4)),
    "attention": (
        lambda: Run(lambda m, x: m.head(m.mix(x, x, x)[0].mean(1)), mix=nn.MultiheadAttention(8, 2, batch_first=True),
                    head=nn.Linear(8, 3)),
        randn(20, 5, 8),
    ),
    "encoder": (
        lambda: Run(lambda m, x: m.head(m.layer(x).mean(1)), head=nn.Linear(8, 3),
                    layer=nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)),
        randn(20, 5, 8),
    ),
    "embedding": (tokens(lambda: nn.Embedding(9, 12), lambda x: x.mean(1)), WORDS),
    "bag of embeddings": (tokens(lambda: nn.EmbeddingBag(9, 12), torch.tanh), WORDS),
    "bilinear": (lambda: Run(lambda m, x: m.layer(x, x), layer=nn.Bilinear(5, 5, 3)), randn(20, 5)),
    "transposed, 1-d": (
        lambda: nn.Sequential(nn.ConvTranspose1d(3, 6, 4), nn.Flatten(), nn.Linear(48, 3)),
        randn(20, 3, 5),
    ),
    "transposed, 2-d": (
        lambda: nn.Sequential(nn.ConvTranspose2d(2, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 3, 3),
                              nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        randn(20, 2, 5, 5),
    ),
    "transposed, 3-d": (
        lambda: nn.Sequential(nn.ConvTranspose3d(2, 3, 2), nn.AdaptiveAvgPool3d(1), nn.Flatten()),
        randn(20, 2, 3, 3, 3),
    ),
    "3-d": (
        lambda: nn.Sequential(nn.Conv3d(2, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)),
        randn(20, 2, 4, 4, 4),
    ),
}  # fmt: skip
PLANS = {"codes": {"*": Codebook(size=4)}, "zeros": {"*": L0Pruning(keep=0.3)}, "factors": {"*": LowRank(rank=1)}}


def build_of(name: str) -> Callable[[], nn.Module]:
    return lambda: seeded(KINDS[name][0], seed=2)


@pytest.mark.parametrize("name", KINDS)
def test_direct_compression_compresses_each_weight_by_itself_and_all_weights(name):
    model = build_of(name)()
    tasks, thetas = compressed(model, {"*": Codebook(size=4)})
    for task, theta in zip(tasks, thetas, strict=True):
        (weight,) = task.governed.names
        alone = Codebook(size=4).compress(model.get_parameter(weight).detach(), mu=1.0)
        assert torch.equal(theta.decompress(), alone.decompress()), weight
    found = coverage(model, tasks)
    assert {each.why for each in found.left()} <= {"bias", "norm"}
    assert found.governed == sum(p.numel() for n, p in model.named_parameters() if "bias" not in n and "norm" not in n)


@pytest.mark.parametrize("name", KINDS)
def test_an_lc_run_trains_to_codes_that_are_packed_and_loaded(name, tmp_path):
    model, inputs = build_of(name)(), KINDS[name][1]
    targets = torch.arange(20) % 3
    tasks = plan_tasks(model, {"*": Codebook(size=4)})
    schedule = Schedule(epochs=20, lr=0.01, batch_size=10, optimizer="adam")
    states = list(
        run_lc(model, tasks, Split(inputs, targets), loss=nn.functional.cross_entropy, schedule=schedule, seed=0)
    )
    assert states[-1].gap < states[0].gap
    deploy(model, tasks, states[-1], data=Split(inputs, None), batch_size=10)
    for task in tasks:
        assert len(model.get_parameter(task.governed.names[0]).unique()) <= 4
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, states[-1].thetas, model.state_dict(), info={}))
    loaded = build_of(name)()
    assert load(path, loaded).payload_bytes == nominal_bytes(tasks, model.state_dict(), info={})
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    torch.testing.assert_close(loaded.eval()(inputs), model.eval()(inputs))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", KINDS)
def test_the_structured_model_computes_the_same_with_the_macs_of_the_record(name, plan, tmp_path):
    build, inputs = build_of(name), KINDS[name][1]
    tasks, thetas = compressed(build(), plan)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, build().state_dict(), info={}))
    small = load_structured(path, build(), inputs)
    load(path, dense := build())
    with torch.no_grad():
        expected, got = dense.eval()(inputs), small.eval()(inputs)
    assert float((expected - got).abs().max()) <= TOLERANCE / 10 * float(expected.abs().max())
    whole = model_macs(build(), inputs[:1])
    recorded = count_macs(whole, dict(build().state_dict()), tasks=tasks, thetas=thetas)
    assert recorded == count_macs(model_macs(small, inputs[:1]), dict(small.state_dict()))
    assert recorded <= count_macs(whole, dict(build().state_dict()))


NOT_IN_ONNX_RUNTIME = ("bag of embeddings", "transposed, 3-d")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name not in NOT_IN_ONNX_RUNTIME])
def test_the_onnx_file_computes_the_same(name, tmp_path):
    onnx_build, onnx_file = pytest.importorskip("lc_core.onnx.build"), pytest.importorskip("lc_core.onnx.file")
    build, inputs = build_of(name), KINDS[name][1]
    for plan in PLANS.values():
        tasks, thetas = compressed(build(), plan)
        path = tmp_path / "model.lcz"
        path.write_bytes(encode(tasks, thetas, build().state_dict(), info={}))
        data = onnx_file.seal(onnx_build.build(read(path), build(), inputs), {})
        assert onnx_build.parity(data, read(path), build(), inputs) <= 1e-5
        assert onnx_build.decoded_at_run(data) == []
