"""Tidied files: the same function in fewer bytes, of weights that cannot act and of units in another order."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lc_core import SMALL, Cast, Chain, Codebook, Compression, GroupPruning, Joint, L0Pruning, LowRank, NMPruning, Plan
from lc_core.compressions.uniform import Uniform, UniformQuantization
from lc_core.file.artifact import Artifact, decode, encode, fill
from lc_core.graph import TraceError
from lc_core.structure.surgery import TOLERANCE
from lc_core.structure.tidy import tidied, with_units_sorted, without_idle
from tests.lc_core.models import compressed, conv_net, mlp, randn, seeded

FEW_BITS = {SMALL: Joint(UniformQuantization(bits=4))}


def chain(*, keep: float, size: int) -> Joint:
    return Joint(Chain(L0Pruning(keep=keep), Codebook(size=size)))


def packed(model: nn.Module, plan: Plan) -> bytes:
    tasks, thetas = compressed(model, plan)
    return encode(tasks, thetas, model.state_dict(), info={})


def filled(data: bytes, model: nn.Module) -> nn.Module:
    fill(model, decode(data))
    return model.eval()


def outputs(data: bytes, model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return filled(data, model)(inputs)


def same(first: Tensor, second: Tensor) -> bool:
    return float((first - second).abs().max()) <= TOLERANCE * float(first.abs().max())


def shapes(artifact: Artifact) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in artifact.weights().items()}


class Joined(nn.Module):
    """(n, 3, 8, 8) -> (n, 4): channels that are added, joined, and followed by a norm and a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.inner = nn.Conv2d(12, 9, 3, padding=1)
        self.outer = nn.Conv2d(9, 12, 1)
        self.each = nn.Conv2d(12, 24, 3, groups=12)
        self.side = nn.Conv2d(12, 7, 3)
        self.head = nn.Linear(31 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = torch.relu(x + self.outer(torch.tanh(self.inner(x))))
        x = torch.cat([self.each(x), torch.tanh(self.side(x))], dim=1)
        return self.head(nn.functional.max_pool2d(x, 2).flatten(1))


def joined() -> nn.Module:
    model = seeded(Joined, seed=2).train()
    model(3 * randn(20, 3, 8, 8) + 1)  # so that the norm has statistics
    with torch.no_grad():
        model.norm.weight.copy_(1 + 0.3 * randn(12, seed=3))
        model.norm.bias.copy_(0.3 * randn(12, seed=4))
    return model.eval()


def chained(kind: type[nn.Module], sizes: Sequence[int], *, image: bool, seed: int) -> nn.Module:
    """A network of linear layers; for images, behind a convolution whose channels are flattened."""

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(1, sizes[0], 2), kind(), nn.Flatten()] if image else []
        widths = [4 * sizes[0] if image else 9, *sizes[1:], 3]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Linear(inputs, outputs), kind()]
        return nn.Sequential(*layers[:-1])

    return seeded(build, seed=seed)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from([nn.Tanh, nn.ReLU, nn.Sigmoid, nn.Hardtanh]),
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=3),
    image=st.booleans(),
    seed=st.integers(0, 99),
    keep=st.sampled_from([0.05, 0.15, 0.3, 0.7]),
    size=st.sampled_from([1, 2, 5]),
    biases=st.sampled_from([{}, FEW_BITS, {SMALL: Joint(Cast("float16"))}]),
    format=st.sampled_from([1, 2]),
)
def test_the_function_stays_and_no_file_is_larger(kind, sizes, image, seed, keep, size, biases, format) -> None:
    model = chained(kind, sizes, image=image, seed=seed)
    tasks, thetas = compressed(model, {"*": chain(keep=keep, size=size), **biases})
    data = encode(tasks, thetas, model.state_dict(), info={}, format=format)
    inputs = randn(20, 1, 3, 3, seed=seed) if image else randn(20, 9, seed=seed)
    before = outputs(data, model, inputs)
    idle = without_idle(decode(data), model, inputs)
    if biases:  # no constants go into these
        assert torch.equal(outputs(idle, model, inputs), before)
    made = tidied(data, model, inputs)
    assert same(before, outputs(made, model, inputs))
    assert len(made) <= len(data)
    assert shapes(decode(made)) == shapes(decode(data))
    assert decode(made).format == format


