"""k-means of all but the farthest values, against a dynamic programme over all values and the general descent."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lc_core import Codebook, L0Pruning, Sum
from lc_core.compression import objective
from lc_core.compressions.quantization import nearest
from lc_core.compressions.sums import FEW_CODES, descend
from lc_core.numerics import kernels
from lc_core.numerics.binned_values import MANY
from lc_core.numerics.kernels import Floats
from lc_core.numerics.lookup import between
from lc_core.numerics.sorted_values import summed
from lc_core.numerics.trimmed import FEW_CENTRES, _trimmed_of_many, bounds_of_staying, trimmed_centres
from tests.contract.weights import PROPERTY, draw, slack


def distortion(w: Floats, centres: Floats, left_out: int) -> float:
    """Sum of squared distances to the nearest centre, of all but the `left_out` largest."""
    distances = np.sort(((w[:, None] - centres) ** 2).min(axis=1))
    return float(distances[: w.size - left_out].sum())


def least(w: Floats, size: int, left_out: int) -> float:
    """Over all ways to take `size` runs of the sorted values that leave out `left_out` in all."""
    ordered, n = np.sort(w), w.size
    best = np.full((n + 1, left_out + 1), np.inf)  # of the first j values, g of them left out
    for gone in range(left_out + 1):
        best[gone, gone] = 0.0
    for _ in range(size):
        more = np.full_like(best, np.inf)
        for j in range(n + 1):
            costs = [float(((run - run.mean()) ** 2).sum()) for run in (ordered[i:j] for i in range(j))]
            more[j] = (best[: j + 1] + np.array([*costs, 0.0])[:, None]).min(axis=0)
            if j:
                more[j, 1:] = np.minimum(more[j, 1:], more[j - 1, :-1])
        best = more
    return float(best[n, left_out])


def general(compression: Sum, w: torch.Tensor) -> float:
    """The objective where each term's own C step in turn ends."""
    theta = descend(
        compression._round(w, 1.0, (None, None)),
        step=lambda theta: compression._round(w, 1.0, theta.terms),
        error=lambda theta: objective(compression, w, theta, mu=1.0),
    )
    return objective(compression, w, theta, mu=1.0)


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "ties", "two values", "far from zero", "one outlier"])
def test_few_values_are_parted_nearly_as_well_as_can_be(kind):
    """Seen over 150 draws of 8 to 60 values: optimal in 98 %, 1 % above it at most."""
    optimal, tried = 0, 0
    for seed in range(12):
        w = draw((10 + 3 * seed,), kind=kind, seed=seed).double().numpy()
        size, left_out = 1 + seed % 4, 1 + seed % 5
        bound, slight = least(w, size, left_out), 1e-11 * float((w**2).sum())
        found = distortion(w, trimmed_centres(w, size=size, left_out=left_out)[0], left_out)
        assert bound * (1 - 1e-9) - slight <= found <= 1.05 * bound + slight
        optimal, tried = optimal + (found <= bound * (1 + 1e-6) + slight), tried + 1
    assert optimal >= tried - 2


@given(
    st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 7.0]), min_size=2, max_size=12),
    st.integers(1, 5),
    st.integers(1, 11),
)
@PROPERTY
def test_ties_constants_and_fewer_values_than_centres(values, size, left_out):
    w, left_out = np.array(values), min(left_out, len(values) - 1)
    centres, _ = trimmed_centres(w, size=size, left_out=left_out)
    assert centres.shape == (size,)
    assert np.isfinite(centres).all()
    assert (np.diff(centres) >= 0).all()
    assert distortion(w, centres, left_out) <= 1.5 * least(w, size, left_out) + 1e-9


def test_a_start_is_never_made_worse():
    w = draw((400,), kind="heavy tails", seed=1).double().numpy()
    for seed in range(20):
        start = np.random.default_rng(seed).choice(w, 5)
        found, _ = trimmed_centres(w, size=5, left_out=12, start=start)
        assert distortion(w, found, 12) <= distortion(w, start, 12) * (1 + 1e-12)


def test_a_start_that_is_better_is_gone_on_from():
    """Cold, this draw ends above the optimum."""
    w, size, left_out = np.array([0.0] * 6 + [1.0] * 6 + [5.0, 5.1, 9.0, 9.1]), 2, 2
    start = np.array([0.5, 5.05])
    warm = distortion(w, trimmed_centres(w, size=size, left_out=left_out, start=start)[0], left_out)
    assert warm <= min(distortion(w, start, left_out), least(w, size, left_out) * 1.5)


