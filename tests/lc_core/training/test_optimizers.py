"""The optimizers: the penalty's gradient, Adam with the penalty outside its moments, their fixed points, clipping."""

import importlib
import math

import pytest
import torch
from torch import nn

from lc_core import Recipe
from lc_core.training import optimizers
from lc_core.training.data import ShuffledIndices, ShuffledSplit, Split
from lc_core.training.loop import train
from lc_core.training.optimizers import BETA_2, EPS, Optimizer, Penalty
from tests.lc_core.models import mlp, randn, seeded, three_classes

OPTIMIZERS = ("sgd", "adam")


def penalty_value(w, delta, multipliers, mu):
    """mu/2 ||w - Delta||^2 - lambda^T (w - Delta), as the docstring has it."""
    return mu / 2 * ((w - delta) ** 2).sum() - (multipliers * (w - delta)).sum()


def followed(parameters, penalty, *, weight_decay=0.0):
    """What a step of plain gradient descent follows from the gradients that `parameters` hold: one tensor each."""
    before = [parameter.detach().clone() for parameter in parameters]
    optimizer = Optimizer(nn.ParameterList(parameters), name="sgd", momentum=0.0, weight_decay=weight_decay)
    optimizer.step(lr=1.0, penalty=penalty)
    return [kept - parameter.detach() for kept, parameter in zip(before, parameters, strict=True)]


@pytest.fixture
def case():
    """(w with a gradient of the loss, Delta, lambda, mu), float64."""
    w, delta, multipliers, gradient = (randn(3, 4, seed=seed).double() for seed in range(4))
    w = nn.Parameter(w)
    w.grad = gradient.clone()
    return w, delta, multipliers, 0.7


# The penalty's gradient.


def test_the_penalty_adds_what_autograd_would(case):
    w, delta, multipliers, mu = case
    leaf, of_loss = w.detach().clone().requires_grad_(), w.grad.clone()
    (expected,) = torch.autograd.grad(penalty_value(leaf, delta, multipliers, mu), leaf)
    (found,) = followed([w], Penalty([w], mu, [mu * delta + multipliers]))
    torch.testing.assert_close(found - of_loss, expected)


def test_the_penalty_adds_what_finite_differences_give(case):
    w, delta, multipliers, mu = case
    start, of_loss, step = w.detach().clone(), w.grad.clone(), 1e-5
    (found,) = followed([w], Penalty([w], mu, [mu * delta + multipliers]))
    for index in range(w.numel()):
        along = torch.zeros_like(start)
        along.view(-1)[index] = step
        up, down = (penalty_value(start + sign * along, delta, multipliers, mu) for sign in (1, -1))
        assert float((found - of_loss).view(-1)[index]) == pytest.approx(float(up - down) / (2 * step), rel=1e-6)