@torch.no_grad()
def test_what_cannot_act_is_zero() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    model[4].weight[:, [1, 5]] = 0  # nothing reads units 1 and 5
    model[2].weight[[0, 2]] = 0  # units without inputs
    model[2].bias[0], model[2].bias[2] = -1.0, 2.0  # behind the ReLU 0 and 2
    model[0].weight[4] = 0
    inputs = randn(20, 6)
    data = packed(model, {"*": Joint(L0Pruning(keep=0.99))})
    idle = without_idle(decode(data), model, inputs)
    weights = decode(idle).weights()
    assert same(outputs(data, model, inputs), outputs(idle, model, inputs))
    assert not weights["2.weight"][[0, 1, 2, 5]].any()
    assert not weights["2.weight"][:, 4].any()
    assert not weights["4.weight"][:, [0, 1, 2, 5]].any()
    assert not weights["2.bias"][[0, 1, 2, 5]].any()
    assert float(weights["0.bias"][4]) == 0
    whole = decode(data).weights()
    moved = 2 * whole["4.weight"][:, 2]
    torch.testing.assert_close(weights["4.bias"], whole["4.bias"] + moved)


@torch.no_grad()
def test_a_constant_goes_into_no_bias_of_few_bits() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), seed=0)
    model[0].weight[2] = 0
    data = packed(model, {"*": Joint(L0Pruning(keep=0.9)), **FEW_BITS})
    idle = decode(without_idle(decode(data), model, randn(2, 6)))
    assert idle.weights()["2.weight"][:, 2].any()
    assert torch.equal(idle.weights()["2.bias"], decode(data).weights()["2.bias"])


@torch.no_grad()
def test_what_one_output_reads_of_a_unit_stays() -> None:
    model = mlp()
    model[2].weight[1:, 3] = 0
    data = packed(model, {"*": Joint(L0Pruning(keep=0.99))})
    idle = decode(without_idle(decode(data), model, randn(2, 6))).weights()
    assert torch.equal(idle["0.weight"], decode(data).weights()["0.weight"])
    assert torch.equal(idle["0.bias"], decode(data).weights()["0.bias"])


@torch.no_grad()
def test_a_constant_that_a_codebook_reads_stays() -> None:
    model = mlp()
    model[0].weight[2] = 0
    data = packed(model, {"0": L0Pruning(keep=0.9), "2": Codebook(size=2)})
    idle, inputs = without_idle(decode(data), model, randn(2, 6)), randn(20, 6)
    assert torch.equal(outputs(idle, model, inputs), outputs(data, model, inputs))
    assert float(decode(idle).weights()["0.bias"][2]) != 0


@torch.no_grad()
def test_a_norm_that_nothing_reads_is_zero() -> None:
    model = conv_net()
    model.head.weight[:, 4:8] = 0  # all that reads channel 1
    data, inputs = packed(model, {"*": Joint(L0Pruning(keep=0.99))}), randn(20, 2, 6, 6)
    idle = without_idle(decode(data), model, inputs)
    weights = decode(idle).weights()
    assert torch.equal(outputs(idle, model, inputs), outputs(data, model, inputs))
    assert weights["body.1.weight"].nonzero().reshape(-1).tolist() == [0, 2, 3, 4, 5, 6, 7]
    assert weights["body.0.weight"].flatten(1).any(dim=1).tolist() == [True, False, *[True] * 6]


def test_units_are_sorted_by_their_inputs_and_then_by_their_bias() -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(40, 60), nn.Tanh(), nn.Linear(60, 5)), seed=1)
    data = packed(model, {"*": chain(keep=0.1, size=2)})
    inputs = randn(20, 40)
    made = with_units_sorted(decode(data), model, inputs)
    weights = decode(made).weights()
    keys = [
        (-int(row.count_nonzero()).bit_length(), float(bias))
        for row, bias in zip(weights["0.weight"], weights["0.bias"], strict=True)
    ]
    assert keys == sorted(keys)
    before = decode(data).weights()
    columns = torch.cat([before["0.weight"], before["0.bias"][:, None], before["2.weight"].T], dim=1)
    moved = torch.cat([weights["0.weight"], weights["0.bias"][:, None], weights["2.weight"].T], dim=1)
    assert sorted(columns.tolist()) == sorted(moved.tolist())
    assert torch.equal(before["2.bias"], weights["2.bias"])
    assert len(made) < len(data)


