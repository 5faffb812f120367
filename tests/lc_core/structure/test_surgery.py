"""Surgery: which channels are removed, which must stay, and the multiply-accumulates of the smaller model."""

import operator
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.fx
from torch import Tensor, nn
from torch.nn import functional as F

from lc_core import Chain, Codebook, GroupPruning, Joint, L0Pruning, LowRank, plan_tasks
from lc_core.algorithm import deploy, run_lc
from lc_core.compressions.circulant import Circulant
from lc_core.compressions.cp import CP
from lc_core.compressions.separable import Separable
from lc_core.compressions.tucker import Tucker2
from lc_core.graph import TraceError
from lc_core.schedule import Schedule
from lc_core.structure.accounting import count_macs, layer_uses, model_macs
from lc_core.structure.flow import ACTIVATIONS, ELEMENTWISE_FUNCTIONS
from lc_core.structure.surgery import cut, cut_weights
from lc_core.training.data import Forward, Split, call
from lc_core.training.nest import Nest
from tests.ids import plain
from tests.lc_core.models import conv_net, mlp, randn, seeded, three_classes
from tests.lc_core.structure.test_accounting import counted_by_torch


class Net(nn.Module):
    """Layers by name, and what runs them."""

    def __init__(self, run: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.run = run
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def net(run: Callable[..., Tensor], build: Callable[[], Mapping[str, nn.Module]]) -> Net:
    return seeded(lambda: Net(run, **build()), seed=0)


@torch.no_grad()
def kill(*modules: nn.Module, rows: list[int]) -> None:
    """Zeroes output slices: of weights, biases, batch-norm scales and shifts."""
    for module in modules:
        for parameter in module.parameters():
            parameter[rows] = 0


@torch.no_grad()
def blind(layer: nn.Module, columns: list[int]) -> None:
    """Zeroes input slices of a layer's weight."""
    layer.get_parameter("weight")[:, columns] = 0


@torch.no_grad()
def settle(model: nn.Module) -> None:
    """Makes batch norms as training leaves them: statistics, scales and shifts that are all about."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                tensor.uniform_(0.5, 1.5, generator=generator)


def sizes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shapes of the layers' weights, outputs and inputs only."""
    weights = {name: tensor for name, tensor in model.state_dict().items() if tensor.ndim > 1}
    return {name.removesuffix(".weight"): tuple(tensor.shape[:2]) for name, tensor in weights.items()}


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def close(model: nn.Module, small: nn.Module, *shape: int) -> bool:
    inputs = randn(5, *shape, seed=7)
    with torch.no_grad():
        return torch.allclose(model.eval()(inputs), small.eval()(inputs), rtol=1e-5, atol=1e-6)


class Summed(nn.Module):
    """Two inputs, summed behind a layer each; a third and a choice may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 5), nn.Linear(4, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor, y: Tensor, scale: Tensor | None = None, *, double: bool = False) -> Nest:
        hidden = torch.relu(self.first(x) + self.second(y))
        if scale is not None:
            hidden = hidden * scale
        return {"logits": self.head(2 * hidden if double else hidden), "none": None}


X, Y, SCALE = randn(4, 6), randn(4, 4, seed=1), randn(4, 5, seed=2)


@pytest.mark.parametrize(
    ("example", "kept", "forward"),
    [
        ((X, Y), 3, call),
        ({"y": Y, "x": X}, 3, call),
        ({"scale": SCALE, "x": X, "y": Y}, 5, call),
        ([X, {"y": Y}], 3, lambda model, inputs: model(inputs[0], double=True, **inputs[1])["logits"].exp()),
    ],
    ids=["a tuple", "a mapping", "an input that keeps channels", "a forward of the user's own"],
)
def test_several_inputs_are_followed(example: Nest, kept: int, forward: Forward):
    model = seeded(Summed, seed=0)
    kill(model.first, rows=[0, 3])
    kill(model.second, rows=[0, 3])
    small = cut(model, example, forward=forward)
    assert sizes(small) == {"first": (kept, 6), "second": (kept, 4), "head": (3, kept)}
    with torch.no_grad():
        torch.testing.assert_close(forward(small.eval(), example), forward(model.eval(), example))


def test_groups_of_a_network_of_several_inputs_count_as_cut():
    class Shifted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.head(torch.relu(self.first(x))) + y

    model = seeded(Shifted, seed=0)
    tasks = plan_tasks(model, {"first": GroupPruning(0.6)})
    thetas = [task.outline_or_dense() for task in tasks]
    weights = cut_weights(model, {"y": randn(1, 3), "x": randn(1, 6)}, tasks=tasks, thetas=thetas)
    assert (weights["first.weight"].shape, weights["head.weight"].shape) == ((3, 6), (3, 3))


def test_a_nest_among_the_defaults_does_not_stop_the_trace():
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor, factors: tuple[float, ...] = (0.5, 2.0), *, double: bool = False) -> Tensor:
            outputs = self.head(torch.relu(self.first(x)))
            return outputs * factors[1] if double else outputs * factors[0]

    model = seeded(Halved, seed=0)
    kill(model.first, rows=[0, 3])
    assert sizes(cut(model, randn(4, 6))) == {"first": (3, 6), "head": (3, 3)}


def test_a_forward_that_does_not_call_the_model_is_refused():
    model = seeded(Summed, seed=0)
    with pytest.raises(TraceError, match=r"^Summed: expected a forward that calls the model, got one that does not$"):
        cut(model, (X, Y), forward=lambda model, inputs: model.forward(*inputs))
    assert not model._forward_pre_hooks


def test_dead_neurons_go_with_the_columns_that_read_them():
    model = mlp()
    kill(model[0], rows=[1, 5, 6])
    small = cut(model, randn(4, 6))
    assert sizes(small) == {"0": (5, 6), "2": (3, 5)}
    assert (small[0].out_features, small[2].in_features) == (5, 5)
    assert torch.equal(small[0].weight, model[0].weight[[0, 2, 3, 4, 7]])
    assert torch.equal(small[2].weight, model[2].weight[:, [0, 2, 3, 4, 7]])
    assert close(model, small, 6)


def test_neurons_that_nobody_reads_go_and_the_networks_inputs_stay():
    model = mlp()
    blind(model[2], [0, 3])
    blind(model[0], [2])
    small = cut(model, randn(4, 6))
    assert sizes(small) == {"0": (6, 6), "2": (3, 6)}
    assert close(model, small, 6)


def test_what_only_dead_neurons_read_goes_too():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 6)), seed=0)
    kill(model[2], rows=[0])
    with torch.no_grad():
        model[2].weight[1:, 4] = 0  # read by the dead row alone
        model[2].weight[0, 4] = 1
        model[3].weight[:, 0] = 0
    small = cut(model, randn(4, 6))
    assert sizes(small) == {"0": (5, 6), "2": (5, 5), "3": (6, 5)}
    assert close(model, small, 6)


def test_channels_go_through_norm_activation_and_flatten():
    model = conv_net()
    settle(model)
    kill(model.stem[0], model.stem[1], rows=[0, 1])
    kill(model.body[0], model.body[1], rows=[2, 7])
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == {"stem.0": (4, 2), "body.0": (6, 4), "head": (3, 24)}
    assert (small.stem[1].num_features, small.body[0].in_channels, small.body[0].out_channels) == (4, 4, 6)
    assert len(small.body[1].running_var) == 6
    assert close(model, small, 2, 6, 6)


def test_a_dead_channel_is_judged_by_what_its_norm_makes_of_it():
    model = conv_net()
    settle(model)
    model.body[0].padding = (1, 1)
    model.head = nn.Linear(72, 3)
    kill(model.stem[0], rows=[0, 1])
    model.stem[1].running_mean[0], model.stem[1].running_mean[1] = 100.0, -100.0  # below zero, above zero
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small)["stem.0"] == (5, 2)
    assert close(model, small, 2, 6, 6)


def test_a_norm_whose_scale_is_zero_gives_its_shift_whatever_it_takes():
    model = conv_net()
    settle(model)
    with torch.no_grad():
        model.body[1].weight[3] = 0
        model.body[1].bias[3] = -1.0
    assert sizes(cut(model, randn(4, 2, 6, 6))) == {"stem.0": (6, 2), "body.0": (7, 6), "head": (3, 28)}
    with torch.no_grad():
        model.body[1].bias[3] = 1.0  # alive behind the ReLU, the same everywhere: the head's bias takes it
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small)["head"] == (3, 28)
    assert not torch.allclose(small.head.bias, model.head.bias)
    assert close(model, small, 2, 6, 6)


def test_a_constant_stays_in_where_it_ends_at_a_border():
    model = conv_net()
    settle(model)
    model.body[0].padding = (1, 1)
    model.head = nn.Linear(72, 3)
    kill(model.stem[0], rows=[0])
    model.stem[1].running_mean[0] = -1.0  # the norm and the ReLU make a constant above zero of it
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == sizes(model)
    model.body[0].padding = (0, 0)
    model.head = nn.Linear(32, 3)
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small)["body.0"] == (8, 5)
    assert close(model, small, 2, 6, 6)


def test_a_constant_needs_a_bias_to_go_into():
    def build(*, bias: bool) -> nn.Sequential:
        return nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3, bias=bias))

    for bias, left in ((True, 6), (False, 8)):
        model = seeded(lambda bias=bias: build(bias=bias), seed=0)
        kill(model[0], rows=[2, 4])  # sigmoid(0) = 0.5
        small = cut(model, randn(4, 6))
        assert sizes(small) == {"0": (left, 6), "2": (3, left)}
        assert close(model, small, 6)


def residual(self: nn.Module, x: Tensor) -> Tensor:
    x = F.relu(self.norm(self.stem(x)))
    x = F.relu(x + self.norm_b(self.b(F.relu(self.norm_a(self.a(x))))))
    return self.head(F.adaptive_avg_pool2d(x, 1).view(x.size(0), -1))


def residual_net() -> Net:
    model = net(
        residual,
        lambda: {
            "stem": nn.Conv2d(2, 8, 3, padding=1, bias=False),
            "norm": nn.BatchNorm2d(8),
            "a": nn.Conv2d(8, 6, 3, padding=1),
            "norm_a": nn.BatchNorm2d(6),
            "b": nn.Conv2d(6, 8, 3, padding=1, bias=False),
            "norm_b": nn.BatchNorm2d(8),
            "head": nn.Linear(8, 3),
        },
    )
    settle(model)
    return model


def test_a_channel_of_a_sum_goes_where_it_is_dead_in_all_summands():
    model = residual_net()
    kill(model.stem, model.norm, rows=[0, 1, 2])
    kill(model.b, model.norm_b, rows=[2, 1, 5])
    kill(model.a, model.norm_a, rows=[4])
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == {"stem": (6, 2), "a": (5, 6), "b": (6, 5), "head": (3, 6)}
    assert close(model, small, 2, 6, 6)


def test_a_channel_of_a_sum_goes_where_nobody_reads_it():
    model = residual_net()
    blind(model.a, [3, 4])
    blind(model.head, [4, 5])
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == {"stem": (7, 2), "a": (6, 7), "b": (7, 6), "head": (3, 7)}
    assert close(model, small, 2, 6, 6)


@pytest.mark.parametrize(
    "pool",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3, padding=1, stride=2),
        nn.AvgPool2d(3, padding=1, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.AdaptiveMaxPool2d((3, 2)),
        nn.Sequential(nn.Dropout2d(), nn.GELU(), nn.MaxPool2d(2), nn.Hardswish(), nn.Identity()),
        lambda x: F.max_pool2d(F.leaky_relu(x, 0.1), 2),
        lambda x: F.avg_pool2d(x.relu(), kernel_size=2),
        lambda x: torch.tanh(x).mean((2, 3)),
        lambda x: x.flatten(start_dim=1),
        lambda x: torch.flatten(x, 1, -1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: x.mean(dim=-1, keepdim=True),
    ],
    ids=plain,
)
def test_dead_channels_go_through_pooling(pool):
    layers = {"pool": pool} if isinstance(pool, nn.Module) else {}
    behind = torch.flatten(pool(randn(1, 8, 6, 6)), 1).shape[1]

    def run(self: nn.Module, x: Tensor) -> Tensor:
        x = pool(self.conv(x)) if not layers else self.pool(self.conv(x))
        return self.head(torch.flatten(x, 1))

    model = net(run, lambda: {"conv": nn.Conv2d(2, 8, 3, padding=1), "head": nn.Linear(behind, 3)} | layers)
    kill(model.conv, rows=[0, 7])
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == {"conv": (6, 2), "head": (3, behind * 6 // 8)}
    assert close(model, small, 2, 6, 6)


def test_pooling_over_a_border_makes_no_constant_of_one():
    model = net(
        lambda self, x: self.head(self.pool(self.conv(x)).flatten(1)),
        lambda: {"conv": nn.Conv2d(2, 4, 3), "pool": nn.AvgPool2d(2, padding=1), "head": nn.Linear(36, 3)},
    )
    with torch.no_grad():
        model.conv.weight[0] = 0
    assert sizes(cut(model, randn(4, 2, 6, 6))) == sizes(model)


def test_one_dimensional_convolutions():
    def build() -> nn.Sequential:
        first, second = nn.Conv1d(2, 8, 3), nn.Conv1d(8, 6, 5, stride=2)
        norms = nn.BatchNorm1d(8), nn.BatchNorm1d(6)
        pools = nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(3)
        return nn.Sequential(
            first, norms[0], nn.SiLU(), pools[0], second, norms[1], pools[1], nn.Flatten(), nn.Linear(18, 3)
        )

    model = seeded(build, seed=0)
    settle(model)
    kill(model[0], model[1], rows=[3])
    kill(model[4], model[5], rows=[0, 5])
    small = cut(model, randn(4, 2, 30))
    assert sizes(small) == {"0": (7, 2), "4": (4, 7), "8": (3, 12)}
    assert close(model, small, 2, 30)


@pytest.mark.parametrize("each", [1, 2])
def test_depthwise_convolutions_follow_what_they_read(each):
    model = net(
        lambda self, x: self.head(F.relu(self.point(F.relu(self.depth(F.relu(self.conv(x)))))).flatten(1)),
        lambda: {
            "conv": nn.Conv2d(2, 8, 3),
            "depth": nn.Conv2d(8, 8 * each, 3, groups=8),
            "point": nn.Conv2d(8 * each, 5, 1),
            "head": nn.Linear(20, 3),
        },
    )
    kill(model.conv, rows=[0, 1])
    with torch.no_grad():
        model.depth.bias[: 2 * each] = -1.0  # gone behind the ReLU
    kill(model.depth, rows=list(range(6 * each, 7 * each)))
    small = cut(model, randn(4, 2, 6, 6))
    assert sizes(small) == {"conv": (5, 2), "depth": (5 * each, 1), "point": (5, 5 * each), "head": (3, 20)}
    assert (small.depth.groups, small.depth.in_channels, small.depth.out_channels) == (5, 5, 5 * each)
    assert close(model, small, 2, 6, 6)


def test_a_concatenation_is_cut_piece_by_piece():
    model = net(
        lambda self, x: self.head(torch.cat([self.a(x), x, self.b(x)], dim=1)),
        lambda: {"a": nn.Linear(4, 5), "b": nn.Linear(4, 6), "head": nn.Linear(15, 3)},
    )
    kill(model.a, rows=[0])
    kill(model.b, rows=[1, 2])
    small = cut(model, randn(4, 4))
    assert sizes(small) == {"a": (4, 4), "b": (4, 4), "head": (3, 12)}
    assert close(model, small, 4)


def test_a_layer_with_two_readers_keeps_what_either_reads():
    def run(self: nn.Module, x: Tensor) -> Tensor:
        x = self.shared(x)
        return self.left(x) + self.right(torch.sigmoid(x))

    model = net(
        run,
        lambda: {"shared": nn.Linear(4, 6), "left": nn.Linear(6, 3), "right": nn.Linear(6, 3, bias=False)},
    )
    blind(model.left, [0, 1])
    blind(model.right, [1, 2])
    kill(model.shared, rows=[4])  # zero for the left, 0.5 for the right
    small = cut(model, randn(4, 4))
    assert sizes(small) == {"shared": (5, 4), "left": (3, 5), "right": (3, 5)}
    assert close(model, small, 4)


def test_a_gate_is_cut_with_what_it_gates():
    def run(self: nn.Module, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        gate = torch.sigmoid(self.gate(x.mean((2, 3), keepdim=True)))
        return self.head(x.mul(gate).mean((2, 3)))

    model = net(
        run,
        lambda: {"conv": nn.Conv2d(2, 6, 3), "gate": nn.Conv2d(6, 6, 1), "head": nn.Linear(6, 3)},
    )
    kill(model.conv, rows=[1])
    kill(model.gate, rows=[1])
    small = cut(model, randn(4, 2, 5, 5))
    assert sizes(small) == {"conv": (5, 2), "gate": (5, 5), "head": (3, 5)}
    assert close(model, small, 2, 5, 5)


def two(run: Callable[..., Tensor], **more: nn.Module) -> Net:
    """A model of `first` 4 -> 4 and `second` 4 -> 4, of which `first` has two dead neurons."""
    model = net(run, lambda: {"first": nn.Linear(4, 4), "second": nn.Linear(4, 4), **more})
    kill(model.first, rows=[0, 1])
    return model


class Weights(nn.Linear):
    """Not the layer that it is derived from."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 1)


@torch.fx.wrap
def relu(x: Tensor) -> Tensor:
    """Not the function that torch calls so."""
    return x.flip(1)


@pytest.mark.parametrize(
    "model",
    [
        two(lambda self, x: self.first(self.second(self.first(x)))),
        two(lambda self, x: self.second(self.first(x)) @ self.first.weight),
        two(lambda self, x: self.second(torch.softmax(self.first(x), dim=1))),
        two(lambda self, x: self.second(relu(self.first(x)))),
        two(lambda self, x: self.second(self.norm(self.first(x))), norm=nn.LayerNorm(4)),
        two(lambda self, x: self.second(self.first(x).view(-1, 4))),
        two(lambda self, x: self.second(self.first(x)[:, [3, 2, 1, 0]])),
        two(lambda self, x: self.second(torch.cat(self.first(x).split(2, dim=1), dim=1))),
        two(lambda self, x: self.second(torch.cat([self.first(x)], dim=x.dim() - 1))),
        two(lambda self, x: self.second(self.first(x)) + self.first(x)),
        two(lambda self, x: self.second((y := self.first(x)).view(y.shape[0], y.shape[1]))),
        two(lambda self, x: self.second((y := self.first(x)) * y.shape[1])),
        two(lambda self, x: self.second((y := self.first(x)) * y.size(1))),
        two(lambda self, x: self.odd(self.first(x)) + self.second(x), odd=Weights(4, 4)),
        two(lambda self, x: self.second(self.pool(self.first(x))), pool=nn.MaxPool1d(3, stride=1, padding=1)),
    ],
)
def test_what_is_not_understood_stays(model):
    assert sizes(cut(model, randn(3, 4))) == sizes(model)


@pytest.mark.parametrize(
    "run, shape, head",
    [
        (lambda self, x: self.head(self.conv(x).mean(1).flatten(1)), (2, 8, 6), 24),
        (lambda self, x: self.head(self.conv(x).view(6, -1)), (2, 6, 6), 32),
        (lambda self, x: self.head(self.conv(x).flatten(1, 2)), (2, 6, 6), 4),
        (lambda self, x: self.head(torch.cat([self.conv(x), self.conv(x)], dim=2).flatten(1)), (2, 6, 6), 128),
        (lambda self, x: self.head(self.conv(x)), (2, 6, 6), 4),
    ],
)
def test_channels_that_are_moved_elsewhere_stay(run, shape, head):
    model = net(run, lambda: {"conv": nn.Conv2d(2, 4, 3), "head": nn.Linear(head, 3)})
    kill(model.conv, rows=[0, 1])
    assert sizes(cut(model, randn(3, *shape))) == sizes(model)


@pytest.mark.parametrize("activation", [*ACTIVATIONS, *sorted(ELEMENTWISE_FUNCTIONS - {"contiguous"})], ids=plain)
def test_what_is_unknown_stays_so_through_every_activation(activation):
    if isinstance(activation, type):
        given = activation()
    else:
        place = next(place for place in (F, torch, operator) if hasattr(place, activation))
        function = getattr(place, activation)
        others = {"dropout": (0.5, False), "clamp": (-1, 1)}
        others |= dict.fromkeys(("add", "mul", "sub", "div", "truediv"), (torch.zeros(()),))
        given = lambda x: function(x, *others.get(activation, ()))  # noqa: E731
    assert given(torch.full((33,), torch.nan)).isnan().all()


def test_convolutions_in_groups_stay():
    model = net(
        lambda self, x: self.last(self.grouped(self.first(x))),
        lambda: {"first": nn.Conv2d(2, 4, 1), "grouped": nn.Conv2d(4, 4, 1, groups=2), "last": nn.Conv2d(4, 2, 1)},
    )
    kill(model.first, model.grouped, rows=[0])
    assert sizes(cut(model, randn(1, 2, 3, 3))) == sizes(model)


def test_tied_layers_stay():
    model = two(lambda self, x: self.second(self.first(x)))
    model.second.weight = model.first.weight
    assert sizes(cut(model, randn(3, 4))) == sizes(model)


def test_layers_with_hooks_stay():
    for hook in ("register_forward_hook", "register_forward_pre_hook"):
        model = two(lambda self, x: self.second(self.first(x)))
        getattr(model.first, hook)(add_one)
        assert sizes(cut(model, randn(3, 4))) == sizes(model)


def add_one(module: nn.Module, inputs: tuple[Tensor], output: Tensor | None = None) -> Tensor:
    return (inputs[0] if output is None else output) + 1


def test_layers_with_weights_that_are_computed_stay():
    model = two(lambda self, x: self.second(self.first(x)))
    nn.utils.parametrizations.orthogonal(model.second)
    assert sizes(cut(model, randn(3, 4))) == sizes(model)


def test_what_is_written_over_is_not_taken_for_what_it_was():
    """The third layer sees what the ReLU makes in place of the first one's outputs."""

    def run(self: nn.Module, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.second(F.relu(x, inplace=True)) + self.last(self.third(x))

    model = net(run, lambda: {name: nn.Linear(4, 4) for name in ("first", "second", "third", "last")})
    kill(model.first, rows=[0, 1])
    with torch.no_grad():
        model.first.bias[0] = -1.0
        model.third.weight[0, 1:] = 0  # a constant, but not of -1
    assert sizes(cut(model, randn(3, 4))) == sizes(model)


def test_the_models_own_outputs_stay_and_every_layer_keeps_a_channel():
    model = mlp()
    kill(model[0], rows=list(range(8)))
    kill(model[2], rows=[0, 1, 2])
    small = cut(model, randn(4, 6))
    assert sizes(small) == {"0": (1, 6), "2": (3, 1)}
    assert close(model, small, 6)


def test_a_layer_that_feeds_nothing_keeps_a_channel():
    def run(self: nn.Module, x: Tensor) -> Tensor:
        self.spare(x)
        return self.used(x)

    model = net(run, lambda: {"spare": nn.Linear(4, 9), "used": nn.Linear(4, 3)})
    assert sizes(cut(model, randn(2, 4))) == {"spare": (1, 4), "used": (3, 4)}


def test_the_model_is_left_as_it_is_and_the_copy_is_like_it():
    model = conv_net().double().train()
    model.body.eval()
    model.head.weight.requires_grad_(False)
    kill(model.stem[0], model.stem[1], rows=[0])
    blind(model.head, [0, 1, 2, 3])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small = cut(model, randn(4, 2, 6, 6).double())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert sizes(small) == {"stem.0": (5, 2), "body.0": (7, 5), "head": (3, 28)}
    assert [module.training for module in small.modules()] == [module.training for module in model.modules()]
    assert {tensor.dtype for tensor in small.parameters()} == {torch.float64}
    assert [tensor.requires_grad for tensor in small.parameters()] == [
        tensor.requires_grad for tensor in model.parameters()
    ]
    small.train()(randn(4, 2, 6, 6).double()).sum().backward()


def test_a_model_that_writes_into_its_input_gets_copies():
    model = seeded(
        lambda: nn.Sequential(nn.Hardswish(inplace=True), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), seed=0
    )
    kill(model[1], rows=[0])
    example = randn(4, 6)
    assert sizes(cut(model, example)) == {"1": (7, 6), "3": (3, 7)}
    assert torch.equal(example, randn(4, 6))


def test_half_precision_is_cut_too():
    model = mlp().bfloat16()
    kill(model[0], rows=[3, 4])
    assert sizes(cut(model, randn(4, 6).bfloat16())) == {"0": (6, 6), "2": (3, 6)}


def test_outputs_that_differ_are_refused_with_the_difference():
    model = net(lambda self, x: F.dropout(self.first(x), training=True), lambda: {"first": nn.Linear(4, 4)})
    with pytest.raises(
        ValueError, match=r"surgery: expected outputs of Net within \S+ of the whole model's, got \S+ apart"
    ):
        cut(model, randn(20, 4))


def test_random_inputs_that_a_model_gives_no_numbers_for_are_not_compared():
    model = net(lambda self, x: self.first(x.log()), lambda: {"first": nn.Linear(4, 4)})
    assert sizes(cut(model, randn(20, 4).abs() + 1)) == {"first": (4, 4)}


def test_each_of_several_outputs_is_compared():
    def build():
        return {"first": nn.Linear(4, 6), "second": nn.Linear(6, 3)}

    model = net(lambda self, x: (self.second(hidden := self.first(x)), {"mean": hidden.mean()}), build)
    assert sizes(cut(model, randn(20, 4))) == {"first": (6, 4), "second": (3, 6)}
    model = net(lambda self, x: (hidden := self.first(x), F.dropout(self.second(hidden), training=True)), build)
    with pytest.raises(ValueError, match="surgery: expected outputs of Net within"):
        cut(model, randn(20, 4))


def test_a_model_that_cannot_be_traced_is_refused_and_counts_whole():
    model = net(lambda self, x: self.first(x) if x.sum() > 0 else x, lambda: {"first": nn.Linear(4, 4)})
    with pytest.raises(ValueError, match=r"Net: expected a model that torch\.fx can trace, got: "):
        cut(model, randn(2, 4))
    tasks = plan_tasks(model, {"first": GroupPruning(keep=0.5, axis="input")})
    thetas = [task.outline_or_dense() for task in tasks]
    assert cut_weights(model, randn(1, 4), tasks=tasks, thetas=thetas).keys() == model.state_dict().keys()


INPUTS = randn(40, 2, 6, 6)


def deployed(model: nn.Module, plan) -> tuple:
    """`model` with Delta(Theta) by direct compression, its tasks and Thetas."""
    tasks = plan_tasks(model, plan)
    inputs = INPUTS.flatten(1)[:, :6] if isinstance(model, nn.Sequential) else INPUTS
    schedule = Schedule(epochs=1, lr=0.01, batch_size=20)
    loss = nn.functional.cross_entropy
    state = next(run_lc(model, tasks, Split(inputs, three_classes(inputs)), loss=loss, schedule=schedule, seed=0))
    deploy(model, tasks, state, data=Split(inputs, None), batch_size=20)
    return inputs[:1], tasks, state.thetas


def counted(model: nn.Module, example: Tensor, tasks, thetas) -> int:
    weights = cut_weights(model, example, tasks=tasks, thetas=thetas)
    return count_macs(model_macs(model, example), weights, tasks=tasks, thetas=thetas)


HALF = GroupPruning(keep=0.5)
HALF_INPUTS = GroupPruning(keep=0.5, axis="input")


@pytest.mark.parametrize(
    "build, plan, expected",
    [
        (mlp, {"0": HALF}, {"0": (4, 6), "2": (3, 4)}),
        (mlp, {"2": HALF_INPUTS}, {"0": (4, 6), "2": (3, 4)}),
        (mlp, {"0": HALF_INPUTS}, {"0": (8, 6), "2": (3, 8)}),
        (mlp, {"*": HALF}, {"0": (4, 6), "2": (3, 4)}),
        (mlp, {"0": Chain(HALF, Codebook(size=2))}, {"0": (4, 6), "2": (3, 4)}),
        (conv_net, {"*.0": HALF}, {"stem.0": (3, 2), "body.0": (4, 3), "head": (3, 16)}),
        (conv_net, {"body.0": HALF_INPUTS}, {"stem.0": (3, 2), "body.0": (8, 3), "head": (3, 32)}),
        (conv_net, {"stem.0": HALF, "*": Codebook(size=2)}, {"stem.0": (3, 2), "body.0": (8, 3), "head": (3, 32)}),
    ],
    ids=plain,
)
def test_pruned_groups_are_cut_out_and_counted_so(build, plan, expected):
    model = build()
    example, tasks, thetas = deployed(model, plan)
    small = cut(model, example)
    assert sizes(small) == expected
    whole, left = counted_by_torch(model, example), counted_by_torch(small, example)
    assert counted(model, example, tasks, thetas) == left
    assert (left, parameters(small)) < (whole, parameters(model)) or sizes(small) == sizes(model)
    assert counted(model, example, tasks, [task.outline_or_dense() for task in tasks]) == left


@pytest.mark.parametrize(
    "plan",
    [
        {"*": Joint(GroupPruning(keep=0.5))},
        {"*": Joint(HALF_INPUTS)},
        {"*": HALF},
        {"*": HALF_INPUTS},
        {"stem": HALF, "b": HALF},
        {"a": HALF_INPUTS, "head": HALF_INPUTS},
        {"stem": GroupPruning(keep=0.25), "b": GroupPruning(keep=0.25), "head": HALF_INPUTS},
        {"*": Joint(Chain(GroupPruning(keep=0.4), Codebook(size=3)))},
    ],
    ids=plain,
)
@pytest.mark.parametrize("build", [conv_net, residual_net])
def test_whatever_the_plan_the_count_is_torchs_of_the_cut_model_and_no_outline_counts_less(build, plan):
    if build is conv_net:
        names = {"stem": "stem.0", "a": "body.0", "b": "body.0"}
        plan = {names.get(name, name): compression for name, compression in plan.items()}
    model = build()
    example, tasks, thetas = deployed(model, plan)
    small = cut(model, example)
    left = counted_by_torch(small, example)
    assert counted(model, example, tasks, thetas) == left < counted_by_torch(model, example)
    assert left <= counted(model, example, tasks, [task.outline_or_dense() for task in tasks])


def test_factors_are_as_small_as_the_layers_that_they_make():
    model = seeded(
        lambda: nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 3)), seed=0
    )
    plan = {"0": GroupPruning(keep=0.8), "2": Chain(HALF, LowRank(rank=2)), "4": LowRank(rank=1)}
    example, tasks, thetas = deployed(model, plan)
    shapes = [(16, 6), (2, 16), (15, 2), (1, 15), (3, 1)]
    runs = nn.Sequential(*[nn.Linear(columns, rows) for rows, columns in shapes])
    assert counted(model, example, tasks, thetas) == counted_by_torch(runs, example)
    assert counted(model, example, tasks, [task.outline_or_dense() for task in tasks]) == counted_by_torch(
        runs, example
    )