def test_loss_and_penalty_together_agree_with_finite_differences_of_the_augmented_lagrangian():
    """Over a whole network, all of whose weights are governed."""
    model, inputs, targets = mlp().double(), randn(20, 6).double(), three_classes(randn(20, 6))
    w = [model[0].weight, model[2].weight]
    delta, multipliers = ([randn(*p.shape, seed=seed + i).double() for i, p in enumerate(w)] for seed in (5, 7))
    mu = 0.3

    def lagrangian():
        value = nn.functional.cross_entropy(model(inputs), targets)
        return value + sum(penalty_value(*each, mu) for each in zip(w, delta, multipliers, strict=True))

    start = [parameter.detach().clone() for parameter in w]
    nn.functional.cross_entropy(model(inputs), targets).backward()
    found = followed(w, Penalty(w, mu, [mu * d + m for d, m in zip(delta, multipliers, strict=True)]))
    step = 1e-5
    with torch.no_grad():
        torch._foreach_copy_(w, start)
        for parameter, gradient in zip(w, found, strict=True):
            for place in ((0, 0), (1, 4), (2, 3)):
                kept = parameter[place].clone()
                values = []
                for sign in (1, -1):
                    parameter[place] = kept + sign * step
                    values.append(float(lagrangian()))
                parameter[place] = kept
                expected = (values[0] - values[1]) / (2 * step)
                assert float(gradient[place]) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_each_penalty_pulls_its_own_parameters_beside_weight_decay_of_all_and_none_pulls_none():
    """One optimizer through several L steps: what an earlier penalty governed is let go."""
    first, second = (nn.Parameter(randn(3, 4, seed=seed).double()) for seed in (0, 1))
    pull, decay = randn(3, 4, seed=2).double(), 0.01
    optimizer = Optimizer(nn.ParameterList([first, second]), name="sgd", momentum=0.0, weight_decay=decay)
    for governed, mu in (([first], 0.7), ([first], 0.9), ([second], 0.5), ([first, second], 0.4), ([], 0.0)):
        expected = []
        for parameter in (first, second):
            parameter.grad = randn(3, 4, seed=9).double()
            inside = any(parameter is each for each in governed)
            direction = parameter.grad + (decay + mu * inside) * parameter.detach() - (pull if inside else 0)
            expected.append(parameter.detach() - 0.1 * direction)
        optimizer.step(lr=0.1, penalty=Penalty(governed, mu, [pull] * len(governed)) if governed else None)
        torch.testing.assert_close([first.detach(), second.detach()], expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_leaves_the_pulls_alone(name):
    model, pull = given_gradients(), randn(8, 6, seed=5)
    kept = pull.clone()
    optimizer = Optimizer(model, name=name, momentum=0.9)
    optimizer.step(lr=0.1, penalty=Penalty([model[0].weight], 0.7, [pull]))
    assert torch.equal(pull, kept)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_frozen_weight_cannot_be_compressed_and_the_message_says_so(name):
    model = given_gradients()
    model[0].weight.requires_grad_(False).grad = None
    optimizer = Optimizer(model, name=name, momentum=0.9)
    with pytest.raises(ValueError, match="no gradient to weights under a compression"):
        optimizer.step(lr=0.1, penalty=Penalty([model[0].weight], 1.0, [torch.zeros(8, 6)]))


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
        ShuffledSplit(Split(inputs, targets), ShuffledIndices(20, batch_size=20, seed=0)),
        loss=nn.functional.cross_entropy,
        optimizer=Optimizer(model, name="sgd", momentum=0.0),
        lrs=[lr],
        penalty=Penalty([w], mu, [mu * delta + multipliers]),
    )
    torch.testing.assert_close(w.detach(), expected)
    assert mean == pytest.approx(float(value.detach()))


# Adam.


def given_gradients(*, seed=0, model=None):
    """A network, float32, whose parameters hold drawn gradients."""
    model = model or mlp()
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = randn(*parameter.shape, seed=100 * seed + number)
    return model


def test_adam_without_a_penalty_is_torchs_and_so_it_is_for_what_no_penalty_governs():
    plain, free, half = mlp(), mlp(), mlp()
    theirs = torch.optim.Adam(plain.parameters(), betas=(0.8, 0.999), weight_decay=0.01, fused=True)
    ours = [Optimizer(model, name="adam", momentum=0.8, weight_decay=0.01) for model in (free, half)]
    penalty = Penalty([half[0].weight], 0.7, [randn(8, 6, seed=5)])
    for step in range(1, 30):
        for model in (plain, free, half):
            given_gradients(seed=step, model=model)
        theirs.param_groups[0]["lr"] = 0.1 / step
        theirs.step()
        ours[0].step(lr=0.1 / step)
        ours[1].step(lr=0.1 / step, penalty=penalty)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), free.parameters(), strict=True))
    same = [torch.equal(a, b) for a, b in zip(plain.parameters(), half.parameters(), strict=True)]
    assert same == [False, True, True, True]