@pytest.mark.parametrize(
    "plan",
    [
        {"*": Chain(L0Pruning(keep=0.3), Codebook(size=4))},
        {"*": Codebook(size=4), **FEW_BITS},
        {"stem": L0Pruning(keep=0.5), "*": UniformQuantization(bits=5)},
        {"*": Cast("float16")},
    ],
    ids=["pruned", "codebooks", "grids", "narrow"],
)
def test_units_move_through_sums_joins_norms_and_depthwise_layers(plan: Plan) -> None:
    model = joined()
    data, inputs = packed(model, plan), 3 * randn(30, 3, 8, 8, seed=5) + 1
    before = decode(data).weights()
    made = with_units_sorted(decode(data), model, inputs[:2])
    weights = decode(made).weights()
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))
    moved = {name for name, tensor in weights.items() if not torch.equal(tensor, before[name])}
    names = [name for name in before if not name.startswith("head.bias") and not name.endswith("tracked")]
    assert moved == set(names)


@pytest.mark.parametrize(
    "plan",
    [
        {"*": LowRank(rank=2)},
        {"*": NMPruning(n=1, m=3)},
        {"*": UniformQuantization(bits=3, granularity="channel")},
    ],
    ids=["factors", "patterns", "scales for channels"],
)
def test_weights_that_are_tied_together_stay(plan: Plan) -> None:
    model = seeded(lambda: nn.Sequential(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 6)), seed=0)
    data = packed(model, plan)
    artifact = decode(data)
    assert not isinstance(artifact.thetas[0], Uniform) or artifact.thetas[0].scale.numel() > 1
    made = decode(with_units_sorted(artifact, model, randn(2, 9))).weights()
    assert all(torch.equal(tensor, made[name]) for name, tensor in artifact.weights().items())


@pytest.mark.parametrize(
    "compression",
    [
        NMPruning(n=1, m=3),
        Chain(NMPruning(n=2, m=3), UniformQuantization(bits=2)),
        Chain(GroupPruning(keep=0.75), LowRank(rank=2)),
    ],
    ids=["pattern", "pattern of codes", "factors of groups"],
)
@torch.no_grad()
def test_zeros_stay_where_their_place_counts(compression: Compression) -> None:
    """As weights that the pattern or the groups keep."""
    model = seeded(lambda: nn.Sequential(nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 6)), seed=0)
    model[0].weight[1:6] = 0
    model[0].bias[1:6] = 0
    data, inputs = packed(model, {"0": compression}), randn(20, 9)
    made = tidied(data, model, inputs)
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))


@pytest.mark.parametrize("axis", ["output", "input"])
@pytest.mark.parametrize("values", [None, Codebook(size=40), UniformQuantization(bits=6)], ids=repr)
def test_a_network_without_units_is_about_as_small_as_a_narrow_one(axis, values) -> None:
    def net(width: int) -> nn.Module:
        return seeded(lambda: nn.Sequential(nn.Linear(30, width), nn.Tanh(), nn.Linear(width, 20)), seed=0)

    groups = GroupPruning(keep=0.2, axis=axis)
    layer, other = ("0", "2") if axis == "output" else ("2", "0")
    plan: Plan = {layer: groups if values is None else Chain(groups, values), other: values or L0Pruning(keep=1.0)}
    narrow = packed(net(20), {"*": values} if values else {})
    model, inputs = net(100), randn(20, 30)
    data = packed(model, plan)
    made = tidied(data, model, inputs)
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))
    if isinstance(values, Codebook):  # it has no zero
        assert len(made) <= len(data)
    else:
        assert len(made) < 1.2 * len(narrow) < 0.6 * len(data)


@torch.no_grad()
def test_a_channel_that_nothing_reads_leaves_the_groups() -> None:
    model, inputs = conv_net(), randn(20, 2, 6, 6)
    plan: Plan = {"body.0": GroupPruning(keep=0.75)}
    first, *others = decode(packed(model, plan)).thetas[0].kept.tolist()
    model.head.weight[:, 4 * first : 4 * first + 4] = 0
    data = packed(model, plan)
    made = without_idle(decode(data), model, inputs)
    assert torch.equal(outputs(data, model, inputs), outputs(made, model, inputs))
    assert decode(made).thetas[0].kept.tolist() == others


class Elsewhere(nn.Sequential):
    """Stands for a network on a GPU: it runs here only where it has been moved here."""

    device = "gpu"

    def cpu(self) -> "Elsewhere":
        self.device = "cpu"
        return self

    def forward(self, x: Tensor) -> Tensor:
        assert self.device == "cpu"
        return super().forward(x)