@pytest.mark.parametrize("keep, size", [(0.01, 2), (0.05, 4), (0.3, 2), (0.02, 1), (0.02, 100)])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "one outlier"])
def test_corrections_of_a_codebook_end_no_worse_than_one_term_after_the_other(keep, size, kind):
    """On 120 draws of 150 to 5000 values: 9 % better on average, and 0.02 % worse at most."""
    ratios = []
    for seed in range(4):
        w = draw((600,), kind=kind, seed=seed)
        pruning, codebook = L0Pruning(keep=keep), Codebook(size=size)
        for compression in (Sum(pruning, codebook), Sum(codebook, pruning)):
            error, least = objective(compression, w, compression.compress(w, mu=1.0), mu=1.0), general(compression, w)
            assert error <= least * 1.0005 + slack(w)
            ratios.append(error / least)
    assert np.mean(ratios) <= 1 + 1e-6


@pytest.mark.parametrize("size", [1, 2, FEW_CODES, FEW_CODES + 1])
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "ties", "two values", "far from zero", "one outlier"])
def test_those_corrected_are_the_farthest_and_their_corrections_are_exact(size, kind):
    for seed, count in enumerate([30, 3000, 30_000, MANY + 4]):
        w = draw((count,), kind=kind, seed=seed)
        sparse, coded = Sum(L0Pruning(keep=0.1), Codebook(size=size)).compress(w, mu=1.0).terms
        assert sparse.support.numel() == count // 10
        assert torch.equal(coded.codes, nearest(w, codebook=coded.codebook))
        left = w - coded.decompress()
        assert torch.equal(sparse.values.decompress(), left[sparse.support])
        stays = torch.ones(count, dtype=torch.bool)
        stays[sparse.support] = False
        assert float(left[stays].abs().max()) <= float(left[sparse.support].abs().min()) + 1e-6 * float(w.abs().max())


def test_what_stays_lies_between_its_bounds():
    values = summed(np.array([-3.0, -1.0, -1.0, 0.0, 1.0, 1.5, 9.0]))
    bounds = bounds_of_staying(values, np.array([-1.0, 1.0]), 2)
    assert between(values.values.astype(np.float32), bounds).tolist() == [False, True, True, True, True, True, False]
    alone = bounds_of_staying(values, np.array([-1.0, 100.0]), 5)
    assert between(values.values.astype(np.float32), alone).tolist() == [False, True, True, False, False, False, False]


@pytest.mark.skipif(not kernels.built(), reason="not built, of which test_lookup.py complains")
@pytest.mark.parametrize("keep", [0.0005, 0.01, 0.2])
@pytest.mark.parametrize("size", range(1, FEW_CENTRES + 1))
@pytest.mark.parametrize("kind", ["normal", "heavy tails", "far from zero"])
def test_many_values_are_parted_without_sorting_as_well_as_sorted(kind, size, keep, monkeypatch):
    """Cold, and warm from there. Over 300 draws of thirteen kinds as good on average, and between 0.17 % better and
    0.35 % worse, both of Student's t with 1.5 degrees of freedom."""
    w = draw((MANY + 777,), kind=kind, seed=size)
    compression = Sum(L0Pruning(keep=keep), Codebook(size=size))
    assert _trimmed_of_many(w.numpy(), size, 100, None) is not None
    found = compression.compress(w, mu=1.0)
    error = objective(compression, w, found, mu=1.0)
    warm = objective(compression, w, compression.compress(w, mu=1.0, previous=found), mu=1.0)
    assert warm <= error * (1 + 1e-6)
    monkeypatch.setattr(kernels, "LIBRARY", None)
    assert error <= objective(compression, w, compression.compress(w, mu=1.0), mu=1.0) * (1 + 1e-4)


@pytest.mark.skipif(not kernels.built(), reason="not built, of which test_lookup.py complains")
@pytest.mark.parametrize("kind", ["ties", "two values", "not finite"])
def test_what_bins_are_no_use_for_is_sorted(kind):
    w = draw((MANY,), kind="normal" if kind == "not finite" else kind, seed=5).numpy()
    if kind == "not finite":
        w[77] = np.inf
    assert _trimmed_of_many(w, 2, 100, None) is None


def test_the_order_of_the_terms_is_kept():
    w = draw((50,), kind="heavy tails", seed=3)
    pruning, codebook = L0Pruning(keep=0.1), Codebook(size=3)
    sparse, coded = Sum(pruning, codebook).compress(w, mu=1.0).terms
    coded_first, sparse_second = Sum(codebook, pruning).compress(w, mu=1.0).terms
    assert torch.equal(coded.codes, coded_first.codes)
    assert torch.equal(sparse.support, sparse_second.support)
    assert sparse.support.numel() == 5


def test_keeping_none_is_the_codebook_alone_and_all_is_no_error():
    w = draw((300,), kind="normal", seed=4)
    alone = Codebook(size=3).compress(w, mu=1.0)
    nothing = Sum(L0Pruning(keep=0.0), Codebook(size=3)).compress(w, mu=1.0)
    assert torch.equal(nothing.decompress(), alone.decompress())
    everything = Sum(L0Pruning(keep=1.0), Codebook(size=3))
    assert objective(everything, w, everything.compress(w, mu=1.0), mu=1.0) <= slack(w)
