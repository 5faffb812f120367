"""Multiply-accumulates against torch's own count of floating-point operations, two for each."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, plan_tasks
from lc_core.structure.accounting import count_macs, layer_uses
from tests.lc_core.models import compressed, conv_net, mlp, randn


def counted_by_torch(model: nn.Module, example: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(example)
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def macs(model: nn.Module, example: Tensor, plan=None) -> int:
    tasks, thetas = compressed(model, plan or {})
    return count_macs(layer_uses(model, example), dict(model.state_dict()), tasks=tasks, thetas=thetas)


@pytest.mark.parametrize(
    "model, shape",
    [
        (nn.Linear(6, 8), (6,)),
        (nn.Linear(6, 8, bias=False), (5, 6)),
        (nn.Conv1d(3, 4, 5, stride=2, padding=1), (3, 20)),
        (nn.Conv2d(3, 8, 3), (3, 11, 9)),
        (nn.Conv2d(3, 8, 3, stride=2, padding=1), (3, 11, 9)),
        (nn.Conv2d(4, 8, (3, 1), dilation=2, padding="same"), (4, 11, 9)),
        (nn.Conv2d(4, 8, 3, groups=2), (4, 11, 9)),
        (nn.Conv2d(4, 4, 3, groups=4, bias=False), (4, 11, 9)),
        (nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5)), (2, 6, 6)),
        (conv_net(), (2, 6, 6)),
    ],
    ids=str,
)
def test_layers_count_as_torch_counts_them(model, shape):
    example = randn(1, *shape)
    assert macs(model, example) == counted_by_torch(model, example)


def test_a_layer_that_runs_twice_counts_twice():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.layer(x))

    assert macs(Twice(), randn(1, 4)) == counted_by_torch(Twice(), randn(1, 4)) == 32


def test_a_layer_that_does_not_run_counts_nothing():
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 3), nn.Linear(50, 50)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    assert macs(Idle(), randn(1, 4)) == 12
    assert macs(Idle(), randn(1, 4), {"*": LowRank(rank=1)}) == 7


def test_factors_count_as_the_two_layers_that_run():
    linear = nn.Sequential(nn.Linear(20, 3, bias=False), nn.Linear(3, 10))
    assert macs(nn.Linear(20, 10), randn(1, 20), {"*": LowRank(rank=3)}) == counted_by_torch(linear, randn(1, 20))
    conv = nn.Sequential(nn.Conv2d(4, 2, 3, stride=2, padding=1, bias=False), nn.Conv2d(2, 16, 1))
    example = randn(1, 4, 9, 7)
    whole = nn.Conv2d(4, 16, 3, stride=2, padding=1)
    assert macs(whole, example, {"*": LowRank(rank=2)}) == counted_by_torch(conv, example)


def test_a_convolution_in_groups_runs_whole_whatever_its_factors():
    model, example = nn.Conv2d(4, 8, 3, groups=2), randn(1, 4, 11, 9)
    assert macs(model, example, {"*": LowRank(rank=1)}) == counted_by_torch(model, example)


def test_factors_larger_than_their_product_run_as_the_product():
    assert macs(nn.Linear(6, 8), randn(1, 6), {"*": LowRank(rank=6)}) == 48


@pytest.mark.parametrize(
    "compression",
    [L0Pruning(keep=0.01), Codebook(size=2), Chain(L0Pruning(keep=0.1), Codebook(size=2)), Joint(L0Pruning(keep=0.01))],
    ids=str,
)
def test_zeros_and_codes_save_nothing(compression):
    example = randn(1, 2, 6, 6)
    assert macs(conv_net(), example, {"*": compression}) == counted_by_torch(conv_net(), example)


def test_a_mixed_plan_counts_layer_by_layer():
    example = randn(1, 2, 6, 6)
    full = counted_by_torch(conv_net(), example)
    mixed = macs(conv_net(), example, {"body.0": LowRank(rank=2), "*": Joint(Codebook(size=2))})
    assert full - mixed == 4 * (8 * 54 - 2 * (8 + 54))


def test_outlines_count_as_the_thetas_do():
    example, plan = randn(1, 2, 6, 6), {"head": LowRank(rank=1), "*": Codebook(size=2)}
    tasks = plan_tasks(conv_net(), plan)
    outlines = [task.outline_or_dense() for task in tasks]
    uses = layer_uses(conv_net(), example)
    counted = count_macs(uses, dict(conv_net().state_dict()), tasks=tasks, thetas=outlines)
    assert counted == macs(conv_net(), example, plan)


def test_counting_leaves_the_model_as_it_is():
    model = conv_net().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layer_uses(model, randn(1, 2, 6, 6))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_counting_leaves_no_hooks_behind_an_example_that_does_not_fit():
    model = mlp()
    with pytest.raises(RuntimeError):
        layer_uses(model, randn(1, 5))
    assert not any(module._forward_hooks for module in model.modules())