def test_a_network_on_a_gpu_stays_there_while_its_copy_is_followed() -> None:
    model, inputs = Elsewhere(*mlp().children()), randn(20, 6)
    data = packed(model, {"*": L0Pruning(keep=0.1)})
    assert len(tidied(data, model, inputs)) < len(data)
    assert model.device == "gpu"


def test_units_of_several_outputs_of_a_layer_move_as_one() -> None:
    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.few, self.many, self.last = nn.Linear(9, 6), nn.Linear(9, 12), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            few = self.few(x)
            return self.last(torch.tanh(torch.cat([few, few], dim=1) + self.many(x)))

    model = seeded(Repeated, seed=0)
    data, inputs = packed(model, {"*": chain(keep=0.4, size=3)}), randn(20, 9)
    made = with_units_sorted(decode(data), model, inputs)
    before, after = decode(data).weights(), decode(made).weights()
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))
    order = [before["few.bias"].tolist().index(bias) for bias in after["few.bias"].tolist()]
    assert order != sorted(order)
    assert torch.equal(after["many.bias"], before["many.bias"][order + [6 + place for place in order]])


def test_networks_of_several_inputs_are_tidied() -> None:
    """Words and numbers, summed; the numbers' layer has units that nothing reads."""

    class Summed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.numbers = nn.Embedding(9, 40), nn.Linear(6, 40)
            self.hidden, self.head = nn.Linear(40, 30), nn.Linear(30, 3)

        def forward(self, words: Tensor, numbers: Tensor) -> dict[str, Tensor]:
            both = torch.relu(self.words(words)) + torch.relu(self.numbers(numbers))
            return {"logits": self.head(torch.relu(self.hidden(both)))}

    model = seeded(Summed, seed=0)
    with torch.no_grad():
        model.head.weight[:, ::2] = 0
    data = packed(model, {"hidden": chain(keep=0.4, size=3), "head": chain(keep=0.5, size=3)})
    inputs = {"words": torch.arange(20) % 9, "numbers": randn(20, 6)}
    whole, small = tidied(data, model, inputs), tidied(data, model, [inputs], forward=lambda m, each: m(**each[0]))
    assert whole == small
    assert len(whole) < len(data)
    assert (decode(whole).weights()["hidden.weight"] != 0).sum() < (decode(data).weights()["hidden.weight"] != 0).sum()


def test_a_layer_that_runs_twice_and_tied_weights_stay() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.again, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
            self.other = self.last

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.again(torch.tanh(self.again(torch.tanh(self.first(x))))))

    model = seeded(Twice, seed=0)
    data = packed(model, {"*": chain(keep=0.4, size=3)})
    made = tidied(data, model, randn(9, 6))
    assert torch.equal(decode(made).weights()["again.weight"], decode(data).weights()["again.weight"])
    assert decode(made).tied == decode(data).tied != {}
    assert same(outputs(data, model, randn(9, 6)), outputs(made, model, randn(9, 6)))


def test_a_tied_name_moves_with_the_stored_one() -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.first, self.last = nn.Linear(30, 40), nn.Linear(30, 40), nn.Linear(40, 4)
            self.first.weight = self.unused.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.first(x)))

    model = seeded(Named, seed=0)
    data = packed(model, {"*": chain(keep=0.1, size=2)})
    assert decode(data).tied == {"first.weight": "unused.weight"}
    made, inputs = with_units_sorted(decode(data), model, randn(2, 30)), randn(20, 30)
    assert not torch.equal(decode(made).weights()["first.weight"], decode(data).weights()["first.weight"])
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))


def test_a_conv_net_with_norms_is_smaller() -> None:
    model = conv_net()
    data, inputs = packed(model, {"*": chain(keep=0.15, size=2)}), randn(30, 2, 6, 6)
    made = tidied(data, model, inputs)
    assert len(made) < len(data)
    assert same(outputs(data, model, inputs), outputs(made, model, inputs))


def test_a_network_that_cannot_be_traced_is_refused() -> None:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) if x.sum() > 0 else x

    model = Branching()
    with pytest.raises(TraceError, match=r"Branching: expected a model that torch\.fx can trace, got"):
        tidied(packed(model, {"*": Codebook(size=2)}), model, randn(3, 4))
