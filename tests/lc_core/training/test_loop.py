"""Training: the stream of batches, the learning rate, divergence, batch-norm statistics."""

import dataclasses
import itertools
import math
import re
from functools import partial

import pytest
import torch
from torch import nn

from lc_core import Codebook, DivergedError, Recipe, Schedule, plan_tasks, run_lc, train_reference
from lc_core.training.data import ShuffledIndices, ShuffledSplit, Split
from lc_core.training.loop import (
    EVALUATION_BATCH,
    NEAR,
    PROBED_BATCHES,
    batches_per_epoch,
    lay_out,
    predict,
    predictions,
    probe_gradient,
    reestimate_batch_norm,
    train,
)
from lc_core.training.reading import Streamed
from tests.lc_core.models import conv_net, mlp, randn, three_classes


@pytest.mark.parametrize("examples, batch_size", [(10, 3), (12, 4), (5, 8), (1, 1), (7, 7)])
def test_an_epoch_visits_every_example_once(examples, batch_size):
    batches = ShuffledIndices(examples, batch_size=batch_size, seed=0)
    for _ in range(3):
        epoch = [batches.draw() for _ in range(batches_per_epoch(examples, batch_size))]
        assert all(len(batch) == batch_size for batch in epoch[:-1])
        assert sorted(torch.cat(epoch).tolist()) == list(range(examples))


def test_epochs_differ_and_a_seed_repeats_them():
    def three_epochs(seed):
        batches = ShuffledIndices(50, batch_size=50, seed=seed)
        return [batches.draw().tolist() for _ in range(3)]

    first, second, third = three_epochs(1)
    assert first != second != third
    assert three_epochs(1) == [first, second, third]
    assert three_epochs(2)[0] != first


def test_batches_draw_nothing_from_the_global_generator():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    ShuffledIndices(50, batch_size=5, seed=1).draw()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("drawn", [0, 1, 3, 4, 5, 9])
def test_the_stream_of_batches_continues_exactly_from_a_saved_position(drawn):
    batches = ShuffledIndices(10, batch_size=3, seed=3)
    for _ in range(drawn):
        batches.draw()
    state = batches.state()
    expected = [batches.draw().tolist() for _ in range(9)]
    other = ShuffledIndices(10, batch_size=3, seed=77)
    for _ in range(2):
        other.restore(state)
        assert [other.draw().tolist() for _ in range(9)] == expected


RECIPE = Recipe(epochs=1, lr=0.5, batch_size=8)


def test_the_learning_rate_goes_straight_from_lr_to_two_percent():
    rates = RECIPE.lrs(50)
    assert rates[0] == 0.5
    assert rates[-1] == pytest.approx(0.01)
    assert rates[24] + rates[25] == pytest.approx(0.51)
    assert RECIPE.lrs(1) == [0.5]
    assert RECIPE.lrs(0) == []


def test_the_learning_rate_may_fall_as_half_a_cosine_or_not_at_all():
    cosine = dataclasses.replace(RECIPE, lr_decay="cosine").lrs(51)
    assert (cosine[0], cosine[-1], cosine[25]) == (0.5, pytest.approx(0.01), pytest.approx(0.255))
    assert cosine == sorted(cosine, reverse=True)
    falls = [earlier - later for earlier, later in itertools.pairwise(cosine)]
    assert falls[0] == pytest.approx(falls[-1])
    assert falls[25] > 20 * falls[0]  # flat at both ends
    assert dataclasses.replace(RECIPE, lr_decay="constant").lrs(50) == [0.5] * 50


