"""Quantized activations: the grid, the gradients of the papers, and what the rest makes of such a layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lc_core import SMALL, ActivationSteps, Cast, GroupPruning, Joint, Recipe, Split, train_reference
from lc_core.file.artifact import decode, encode, fill
from lc_core.structure.restructure import restructured
from lc_core.structure.tidy import tidied
from lc_core.training.loop import probe_gradient
from lc_core.training.optimizers import Optimizer
from lc_core.training.sensitivity import fisher
from tests.lc_core.models import compressed, randn, seeded


def net(bits: int = 4, *, asymmetric: bool = False) -> nn.Sequential:
    return seeded(
        lambda: nn.Sequential(
            *(nn.Linear(6, 16), nn.Tanh(), ActivationSteps(bits, low=-1, high=1, asymmetric=asymmetric)),
            *(nn.Linear(16, 16), nn.ReLU(), ActivationSteps(bits, low=0, high=2, asymmetric=asymmetric)),
            nn.Linear(16, 3),
        ),
        seed=0,
    )


@pytest.mark.parametrize(
    ("layer", "grid"),
    [
        (ActivationSteps(2, low=-1, high=0.5), [-1, 0, 1]),
        (ActivationSteps(2, low=0, high=3), [0, 1, 2, 3]),
        (ActivationSteps(3, low=-3.5, high=3.5, asymmetric=True), [-3.5, -2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 3.5]),
        (ActivationSteps(3, low=-3, high=2), [-3, -2, -1, 0, 1, 2, 3]),
    ],
)
def test_activations_go_to_the_nearest_value_of_the_grid(layer: ActivationSteps, grid: list[float]) -> None:
    x, values = 3 * randn(50, 7), torch.tensor(grid, dtype=torch.float32)
    nearest = values[(x[..., None] - values).abs().argmin(dim=-1)]
    for mode in (True, False):
        torch.testing.assert_close(layer.train(mode)(x), nearest)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_gradients_are_those_of_the_papers(asymmetric: bool) -> None:
    """LSQ, equations 2 and 3; LSQ+, equations 3 and 4."""
    layer = ActivationSteps(3, low=-1, high=1, asymmetric=asymmetric)
    x, out = randn(9, 5, seed=1).requires_grad_(), randn(9, 5, seed=2)
    (layer(x) * out).sum().backward()
    step, offset = layer.step.detach(), 0.0 if layer.offset is None else layer.offset.detach()
    v = (x.detach() - offset) / step
    below, above = v < layer.first, v > layer.last
    inside = ~below & ~above
    factor = (5 * layer.last) ** -0.5
    of_step = torch.where(inside, v.round() - v, torch.where(below, float(layer.first), float(layer.last)))
    assert layer.step.grad is not None
    assert x.grad is not None
    torch.testing.assert_close(x.grad, out * inside)
    torch.testing.assert_close(layer.step.grad, (out * of_step).sum() * factor)
    if layer.offset is not None:
        assert layer.offset.grad is not None
        torch.testing.assert_close(layer.offset.grad, (out * ~inside).sum() * factor)
    assert int(below.sum()) > 0 < int(above.sum())


@pytest.mark.parametrize("asymmetric", [False, True])
def test_gradients_of_bfloat16_are_those_of_float32(asymmetric: bool) -> None:
    layer = ActivationSteps(8, low=-2, high=2, asymmetric=asymmetric)
    x, out = randn(256, 64, seed=1).bfloat16(), randn(256, 64, seed=2).bfloat16()
    found = []
    for dtype in (torch.bfloat16, torch.float32):
        layer.zero_grad()
        made = layer(x.to(dtype))
        assert made.dtype == dtype
        (made * out.to(dtype)).float().sum().backward()
        found.append([parameter.grad for parameter in layer.parameters()])
    torch.testing.assert_close(*found)


def test_a_step_below_zero_rises_again() -> None:
    layer, x = ActivationSteps(8, low=-1, high=1), randn(512, 8).clamp(-1, 1)
    with torch.no_grad():
        layer.step.fill_(-0.01)
    before = F.mse_loss(layer(x), x).detach()
    train_reference(layer, Split(x, x), loss=F.mse_loss, recipe=Recipe(epochs=20, lr=0.01, batch_size=64))
    assert float(layer.step.detach()) > 0
    assert F.mse_loss(layer(x), x).detach() < before / 10


@pytest.mark.parametrize("mode", [True, False])
def test_an_empty_batch_stays_so(mode: bool) -> None:
    assert ActivationSteps(4, low=0, high=1).train(mode)(torch.zeros(0, 5)).shape == (0, 5)


def test_training_finds_a_better_step() -> None:
    """Targets are the activations; their range is a quarter of where the step starts."""
    layer, x = ActivationSteps(4, low=-4, high=4), randn(512, 8).clamp(-1, 1)

    def error() -> float:
        return float(F.mse_loss(layer.eval()(x), x).detach())

    before = error()
    train_reference(layer, Split(x, x), loss=F.mse_loss, recipe=Recipe(epochs=60, lr=1.0, batch_size=64))
    assert error() < before / 5
    assert float(layer.step.detach()) == pytest.approx(1 / 7, rel=0.3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"bits": 1, "low": 0, "high": 1}, "bits: expected 2 to 16, got 1"),
        ({"bits": 8, "low": 1, "high": 2}, "low, high: expected a range with 0 in it, got 1 to 2"),
        ({"bits": 8, "low": 0, "high": 0}, "low, high: expected a range with 0 in it, got 0 to 0"),
        ({"bits": 8, "low": 0, "high": float("nan")}, "low, high: expected a range with 0 in it, got 0 to nan"),
    ],
)
def test_bits_and_ranges_that_are_none_are_refused(given: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ActivationSteps(**given)  # type: ignore[arg-type]


def test_the_gradients_that_lc_and_budgets_measure_are_those_of_the_network_without_it() -> None:
    """Of 16 bits: mu's unit with Adam, and how sensitive the loss is to each layer."""
    data = Split(randn(200, 6), torch.arange(200) % 3)
    model = net(16)
    plain = nn.Sequential(*(each for each in net(16) if not isinstance(each, ActivationSteps)))
    found = []
    for each in (model, plain):
        weights = [parameter for parameter in each.parameters() if parameter.ndim > 1]
        optimizer = Optimizer(each, name="adam", momentum=0.9)
        rms = probe_gradient(each, weights, data, loss=F.cross_entropy, optimizer=optimizer, batch_size=50)
        of = fisher(each, data, loss=F.cross_entropy)
        found.append([rms, *(of[name] / of[f"{len(each) - 1}.weight"] for name in of if name.endswith("weight"))])
    assert found[0] == pytest.approx(found[1], rel=1e-3)


