"""Hints and attention transfer: their formulas, and training with them."""

import math

import pytest
import torch
from torch import Tensor, nn

from lc_core import Distillation
from lc_core.training.data import call
from tests.lc_core.models import conv_net, mlp, randn, three_classes

cross_entropy = nn.functional.cross_entropy
IMAGES = randn(5, 2, 6, 6)


def added(distillation: Distillation, model: nn.Module, inputs: Tensor, *, reference: nn.Module) -> float:
    """What is added to the loss."""
    return float(distance(distillation, model, inputs, reference=reference).detach())


def distance(distillation: Distillation, model: nn.Module, inputs: Tensor, *, reference: nn.Module) -> Tensor:
    """The same, with its graph."""
    forward, loss = distillation.guided(call, lambda outputs, targets: outputs.sum() * 0, reference=reference)
    return loss(forward(model, inputs), None)


def test_a_hint_is_half_the_squared_distance_times_its_weight() -> None:
    model, reference, inputs = mlp(), mlp(seed=1), randn(7, 6)
    ours, theirs = model[0](inputs).tolist(), reference[0](inputs).tolist()
    squares = [sum((u - v) ** 2 for u, v in zip(a, b, strict=True)) for a, b in zip(ours, theirs, strict=True)]
    found = added(Distillation(4, hints={"0": 3.0}), model, inputs, reference=reference)
    assert found == pytest.approx(3 * sum(squares) / 7 / 2, rel=1e-5)


def test_attention_is_half_the_squared_distance_of_normalized_maps() -> None:
    model, reference = conv_net().eval(), conv_net(seed=1).eval()
    total = 0.0
    for image in IMAGES:
        maps = []
        for each in (model, reference):
            channels = each.stem(image[None])[0].flatten(1).tolist()
            energies = [sum(value**2 for value in pixel) for pixel in zip(*channels, strict=True)]
            norm = math.sqrt(sum(energy**2 for energy in energies))
            maps.append([energy / norm for energy in energies])
        total += sum((q - r) ** 2 for q, r in zip(*maps, strict=True)) / 2
    found = added(Distillation(4, attention={"stem": 2.0}), model, IMAGES, reference=reference)
    assert found == pytest.approx(2 * total / len(IMAGES), rel=1e-5)


def test_both_are_added_and_are_zero_with_a_gradient_of_zero_at_the_reference() -> None:
    model, reference = conv_net(), conv_net(seed=1)
    alone = [Distillation(4, hints={"stem": 0.5}), Distillation(4, attention={"stem": 2.0})]
    both = Distillation(4, hints={"stem": 0.5}, attention={"stem": 2.0})
    parts = [added(each, model, IMAGES, reference=reference) for each in alone]
    assert added(both, model, IMAGES, reference=reference) == pytest.approx(sum(parts), rel=1e-5)
    assert min(parts) > 1e-3
    model.eval()
    zero = distance(both, model, IMAGES, reference=model)
    zero.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert float(zero.detach()) == 0
    assert all(float(each.abs().max()) == 0 for each in gradients)


def test_the_loss_and_the_outputs_stay_and_the_reference_is_a_copy() -> None:
    model, reference, inputs = mlp(), mlp(), randn(64, 6)
    targets = three_classes(inputs)
    forward, loss = Distillation(4, hints={"0": 1.0}).guided(call, cross_entropy, reference=reference)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    distances = []
    for _ in range(3):
        outputs, far = found = forward(model, inputs)
        value = loss(found, targets)
        assert torch.equal(outputs, model(inputs))
        assert torch.equal(value, cross_entropy(outputs, targets) + far)
        distances.append(float(far.detach()))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        with torch.no_grad():
            next(reference.parameters()).zero_()  # the teacher does not follow
    assert distances[0] == 0 < distances[1]
    assert all(parameter.grad is None for parameter in reference.parameters())


def test_without_layers_nothing_changes() -> None:
    assert Distillation(4).guided(call, cross_entropy, reference=mlp()) == (call, cross_entropy)


class _Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.lstm = nn.Linear(6, 3), nn.Linear(6, 3), nn.LSTM(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.used(inputs) + self.lstm(inputs)[0]
        return outputs


@pytest.mark.parametrize(
    "layer, said",
    [
        ("other", "expected layers among used, unused, lstm, got 'other'"),
        ("unused", "expected layers that the model calls, got unused"),
        ("lstm", "expected layers that give one tensor, got tuple of lstm"),
    ],
)
def test_a_layer_that_gives_nothing_is_named(layer: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^distillation: {said}$"):
        distance(Distillation(4, hints={layer: 1.0}), _Unused(), randn(4, 6), reference=_Unused())


def test_weights_are_positive() -> None:
    with pytest.raises(ValueError, match=r"^attention: expected positive weights, got \{'0': 0.0\}$"):
        Distillation(4, attention={"0": 0.0})
