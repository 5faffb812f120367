"""The LC algorithm: against a naive implementation and its schedule; resumed runs."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lc_core import Chain, Codebook, Joint, L0Pruning, LCState, LowRank, Recipe, Schedule, plan_tasks, train_reference
from lc_core.algorithm import compressed_weights, deploy, run_lc
from lc_core.file.artifact import encode, load
from lc_core.schedule import CLOSED_GAP
from lc_core.training.data import ShuffledIndices, Split
from lc_core.training.loop import predict
from tests.lc_core.models import conv_net, mlp, randn, three_classes

cross_entropy = nn.functional.cross_entropy

SHORT = Schedule(epochs=10, lr=0.1, batch_size=16)


def lc(model, plan, inputs, targets, *, schedule=SHORT, seed=0, resume=None) -> list[LCState]:
    return list(
        run_lc(
            model,
            plan_tasks(model, plan),
            Split(inputs, targets),
            loss=cross_entropy,
            schedule=schedule,
            seed=seed,
            resume=resume,
        )
    )


def test_the_multipliers_climb_the_augmented_lagrangian():
    """lambda + mu times its gradient in lambda, which autograd finds to be -(w - Delta)."""
    inputs = randn(64, 6)
    model = mlp()
    tasks = plan_tasks(model, {"*": Joint(Codebook(size=3))})
    states = list(
        run_lc(model, tasks, Split(inputs, three_classes(inputs)), loss=cross_entropy, schedule=SHORT, seed=0)
    )
    for before, after in pairwise(states):
        w, delta = tasks[0].governed.gather(after.weights), after.thetas[0].decompress()
        multipliers = before.multipliers[0].clone().requires_grad_()
        lagrangian = after.mu / 2 * ((w - delta) ** 2).sum() - (multipliers * (w - delta)).sum()
        (slope,) = torch.autograd.grad(lagrangian, multipliers)
        torch.testing.assert_close(after.multipliers[0], before.multipliers[0] + after.mu * slope)


def naive_lc(model, inputs, targets, *, keep, schedule, seed) -> list[tuple[float, float]]:
    """(loss, gap) of each LC step, joint pruning, written as the algorithm reads: the penalty goes through autograd."""
    w = [model[0].weight, model[2].weight]

    def flat() -> Tensor:
        return torch.cat([part.detach().reshape(-1) for part in w])

    def prune(v: Tensor) -> Tensor:
        order = v.abs().argsort(descending=True, stable=True)
        return v.index_fill(0, order[round(keep * v.numel()) :], 0.0)

    batches = ShuffledIndices(len(inputs), batch_size=schedule.batch_size, seed=seed)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=schedule.momentum, nesterov=True)
    delta = prune(flat())
    multipliers = torch.zeros_like(delta)
    gaps = [float((flat() - delta).norm() / delta.norm())]
    rows, boost = [], 1.0
    for step in schedule.plan(len(inputs)):
        boost = schedule.boost(boost, step=step.number, steps=schedule.steps, gaps=gaps)
        mu, total = min(step.mu * boost, 1 / step.lrs[0]), 0.0
        for lr in step.lrs:
            optimizer.param_groups[0]["lr"] = lr
            batch = batches.draw()
            loss = cross_entropy(model(inputs[batch]), targets[batch])
            pull = torch.cat([part.reshape(-1) for part in w]) - delta - multipliers / mu
            optimizer.zero_grad()
            (loss + mu / 2 * (pull**2).sum()).backward()
            optimizer.step()
            total += float(loss.detach())
        delta = prune(flat() - multipliers / mu)
        multipliers = multipliers - mu * (flat() - delta)
        gaps.append(float((flat() - delta).norm() / delta.norm()))
        rows.append((total / len(step.lrs), gaps[-1]))
    return rows


@pytest.mark.parametrize("keep", [0.1, 0.4])
def test_it_agrees_with_a_naive_implementation(keep):
    """In float64, where the order of additions does not show."""
    inputs = randn(100, 6).double()
    targets = three_classes(inputs)
    naive = naive_lc(mlp().double(), inputs, targets, keep=keep, schedule=SHORT, seed=3)
    states = lc(mlp().double(), {"*": Joint(L0Pruning(keep=keep))}, inputs, targets, seed=3)
    np.testing.assert_allclose([(state.loss, state.gap) for state in states[1:]], naive, rtol=1e-8)


ADAM = Schedule(epochs=10, lr=0.01, batch_size=16, optimizer="adam")


def naive_adam_lc(model, inputs, targets, *, keep, schedule, seed, unit) -> list[tuple[float, float, float]]:
    """(loss, gap, mu) of each LC step: all parameters as one vector, moments and step by their formulas."""
    sizes = [p.numel() for p in model.parameters()]
    governed = torch.cat([torch.full((n,), n > 8) for n in sizes])  # the weights, not the biases

    def flat() -> Tensor:
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def prune(v: Tensor) -> Tensor:
        order = v.abs().argsort(descending=True, stable=True)
        return v.index_fill(0, order[round(keep * v.numel()) :], 0.0)

    batches = ShuffledIndices(len(inputs), batch_size=schedule.batch_size, seed=seed)
    m = v = torch.zeros(sum(sizes), dtype=torch.float64)
    delta = prune(flat()[governed])
    multipliers = torch.zeros_like(delta)
    gaps = [float((flat()[governed] - delta).norm() / delta.norm())]
    rows, boost, mu, t = [], 1.0, 0.0, 0
    for step in schedule.plan(len(inputs)):
        boost = schedule.boost(boost, step=step.number, steps=schedule.steps, gaps=gaps)
        mu, total = max(step.mu * boost * unit, mu), 0.0
        for lr in step.lrs:
            batch = batches.draw()
            loss = cross_entropy(model(inputs[batch]), targets[batch])
            g = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, list(model.parameters()))])
            w, t = flat(), t + 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            eta = lr / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            w = w - eta * m / (1 - 0.9**t)
            w[governed] = (w[governed] + eta[governed] * (mu * delta + multipliers)) / (1 + eta[governed] * mu)
            with torch.no_grad():
                for parameter, part in zip(model.parameters(), w.split(sizes), strict=True):
                    parameter.copy_(part.reshape(parameter.shape))
            total += float(loss.detach())
        unit = float((v[governed] / (1 - 0.999**t)).mean().sqrt())
        w = flat()[governed]
        delta = prune(w - multipliers / mu)
        multipliers = multipliers - mu * (w - delta)
        gaps.append(float((w - delta).norm() / delta.norm()))
        rows.append((total / len(step.lrs), gaps[-1], mu))
    return rows


@pytest.mark.parametrize("keep", [0.1, 0.4])
def test_with_adam_too_it_agrees_with_a_naive_implementation(keep):
    inputs = randn(100, 6).double()
    targets = three_classes(inputs)
    states = lc(mlp().double(), {"*": Joint(L0Pruning(keep=keep))}, inputs, targets, seed=3, schedule=ADAM)
    unit = states[0].mu_unit
    naive = naive_adam_lc(mlp().double(), inputs, targets, keep=keep, schedule=ADAM, seed=3, unit=unit)
    np.testing.assert_allclose([(state.loss, state.gap, state.mu) for state in states[1:]], naive, rtol=1e-6)


# Adam.

PLANS = {
    "pruning": {"*": Joint(L0Pruning(keep=0.3))},
    "a codebook": {"*": Codebook(size=3)},
    "low rank": {"0": LowRank(rank=2)},
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_with_adam_the_gap_closes_and_the_loss_is_about_that_of_sgd(plan):
    inputs = randn(300, 6)
    targets = three_classes(inputs)
    reference = mlp()
    train_reference(
        reference, Split(inputs, targets), loss=cross_entropy, recipe=Recipe(epochs=30, lr=0.2, batch_size=16)
    )

    def last(schedule):
        model = mlp()
        model.load_state_dict(reference.state_dict())
        tasks = plan_tasks(model, plan)
        *_, state = run_lc(model, tasks, Split(inputs, targets), loss=cross_entropy, schedule=schedule, seed=0)
        model.load_state_dict(compressed_weights(tasks, state))
        return state, float(cross_entropy(predict(model, inputs), targets))

    _, by_sgd = last(Schedule(epochs=40, lr=0.1, batch_size=16))
    adam, by_adam = last(Schedule(epochs=40, lr=0.01, batch_size=16, optimizer="adam"))
    assert adam.gap < CLOSED_GAP
    assert by_adam < 1.3 * by_sgd


def test_with_adam_the_size_of_the_loss_does_not_matter():
    """In float64, where eps does not show: mu, the multipliers and the loss are a thousand times as large, w is not."""
    inputs = randn(100, 6).double()
    targets = three_classes(inputs)

    def states(factor):
        model = mlp().double()
        tasks = plan_tasks(model, {"*": Codebook(size=3)})

        def loss(outputs, targets):
            return factor * cross_entropy(outputs, targets)

        return list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=ADAM, seed=0))

    for one, thousand in zip(states(1.0), states(1000.0), strict=True):
        assert thousand.mu == pytest.approx(1000 * one.mu, rel=1e-4)
        assert thousand.gap == pytest.approx(one.gap, rel=1e-3)
        for name, tensor in one.weights.items():
            torch.testing.assert_close(thousand.weights[name], tensor, rtol=1e-3, atol=1e-4)


def test_mu_never_falls_with_adam():
    inputs = randn(100, 6)
    states = lc(mlp(), {"*": Codebook(size=2)}, inputs, three_classes(inputs), schedule=ADAM)
    mus = [state.mu for state in states]
    assert mus == sorted(mus)
    plan = ADAM.plan(100)
    assert mus[1] == plan[0].mu * states[0].mu_unit
    for before, after, step in zip(states, states[1:], plan, strict=False):
        assert after.mu == max(step.mu * after.boost * before.mu_unit, before.mu)


def test_probing_for_adam_leaves_the_reference_and_the_order_of_the_batches_alone():
    inputs, model = randn(64, 6), mlp()
    plan = {"0": Codebook(size=2)}
    adam, sgd = (lc(mlp(), plan, inputs, three_classes(inputs), schedule=schedule)[0] for schedule in (ADAM, SHORT))
    assert same_tensors(adam.weights, model.state_dict())
    assert torch.equal(adam.batches["generator"], sgd.batches["generator"])
    assert (adam.mu, sgd.mu_unit) == (0.0, 1.0)
    assert adam.mu_unit > 0


# Any loss.

LOSSES = {
    "mean squared error": nn.functional.mse_loss,
    "a module": nn.SmoothL1Loss(),
    "several labels": nn.functional.binary_cross_entropy_with_logits,
    "log-likelihood of a Gaussian": lambda outputs, targets: nn.functional.gaussian_nll_loss(
        outputs, targets, torch.ones_like(outputs)
    ),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("schedule", [SHORT, ADAM], ids=["sgd", "adam"])
def test_any_loss_of_outputs_and_targets_will_do(loss, schedule):
    inputs = randn(100, 6)
    targets = (inputs[:, :3] > 0).float()
    model = mlp()
    tasks = plan_tasks(model, {"*": Codebook(size=4)})
    states = list(run_lc(model, tasks, Split(inputs, targets), loss=loss, schedule=schedule, seed=0))
    assert states[-1].gap < 0.2 * states[0].gap

    def loss_deployed(state):
        model.load_state_dict(compressed_weights(tasks, state))
        return float(loss(predict(model, inputs), targets))

    assert loss_deployed(states[-1]) < loss_deployed(states[0])


# States, schedule, resuming.


def test_the_first_state_is_direct_compression():
    inputs, model = randn(64, 6), mlp()
    reference = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = next(run_lc(model, plan_tasks(model, {"0": Codebook(size=2)}), Split(inputs, three_classes(inputs)),
                        loss=cross_entropy, schedule=SHORT, seed=0))  # fmt: skip
    delta = Codebook(size=2).compress(reference["0.weight"], mu=0.0).decompress()
    assert (first.step, first.steps, first.epochs, first.mu, first.loss) == (0, 20, 0.0, 0.0, None)
    assert torch.equal(first.thetas[0].decompress(), delta)
    assert first.gap == pytest.approx(float((reference["0.weight"] - delta).norm() / delta.norm()))
    assert not first.multipliers[0].any()
    assert all(torch.equal(tensor, reference[name]) for name, tensor in model.state_dict().items())


def test_a_state_an_lc_step_counts_the_steps_and_the_budget():
    inputs = randn(100, 6)
    states = lc(mlp(), {"*": Codebook(size=2)}, inputs, three_classes(inputs))
    plan = SHORT.plan(100)
    assert [state.step for state in states] == list(range(21))
    assert {state.steps for state in states} == {20}
    assert [state.epochs for state in states] == [0.0, *(step.epochs for step in plan)]
    assert states[-1].epochs == 10
    assert [state.gaps for state in states] == [states[-1].gaps[: i + 1] for i in range(21)]


def test_mu_follows_the_plan_while_the_gap_is_closed():
    """Keeping every weight, Delta(Theta) = w - lambda/mu = w at every step."""
    inputs = randn(100, 6)
    states = lc(mlp(), {"*": L0Pruning(keep=1.0)}, inputs, three_classes(inputs))
    assert max(states[-1].gaps) < CLOSED_GAP
    assert [state.mu for state in states[1:]] == [step.mu for step in SHORT.plan(100)]
    assert {state.boost for state in states} == {1.0}


def test_mu_is_doubled_at_the_end_while_the_gap_does_not_close():
    inputs, schedule = randn(100, 6), Schedule(epochs=10, lr=0.1, batch_size=16, mu_growth=2)
    states = lc(mlp(), {"*": Codebook(size=1)}, inputs, three_classes(inputs), schedule=schedule)
    assert states[-2].gap > CLOSED_GAP
    assert [state.boost / states[18].boost for state in states[19:]] == [2.0, 4.0]
    last_steps = schedule.plan(100)[18:]
    for state, step in zip(states[19:], last_steps, strict=True):
        assert state.mu == pytest.approx(step.mu * state.boost)


def test_mu_times_the_learning_rate_never_exceeds_one():
    inputs = randn(32, 6)
    schedule = Schedule(epochs=2, lr=0.1, batch_size=16, mu_growth=1e9)
    states = lc(mlp(), {"*": Codebook(size=2)}, inputs, three_classes(inputs), schedule=schedule)
    products = [state.mu * step.lrs[0] for state, step in zip(states[1:], schedule.plan(32), strict=True)]
    assert max(products) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "plan",
    [
        {"*": Joint(Chain(L0Pruning(keep=0.3), Codebook(size=3)))},
        {"0": Codebook(size=3), "2": LowRank(rank=1)},
        {"0": Joint(L0Pruning(keep=0.2))},
    ],
    ids=str,
)
@pytest.mark.parametrize("momentum", [0.9, 0.0])
@pytest.mark.parametrize("optimizer, lr", [("sgd", 0.1), ("adam", 0.01)])
def test_going_on_from_any_state_gives_the_same_bits_as_never_having_stopped(plan, momentum, optimizer, lr):
    """The states are used after the run is over, so that none may have changed meanwhile."""
    inputs = randn(70, 6)
    targets = three_classes(inputs)
    schedule = Schedule(epochs=3.3, lr=lr, batch_size=16, momentum=momentum, optimizer=optimizer, clip_norm=1.0)
    states = lc(mlp(), plan, inputs, targets, schedule=schedule)
    for state in (states[i] for i in (0, 1, 7, 19, 20)):
        rest = lc(mlp(seed=9), plan, inputs, targets, schedule=schedule, resume=state)
        assert [later.step for later in rest] == list(range(state.step + 1, 21))
        assert all(identical(mine, theirs) for mine, theirs in zip(rest, states[state.step + 1 :], strict=True))


def identical(a: LCState, b: LCState) -> bool:
    numbers = ("step", "mu", "mu_unit", "boost", "loss", "gaps", "epochs")
    deltas = zip(a.thetas, b.thetas, strict=True)
    buffers = [{(name, key): tensor for name, held in state.optimizer.items() for key, tensor in held.items()}
               for state in (a, b)]  # fmt: skip
    return (
        all(getattr(a, name) == getattr(b, name) for name in numbers)
        and same_tensors(a.weights, b.weights)
        and same_tensors(*buffers)
        and all(torch.equal(mine, theirs) for mine, theirs in zip(a.multipliers, b.multipliers, strict=True))
        and all(torch.equal(mine.decompress(), theirs.decompress()) for mine, theirs in deltas)
    )


def same_tensors(mine, theirs) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    inputs = randn(70, 6)
    plan = {"*": Joint(L0Pruning(keep=0.2))}

    def last(seed):
        return lc(mlp(), plan, inputs, three_classes(inputs), seed=seed)[-1]

    assert identical(last(1), last(1))
    assert last(1).loss != last(2).loss


def test_a_resumed_conv_net_keeps_its_batch_norm_buffers():
    inputs = randn(40, 2, 6, 6)
    plan = {"body.*": Codebook(size=4)}
    states = lc(conv_net(), plan, inputs, three_classes(inputs))
    rest = lc(conv_net(seed=9), plan, inputs, three_classes(inputs), resume=states[7])
    assert identical(rest[-1], states[-1])


# What the model and the state hold.


def test_the_model_holds_w_and_the_compressed_weights_hold_delta_and_what_else_was_trained():
    inputs, model = randn(100, 6), mlp()
    reference = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tasks = plan_tasks(model, {"0": Codebook(size=2)})
    *_, state = run_lc(model, tasks, Split(inputs, three_classes(inputs)), loss=cross_entropy, schedule=SHORT, seed=0)
    weights = compressed_weights(tasks, state)
    assert weights.keys() == model.state_dict().keys()
    assert len(weights["0.weight"].unique()) == 2
    assert len(model[0].weight.unique()) > 2
    assert torch.equal(weights["0.weight"], state.thetas[0].decompress())
    for name in ("0.bias", "2.weight", "2.bias"):
        assert torch.equal(weights[name], model.state_dict()[name])
        assert not torch.equal(weights[name], reference[name])
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in state.weights.items())


def test_a_frozen_layer_left_alone_stays_as_it_is():
    inputs, model = randn(100, 6), mlp()
    model[2].requires_grad_(False)
    before = model[2].weight.clone()
    states = lc(model, {"0": Codebook(size=2)}, inputs, three_classes(inputs))
    assert torch.equal(model[2].weight, before)
    again = mlp(seed=9)
    again[2].requires_grad_(False)
    resumed = lc(again, {"0": Codebook(size=2)}, inputs, three_classes(inputs), resume=states[3])
    assert identical(resumed[-1], states[-1])


def test_weights_that_are_not_finite_are_refused_by_name():
    model = mlp()
    with torch.no_grad():
        model[2].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"^2\.weight: expected finite weights"):
        lc(model, {"*": Codebook(size=2)}, randn(8, 6), three_classes(randn(8, 6)))


def test_a_conv_net_with_batch_norm_goes_the_whole_way(tmp_path):
    """Factors, a codebook and an uncompressed layer. The packed model gives the measured outputs, bit for bit."""
    inputs = randn(240, 2, 6, 6)
    targets = three_classes(inputs)
    model = conv_net()
    train_reference(model, Split(inputs, targets), loss=cross_entropy, recipe=Recipe(epochs=20, lr=0.05, batch_size=32))
    plan = {"stem.*": LowRank(rank=3), "body.*": Codebook(size=3)}
    tasks = plan_tasks(model, plan)
    schedule = Schedule(epochs=20, lr=0.05, batch_size=32)

    def deployed(state):
        compact = conv_net(seed=5)
        deploy(compact, tasks, state, data=Split(inputs, None), batch_size=80)
        outputs = predict(compact, inputs)
        return compact, outputs, float(cross_entropy(outputs, targets))

    states = list(run_lc(model, tasks, Split(inputs, targets), loss=cross_entropy, schedule=schedule, seed=0))
    compact, outputs, loss = deployed(states[-1])
    assert states[-1].gap < 0.5 * states[0].gap
    assert loss < 0.7 * deployed(states[0])[2]
    assert torch.equal(compact.head.weight, model.head.weight)
    assert not torch.equal(compact.stem[1].running_mean, model.stem[1].running_mean)
    assert len(compact.body[0].weight.unique()) == 3
    assert torch.linalg.matrix_rank(compact.stem[0].weight.detach().reshape(6, 18)) == 3

    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, states[-1].thetas, compact.state_dict(), info={}))
    load(path, loaded := conv_net(seed=6))
    assert torch.equal(predict(loaded, inputs), outputs)


def test_frozen_parameters_stay_as_they_are():
    model, inputs = conv_net(), randn(64, 2, 6, 6)
    model.stem.requires_grad_(requires_grad=False)
    model.head.bias.requires_grad_(requires_grad=False)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    states = lc(model, {"*": Codebook(size=3)}, inputs, three_classes(inputs))
    for name in before:
        stays = name.startswith("stem.") or name == "head.bias"
        assert torch.equal(states[-1].weights[name], before[name]) == stays, name
