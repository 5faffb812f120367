"""The contract that every compression keeps. A new one joins by a line in FAMILIES."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lc_core import Chain, Codebook, Compressed, Compression, L0Pruning, LowRank
from lc_core.forms import unpack
from tests.contract import brute_force
from tests.contract.weights import (
    KINDS,
    MATRICES,
    PROPERTY,
    TINY_MATRICES,
    TINY_VECTORS,
    VECTORS,
    Shape,
    draw,
    slack,
    squared_error,
    tiny_weights,
    weights,
)


@dataclass(frozen=True)
class Family:
    """One compression at several hyperparameters, the extremes among them.

    Attributes:
        compressions: what is tried.
        least: the least squared error by brute force, on up to seven weights.
        exact: whether `compress` reaches it always (else: never ends worse than it starts).
        lossless: whether what it makes it makes again bit for bit (factors only to rounding).
        vectors: whether it has a meaning for them.
    """

    compressions: tuple[Compression, ...]
    least: Callable[..., float]
    exact: bool = True
    lossless: bool = True
    vectors: bool = True

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return MATRICES + VECTORS * self.vectors

    @property
    def tiny_shapes(self) -> tuple[Shape, ...]:
        return TINY_MATRICES + TINY_VECTORS * self.vectors


def chains(*pairs: tuple[float, int]) -> tuple[Compression, ...]:
    return tuple(Chain(L0Pruning(keep=keep), Codebook(size=size)) for keep, size in pairs)


FAMILIES = {
    "prune": Family(tuple(L0Pruning(keep=keep) for keep in (0.0, 0.02, 0.3, 0.5, 1.0)), brute_force.pruned),
    "quantize": Family(tuple(Codebook(size=size) for size in (1, 2, 3, 5, 40)), brute_force.quantized),
    "low rank": Family(
        tuple(LowRank(rank=rank) for rank in (1, 2, 50)), brute_force.low_rank, lossless=False, vectors=False
    ),
    "chain": Family(
        chains((0.0, 2), (0.02, 1), (0.3, 2), (0.6, 3), (1.0, 4)), brute_force.pruned_quantized, exact=False
    ),
}

CASES = [
    pytest.param(family, compression, id=f"{name}-{compression}")
    for name, family in FAMILIES.items()
    for compression in family.compressions
]
each_case = pytest.mark.parametrize("family, compression", CASES)


def hyperparameters(compression: object) -> dict[str, float]:
    """The numbers of a compression, and of those that it is made of, by name."""
    found: dict[str, float] = {}
    for name, value in vars(compression).items():
        found |= {name: value} if isinstance(value, (int, float)) else hyperparameters(value)
    return found


def bits_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def reloaded(theta: Compressed) -> Compressed:
    """Theta through its packed arrays and the JSON of its form."""
    return unpack(json.loads(json.dumps(theta.form())), {name: a.clone() for name, a in theta.pack().items()})


@each_case
@given(data=st.data())
@PROPERTY
def test_the_shape_dtype_and_device_of_the_weights_stay(family, compression, data):
    w = data.draw(weights(family.shapes))
    theta = compression.compress(w, mu=1.0)
    delta = theta.decompress()
    assert theta.shape == tuple(delta.shape) == tuple(w.shape)
    assert theta.dtype == delta.dtype == w.dtype
    assert delta.device == w.device


@each_case
@pytest.mark.parametrize("shape", [(6, 5), (3, 2, 3, 3)])
def test_float64_weights_stay_float64_and_are_compressed_as_finely(family, compression, shape):
    w = draw(shape, kind="normal", seed=3, dtype=torch.float64)
    theta = compression.compress(w, mu=1.0)
    assert theta.dtype == theta.decompress().dtype == torch.float64
    assert theta.storage_bits() == 8 * sum(a.numel() * a.element_size() for a in theta.pack().values())
    single = compression.compress(w.float(), mu=1.0)
    assert squared_error(w, theta) <= squared_error(w, single) * (1 + 1e-9)


@each_case
def test_inputs_are_not_mutated_and_theta_does_not_follow_them(family, compression):
    w = draw((6, 5), kind="normal", seed=4)
    previous = compression.compress(draw((6, 5), kind="normal", seed=5), mu=1.0)
    kept, kept_previous = w.clone(), previous.decompress().clone()
    theta = compression.compress(w, mu=1.0, previous=previous)
    delta = theta.decompress().clone()
    assert torch.equal(w, kept)
    assert torch.equal(previous.decompress(), kept_previous)
    w.zero_()
    assert torch.equal(theta.decompress(), delta)


@each_case
def test_a_parameter_is_compressed_without_its_graph(family, compression):
    theta = compression.compress(torch.nn.Parameter(draw((6, 5), kind="normal", seed=6)), mu=1.0)
    assert not theta.decompress().requires_grad
    assert not any(array.requires_grad for array in theta.pack().values())


@each_case
def test_memory_layout_does_not_matter(family, compression):
    w = draw((6, 5), kind="normal", seed=7)
    sideways = w.T.contiguous().T
    assert not sideways.is_contiguous()
    assert bits_of(compression.compress(sideways, mu=1.0).decompress()) == bits_of(
        compression.compress(w, mu=1.0).decompress()
    )


@each_case
@pytest.mark.parametrize("kind", ["normal", "ties", "heavy tails"])
def test_the_same_weights_give_the_same_theta_whatever_mu(family, compression, kind):
    w = draw((24, 20), kind=kind, seed=8)
    first, second = compression.compress(w, mu=0.0), compression.compress(w, mu=1e6)
    assert first.form() == second.form()
    assert {n: bits_of(a) for n, a in first.pack().items()} == {n: bits_of(a) for n, a in second.pack().items()}


@each_case
@given(data=st.data())
@PROPERTY
def test_compressing_its_own_output_changes_nothing(family, compression, data):
    w = data.draw(weights(family.shapes))
    theta = compression.compress(w, mu=1.0)
    delta = theta.decompress()
    again = compression.compress(delta, mu=1.0, previous=theta)
    if family.lossless:
        assert torch.equal(again.decompress(), delta)
    else:
        assert squared_error(delta, again) <= slack(delta)
    assert again.storage_bits() == theta.storage_bits()


@each_case
@pytest.mark.parametrize("kind, drift", [("normal", 1e-3), ("heavy tails", 0.1), ("ties", 0.01), ("one outlier", 0.3)])
def test_a_warm_start_never_ends_worse_than_it_began(family, compression, kind, drift):
    w = draw((24, 20), kind=kind, seed=9)
    theta = compression.compress(w, mu=1.0)
    for step in range(6):
        w = w + drift * w.std() * draw((24, 20), kind="normal", seed=100 + step)
        before, theta = theta, compression.compress(w, mu=1.0, previous=theta)
        assert squared_error(w, theta) <= squared_error(w, before) * (1 + 1e-6) + slack(w)


@each_case
@given(data=st.data())
@PROPERTY
def test_brute_force_finds_nothing_better(family, compression, data):
    """An alternating form may miss the least, never undercut it, and ends no worse than its start."""
    w = data.draw(tiny_weights(family.tiny_shapes))
    error = squared_error(w, compression.compress(w, mu=1.0))
    least = family.least(w, **hyperparameters(compression))
    assert error >= least * (1 - 1e-6) - slack(w)
    if family.exact:
        assert error <= least * (1 + 1e-6) + slack(w)


def test_a_chain_is_mostly_optimal_on_seven_weights_and_never_worse_than_its_start():
    """Its start is pruning, then quantizing what is left. Optimal on 270 of 300 normal draws (90 %)."""
    optimal = 0
    for seed in range(300):
        w = draw((7,), kind="normal", seed=seed)
        keep, size = (0.3, 0.6, 0.9)[seed % 3], 1 + seed % 2
        pruning, codebook = L0Pruning(keep=keep), Codebook(size=size)
        error = squared_error(w, Chain(pruning, codebook).compress(w, mu=1.0))
        pruned = pruning.compress(w, mu=1.0)
        kept = w[pruned.support]
        start = squared_error(w, pruned) + squared_error(kept, codebook.compress(kept, mu=1.0))
        assert error <= start + slack(w)
        optimal += error <= brute_force.pruned_quantized(w, keep=keep, size=size) + slack(w)
    assert optimal >= 260


@each_case
@given(data=st.data())
@PROPERTY
def test_the_bits_billed_are_the_bits_packed_and_never_more_than_dense(family, compression, data):
    w = data.draw(weights(family.shapes))
    theta = compression.compress(w, mu=1.0)
    packed = theta.pack()
    assert theta.storage_bits() == 8 * sum(array.numel() * array.element_size() for array in packed.values())
    assert theta.storage_bits() <= 32 * w.numel()


@each_case
@given(data=st.data())
@PROPERTY
def test_the_outline_is_theta_without_its_numbers(family, compression, data):
    shape = data.draw(st.sampled_from(family.shapes))
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    theta, outline = compression.compress(draw(shape, kind=kind, seed=10), mu=1.0), compression.outline(shape)
    assert outline.shape == theta.shape
    assert outline.dtype == theta.dtype
    assert outline.form() == theta.form()
    assert outline.storage_bits() == theta.storage_bits()
    assert outline.macs_per_position() == theta.macs_per_position() <= torch.Size(shape).numel()
    assert described(outline) == described(theta)
    assert all(array.device.type == "meta" for array in outline.pack().values())


def described(theta: Compressed) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
    return [(name, array.dtype, tuple(array.shape)) for name, array in theta.pack().items()]


@each_case
@given(data=st.data())
@PROPERTY
def test_what_is_packed_unpacks_to_the_same_bits(family, compression, data):
    theta = compression.compress(data.draw(weights(family.shapes)), mu=1.0)
    again = reloaded(theta)
    assert bits_of(again.decompress()) == bits_of(theta.decompress())
    assert again.storage_bits() == theta.storage_bits()
    assert again.form() == theta.form()
    assert {name: bits_of(a) for name, a in again.pack().items()} == {
        name: bits_of(a) for name, a in theta.pack().items()
    }


@each_case
@pytest.mark.parametrize("shape", [(64, 128), (10, 64), (7, 300), (6, 2, 3, 3)])
def test_a_layer_of_ordinary_size_unpacks_to_the_same_bits(family, compression, shape):
    theta = compression.compress(draw(shape, kind="normal", seed=11), mu=1.0)
    assert bits_of(reloaded(theta).decompress()) == bits_of(theta.decompress())


@each_case
@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_largest_and_smallest_magnitudes_stay_finite_and_scale_along(family, compression, scale):
    w = draw((6, 5), kind="normal", seed=12)
    expected = compression.compress(w, mu=1.0).decompress().double()
    delta = compression.compress(w * scale, mu=1.0).decompress()
    assert torch.isfinite(delta).all()
    np.testing.assert_allclose(delta.double() / scale, expected, rtol=1e-4, atol=1e-5)


@each_case
def test_a_previous_theta_of_another_kind_is_ignored(family, compression):
    w, earlier = (draw((6, 5), kind="normal", seed=seed) for seed in (13, 14))
    cold = compression.compress(w, mu=1.0)
    others = [other for each in FAMILIES.values() if each is not family for other in each.compressions]
    for other in others:
        warm = compression.compress(w, mu=1.0, previous=other.compress(earlier, mu=1.0))
        assert bits_of(warm.decompress()) == bits_of(cold.decompress()), other
        assert warm.storage_bits() == cold.storage_bits(), other
    assert len(others) >= 3


@each_case
def test_a_warm_start_changes_neither_form_nor_size(family, compression):
    """So that nominal bytes are exact, whatever the run went through."""
    theta = compression.compress(draw((24, 20), kind="normal", seed=15), mu=1.0)
    for kind in KINDS:
        warm = compression.compress(draw((24, 20), kind=kind, seed=16), mu=1.0, previous=theta)
        assert warm.form() == theta.form(), kind
        assert described(warm) == described(theta), kind
