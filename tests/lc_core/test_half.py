"""Half-precision weights: compressed in float32, stored and billed in their own type."""

import pytest
import torch
from torch import Tensor, nn

from lc_core import (
    CP,
    Cast,
    Chain,
    Circulant,
    Codebook,
    GroupPruning,
    Joint,
    L0Pruning,
    L1Penalty,
    LowRank,
    NMPruning,
    RankSelection,
    ScaledTernary,
    Schedule,
    Separable,
    Sum,
    Tucker2,
    UniformQuantization,
    deploy,
    encode,
    load,
    nominal_bytes,
    plan_tasks,
    read,
    run_lc,
)
from lc_core.compressions.cast import Rounded, in_dtype
from lc_core.task import CompressionTask
from lc_core.training.data import Split
from tests.lc_core.models import compressed, conv_net, mlp, randn, three_classes

HALVES = [torch.float16, torch.bfloat16]
PLANS = {
    "nothing": {},
    "prune": {"*": L0Pruning(keep=0.2)},
    "prune in a pattern": {"body.0": NMPruning(n=1, m=2)},
    "prune by a price": {"*": L1Penalty(alpha=0.01)},
    "codebook": {"*": Codebook(size=5)},
    "codebook, jointly": {"*": Joint(Codebook(size=3))},
    "fixed codebook": {"*": ScaledTernary()},
    "uniform": {"*": UniformQuantization(bits=3, granularity="channel")},
    "narrower": {"*": Cast("float8_e4m3fn")},
    "no narrower": {"*": Cast("float16")},
    "low rank": {"*": LowRank(rank=2)},
    "learned rank": {"*": RankSelection(alpha=0.01)},
    "Tucker": {"body.0": Tucker2((2, 3))},
    "CP": {"body.0": CP(3)},
    "separable": {"body.0": Separable(2)},
    "circulant": {"*": Circulant(3)},
    "sum": {"*": Sum(LowRank(1), L0Pruning(keep=0.1))},
    "groups": {"stem.0": GroupPruning(keep=0.5), "body.0": GroupPruning(keep=0.5, axis="input")},
    "chains": {"stem.0": Chain(GroupPruning(keep=0.5), Codebook(size=3)), "*": Chain(LowRank(2), Codebook(size=4))},
}


def rounded(w: Tensor, dtype: torch.dtype) -> Tensor:
    return w.to(dtype).float()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_step_is_float32s_and_what_is_stored_is_rounded_and_billed_in_the_weights_type(plan, dtype, tmp_path):
    model, wide = conv_net().to(dtype), conv_net().to(dtype).float()
    tasks, thetas = compressed(model, plan)
    for theta, exact in zip(thetas, compressed(wide, plan)[1], strict=True):
        assert theta.dtype == theta.decompress().dtype == dtype
        exact_values = exact.decompress()
        step = torch.finfo(dtype).eps * exact_values.abs().max() * 4  # a few roundings, of factors and of their product
        assert float((theta.decompress().float() - exact_values).abs().max()) <= float(step)
        assert theta.form().keys() == exact.form().keys() or theta.form()["form"] in ("dense", exact.form()["form"])
        assert 8 * sum(a.numel() * a.element_size() for a in theta.pack().values()) == theta.storage_bits()
        assert theta.storage_bits() <= exact.storage_bits()

    weights = dict(model.state_dict())
    for task, theta in zip(tasks, thetas, strict=True):
        weights |= task.governed.scatter(theta.decompress())
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, weights, info={}))
    artifact = load(path, loaded := conv_net(seed=1).to(dtype))
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, weights[name]), name
    nominal = nominal_bytes(tasks, model.state_dict(), info={})
    fixed = all(task.outline() is not None for task in tasks)
    assert artifact.payload_bytes == nominal if fixed else artifact.payload_bytes <= nominal


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_a_codebook_is_that_of_float32_rounded(dtype):
    w = randn(40, 30).to(dtype)
    (task,) = plan_tasks(model := nn.Linear(30, 40).to(dtype), {"*": Codebook(size=7)})
    with torch.no_grad():
        model.weight.copy_(w)
    gathered = task.governed.gather(dict(model.state_dict()))
    assert gathered.dtype == torch.float32
    theta = task.compress(gathered, mu=1.0, previous=None)
    exact = Codebook(size=7).compress(w.float(), mu=1.0)
    assert torch.equal(theta.codes, exact.codes)
    assert torch.equal(theta.codebook, exact.codebook.to(dtype))
    warm = Codebook(size=7).compress(w.float(), mu=1.0, previous=in_dtype(theta, torch.float32))
    assert torch.equal(task.compress(gathered, mu=1.0, previous=theta).codes, warm.codes)