def test_adams_moments_are_those_of_the_losss_gradient_alone():
    with_, without = mlp(), mlp()
    optimizers = [Optimizer(model, name="adam", momentum=0.9) for model in (with_, without)]
    penalty = Penalty([with_[0].weight], 30.0, [randn(8, 6, seed=5)])
    for step in range(10):
        for model in (with_, without):
            given_gradients(seed=step, model=model)
        optimizers[0].step(lr=0.1, penalty=penalty)
        optimizers[1].step(lr=0.1)
    states = [optimizer.state() for optimizer in optimizers]
    assert states[0].keys() == {"0.weight", "0.bias", "2.weight", "2.bias"}
    for name in states[0]:
        assert states[0][name].keys() == {"step", "exp_avg", "exp_avg_sq"}
        assert all(torch.equal(states[0][name][key], states[1][name][key]) for key in states[0][name])
    assert not torch.equal(with_[0].weight, without[0].weight)


def test_adams_steps_are_those_of_its_formula():
    """Twenty steps with changing rates, in float64, by the docstring's formula."""
    model = mlp().double()
    w, delta, multipliers, mu = model[0].weight, randn(8, 6, seed=5).double(), randn(8, 6, seed=6).double(), 0.7
    optimizer = Optimizer(model, name="adam", momentum=0.8)
    expected, m, v = w.detach().clone(), torch.zeros_like(delta), torch.zeros_like(delta)
    for step in range(1, 21):
        lr = 0.3 / step
        for number, parameter in enumerate(model.parameters()):
            parameter.grad = randn(*parameter.shape, seed=100 * step + number).double()
        g = w.grad.clone()
        optimizer.step(lr=lr, penalty=Penalty([w], mu, [mu * delta + multipliers]))
        m, v = 0.8 * m + 0.2 * g, BETA_2 * v + (1 - BETA_2) * g**2
        eta = lr / ((v / (1 - BETA_2**step)).sqrt() + EPS)
        expected = (expected - eta * m / (1 - 0.8**step) + eta * (mu * delta + multipliers)) / (1 + eta * mu)
        torch.testing.assert_close(w.detach(), expected, rtol=1e-10, atol=1e-12)


def test_adams_step_is_the_minimum_that_it_is_said_to_be():
    """Where the derivative of m_hat u + mu/2 (u - Delta)^2 - lambda (u - Delta) + (u - w)^2 / (2 eta) is zero."""
    model = mlp().double()
    w, delta, multipliers, mu, lr = model[0].weight, randn(8, 6).double(), randn(8, 6, seed=6).double(), 5.0, 0.3
    before = w.detach().clone()
    for parameter in model.parameters():
        parameter.grad = randn(*parameter.shape, seed=1).double()
    g = w.grad.clone()  # m_hat after one step; sqrt(v_hat) is its absolute value
    Optimizer(model, name="adam", momentum=0.9).step(lr=lr, penalty=Penalty([w], mu, [mu * delta + multipliers]))
    u = w.detach().clone().requires_grad_()
    nearness = ((u - before) ** 2 * (g.abs() + EPS)).sum() / (2 * lr)
    (slope,) = torch.autograd.grad((g * u).sum() + penalty_value(u, delta, multipliers, mu) + nearness, u)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)


@pytest.mark.parametrize("mu", [1e-6, 1.0, 1e6])
def test_weights_whose_gradient_is_always_zero_go_to_their_target_and_never_past_it(mu):
    """Inputs that are always zero, as at the border of MNIST: an explicit step would be mu lr / eps times too long."""
    model = seeded(lambda: nn.Linear(4, 3, bias=False), seed=0)
    w, delta, lr = model.weight, randn(3, 4, seed=5), 2e-3
    optimizer = Optimizer(model, name="adam", momentum=0.9)
    penalty = Penalty([w], mu, [mu * delta])
    distance = (w.detach() - delta).abs()
    for _ in range(100):
        w.grad = torch.zeros_like(w)
        optimizer.step(lr=lr, penalty=penalty)
        after = (w.detach() - delta).abs()
        assert bool((after <= distance + 1e-6).all())
        distance = after
    assert float(distance.max()) < 1e-3


