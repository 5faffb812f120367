"""A packed model in its structure: the same outputs, with the multiply-accumulates that its record states."""

import copy

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lc_core import (
    CP,
    Cast,
    Chain,
    Circulant,
    Codebook,
    GroupPruning,
    Joint,
    L0Pruning,
    LowRank,
    Separable,
    Sum,
    Tucker2,
    UniformQuantization,
    encode,
    load,
    load_structured,
)
from lc_core.structure.accounting import count_macs, model_macs
from lc_core.structure.layers import Spectral
from lc_core.structure.surgery import TOLERANCE, cut_weights
from tests.lc_core.models import compressed, randn, seeded


class Residual(nn.Module):
    """(n, 3, 12, 10) -> (n, 5): convolutions of several kinds, batch norm, a sum, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.inner = nn.Conv2d(16, 24, (3, 5), stride=(2, 1), padding=(1, 2), padding_mode="reflect")
        self.outer = nn.Conv2d(24, 16, 3, padding="same", dilation=(2, 1))
        self.skip = nn.Conv2d(16, 16, 3, stride=(2, 1), padding=1)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = (self.outer(self.inner(x).relu()) + self.skip(x)).relu()
        return self.head(x.mean(dim=(2, 3)))


def residual():
    model = seeded(Residual, seed=3).train()
    model(3 * randn(20, 3, 12, 10) + 1)
    return model.eval()


def dense_net():
    layers = lambda: nn.Sequential(nn.Linear(30, 48), nn.Tanh(), nn.Linear(48, 36), nn.Tanh(), nn.Linear(36, 4))  # noqa: E731
    return seeded(layers, seed=4)


def sequence_net():
    layers = lambda: nn.Sequential(nn.Conv1d(12, 18, 5, stride=2, padding=2), nn.ReLU(), nn.Conv1d(18, 12, 3))  # noqa: E731
    return seeded(layers, seed=5)


def volume_net():
    layers = lambda: nn.Sequential(  # noqa: E731
        *(nn.Conv3d(4, 12, 3, padding=1), nn.BatchNorm3d(12), nn.ReLU(), nn.MaxPool3d(2)),
        *(nn.Conv3d(12, 10, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(10, 3)),
    )
    return seeded(layers, seed=5)


PLANS = {
    "low rank": (dense_net, (30,), {"*": LowRank(rank=3)}),
    "low rank, a head left alone": (dense_net, (30,), {"0": LowRank(rank=4), "2": Codebook(size=4)}),
    "low rank, then quantized": (dense_net, (30,), {"*": Chain(LowRank(rank=3), UniformQuantization(bits=8))}),
    "groups": (dense_net, (30,), {"0": GroupPruning(keep=0.4), "2": GroupPruning(keep=0.5)}),
    "groups, then low rank": (dense_net, (30,), {"0": Chain(GroupPruning(keep=0.6), LowRank(rank=3)), "2": LowRank(2)}),
    "input groups, then low rank": (dense_net, (30,), {"2": Chain(GroupPruning(keep=0.6, axis="input"), LowRank(2))}),
    "circulant": (dense_net, (30,), {"0": Circulant(8), "2": Circulant(16)}),
    "circulant, odd": (dense_net, (30,), {"0": Circulant(7), "2": Circulant(9)}),
    "circulant of two": (dense_net, (30,), {"0": Circulant(2)}),
    "circulant behind groups": (dense_net, (30,), {"0": GroupPruning(keep=0.9), "2": Circulant(12)}),
    "two low ranks": (dense_net, (30,), {"0": Sum(LowRank(1), Chain(LowRank(2), Cast("float16")))}),
    "low rank and corrections": (dense_net, (30,), {"0": Sum(LowRank(2), L0Pruning(keep=0.02))}),
    "nothing but zeros and codes": (dense_net, (30,), {"*": Chain(L0Pruning(keep=0.1), Codebook(size=2))}),
    "convolutions, low rank": (residual, (3, 12, 10), {"*": LowRank(rank=3)}),
    "convolutions, spatial": (
        residual,
        (3, 12, 10),
        {"inner": LowRank(3, "spatial"), "outer": LowRank(4, "spatial"), "skip": LowRank(2, "spatial")},
    ),
    "Tucker": (residual, (3, 12, 10), {"inner": Tucker2((4, 5)), "outer": Tucker2((3, 4)), "skip": Tucker2((6, 2))}),
    "CP": (residual, (3, 12, 10), {"inner": CP(6), "outer": CP(5), "skip": CP(4)}),
    "separable": (residual, (3, 12, 10), {"inner": Separable(2), "outer": Separable()}),
    "convolutions, circulant": (residual, (3, 12, 10), {"inner": Circulant(8), "outer": Circulant(8)}),
    "filters": (residual, (3, 12, 10), {"inner": GroupPruning(keep=0.5), "head": LowRank(2)}),
    "filters and factors": (
        residual,
        (3, 12, 10),
        {"inner": Chain(GroupPruning(keep=0.5), LowRank(3)), "outer": Tucker2((3, 4)), "skip": CP(4)},
    ),
    "filters and spatial": (residual, (3, 12, 10), {"inner": GroupPruning(keep=0.5), "outer": LowRank(4, "spatial")}),
    "filters and CP": (residual, (3, 12, 10), {"inner": GroupPruning(keep=0.5), "outer": CP(5)}),
    "filters and separable": (residual, (3, 12, 10), {"inner": GroupPruning(keep=0.5), "outer": Separable(2)}),
    "filters and circulant": (residual, (3, 12, 10), {"inner": GroupPruning(keep=0.8), "outer": Circulant(8)}),
    "joint groups": (residual, (3, 12, 10), {"inner": Joint(GroupPruning(keep=0.5))}),
    "sequences, low rank": (sequence_net, (12, 20), {"*": LowRank(rank=3)}),
    "sequences, Tucker": (sequence_net, (12, 20), {"*": Tucker2((3, 3))}),
    "sequences, CP": (sequence_net, (12, 20), {"*": CP(4)}),
    "sequences, separable": (sequence_net, (12, 20), {"*": Separable()}),
    "sequences, circulant": (sequence_net, (12, 20), {"*": Circulant(6)}),
    "sequences, circulant of two": (sequence_net, (12, 20), {"*": Circulant(2)}),
    "volumes, low rank": (volume_net, (4, 6, 7, 8), {"*": LowRank(rank=2)}),
    "volumes, Tucker": (volume_net, (4, 6, 7, 8), {"4": Tucker2((3, 4))}),
    "volumes, CP": (volume_net, (4, 6, 7, 8), {"4": CP(4)}),
    "volumes, separable": (volume_net, (4, 6, 7, 8), {"[04]": Separable(2)}),
    "volumes, circulant": (volume_net, (4, 6, 7, 8), {"4": Circulant(4)}),
    "volumes, groups": (volume_net, (4, 6, 7, 8), {"0": GroupPruning(keep=0.5), "4": GroupPruning(keep=0.6)}),
}  # fmt: skip


def torchs_macs(model, example):
    """Those that torch counts and, of FFTs, which it does not count: b ceil(log2 b) for b numbers."""
    transforms = 0

    def note(module, inputs, output):
        nonlocal transforms
        each = module.block * (module.block - 1).bit_length()
        spatial = slice(1, -1) if module.linear else slice(2, None)
        outgoing, incoming = module.blocks
        transforms += each * incoming * torch.Size(inputs[0].shape[spatial]).numel()
        transforms += each * outgoing * torch.Size(output.shape[spatial]).numel()

    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, Spectral)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(example)
    for hook in hooks:
        hook.remove()
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2 + transforms


def packed(tmp_path, build, plan):
    """The path of the packed model, its tasks and Thetas."""
    model = build()
    tasks, thetas = compressed(model, plan)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode(tasks, thetas, model.state_dict(), info={}))
    return path, tasks, thetas


@pytest.mark.parametrize("name", PLANS)
def test_outputs_are_the_dense_models_and_macs_those_of_the_record(name, tmp_path):
    build, shape, plan = PLANS[name]
    path, tasks, thetas = packed(tmp_path, build, plan)
    example = randn(4, *shape, seed=7)
    given = build()
    before = copy.deepcopy(given.state_dict())

    small = load_structured(path, given, example, spectral_from=0)

    assert all(torch.equal(tensor, before[key]) for key, tensor in given.state_dict().items())
    load(path, dense := build())
    for inputs in (example, 5 * randn(3, *shape, seed=8)):
        with torch.no_grad():
            expected, got = dense.eval()(inputs), small.eval()(inputs)
        assert float((expected - got).abs().max()) <= TOLERANCE / 10 * float(expected.abs().max())

    weights = cut_weights(build(), example[:1], tasks=tasks, thetas=thetas)
    recorded = count_macs(model_macs(build(), example[:1]), weights, tasks=tasks, thetas=thetas)
    counted = torchs_macs(small, example[:1])
    assert counted == recorded
    whole = torchs_macs(dense, example[:1])
    assert (counted < whole) == (name not in SAVE_NOTHING)


SAVE_NOTHING = {"nothing but zeros and codes", "low rank and corrections"}


def test_weights_of_other_types_run_too(tmp_path):
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.bfloat16, 0.03)):
        build = lambda dtype=dtype: dense_net().to(dtype)  # noqa: E731
        path, _, _ = packed(tmp_path, build, {"0": Circulant(8), "2": LowRank(rank=3)})
        example = randn(4, 30, seed=9).to(dtype)
        small = load_structured(path, build(), example, spectral_from=0)
        load(path, dense := build())
        assert isinstance(small[0], Spectral)
        torch.testing.assert_close(small(example), dense(example), rtol=tolerance, atol=tolerance)


def test_small_circulant_layers_run_dense_and_large_ones_by_fft(tmp_path):
    layers = lambda: nn.Sequential(nn.Linear(32, 32), nn.Linear(32, 64))  # noqa: E731
    build = lambda: seeded(layers, seed=6)  # noqa: E731
    path, _, _ = packed(tmp_path, build, {"*": Circulant(16)})
    kinds = {
        limit: [type(layer) for layer in load_structured(path, build(), randn(2, 32), spectral_from=limit)]
        for limit in (0, 32 * 64, 32 * 64 + 1, None)
    }
    dense = nn.Linear
    assert list(kinds.values()) == [[Spectral, Spectral], [dense, Spectral], [dense, dense], [dense, dense]]
    assert not any(isinstance(layer, Spectral) for layer in load_structured(path, build(), randn(2, 32)))


def test_a_layer_that_runs_twice_and_one_over_a_sequence(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(24, 24)

        def forward(self, x):
            return self.layer(self.layer(x).tanh())

    for compression in (LowRank(rank=3), Circulant(8)):
        build = lambda: seeded(Twice, seed=6)  # noqa: E731
        path, _, _ = packed(tmp_path, build, {"layer": compression})
        small = load_structured(path, build(), randn(2, 5, 24), spectral_from=0)
        load(path, dense := build())
        inputs = randn(3, 7, 24, seed=2)
        torch.testing.assert_close(small(inputs), dense(inputs), rtol=1e-5, atol=1e-5)
        assert torchs_macs(small, inputs[:1]) < torchs_macs(dense, inputs[:1])


def test_a_model_that_checks_its_inputs_is_compared_on_those_that_it_takes(tmp_path):
    class Shares(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(24, 24)

        def forward(self, x):
            assert 0 <= x.min() <= x.max() <= 1, "expected inputs in [0, 1]"
            return self.layer(x)

    build = lambda: seeded(Shares, seed=6)  # noqa: E731
    path, _, _ = packed(tmp_path, build, {"layer": LowRank(rank=3)})
    small = load_structured(path, build(), torch.rand(2, 24))
    load(path, dense := build())
    inputs = torch.rand(5, 24)
    torch.testing.assert_close(small(inputs), dense(inputs))
    with pytest.raises(AssertionError, match="expected inputs in"):
        load_structured(path, build(), randn(2, 24))


def test_a_model_that_is_one_layer(tmp_path):
    build = lambda: seeded(lambda: nn.Linear(20, 20), seed=1)  # noqa: E731
    path, _, _ = packed(tmp_path, build, {"*": LowRank(rank=2)})
    small = load_structured(path, build(), randn(2, 20))
    assert isinstance(small, nn.Sequential)
    assert small[1].weight.shape == (20, 2)


class Untraceable(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(20, 20), nn.Linear(20, 20)

    def forward(self, x):
        return self.second(self.first(x)) + (0 if x.sum() > 0 else 1)


def test_a_model_that_cannot_be_traced_keeps_its_groups_and_has_its_factors(tmp_path):
    build = lambda: seeded(Untraceable, seed=1)  # noqa: E731
    path, tasks, thetas = packed(
        tmp_path, build, {"first": GroupPruning(keep=0.5, axis="input"), "second": LowRank(rank=2)}
    )
    small = load_structured(path, build(), randn(2, 20))
    assert small.first.weight.shape == (20, 20)
    assert torchs_macs(small, randn(1, 20)) == 400 + 80
    weights = cut_weights(build(), randn(1, 20), tasks=tasks, thetas=thetas)
    assert count_macs(model_macs(build(), randn(1, 20)), weights, tasks=tasks, thetas=thetas) == 400 + 80


def test_the_copy_is_in_the_models_mode_and_its_parameters_can_be_trained(tmp_path):
    path, _, _ = packed(tmp_path, residual, {"inner": LowRank(rank=3), "outer": Circulant(8)})
    for training in (True, False):
        small = load_structured(path, residual().train(training), randn(2, 3, 12, 10), spectral_from=0)
        assert all(module.training == training for module in small.modules())
    small(randn(2, 3, 12, 10)).sum().backward()
    assert all(parameter.grad is not None for parameter in small.parameters())


class Peeking(nn.Module):
    """Does something else where its layer is not the one that it built."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 20)

    def forward(self, x):
        return self.layer(x) * (1 if isinstance(self.layer, nn.Linear) else 2)