def test_values_beyond_float16_become_the_largest():
    w = torch.tensor([[1e6, -1e6], [1.0, 0.1]])
    theta = in_dtype(L0Pruning(keep=1.0).compress(w, mu=1.0), torch.float16)
    assert theta.decompress().tolist() == [[65504.0, -65504.0], [1.0, float(torch.tensor(0.1).half())]]
    assert in_dtype(Rounded(w.to(torch.float8_e5m2), torch.float32), torch.bfloat16).dtype == torch.bfloat16


def test_weights_of_several_types_under_one_theta_are_stored_in_the_widest():
    model = mlp()
    model[0].half()
    (task,) = plan_tasks(model, {"*": Joint(Codebook(size=3))})
    theta = task.compress(task.governed.gather(dict(model.state_dict())), mu=1.0, previous=None)
    assert theta.dtype == torch.float32


def test_float64_weights_are_billed_as_such_in_advance():
    model = mlp().double()
    tasks, thetas = compressed(model, {"*": Codebook(size=3)})
    assert [task.outline().storage_bits() for task in tasks] == [theta.storage_bits() for theta in thetas]


def test_a_task_of_no_plan_keeps_the_type_of_its_weights():
    (planned,) = plan_tasks(mlp(), {"0": Codebook(size=2)})
    task = CompressionTask(planned.governed, Codebook(size=2))
    assert task.compress(randn(8, 6).double(), mu=1.0, previous=None).dtype == torch.float64


class HalfHead(nn.Module):
    """A float32 body and a bfloat16 head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 8), nn.Linear(8, 3).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x)).bfloat16()).float()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_lc_run_of_a_bfloat16_head_ends_in_codes_of_its_type(optimizer):
    torch.manual_seed(0)
    model, inputs = HalfHead(), randn(64, 6)
    tasks = plan_tasks(model, {"*": Codebook(size=3)})
    schedule = Schedule(epochs=10, lr=0.05 if optimizer == "sgd" else 0.01, batch_size=16, optimizer=optimizer)
    states = list(
        run_lc(
            model,
            tasks,
            Split(inputs, three_classes(inputs)),
            loss=nn.functional.cross_entropy,
            schedule=schedule,
            seed=0,
        )
    )
    assert [w.dtype for w in states[-1].multipliers] == [torch.float32, torch.float32]
    assert states[-1].gap < states[0].gap
    deploy(model, tasks, states[-1], data=Split(inputs, None), batch_size=16)
    assert model.head.weight.dtype == torch.bfloat16
    assert len(model.head.weight.unique()) <= 3
    again = list(
        run_lc(
            HalfHead(),
            tasks,
            Split(inputs, three_classes(inputs)),
            loss=nn.functional.cross_entropy,
            schedule=schedule,
            seed=0,
            resume=states[3],
        )
    )
    assert again[-1].gaps == states[-1].gaps


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nothing", "prune", "codebook", "low rank"])
def test_the_onnx_file_of_a_float16_model_computes_the_same_to_its_precision(name, tmp_path):
    onnx_build, onnx_file = pytest.importorskip("lc_core.onnx.build"), pytest.importorskip("lc_core.onnx.file")
    model, inputs = mlp().half(), randn(5, 6).half()
    tasks, thetas = compressed(model, PLANS[name])
    (path := tmp_path / "model.lcz").write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    artifact = read(path)
    data = onnx_file.seal(onnx_build.build(artifact, mlp().half(), inputs), {})
    assert onnx_build.parity(data, artifact, mlp().half(), inputs) <= 2e-3