@pytest.mark.parametrize(
    "compression",
    [
        LowRank(rank=2),
        LowRank(rank=2, scheme="spatial"),
        Tucker2(ranks=(2, 3)),
        CP(rank=2),
        Separable(1),
        Circulant(block=2),
    ],
    ids=plain,
)
def test_factors_read_no_channel_that_is_cut(compression):
    """They count as they would in a network that never had the channels; a circulant layer, which cannot be cut, no
    more than whole."""
    model, example = conv_net(), INPUTS[:1]
    tasks = plan_tasks(model, {"stem.0": GroupPruning(keep=4 / 6), "body.0": compression})
    thetas = [tasks[0].outline(), compression.outline((8, 6, 3, 3))]
    found = counted(model, example, tasks, thetas)
    (use,) = layer_uses(model, example)["body.0.weight"]
    body = compression.outline((8, 4, 3, 3)).macs(use)
    rest = 4 * 18 * 36 + 96
    if isinstance(compression, Circulant):
        assert found - rest == min(thetas[1].macs(use), 8 * 4 * 9 * 4)
    else:
        assert found - rest == body < thetas[1].macs(use)


@pytest.mark.parametrize("compression", [HALF, Chain(HALF, Codebook(size=2)), Chain(HALF, LowRank(rank=4))], ids=plain)
def test_a_group_that_a_sum_keeps_alive_runs_whole(compression):
    model = residual_net()
    example, tasks, thetas = deployed(model, {"stem": compression})
    assert sizes(cut(model, example)) == sizes(model)
    assert counted(model, example, tasks, thetas) == counted_by_torch(model, example)