@pytest.mark.parametrize("asymmetric", [False, True])
def test_units_are_followed_through_the_layer(asymmetric: bool) -> None:
    """What removed units read and make leaves the file, and the steps travel in it."""
    model, inputs = net(asymmetric=asymmetric), randn(20, 6)
    tasks, thetas = compressed(model, {"[03]": GroupPruning(keep=0.25), SMALL: Joint(Cast("float16"))})
    data = encode(tasks, thetas, model.state_dict(), info={})
    made = tidied(data, model, inputs)
    assert len(made) < len(data)
    assert ("2.offset" in decode(made).weights()) == asymmetric
    before, after = (_outputs(each, model, inputs) for each in (data, made))
    torch.testing.assert_close(after, before)


def test_onnx_runtime_quantizes_activations_alike() -> None:
    build, file = pytest.importorskip("lc_core.onnx.build"), pytest.importorskip("lc_core.onnx.file")
    graphs = pytest.importorskip("lc_core.onnx.graph")
    model = net(asymmetric=True).eval()
    artifact = decode(encode((), (), model.state_dict(), info={}))
    running = restructured(artifact, model, randn(2, 6), spectral_from=None)
    graph = graphs.open_graph(running.model.eval(), randn(2, 6), names=list(running.weights))
    build.parity(file.seal(build.filled(graph, running.weights), {}), artifact, model, randn(30, 6, seed=3))


def _outputs(data: bytes, model: nn.Module, inputs: Tensor) -> Tensor:
    fill(model, decode(data))
    with torch.no_grad():
        outputs: Tensor = model.eval()(inputs)
    return outputs
