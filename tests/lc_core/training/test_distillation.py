"""Distillation: its loss by its formula, and networks that are compressed without labels."""

import math
import re

import pytest
import torch
from torch import nn

from lc_core import Codebook, Distillation, Joint, L0Pruning, Recipe, Schedule, plan_tasks, train_reference
from lc_core.algorithm import compressed_weights, run_lc
from lc_core.schedule import CLOSED_GAP
from lc_core.training.data import Split
from lc_core.training.loop import predict
from tests.lc_core.models import conv_net, mlp, randn, three_classes

cross_entropy = nn.functional.cross_entropy
SGD = Schedule(epochs=20, lr=0.1, batch_size=16)
ADAM = Schedule(epochs=20, lr=0.01, batch_size=16, optimizer="adam")


class Untouched(torch.Tensor):
    """A tensor that nobody may look at."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("the targets were touched")


def untouched(n):
    return torch.zeros(n, dtype=torch.int64).as_subclass(Untouched)


def by_hand(outputs, reference, temperature):
    """T^2 KL(softmax(reference / T) || softmax(outputs / T)), the mean over the examples, in plain Python."""
    total = 0.0
    for mine, theirs in zip(outputs.tolist(), reference.tolist(), strict=True):
        p, q = ([math.exp(x / temperature) for x in row] for row in (theirs, mine))
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return temperature**2 * total / len(outputs)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("labels", [0.0, 0.3, 1.0])
def test_the_loss_is_that_of_the_formula(temperature, labels):
    reference, outputs, classes = 3 * randn(20, 4).double(), randn(20, 4, seed=1).double(), torch.arange(20) % 4
    distillation = Distillation(temperature=temperature, labels=labels)
    targets, loss = distillation.targets_and_loss(reference, targets=classes, loss=cross_entropy)
    batch = torch.tensor([3, 17, 4, 11])
    expected = labels * float(cross_entropy(outputs[batch], classes[batch]))
    expected += (1 - labels) * by_hand(outputs[batch], reference[batch], temperature)
    assert float(loss(outputs[batch], targets[batch])) == pytest.approx(expected, rel=1e-10)


def test_at_the_reference_the_divergence_and_its_gradient_are_zero():
    reference = 3 * randn(20, 4).double()
    targets, loss = Distillation(temperature=4).targets_and_loss(reference, targets=None, loss=cross_entropy)
    outputs = reference.clone().requires_grad_()
    value = loss(outputs, targets)
    (slope,) = torch.autograd.grad(value, outputs)
    assert abs(float(value.detach())) < 1e-12
    assert float(slope.abs().max()) < 1e-12
    assert float(loss(reference + randn(20, 4, seed=1), targets)) > 0.1


def test_the_temperature_hardly_changes_the_size_of_the_gradient():
    """For logits that are small beside it: p - q at temperature T, times T, is (logits - logits) / classes."""
    reference, outputs = randn(20, 4).double(), randn(20, 4, seed=1).double().requires_grad_()
    norms = []
    for temperature in (20.0, 40.0):
        targets, loss = Distillation(temperature=temperature).targets_and_loss(
            reference, targets=None, loss=cross_entropy
        )
        norms.append(float(torch.autograd.grad(loss(outputs, targets), outputs)[0].norm()))
    assert norms[1] == pytest.approx(norms[0], rel=0.05)


def test_without_labels_the_targets_are_never_touched_and_need_not_be_there():
    reference = randn(20, 4)
    distillation = Distillation(temperature=2)
    targets, loss = distillation.targets_and_loss(reference, targets=untouched(20), loss=cross_entropy)
    absent, same = distillation.targets_and_loss(reference, targets=None, loss=cross_entropy)
    assert torch.equal(targets, absent)
    assert float(loss(randn(20, 4, seed=1), targets)) == float(same(randn(20, 4, seed=1), absent))
    mixed, loss = Distillation(temperature=2, labels=0.1).targets_and_loss(
        reference, targets=untouched(20), loss=cross_entropy
    )
    with pytest.raises(AssertionError, match="the targets were touched"):  # so it would show
        loss(randn(20, 4), mixed)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"temperature": 0}, "temperature: expected a positive number, got 0"),
        ({"temperature": math.inf}, "temperature: expected a positive number, got inf"),
        ({"temperature": 4, "labels": -0.1}, "labels: expected a number in [0, 1], got -0.1"),
        ({"temperature": 4, "labels": math.nan}, "labels: expected a number in [0, 1], got nan"),
    ],
)
def test_values_without_a_meaning_are_refused_in_a_line(values, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Distillation(**values)


@pytest.mark.parametrize("shape", [(20,), (20, 1), (20, 4, 7)])
def test_outputs_that_are_no_class_logits_are_refused(shape):
    with pytest.raises(
        ValueError, match=re.escape(f"expected outputs of shape (n, classes), two or more, got {shape}")
    ):
        Distillation(temperature=4).targets_and_loss(torch.zeros(shape), targets=None, loss=cross_entropy)


def test_labels_that_are_missing_are_asked_for():
    with pytest.raises(ValueError, match=r"labels: expected 0 where there are no targets, got 0\.5"):
        Distillation(temperature=4, labels=0.5).targets_and_loss(randn(20, 4), targets=None, loss=cross_entropy)


# The L step without labels.


def reference_network():
    inputs = randn(400, 6)
    model = mlp()
    recipe = Recipe(epochs=60, lr=0.2, batch_size=16)
    train_reference(model, Split(inputs[:200], three_classes(inputs[:200])), loss=cross_entropy, recipe=recipe)
    return model, inputs[:200], inputs[200:]


@pytest.mark.parametrize("labels", [0.0, 0.5])
@pytest.mark.parametrize("schedule", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("compression", [Joint(L0Pruning(keep=0.3)), Codebook(size=4)], ids=["pruning", "a codebook"])
def test_a_network_is_compressed_by_the_outputs_of_its_reference(compression, schedule, labels):
    model, inputs, unseen = reference_network()
    expected = predict(model, unseen)
    targets, loss = Distillation(temperature=2, labels=labels).targets_and_loss(
        predict(model, inputs), targets=three_classes(inputs) if labels else None, loss=cross_entropy
    )
    tasks = plan_tasks(model, {"*": compression})
    states = list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=schedule, seed=0))

    def off(state):
        """The divergence from the reference on inputs that training has not seen, and the classes that differ."""
        model.load_state_dict(compressed_weights(tasks, state))
        found = predict(model, unseen)
        differ = float((found.argmax(dim=1) != expected.argmax(dim=1)).float().mean())
        return by_hand(found, expected, 2.0), differ

    (divergence, differ), (direct, _) = off(states[-1]), off(states[0])
    assert states[-1].gap < CLOSED_GAP
    assert divergence < 0.65 * direct
    assert differ < 0.06


def test_a_run_without_labels_repeats_and_is_gone_on_from_exactly():
    """The outputs of the reference are what they were, though the network has been trained on."""
    model, inputs, _ = reference_network()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    targets, loss = Distillation(temperature=4, labels=0.2).targets_and_loss(
        predict(model, inputs), targets=three_classes(inputs), loss=cross_entropy
    )
    tasks = plan_tasks(model, {"*": Codebook(size=2)})

    def states(model, resume=None):
        return list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=ADAM, seed=0, resume=resume))

    first = states(model)
    model.load_state_dict(weights)
    second = states(model)
    resumed = states(mlp(seed=9), first[5])
    for other in (second[-1], resumed[-1]):
        assert (other.loss, other.gap, other.mu) == (first[-1].loss, first[-1].gap, first[-1].mu)
        assert all(torch.equal(other.weights[name], tensor) for name, tensor in first[-1].weights.items())


def test_a_network_with_batch_norm_follows_its_reference_as_that_is_used():
    """In evaluation mode; the statistics of the reference stay as they are."""
    model, inputs = conv_net(), randn(60, 2, 6, 6)
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reference = predict(model, inputs)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    targets, loss = Distillation(temperature=4).targets_and_loss(reference, targets=None, loss=cross_entropy)
    tasks = plan_tasks(model, {"body.*": Codebook(size=4)})
    for schedule in (SGD, ADAM):
        states = list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=schedule, seed=0))
        assert states[-1].loss < states[1].loss + 0.1
        assert math.isfinite(states[-1].gap)