def test_an_outline_does_not_say_that_two_readers_drop_the_same():
    model = net(
        lambda self, x: self.left(h := torch.tanh(self.shared(x))) + self.right(h),
        lambda: {"shared": nn.Linear(4, 6), "left": nn.Linear(6, 3), "right": nn.Linear(6, 3)},
    )
    with torch.no_grad():
        model.left.weight[:, :3] *= 100
        model.right.weight[:, 3:] *= 100
    tasks = plan_tasks(model, {"left": HALF_INPUTS, "right": HALF_INPUTS})
    outlines = [task.outline_or_dense() for task in tasks]
    assert counted(model, randn(1, 4), tasks, outlines) == counted_by_torch(model, randn(1, 4))


def test_a_number_that_is_not_known_is_not_taken_for_any():
    """What the norm makes of a channel without weights is above zero behind the ReLU, or it is not."""
    model = net(
        lambda self, x: self.head(F.relu(-self.norm(F.max_pool2d(self.conv(x), 2))).flatten(1)),
        lambda: {"conv": nn.Conv2d(2, 6, 3), "norm": nn.BatchNorm2d(6), "head": nn.Linear(24, 3, bias=False)},
    )
    with torch.no_grad():
        model.norm.bias.fill_(-1.0)
    example, tasks, thetas = deployed(model, {"conv": HALF})
    small = cut(model, example)
    assert sizes(small) == sizes(model)
    assert counted(model, example, tasks, thetas) == counted_by_torch(small, example)


def test_zeros_that_no_group_made_are_not_counted_as_cut():
    model = mlp()
    kill(model[0], rows=[0])
    example, tasks, thetas = deployed(model, {"0": L0Pruning(keep=0.1), "2": HALF_INPUTS})
    assert counted(model, example, tasks, thetas) == 4 * (6 + 3)
    assert counted_by_torch(cut(model, example), example) < 4 * (6 + 3)


def test_shapes_are_known_without_touching_the_model():
    model = conv_net().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tasks = plan_tasks(model, {"*.0": HALF})
    weights = cut_weights(model, INPUTS[:1], tasks=tasks, thetas=[task.outline_or_dense() for task in tasks])
    assert tuple(weights["head.weight"].shape) == (3, 16)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
