"""Training: the penalty's gradient, the stream of batches, the learning rate, what diverges, batch-norm statistics."""

import math

import pytest
import torch
from torch import nn

from lc_core import DivergedError, Recipe, train_reference
from lc_core.training import (
    EVALUATION_BATCH,
    Batches,
    Penalty,
    batches_per_epoch,
    linear_lr,
    nesterov_sgd,
    predict,
    reestimate_batch_norm,
    train,
)
from tests.lc_core.models import conv_net, mlp, randn, three_classes


def penalty_value(w, delta, multipliers, mu):
    """mu/2 ||w - Delta||^2 - lambda^T (w - Delta), as the docstring has it."""
    return mu / 2 * ((w - delta) ** 2).sum() - (multipliers * (w - delta)).sum()


@pytest.fixture
def case():
    """(w with a gradient of the loss, Delta, lambda, mu), float64."""
    w, delta, multipliers, gradient = (randn(3, 4, seed=seed).double() for seed in range(4))
    w.grad = gradient.clone()
    return w, delta, multipliers, 0.7


def test_the_penalty_adds_what_autograd_would(case):
    w, delta, multipliers, mu = case
    before = w.grad.clone()
    Penalty([w], mu, [mu * delta + multipliers]).add_gradient()
    leaf = w.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(penalty_value(leaf, delta, multipliers, mu), leaf)
    torch.testing.assert_close(w.grad - before, expected)


def test_the_penalty_adds_what_finite_differences_give(case):
    w, delta, multipliers, mu = case
    before, step = w.grad.clone(), 1e-5
    Penalty([w], mu, [mu * delta + multipliers]).add_gradient()
    for index in range(w.numel()):
        along = torch.zeros_like(w)
        along.view(-1)[index] = step
        up, down = (penalty_value(w + sign * along, delta, multipliers, mu) for sign in (1, -1))
        assert float((w.grad - before).view(-1)[index]) == pytest.approx(float(up - down) / (2 * step), rel=1e-6)


def test_the_penalty_leaves_weights_and_pulls_alone(case):
    w, delta, multipliers, mu = case
    pull = mu * delta + multipliers
    kept = w.clone(), pull.clone()
    Penalty([w], mu, [pull]).add_gradient()
    assert torch.equal(w, kept[0])
    assert torch.equal(pull, kept[1])


def test_a_frozen_weight_cannot_be_compressed_and_the_message_says_so():
    w = torch.zeros(2)
    with pytest.raises(ValueError, match="no gradient to weights that are to be compressed"):
        Penalty([w], 1.0, [torch.zeros(2)]).add_gradient()


def test_the_penalty_is_part_of_the_step_and_not_of_the_reported_loss():
    """One step of plain gradient descent on L + penalty, by hand."""
    model, inputs, targets = mlp(), randn(20, 6), three_classes(randn(20, 6))
    w = model[0].weight
    delta, multipliers, mu, lr = randn(8, 6, seed=5), randn(8, 6, seed=6), 0.3, 0.05
    value = nn.functional.cross_entropy(model(inputs), targets)
    whole = value + penalty_value(w, delta, multipliers, mu)
    (expected,) = torch.autograd.grad(whole, w)
    expected = w.detach() - lr * expected
    mean = train(
        model,
        inputs,
        targets,
        batches=Batches(20, batch_size=20, seed=0),
        loss=nn.functional.cross_entropy,
        optimizer=nesterov_sgd(model, momentum=0.0),
        lrs=[lr],
        penalty=Penalty([w], mu, [mu * delta + multipliers]),
    )
    torch.testing.assert_close(w.detach(), expected)
    assert mean == pytest.approx(float(value.detach()))


@pytest.mark.parametrize("examples, batch_size", [(10, 3), (12, 4), (5, 8), (1, 1), (7, 7)])
def test_an_epoch_visits_every_example_once(examples, batch_size):
    batches = Batches(examples, batch_size=batch_size, seed=0)
    for _ in range(3):
        epoch = [batches.draw() for _ in range(batches_per_epoch(examples, batch_size))]
        assert all(len(batch) == batch_size for batch in epoch[:-1])
        assert sorted(torch.cat(epoch).tolist()) == list(range(examples))


def test_epochs_differ_and_a_seed_repeats_them():
    def three_epochs(seed):
        batches = Batches(50, batch_size=50, seed=seed)
        return [batches.draw().tolist() for _ in range(3)]

    first, second, third = three_epochs(1)
    assert first != second != third
    assert three_epochs(1) == [first, second, third]
    assert three_epochs(2)[0] != first


def test_batches_draw_nothing_from_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Batches(50, batch_size=5, seed=1).draw()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("drawn", [0, 1, 3, 4, 5, 9])
def test_a_kept_place_is_gone_on_from_exactly(drawn):
    batches = Batches(10, batch_size=3, seed=3)
    for _ in range(drawn):
        batches.draw()
    state = batches.state()
    expected = [batches.draw().tolist() for _ in range(9)]
    other = Batches(10, batch_size=3, seed=77)
    for _ in range(2):
        other.restore(state)
        assert [other.draw().tolist() for _ in range(9)] == expected


