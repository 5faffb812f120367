"""Multiply-accumulates against torch's own count of floating-point operations, two for each."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lc_core import Chain, Codebook, Joint, L0Pruning, LowRank, plan_tasks
from lc_core.compression import Use
from lc_core.structure.accounting import count_macs, layer_uses, model_macs
from tests.lc_core.models import compressed, conv_net, mlp, randn


class Run(nn.Module):
    """Layers by name, and what runs them."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *given: Tensor, **named: Tensor) -> Tensor:
        return self.run(self, *given, **named)


def counted_by_torch(model: nn.Module, example: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        model.eval()(example)
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def macs(model: nn.Module, example: Tensor, plan=None) -> int:
    tasks, thetas = compressed(model, plan or {})
    return count_macs(model_macs(model, example), dict(model.state_dict()), tasks=tasks, thetas=thetas)


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
    counted = count_macs(model_macs(conv_net(), example), dict(conv_net().state_dict()), tasks=tasks, thetas=outlines)
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


def recurrent(gates: int, inputs: int, hidden: int, *, steps: int, fed: int | None = None) -> int:
    """Multiply-accumulates of one layer in one direction: every step applies both matrices once."""
    fed = fed or hidden
    return steps * (gates * hidden * (inputs + fed) + (hidden * fed if fed != hidden else 0))


KNOWN = {
    "LSTM": (lambda: nn.LSTM(16, 64), (9, 1, 16), recurrent(4, 16, 64, steps=9)),
    "LSTM of two layers": (
        lambda: nn.LSTM(4, 5, num_layers=2, batch_first=True),
        (1, 7, 4),
        recurrent(4, 4, 5, steps=7) + recurrent(4, 5, 5, steps=7),
    ),
    "LSTM both ways": (lambda: nn.LSTM(4, 5, bidirectional=True), (7, 1, 4), 2 * recurrent(4, 4, 5, steps=7)),
    "LSTM with a projection": (lambda: nn.LSTM(4, 5, proj_size=3), (7, 1, 4), recurrent(4, 4, 5, steps=7, fed=3)),
    "GRU": (lambda: nn.GRU(4, 5), (7, 1, 4), recurrent(3, 4, 5, steps=7)),
    "RNN": (lambda: nn.RNN(4, 5), (7, 1, 4), recurrent(1, 4, 5, steps=7)),
    "LSTM cell": (lambda: nn.LSTMCell(4, 5), (1, 4), recurrent(4, 4, 5, steps=1)),
    "transposed, 1-d": (lambda: nn.ConvTranspose1d(2, 3, 4, stride=2), (1, 2, 9), 9 * 2 * 3 * 4),
    "transposed, 2-d": (lambda: nn.ConvTranspose2d(2, 3, 4, stride=2), (1, 2, 9, 5), 9 * 5 * 2 * 3 * 16),
    "transposed, in groups": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 9, 5), 9 * 5 * 4 * 3 * 9),
    "3-d": (lambda: nn.Conv3d(2, 3, 3), (1, 2, 5, 6, 7), 3 * 4 * 5 * 2 * 3 * 27),
    "attention": (
        lambda: Run(lambda m, x: m.a(x, x, x)[0], a=nn.MultiheadAttention(8, 2)),
        (5, 1, 8),
        4 * 5 * 64 + 2 * 25 * 8,
    ),
    "encoder": (
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        (1, 5, 8),
        4 * 5 * 64 + 2 * 25 * 8 + 2 * 5 * 8 * 16,
    ),
    "own attention": (
        lambda: Run(lambda _, x: nn.functional.scaled_dot_product_attention(x, x, x)),
        (1, 2, 5, 4),
        2 * 2 * 25 * 4,
    ),
    "bilinear": (lambda: Run(lambda m, x: m.b(x, x), b=nn.Bilinear(3, 3, 4)), (1, 5, 3), 5 * 4 * 9),
    "matrix by vector": (lambda: Run(lambda _, x: (x[0] @ x[0, 0]).sum() + x[0, 0] @ x[0, 1]), (1, 4, 6), 24 + 6),
    "distances": (lambda: Run(lambda _, x: torch.cdist(x, x[:, :2])), (1, 4, 6), 4 * 2 * 6),
    "a product": (lambda: Run(lambda _, x: torch.einsum("nab,nbc->nac", x, x)), (1, 4, 4), 64),
    "nothing": (lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(8), nn.GELU()), (1, 2, 4), 0),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_all_that_multiplies_and_accumulates_counts(name):
    build, shape, expected = KNOWN[name]
    counted = model_macs(build(), randn(*shape))
    assert count_macs(counted, dict(build().named_parameters())) == expected
    assert counted.uncounted == ()