@pytest.mark.parametrize(
    "value, message",
    [
        ({"epochs": -1}, "epochs: expected a number, 0 or more, got -1"),
        ({"epochs": math.inf}, "epochs: expected a number, 0 or more, got inf"),
        ({"lr": 0.0}, "lr: expected a positive number, got 0.0"),
        ({"lr": math.nan}, "lr: expected a positive number, got nan"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"momentum": 1.0}, "momentum: expected a number in [0, 1), got 1.0"),
        ({"weight_decay": -0.1}, "weight_decay: expected a number, 0 or more, got -0.1"),
        ({"optimizer": "adamw"}, "optimizer: expected one of sgd, adam, got 'adamw'"),
        ({"clip_norm": 0.0}, "clip_norm: expected a positive number, or None, got 0.0"),
        ({"clip_norm": math.nan}, "clip_norm: expected a positive number, or None, got nan"),
        ({"lr_decay": "step"}, "lr_decay: expected one of linear, cosine, constant, got 'step'"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused_in_a_line(value, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        dataclasses.replace(RECIPE, **value)


def test_weights_that_cannot_be_squared_are_divergence():
    """Though the loss, of outputs that saturate, stays finite."""
    model, data = mlp(), Split(randn(8, 6), three_classes(randn(8, 6)))
    tasks = plan_tasks(model, {"*": Codebook(size=2)})
    schedule = Schedule(epochs=1, lr=1e30, batch_size=4)
    with pytest.raises(DivergedError, match="the weights grew too large to be squared at learning rate 1e"):
        list(run_lc(model, tasks, data, loss=lambda outputs, _: outputs.tanh().mean(), schedule=schedule, seed=0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_divergence(bad):
    model = mlp()
    with pytest.raises(DivergedError, match=f"the training loss became {bad} at learning rate 0.05"):
        train(
            model,
            ShuffledSplit(Split(randn(8, 6), three_classes(randn(8, 6))), ShuffledIndices(8, batch_size=4, seed=0)),
            loss=lambda outputs, targets: 0 * outputs.sum() + bad,
            optimizer=RECIPE.build_optimizer(model),
            lrs=[0.1, 0.05],
        )


def test_a_learning_rate_far_too_high_diverges():
    inputs = randn(64, 6)
    with pytest.raises(DivergedError):
        train_reference(
            mlp(),
            Split(inputs, inputs[:, :3] ** 3),
            loss=nn.functional.mse_loss,
            recipe=Recipe(epochs=50, lr=1e4, batch_size=16),
        )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(epochs=8, lr=0.3, batch_size=32, seed=4),
        Recipe(epochs=8, lr=0.3, batch_size=32, seed=4, clip_norm=0.2, lr_decay="cosine"),
        Recipe(epochs=8, lr=0.02, batch_size=32, seed=4, optimizer="adam"),
        Recipe(epochs=8, lr=0.02, batch_size=32, seed=4, optimizer="adam", clip_norm=0.1, lr_decay="constant"),
    ],
    ids=lambda recipe: f"{recipe.optimizer}, clipped to {recipe.clip_norm}",
)
def test_a_reference_is_trained_and_repeats(recipe):
    inputs = randn(200, 6)

    def trained():
        model = mlp()
        loss = train_reference(
            model, Split(inputs, three_classes(inputs)), loss=nn.functional.cross_entropy, recipe=recipe
        )
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
    last = train_reference(mlp(), Split(inputs, three_classes(inputs)), loss=loss, recipe=recipe)
    assert len(seen) == recipe.iterations(50) == 12
    assert last == pytest.approx(sum(seen[-4:]) / 4)


@pytest.mark.parametrize("optimizer, lr", [("sgd", 0.1), ("adam", 0.02)])
def test_weight_decay_pulls_to_zero(optimizer, lr):
    def norm(weight_decay):
        model, inputs = mlp(), randn(64, 6)
        recipe = Recipe(epochs=10, lr=lr, batch_size=32, weight_decay=weight_decay, optimizer=optimizer)
        train_reference(model, Split(inputs, three_classes(inputs)), loss=nn.functional.cross_entropy, recipe=recipe)
        return float(model[0].weight.detach().norm())

    assert norm(0.1) < 0.8 * norm(0.0)


def test_frozen_parameters_are_not_trained():
    model, inputs = mlp(), randn(64, 6)
    model[0].weight.requires_grad_(False)
    before = model[0].weight.clone()
    recipe = Recipe(epochs=2, lr=0.1, batch_size=32, weight_decay=0.1)
    train_reference(model, Split(inputs, three_classes(inputs)), loss=nn.functional.cross_entropy, recipe=recipe)
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
    reestimate_batch_norm(model, Split(inputs, None), batch_size=40)
    torch.testing.assert_close(model[0].running_mean, inputs.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(model[0].running_var, inputs.var(dim=(0, 2, 3)))
    seen = model[1](nn.functional.batch_norm(inputs, None, None, model[0].weight, model[0].bias, training=True))
    torch.testing.assert_close(model[2].running_mean, seen.mean(dim=(0, 2, 3)).detach())
    torch.testing.assert_close(model[2].running_var, seen.var(dim=(0, 2, 3)).detach())


def test_batch_norm_statistics_over_batches_are_the_mean_of_theirs():
    inputs = 3 + 2 * randn(40, 2)
    model = nn.Sequential(nn.BatchNorm1d(2))
    reestimate_batch_norm(model, Split(inputs, None), batch_size=10)
    parts = inputs.split(10)
    torch.testing.assert_close(model[0].running_mean, torch.stack([part.mean(dim=0) for part in parts]).mean(dim=0))
    torch.testing.assert_close(model[0].running_var, torch.stack([part.var(dim=0) for part in parts]).mean(dim=0))


def test_batches_of_one_example_have_batch_norm_statistics_too():
    """They are estimated on batches of two."""
    inputs = 3 + 2 * randn(9, 2)
    ones, twos = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    reestimate_batch_norm(ones, Split(inputs, None), batch_size=1)
    reestimate_batch_norm(twos, Split(inputs, None), batch_size=2)
    assert torch.equal(ones.running_mean, twos.running_mean)
    torch.testing.assert_close(ones.running_mean, inputs[:8].mean(dim=0))
    assert torch.equal(ones.running_var, twos.running_var)


def test_a_stream_of_single_examples_gives_statistics_and_a_last_single_one_does_not():
    inputs = 3 + 2 * randn(5, 2, 4)
    for size, used in ((1, 5), (2, 4)):
        model = nn.BatchNorm1d(2)
        parts = [(part, None) for part in inputs.split(size)]
        reestimate_batch_norm(model, Streamed(parts, len(inputs)), batch_size=2)
        torch.testing.assert_close(model.running_mean, inputs[:used].mean(dim=(0, 2)))


def test_batch_norm_statistics_are_of_a_bounded_number_of_inputs_evenly_spaced():
    inputs = torch.arange(103.0)[:, None] * torch.tensor([1.0, -2.0])
    model = nn.Sequential(nn.BatchNorm1d(2))
    reestimate_batch_norm(model, Split(inputs, None), batch_size=50, most=10)
    some = inputs[[0, 10, 20, 30, 41, 51, 61, 72, 82, 92]]
    torch.testing.assert_close(model[0].running_mean, some.mean(dim=0))
    torch.testing.assert_close(model[0].running_var, some.var(dim=0))
    for examples in (103, 5000, None):
        reestimate_batch_norm(model, Split(inputs, None), batch_size=103, most=examples)
        torch.testing.assert_close(model[0].running_mean, inputs.mean(dim=0))


@pytest.mark.parametrize(
    ("shape", "sizes"), [((130, 3, 32, 32), [64, 64, 2]), ((1500, 1024), [1024, 476]), ((130, 1025), [64, 64, 2])]
)
def test_large_examples_are_evaluated_in_smaller_parts(shape, sizes):
    inputs, seen = torch.rand(shape), []
    model = nn.Flatten()
    model.register_forward_hook(lambda module, given, outputs: seen.append(len(outputs)))
    targets = torch.arange(len(inputs))
    parts = list(predictions(model, Split(inputs, targets)))
    assert seen == sizes
    assert torch.equal(torch.cat([outputs for outputs, _ in parts]), inputs.flatten(1))
    assert torch.equal(torch.cat([each for _, each in parts]), targets)
    seen.clear()
    list(predictions(model, Split((inputs,), targets)))  # a nest of inputs stays whole
    assert seen == [len(part) for part in inputs.split(EVALUATION_BATCH)]


def test_re_estimation_touches_nothing_but_the_statistics():
    model = conv_net().train()
    model.stem[1].momentum = 0.3
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = [(parameter, parameter.data_ptr(), parameter.stride()) for parameter in model.parameters()]
    reestimate_batch_norm(model, Split(randn(33, 2, 6, 6), None), batch_size=16)
    assert held == [(parameter, parameter.data_ptr(), parameter.stride()) for parameter in model.parameters()]
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
    reestimate_batch_norm(model, Split(randn(10, 6), None), batch_size=5)
    assert model.training


@pytest.mark.parametrize("examples, batch_size", [(65, 64), (129, 64), (128, 64), (5, 1), (1, 4), (7, 3)])
def test_a_last_example_joins_the_batch_before_it(examples, batch_size):
    batches = ShuffledIndices(examples, batch_size=batch_size, seed=0)
    epoch = [batches.draw() for _ in range(batches_per_epoch(examples, batch_size))]
    assert sorted(torch.cat(epoch).tolist()) == list(range(examples))
    assert examples == 1 or batch_size == 1 or all(len(batch) > 1 for batch in epoch)


# The gradient near the reference.


def probed(model, inputs, *, recipe=RECIPE, loss=nn.functional.cross_entropy):
    parameters = [model[0].weight, model[2].weight]
    optimizer = recipe.build_optimizer(model)
    return probe_gradient(
        model,
        parameters,
        Split(inputs, three_classes(inputs)),
        loss=loss,
        optimizer=optimizer,
        batch_size=recipe.batch_size,
    )


def test_the_probed_gradient_is_the_root_of_the_mean_square_near_the_reference():
    inputs, model = randn(40, 6), mlp()
    found = probed(model, inputs)
    near = mlp()
    with torch.no_grad():
        for layer in (near[0], near[2]):
            layer.weight.mul_(NEAR)
    batches, squares = ShuffledIndices(40, batch_size=8, seed=0), []
    for _ in range(PROBED_BATCHES):
        batch = batches.draw()
        value = nn.functional.cross_entropy(near(inputs[batch]), three_classes(inputs)[batch])
        gradients = torch.autograd.grad(value, [near[0].weight, near[2].weight])
        squares.append(torch.cat([gradient.flatten() for gradient in gradients]).square())
    assert found == pytest.approx(float(torch.stack(squares).mean().sqrt()), rel=1e-5)


def test_probing_leaves_the_model_as_it_was_and_draws_nothing():
    model, inputs = conv_net(), randn(20, 2, 6, 6)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    probe_gradient(
        model,
        [model.body[0].weight],
        Split(inputs, three_classes(inputs)),
        loss=nn.functional.cross_entropy,
        optimizer=RECIPE.build_optimizer(model),
        batch_size=8,
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_probed_gradient_is_clipped_as_training_clips_it():
    inputs = randn(40, 6)
    bound = 1e-3
    found = probed(mlp(), inputs, recipe=dataclasses.replace(RECIPE, clip_norm=bound))
    assert found <= bound / math.sqrt(6 * 8 + 8 * 3)
    assert found < 0.1 * probed(mlp(), inputs)


def test_a_loss_that_gives_no_gradient_or_none_that_is_finite_is_said():
    inputs, frozen = randn(40, 6), mlp()
    frozen[0].weight.requires_grad_(False)
    with pytest.raises(ValueError, match="no gradient to weights under a compression"):
        probed(frozen, inputs)
    with pytest.raises(ValueError, match="no gradient to weights under a compression"):
        probed(mlp(), inputs, loss=lambda outputs, targets: 0 * outputs.sum())
    with pytest.raises(DivergedError, match="the loss's gradient near the reference is nan"):
        probed(mlp(), inputs, loss=lambda outputs, targets: math.nan * outputs.sum())


def two_convolutions():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3, groups=2), nn.Flatten(), nn.Linear(96, 3))


def test_kernels_lie_channels_last_and_hold_what_they_held():
    model, same = two_convolutions(), two_convolutions()
    lay_out(model)
    for layer in (0, 2):
        assert model[layer].weight.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(model[layer].weight, same[layer].weight)
    assert model[4].weight.is_contiguous()


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_lc_of_a_convolutional_network_is_the_same_however_its_kernels_lie(name, monkeypatch):
    """Every step of the way: gradients, pulls, buffers, C steps, a state restored."""
    inputs, targets = randn(40, 3, 8, 8), three_classes(randn(40, 6))
    schedule = Schedule(epochs=3, lr=0.05 if name == "sgd" else 0.002, batch_size=16, optimizer=name)
    plan = {"0": Codebook(size=2), "2": Codebook(size=3), "4": Codebook(size=2)}
    ends = []
    for laid in (True, False):
        if not laid:
            monkeypatch.setattr("lc_core.algorithm.lay_out", lambda model: None)
        model = two_convolutions()
        run = partial(run_lc, model, plan_tasks(model, plan), Split(inputs, targets), loss=nn.functional.cross_entropy)
        states = list(run(schedule=schedule, seed=0))
        *_, again = run(schedule=schedule, seed=0, resume=states[5])
        for key, weights in states[-1].weights.items():
            assert torch.equal(weights, again.weights[key])
        ends.append(states)
    for first, second in zip(*ends, strict=True):
        assert first.gap == pytest.approx(second.gap, rel=1e-3)
    for key, weights in ends[0][-1].weights.items():
        torch.testing.assert_close(weights, ends[1][-1].weights[key], rtol=1e-3, atol=1e-4)