def test_a_live_weight_beside_dead_ones_trains_on():
    inputs = randn(64, 6)
    inputs[:, 2] = 0.0
    model, delta, mu = mlp(), randn(8, 6, seed=5), 0.01
    first = model[0].weight
    recipe = Recipe(epochs=40, lr=0.01, batch_size=16, optimizer="adam")
    mean = train(
        model,
        ShuffledSplit(Split(inputs, three_classes(inputs)), ShuffledIndices(64, batch_size=16, seed=0)),
        loss=nn.functional.cross_entropy,
        optimizer=recipe.build_optimizer(model),
        lrs=recipe.lrs(200),
        penalty=Penalty([first], mu, [mu * delta]),
    )
    assert mean < 0.9
    torch.testing.assert_close(first.detach()[:, 2], delta[:, 2], rtol=1e-3, atol=1e-4)
    assert float((first.detach() - delta).abs().max()) > 0.1


@pytest.mark.parametrize("mu", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("name, momentum, lr", [("sgd", 0.9, 0.05), ("adam", 0.9, 0.2), ("adam", 0.0, 0.2)])
def test_both_rest_at_the_solution_of_the_penalized_least_squares(name, momentum, lr, mu):
    """(2 X'X / n + mu) w = 2 X'y / n + mu Delta + lambda, of (1/n) ||X w - y||^2 and the penalty."""
    n = 50
    x, y = randn(n, 6).double(), randn(n, 1, seed=1).double()
    delta, multipliers = randn(1, 6, seed=2).double(), randn(1, 6, seed=3).double()
    left = 2 * x.T @ x / n + mu * torch.eye(6, dtype=torch.float64)
    expected = torch.linalg.solve(left, (2 * x.T @ y / n).flatten() + mu * delta.flatten() + multipliers.flatten())
    model = seeded(lambda: nn.Linear(6, 1, bias=False).double(), seed=0)
    train(
        model,
        ShuffledSplit(Split(x, y), ShuffledIndices(n, batch_size=n, seed=0)),
        loss=nn.functional.mse_loss,
        optimizer=Optimizer(model, name=name, momentum=momentum),
        lrs=[lr * 0.99**i for i in range(1200)],
        penalty=Penalty([model.weight], mu, [mu * delta + multipliers]),
    )
    torch.testing.assert_close(model.weight.detach().flatten(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_steps_twice_give_the_same_bits(name):
    def trained():
        model, inputs = mlp(), randn(64, 6)
        optimizer = Optimizer(model, name=name, momentum=0.9, clip_norm=0.5)
        penalty = Penalty([model[0].weight], 0.3, [randn(8, 6, seed=5)])
        batches = ShuffledIndices(64, batch_size=16, seed=0)
        lrs = [0.01] * 30
        train(model, ShuffledSplit(Split(inputs, three_classes(inputs)), batches), loss=nn.functional.cross_entropy,
              optimizer=optimizer, lrs=lrs, penalty=penalty)  # fmt: skip
        return model.state_dict()

    first, second = trained(), trained()
    assert all(torch.equal(first[name], second[name]) for name in first)


# Half precision.


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_step_of_halves_is_float32s_rounded(dtype, name, momentum):
    """Of the same halves. 67 of them: torch's kernels have a loop over vectors and one over the rest."""
    halves = nn.ParameterList([randn(67, seed=1).to(dtype)])
    wide = nn.ParameterList([halves[0].detach().float()])
    ours, theirs = (Optimizer(each, name=name, momentum=momentum, weight_decay=0.1) for each in (halves, wide))
    for step in range(3):
        halves[0].grad = randn(67, seed=2 + step).to(dtype)
        wide[0].grad = halves[0].grad.float()
        theirs.restore(ours.state())
        wide[0].data.copy_(halves[0].data)
        ours.step(lr=0.1)
        theirs.step(lr=0.1)
        assert torch.equal(halves[0].detach(), wide[0].detach().to(dtype))


# What mu is in units of.


def test_the_unit_of_mu_is_one_with_sgd_and_the_gradients_rms_with_adam():
    model = mlp()
    for name in OPTIMIZERS:
        optimizer = Optimizer(model, name=name, momentum=0.9)
        for _ in range(7):  # the same gradient every time, so that v_hat is its square
            given_gradients(seed=3, model=model)
            optimizer.step(lr=0.0)
        governed = [model[0].weight, model[2].weight]
        drawn = torch.cat([randn(8, 6, seed=300).flatten(), randn(3, 8, seed=302).flatten()])
        expected = float(drawn.square().mean().sqrt()) if name == "adam" else 1.0
        assert optimizer.mu_unit(governed) == pytest.approx(expected, rel=1e-3)


# Clipping.


def test_clipping_shortens_the_losss_gradient_and_never_the_penaltys():
    model, bound, mu, lr = given_gradients(), 0.5, 100.0, 1e-3
    w, pull = model[0].weight, randn(8, 6, seed=5)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients.values()))
    assert norm > 10 * bound
    Optimizer(model, name="sgd", momentum=0.0, clip_norm=bound).step(lr=lr, penalty=Penalty([w], mu, [pull]))
    for name, parameter in model.named_parameters():
        expected = gradients[name] * bound / norm
        if name == "0.weight":
            expected = expected + mu * before[name] - pull
        torch.testing.assert_close(parameter.detach(), before[name] - lr * expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bound, factor", [(1e3, 1.0), (0.5, 0.5)])
def test_adam_sees_the_clipped_gradient(bound, factor):
    """And a gradient shorter than the bound stays as it is."""
    model = given_gradients()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    optimizer = Optimizer(model, name="adam", momentum=0.9, clip_norm=bound)
    optimizer.step(lr=0.01)
    moments = [buffers["exp_avg"] / 0.1 for buffers in optimizer.state().values()]
    found = math.sqrt(sum(float(moment.square().sum()) for moment in moments))
    assert found == pytest.approx(norm if factor == 1.0 else bound, rel=1e-4)


# States.


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_kept_state_is_gone_on_from_exactly_and_never_changes(name, momentum):
    model = mlp()
    model[2].bias.requires_grad_(False)

    def steps(model, optimizer, numbers):
        for number in numbers:
            given_gradients(seed=number, model=model)
            optimizer.step(lr=0.1, penalty=Penalty([model[0].weight], 0.3, [torch.ones(8, 6)]))

    optimizer = Optimizer(model, name=name, momentum=momentum)
    steps(model, optimizer, range(5))
    weights, state = {key: t.clone() for key, t in model.state_dict().items()}, optimizer.state()
    assert "2.bias" not in state
    steps(model, optimizer, range(5, 9))
    for _ in range(2):
        other = mlp(seed=9)
        other[2].bias.requires_grad_(False)
        other.load_state_dict(weights)
        again = Optimizer(other, name=name, momentum=momentum)
        again.restore(state)
        steps(other, again, range(5, 9))
        assert all(torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_without_torchs_private_kernels_the_bits_are_the_same(monkeypatch, name, momentum):
    """Another torch may have them under other names: the public functions of torch.optim call them then."""

    def trained():
        model = mlp()
        optimizer = Optimizer(model, name=name, momentum=momentum, weight_decay=0.01)
        governed = [model[0].weight]
        for step in range(4):
            for parameter in model.parameters():
                parameter.grad = randn(*parameter.shape, seed=step)
            penalty = Penalty(governed, 0.3, [randn(*governed[0].shape, seed=9)])
            optimizer.step(lr=0.1, penalty=penalty)
        return [parameter.detach() for parameter in model.parameters()]

    kernels = trained()
    monkeypatch.setattr(optimizers, "FUSED", False)
    called = []
    module = importlib.import_module(f"torch.optim.{name}")
    public = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: called.append(1) or public(*given, **named))
    assert all(torch.equal(a, b) for a, b in zip(kernels, trained(), strict=True))
    assert len(called) == {"sgd": 8, "adam": 4}[name]  # governed weights have a decay of their own with SGD