def test_a_net_with_two_transposed_convolutions_is_hardly_cheaper_where_they_stay():
    build = lambda: nn.Sequential(  # noqa: E731
        *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(16, 8, 5, padding=2)),
    )
    example = randn(1, 1, 16, 16)
    whole, small = macs(build(), example), macs(build(), example, {"[02]": LowRank(rank=1)})
    convolutions = 256 * 8 * 9 + 64 * 64 * 9
    transposed = 64 * 8 * 16 * 16 + 256 * 16 * 8 * 25
    factors = 256 * (9 + 8) + 64 * (72 + 8)
    assert (whole, small) == (convolutions + transposed, factors + transposed)
    assert 1.04 < whole / small < 1.1


def test_an_lstm_classifier_is_more_than_its_head():
    model = Run(lambda m, x: m.head(m.lstm(x)[0][:, -1]), lstm=nn.LSTM(16, 64, batch_first=True), head=nn.Linear(64, 4))
    counted = model_macs(model, randn(1, 12, 16))
    assert count_macs(counted, dict(model.named_parameters())) == 12 * 4 * 64 * (16 + 64) + 256
    assert counted.modules == {"lstm": 12 * 4 * 64 * 80, "head": 256}
    assert counted.others == counted.modules["lstm"]


def test_layers_within_others_count_by_their_own_name_and_factors_save():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    counted = model_macs(model, randn(1, 5, 8))
    assert counted.modules["linear1"] == counted.modules["linear2"] == 5 * 8 * 16
    assert counted.modules["self_attn"] == 4 * 5 * 64 + 2 * 25 * 8
    assert counted.uses.keys() == {"linear1.weight", "linear2.weight"}
    saved = macs(model, randn(1, 5, 8)) - macs(model, randn(1, 5, 8), {"linear1": LowRank(rank=2)})
    assert saved == 5 * (8 * 16 - 2 * (8 + 16))


def test_a_layer_over_other_dimensions_in_the_place_of_the_batch_counts_at_each():
    model = Run(lambda m, x: m.conv(m.layer(x[0])[:, None, None]), layer=nn.Linear(6, 4), conv=nn.Conv2d(1, 3, (1, 2)))
    example = randn(1, 7, 6)
    assert macs(model, example) == counted_by_torch(model, example) == 7 * 24 + 7 * 3 * 2 * 3
    assert macs(model, example, {"layer": LowRank(rank=1)}) == 7 * 10 + 7 * 18


def test_a_convolution_of_one_example_without_a_batch_runs_at_all_its_positions():
    model = Run(lambda m, x: m.conv(x[0])[None], conv=nn.Conv2d(3, 4, 3, stride=2))
    example = randn(1, 3, 9, 7)
    assert layer_uses(model, example) == {"conv.weight": [Use((9, 7), (4, 3))]}
    assert macs(model, example) == counted_by_torch(model, example) == 108 * 12
    assert macs(model, example, {"conv": LowRank(rank=1)}) == (27 + 4) * 12


def test_what_nothing_counts_is_named():
    model = Run(lambda m, x: torch.fft.rfft(m.layer(x)).abs() @ torch.linalg.inv(torch.eye(3)), layer=nn.Linear(6, 4))
    counted = model_macs(model, randn(1, 6))
    assert "aten::_fft_r2c" in counted.uncounted
    assert any(name.startswith("aten::linalg_inv") for name in counted.uncounted)
    assert counted.others == 9
    with torch.library._scoped_library("lcsweep_test", "FRAGMENT") as library:
        library.define("own(Tensor x) -> Tensor")
        library.impl("own", torch.neg, "CPU")
        own = Run(lambda _, x: torch.ops.lcsweep_test.own(x))
        assert model_macs(own, randn(1, 6)).uncounted == ("lcsweep_test::own",)


def test_a_function_can_run_the_example():
    model = Run(
        lambda m, words, mask: m.head(m.embed(words).mul(mask).sum(1)), embed=nn.Embedding(9, 4), head=nn.Linear(4, 3)
    )
    counted = model_macs(model, lambda model: model(torch.tensor([[1, 2]]), mask=torch.ones(1, 2, 1)))
    assert count_macs(counted, dict(model.named_parameters())) == 12
    assert layer_uses(model, lambda model: model(torch.tensor([[1, 2]]), torch.ones(1, 2, 1))).keys() == {"head.weight"}


def test_counting_with_a_layer_called_by_keyword_and_modes_of_its_own():
    model = Run(lambda m, x: m.layer(input=m.drop(x)), drop=nn.Dropout(), layer=nn.Linear(4, 3))
    model.train()
    model.drop.eval()
    assert macs(model, randn(1, 4)) == 12
    assert (model.training, model.drop.training, model.layer.training) == (True, False, True)
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.backends.mkldnn.enabled
    with pytest.raises(RuntimeError):
        model_macs(model, randn(1, 5))
    assert torch.backends.mha.get_fastpath_enabled()
    assert (model.training, model.drop.training, model.layer.training) == (True, False, True)
    assert not any(module._forward_hooks for module in model.modules())