def test_a_model_whose_outputs_would_differ_is_refused(tmp_path):
    build = lambda: seeded(Peeking, seed=1)  # noqa: E731
    path, _, _ = packed(tmp_path, build, {"*": LowRank(rank=2)})
    with pytest.raises(ValueError, match=r"expected outputs of Peeking within .* apart"):
        load_structured(path, build(), randn(2, 20))


class Asking(nn.Module):
    """Asks its layer for what two in its place do not have."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(20, 20)

    def forward(self, x):
        return self.layer(x.reshape(-1, self.layer.in_features))


def test_a_model_that_does_not_run_in_its_structure_is_refused(tmp_path):
    build = lambda: seeded(Asking, seed=1)  # noqa: E731
    path, _, _ = packed(tmp_path, build, {"*": LowRank(rank=2)})
    with pytest.raises(ValueError, match=r"expected a Asking that runs, .*in_features"):
        load_structured(path, build(), randn(2, 20))


def test_nothing_is_drawn(tmp_path):
    path, _, _ = packed(tmp_path, residual, {"inner": CP(6), "outer": Circulant(8), "skip": LowRank(2)})
    model, example = residual(), randn(2, 3, 12, 10)
    state = torch.get_rng_state()
    load_structured(path, model, example)
    assert torch.equal(torch.get_rng_state(), state)