def test_the_learning_rate_goes_straight_from_lr_to_two_percent():
    rates = [linear_lr(0.5, iteration=i, iterations=50) for i in range(50)]
    assert rates[0] == 0.5
    assert rates[-1] == pytest.approx(0.01)
    assert rates[24] + rates[25] == pytest.approx(0.51)
    assert linear_lr(0.5, iteration=0, iterations=1) == 0.5
    assert linear_lr(0.5, iteration=80, iterations=50) == pytest.approx(0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_divergence(bad):
    model = mlp()
    with pytest.raises(DivergedError, match=f"the training loss became {bad} at learning rate 0.05"):
        train(
            model,
            randn(8, 6),
            three_classes(randn(8, 6)),
            batches=Batches(8, batch_size=4, seed=0),
            loss=lambda outputs, targets: 0 * outputs.sum() + bad,
            optimizer=nesterov_sgd(model, momentum=0.9),
            lrs=[0.1, 0.05],
        )


def test_a_learning_rate_far_too_high_diverges():
    inputs = randn(64, 6)
    with pytest.raises(DivergedError):
        train_reference(
            mlp(),
            inputs,
            inputs[:, :3] ** 3,
            loss=nn.functional.mse_loss,
            recipe=Recipe(epochs=50, lr=1e4, batch_size=16),
        )


def test_a_reference_is_trained_and_repeats():
    inputs = randn(200, 6)
    recipe = Recipe(epochs=8, lr=0.3, batch_size=32, seed=4)

    def trained():
        model = mlp()
        loss = train_reference(model, inputs, three_classes(inputs), loss=nn.functional.cross_entropy, recipe=recipe)
        return loss, model.state_dict()

    first, weights = trained()
    second, again = trained()
    outputs = mlp()(inputs)
    assert first < 0.5 * float(nn.functional.cross_entropy(outputs, three_classes(inputs)).detach())
    assert first == second
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_the_reported_loss_of_a_reference_is_its_last_epochs():
    seen = []

    def loss(outputs, targets):
        value = nn.functional.cross_entropy(outputs, targets)
        seen.append(float(value.detach()))
        return value

    inputs = randn(50, 6)
    recipe = Recipe(epochs=3, lr=0.1, batch_size=16)
    last = train_reference(mlp(), inputs, three_classes(inputs), loss=loss, recipe=recipe)
    assert len(seen) == recipe.iterations(50) == 12
    assert last == pytest.approx(sum(seen[-4:]) / 4)


def test_weight_decay_pulls_to_zero():
    def norm(weight_decay):
        model, inputs = mlp(), randn(64, 6)
        recipe = Recipe(epochs=10, lr=0.1, batch_size=32, weight_decay=weight_decay)
        train_reference(model, inputs, three_classes(inputs), loss=nn.functional.cross_entropy, recipe=recipe)
        return float(model[0].weight.detach().norm())

    assert norm(0.1) < 0.8 * norm(0.0)


def test_frozen_parameters_are_not_trained():
    model, inputs = mlp(), randn(64, 6)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    recipe = Recipe(epochs=2, lr=0.1, batch_size=32, weight_decay=0.1)
    train_reference(model, inputs, three_classes(inputs), loss=nn.functional.cross_entropy, recipe=recipe)
    assert torch.equal(model[0].weight, before)


@pytest.mark.parametrize("n", [0, 1, EVALUATION_BATCH, 2 * EVALUATION_BATCH + 1])
def test_predictions_are_those_of_evaluation_mode_in_order(n):
    model = conv_net().train()
    inputs = randn(n, 2, 6, 6)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    outputs = predict(model, inputs)
    assert outputs.shape == (n, 3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    if n:
        torch.testing.assert_close(outputs[-1:], model.eval()(inputs[-1:]).detach())


def test_batch_norm_statistics_are_those_of_the_inputs():
    """A first layer sees the inputs themselves: mean and unbiased variance, exactly; the second what that gives."""
    inputs = 3 + 2 * randn(40, 2, 6, 6)
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    model[0].running_mean.fill_(99.0)
    reestimate_batch_norm(model, inputs, batch_size=40)
    torch.testing.assert_close(model[0].running_mean, inputs.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(model[0].running_var, inputs.var(dim=(0, 2, 3)))
    seen = model[1](nn.functional.batch_norm(inputs, None, None, model[0].weight, model[0].bias, training=True))
    torch.testing.assert_close(model[2].running_mean, seen.mean(dim=(0, 2, 3)).detach())
    torch.testing.assert_close(model[2].running_var, seen.var(dim=(0, 2, 3)).detach())


def test_batch_norm_statistics_over_batches_are_the_mean_of_theirs():
    inputs = 3 + 2 * randn(40, 2)
    model = nn.Sequential(nn.BatchNorm1d(2))
    reestimate_batch_norm(model, inputs, batch_size=10)
    parts = inputs.split(10)
    torch.testing.assert_close(model[0].running_mean, torch.stack([part.mean(dim=0) for part in parts]).mean(dim=0))
    torch.testing.assert_close(model[0].running_var, torch.stack([part.var(dim=0) for part in parts]).mean(dim=0))


def test_re_estimation_touches_nothing_but_the_statistics():
    model = conv_net().train()
    model.stem[1].momentum = 0.3
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    reestimate_batch_norm(model, randn(33, 2, 6, 6), batch_size=16)
    assert model.stem[1].momentum == 0.3
    assert not any(module.training for module in model.modules())
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {
        f"{layer}.1.{name}"
        for layer in ("stem", "body")
        for name in ("running_mean", "running_var", "num_batches_tracked")
    }


def test_re_estimation_leaves_a_model_without_batch_norm_as_it_is():
    model = mlp().train()
    reestimate_batch_norm(model, randn(10, 6), batch_size=5)
    assert model.training


@pytest.mark.parametrize("examples, batch_size", [(65, 64), (129, 64), (128, 64), (5, 1), (1, 4), (7, 3)])
def test_a_last_example_joins_the_batch_before_it(examples, batch_size):
    batches = Batches(examples, batch_size=batch_size, seed=0)
    epoch = [batches.draw() for _ in range(batches_per_epoch(examples, batch_size))]
    assert sorted(torch.cat(epoch).tolist()) == list(range(examples))
    assert examples == 1 or batch_size == 1 or all(len(batch) > 1 for batch in epoch)
