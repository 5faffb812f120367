"""SGD's step with the penalty's pull in one pass: the bits of torch's two passes, and where it is taken."""

from pathlib import Path

import pytest
import torch
from torch import nn

from lc_core.numerics import kernels
from lc_core.training import nesterov
from lc_core.training.loop import Batches, train
from lc_core.training.optimizers import Optimizer, Penalty
from tests.lc_core.models import randn, seeded, three_classes

DECAY, MOMENTUM = 0.013, 0.9


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def fuses():
    """Whether this processor multiplies and adds at once; torch's kernels do then, on x86."""
    flags = Path("/proc/cpuinfo")
    return flags.exists() and " fma " in flags.read_text()


needs = pytest.mark.skipif(not (kernels.built() and fuses()), reason="no compiled loops, or no fused multiply-add")


def passes(w, g, v, pull, *, lr):
    """torch's step of the same, in two passes."""
    torch._foreach_sub_([g], [pull])
    torch._fused_sgd_(
        [w], [g], [v], weight_decay=DECAY, momentum=MOMENTUM, lr=lr, dampening=0.0, nesterov=True, maximize=False,
        is_first_step=False,
    )  # fmt: skip


@needs
@pytest.mark.parametrize("shape", [(16,), (4, 8), (48, 21), (300, 784)])
def test_ten_steps_in_one_pass_each_have_the_bits_of_torchs(shape):
    w, v, pull, start = randn(4, *shape)
    ours, theirs = [w.clone(), v.clone()], [w.clone(), v.clone()]
    for step in range(1, 11):
        g, lr = start / step + randn(*shape, seed=step), 0.1 / step
        kept = g.clone()
        assert nesterov.fits(ours[0], g, ours[1], pull)
        nesterov.pulled_step(ours[0], g, ours[1], pull, decay=DECAY, momentum=MOMENTUM, lr=lr)
        assert torch.equal(g, kept)
        passes(theirs[0], g, theirs[1], pull, lr=lr)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])
    assert not torch.equal(ours[0], w)


@needs
@pytest.mark.parametrize(
    "tensors",
    [
        [randn(17) for _ in range(4)],  # what is left over, torch rounds otherwise
        [randn(16).double() for _ in range(4)],
        [randn(4, 4), randn(4, 4).T, randn(4, 4), randn(4, 4)],
        [torch.empty(16, device="meta") for _ in range(4)],
    ],
    ids=["left over", "float64", "not row by row", "elsewhere"],
)
def test_other_tensors_do_not_fit(tensors):
    assert not nesterov.fits(*tensors)


@needs
def test_nor_do_any_where_several_threads_would_share_them_or_torch_rounds_otherwise(monkeypatch):
    tensors = [randn(16) for _ in range(4)]
    assert nesterov.fits(*tensors)
    torch.set_num_threads(2)
    assert not nesterov.fits(*tensors)
    torch.set_num_threads(1)
    passed = torch._fused_sgd_

    def otherwise(parameters, *rest, **named):
        passed(parameters, *rest, **named)
        parameters[0][-1] = torch.nextafter(parameters[0][-1], torch.tensor(9.0))

    monkeypatch.setattr(torch, "_fused_sgd_", otherwise)
    nesterov._vector.cache_clear()
    assert not nesterov.fits(*tensors)
    nesterov._vector.cache_clear()


@needs
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_training_has_the_same_bits_with_and_without(monkeypatch, momentum):
    """Of its weights one fits, one does not, one is governed by nothing; an earlier penalty governed another."""

    def trained():
        model = seeded(lambda: nn.Sequential(nn.Linear(16, 5), nn.Tanh(), nn.Linear(5, 3)), seed=0)
        inputs = randn(64, 16)
        optimizer = Optimizer(model, name="sgd", momentum=momentum, weight_decay=0.001)
        batches = Batches(64, batch_size=16, seed=0)
        for governed in ([model[0].weight, model[2].weight], [model[2].weight], [model[0].weight]):
            pulls = [randn(*w.shape, seed=5) for w in governed]
            train(model, inputs, three_classes(inputs), batches=batches, loss=nn.functional.cross_entropy,
                  optimizer=optimizer, lrs=[0.1] * 10, penalty=Penalty(governed, 0.3, pulls))  # fmt: skip
        return [*model.state_dict().values(), *(held["momentum_buffer"] for held in optimizer.state().values())]

    assert nesterov.fits(*(randn(16) for _ in range(4)))
    taken, step = [], nesterov.pulled_step
    monkeypatch.setattr(nesterov, "pulled_step", lambda *given, **named: (taken.append(1), step(*given, **named)))
    with_ = trained()
    assert len(taken) == (20 if momentum else 0)
    monkeypatch.setattr(nesterov, "fits", lambda *_: False)
    without = trained()
    assert len(taken) == (20 if momentum else 0)
    assert all(torch.equal(a, b) for a, b in zip(with_, without, strict=True))
