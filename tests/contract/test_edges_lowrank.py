"""Edge cases of low rank, rank selection, tensor decompositions and circulant blocks: small cases by hand, refused
inputs, the layers that run, and the warm start of the singular value decomposition."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d
from torch.utils.flop_counter import FlopCounterMode

from lc_core import (
    CP,
    Circulant,
    Circulated,
    Dense,
    Factored,
    Kruskal,
    LowRank,
    RankSelection,
    Separable,
    Separated,
    Tucker,
    Tucker2,
    encode,
    plan_tasks,
    read,
)
from lc_core.compression import Use, objective
from lc_core.file.forms import unpack
from lc_core.numerics.svd import LeftOver, _alternated, leading, refined
from lc_core.structure.layers import Spectral
from tests.contract.weights import draw, slack, squared_error
from tests.ids import plain


def normal(*shape: int, seed: int = 0) -> Tensor:
    return draw(shape, kind="normal", seed=seed)


def reloaded(theta):
    return unpack(theta.form(), theta.pack())


# The layers that a Theta runs as give the dense layer's outputs, with the number of products that it states.

STRIDES = [((1, 1), (1, 1)), ((2, 3), (0, 2)), ((1, 2), (2, 0))]


def counted(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


def as_channels(factor: Tensor, *kernel: int) -> Tensor:
    """A factor (rank, ...) as the kernel of a convolution to `rank` channels."""
    return factor.reshape(factor.shape[0], -1, *kernel)


def run_spatial(theta: Factored, x: Tensor, stride, padding) -> Tensor:
    n, m, height, width = theta.shape
    first = theta.right.decompress().reshape(theta.rank, m, 1, width)
    then = theta.left.decompress().reshape(n, height, theta.rank).transpose(1, 2).unsqueeze(-1)
    between = conv2d(x, first, stride=(1, stride[1]), padding=(0, padding[1]))
    return conv2d(between, then, stride=(stride[0], 1), padding=(padding[0], 0))


def run_channel(theta: Factored, x: Tensor, stride, padding) -> Tensor:
    first = theta.right.decompress().reshape(theta.rank, *theta.shape[1:])
    return conv2d(
        conv2d(x, first, stride=stride, padding=padding), theta.left.decompress().reshape(-1, theta.rank, 1, 1)
    )


def run_tucker(theta: Tucker, x: Tensor, stride, padding) -> Tensor:
    inner = conv2d(x, as_channels(theta.right.decompress().T, 1, 1))
    inner = conv2d(inner, theta.core.decompress(), stride=stride, padding=padding)
    return conv2d(inner, as_channels(theta.left.decompress(), 1, 1))


def run_cp(theta: Kruskal, x: Tensor, stride, padding) -> Tensor:
    out, into, down, across = [factor.decompress() for factor in theta.factors]
    inner = conv2d(x, as_channels(into.T, 1, 1))
    inner = conv2d(
        inner,
        down.T.reshape(-1, 1, down.shape[0], 1),
        stride=(stride[0], 1),
        padding=(padding[0], 0),
        groups=theta.rank,
    )
    inner = conv2d(
        inner,
        across.T.reshape(-1, 1, 1, across.shape[0]),
        stride=(1, stride[1]),
        padding=(0, padding[1]),
        groups=theta.rank,
    )
    return conv2d(inner, as_channels(out, 1, 1))


def run_separable(theta: Separated, x: Tensor, stride, padding) -> Tensor:
    inner = conv2d(x, theta.depthwise.decompress(), stride=stride, padding=padding, groups=theta.shape[1])
    return conv2d(inner, as_channels(theta.pointwise.decompress(), 1, 1))


@pytest.mark.parametrize("stride, padding", STRIDES)
@pytest.mark.parametrize(
    "compression, run",
    [
        (LowRank(2), run_channel),
        (LowRank(2, scheme="spatial"), run_spatial),
        (Tucker2((2, 3)), run_tucker),
        (CP(3), run_cp),
        (Separable(2), run_separable),
    ],
    ids=plain,
)
def test_the_layers_of_a_kernel_give_its_outputs_with_the_stated_products(compression, run, stride, padding):
    theta = compression.compress(normal(8, 6, 3, 5, seed=1), mu=1.0)
    x = normal(1, 6, 11, 13, seed=2)
    expected = conv2d(x, theta.decompress(), stride=stride, padding=padding)
    torch.testing.assert_close(run(theta, x, stride, padding), expected, rtol=1e-4, atol=1e-4)
    use = Use(tuple(x.shape[2:]), tuple(expected.shape[2:]))
    assert theta.macs(use) == counted(lambda: run(theta, x, stride, padding))
    assert theta.macs(use) < counted(lambda: conv2d(x, theta.decompress(), stride=stride, padding=padding))
    assert reloaded(theta).macs(use) == theta.macs(use)


def test_a_kernel_over_time_runs_in_layers_too():
    x, use = normal(1, 6, 11, seed=3), Use((11,), (7,))
    theta = CP(2).compress(normal(8, 6, 5, seed=4), mu=1.0)
    out, into, along = [factor.decompress() for factor in theta.factors]
    inner = conv1d(conv1d(x, into.T[:, :, None]), along.T[:, None], groups=2)
    torch.testing.assert_close(conv1d(inner, out[:, :, None]), conv1d(x, theta.decompress()), rtol=1e-4, atol=1e-4)
    assert theta.macs(use) == 2 * 6 * 11 + 2 * 5 * 7 + 2 * 8 * 7
    theta = Tucker2((3, 2)).compress(normal(8, 6, 5, seed=4), mu=1.0)
    inner = conv1d(conv1d(x, theta.right.decompress().T[:, :, None]), theta.core.decompress())
    ran = conv1d(inner, theta.left.decompress()[:, :, None])
    torch.testing.assert_close(ran, conv1d(x, theta.decompress()), rtol=1e-4, atol=1e-4)
    assert theta.macs(use) == 2 * 6 * 11 + 3 * 2 * 5 * 7 + 3 * 8 * 7


@pytest.mark.parametrize(
    "compression", [LowRank(1, scheme="spatial"), Tucker2((1, 1)), CP(1), Separable(1), Circulant(4)], ids=plain
)
def test_a_grouped_convolution_runs_dense_and_nothing_runs_dearer_than_dense(compression):
    theta = compression.compress(normal(8, 4, 3, 3, seed=5), mu=1.0)
    assert theta.macs(Use((9, 9), (9, 9), groups=2)) == 288 * 81
    assert theta.macs(Use((9, 9), (1, 1))) <= 288
    full = compression.compress(normal(1, 1, 1, 1, seed=6), mu=1.0)
    assert full.form()["form"] == "dense"
    assert full.macs(Use((9, 9), (9, 9))) == 81


# Low rank by both schemes.


def test_a_separable_kernel_has_spatial_rank_one():
    down, across = torch.tensor([1.0, 2.0, 1.0]), torch.tensor([-1.0, 0.0, 1.0])
    w = torch.einsum("n,y,m,x->nmyx", torch.tensor([2.0, -1.0]), down, torch.tensor([1.0, 3.0]), across)
    theta = LowRank(1, scheme="spatial").compress(w, mu=1.0)
    assert theta.left.shape == (6, 1)
    assert theta.right.shape == (1, 6)
    torch.testing.assert_close(theta.decompress(), w)
    assert theta.form()["scheme"] == "spatial"
    assert torch.equal(reloaded(theta).decompress(), theta.decompress())
    # Rows (n, y) of the matrix: n of y = 0 first.
    torch.testing.assert_close(
        theta.left.values[:, 0] / theta.left.values[0, 0], torch.tensor([1, 2, 1, -0.5, -1, -0.5])
    )


def test_the_two_schemes_are_not_a_start_for_each_other():
    first, w = (each[..., None, None] for each in drifting(100, 140, steps=1, drift=1e-3, seed=7))
    cold = LowRank(4).compress(w, mu=1.0).decompress()
    same, other = LowRank(4).compress(first, mu=1.0), LowRank(4, scheme="spatial").compress(first, mu=1.0)
    assert not torch.equal(LowRank(4).compress(w, mu=1.0, previous=same).decompress(), cold)
    assert torch.equal(LowRank(4).compress(w, mu=1.0, previous=other).decompress(), cold)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3)])
def test_the_spatial_scheme_needs_a_kernel_of_two_dimensions(shape):
    said = r"low rank, spatial: expected a 2-D convolution kernel \(n, m, d1, d2\), got shape \(6, 5"
    for compression in (LowRank(1, scheme="spatial"), RankSelection(0.1, scheme="spatial")):
        for call in (compression.outline, compression.check, lambda s, c=compression: c.compress(normal(*s), mu=1.0)):
            with pytest.raises(ValueError, match=said):
                call(shape)


def test_what_names_no_scheme_or_criterion_is_refused():
    for made in (lambda: LowRank(1, scheme="rows"), lambda: RankSelection(0.1, scheme="rows")):
        with pytest.raises(ValueError, match='scheme: expected "channel" or "spatial", got \'rows\''):
            made()
    with pytest.raises(ValueError, match='criterion: expected "storage" or "macs", got \'bits\''):
        RankSelection(0.1, criterion="bits")
    with pytest.raises(ValueError, match=r"expected scheme as lc_core writes it, got rows"):
        unpack({"form": "factors", "scheme": "rows", "shape": [2, 2], "left": ONE, "right": ONE}, {})


# Rank selection.


def test_rank_selection_by_hand():
    """Energies 16, 9, 1 of a 4 x 3 diagonal, 7 numbers a rank, 12 in all; mu/2 = 1."""
    w = torch.zeros(4, 3)
    w[range(3), range(3)] = torch.tensor([4.0, -3.0, 1.0])
    ranks = {}
    for alpha in (0.05, 0.1, 1.4, 1.6, 2.2, 3.0):
        compression = RankSelection(alpha)
        theta = compression.compress(w, mu=2.0)
        ranks[alpha] = theta.rank if isinstance(theta, Factored) else "dense"
        kept = {0: 0, 1: 7, "dense": 12}[ranks[alpha]]
        assert compression.cost(theta) == pytest.approx(alpha * kept)
        assert theta.storage_bits() == 32 * kept
    # rank 0: 26; rank 1: 10 + 7 alpha; rank 2, at 14 numbers, and 3: none; dense: 12 alpha
    assert ranks == {0.05: "dense", 0.1: "dense", 1.4: "dense", 1.6: "dense", 2.2: 1, 3.0: 0}


def test_a_price_of_nothing_keeps_the_weights_and_a_high_one_gives_zeros_in_no_bits():
    w = normal(6, 5, seed=8)
    free = RankSelection(0.0).compress(w, mu=1e-3)
    assert torch.equal(free.decompress(), w)
    dear = RankSelection(1e6).compress(w, mu=1.0)
    assert dear.storage_bits() == 0
    assert torch.equal(dear.decompress(), torch.zeros(6, 5))
    again = reloaded(dear)
    assert torch.equal(again.decompress(), torch.zeros(6, 5))
    assert again.decompress().dtype == torch.float32
    assert dear.macs(Use()) == 0


def test_of_ranks_equally_good_the_lowest_is_taken():
    theta = RankSelection(0.0).compress(torch.zeros(6, 5), mu=1.0)
    assert theta.rank == 0
    w = torch.zeros(8, 8)
    w[2, 5] = 4.0  # an energy of 16 for 16 numbers
    assert RankSelection(1.0).compress(w, mu=2.0).rank == 0
    assert RankSelection(0.99).compress(w, mu=2.0).rank == 1


def test_the_criteria_are_the_same_for_a_linear_layer_and_differ_where_layers_run_at_other_positions():
    w = normal(12, 10, seed=9)
    for alpha in (1e-3, 0.1, 0.3, 1.0):
        storage = RankSelection(alpha).compress(w, mu=1.0)
        macs = RankSelection(alpha, criterion="macs").compress(w, mu=1.0)
        assert torch.equal(storage.decompress(), macs.decompress())
        assert RankSelection(alpha).cost(storage) == RankSelection(alpha, criterion="macs").cost(macs)
    kernel, use = normal(12, 10, 3, 3, seed=10), Use((8, 8), (4, 4))
    for scheme in ("channel", "spatial"):
        selection = RankSelection(0.035, criterion="macs", scheme=scheme, use=use)
        theta = selection.compress(kernel, mu=1.0)
        assert selection.cost(theta) == pytest.approx(0.035 * theta.macs(use))
        assert 0 < theta.rank < 12
    for alpha in (1e-3, 1e3):
        grouped = RankSelection(alpha, criterion="macs", use=Use((8, 8), (8, 8), groups=2))
        assert torch.equal(grouped.compress(kernel, mu=1.0).decompress(), kernel)


@pytest.mark.parametrize("mu", [0.0, -1.0, math.nan])
def test_rank_selection_needs_a_mu(mu):
    with pytest.raises(ValueError, match=f"mu: expected above 0, as a penalty form needs, got {mu}"):
        RankSelection(0.1).compress(normal(6, 5), mu=mu)


@pytest.mark.parametrize("alpha", [-1e-9, math.nan, math.inf])
def test_a_price_that_is_none_is_refused(alpha):
    with pytest.raises(ValueError, match=f"alpha: expected a price of at least 0, got {alpha}"):
        RankSelection(alpha)


# Tensors.


def test_a_kernel_of_low_tucker_ranks_is_found():
    core, left, right = normal(2, 3, 3, 3, seed=11), normal(9, 2, seed=12), normal(8, 3, seed=13)
    w = torch.einsum("stxy,ns,mt->nmxy", core, left, right)
    theta = Tucker2((2, 3)).compress(w, mu=1.0)
    assert squared_error(w, theta) <= slack(w)
    assert theta.ranks == (2, 3)
    assert theta.core.shape == (2, 3, 3, 3)
    assert theta.storage_bits() == 32 * (2 * 3 * 9 + 9 * 2 + 8 * 3)


def test_tucker_ends_no_higher_than_it_starts():
    """Its start: the leading singular vectors over each of the two dimensions, the higher-order SVD."""
    below = 0
    for seed in range(20):
        w = normal(7, 6, 3, 3, seed=seed)
        exact = w.double()
        left = torch.linalg.svd(exact.reshape(7, -1)).U[:, :2]
        right = torch.linalg.svd(exact.transpose(0, 1).reshape(6, -1)).U[:, :3]
        inside = torch.einsum("nmxy,na,ab,mc,cd->bdxy", exact, left, left.T, right, right.T)
        start, error = float((exact - inside).square().sum()), squared_error(w, Tucker2((2, 3)).compress(w, mu=1.0))
        assert error <= start * (1 + 1e-9)
        below += error < start * (1 - 1e-3)
    assert below >= 15


def test_tucker_goes_on_until_it_rests():
    for seed in range(10):
        w = normal(7, 6, 3, 3, seed=seed)
        theta = Tucker2((2, 3)).compress(w, mu=1.0)
        again = Tucker2((2, 3)).compress(w, mu=1.0, previous=theta)
        assert squared_error(w, again) >= squared_error(w, theta) * (1 - 1e-3)


def test_ranks_beyond_what_there_is_are_capped_and_lose_nothing():
    w = normal(6, 5, 3, 3, seed=14)
    assert Tucker2((50, 50)).compress(w, mu=1.0).ranks == (6, 5)
    assert Tucker2((50, 1)).outline((64, 8, 3, 3)).ranks == (9, 1)
    assert Tucker2((1, 50)).outline((64, 32, 3)).ranks == (1, 3)
    for compression in (Tucker2((6, 5)), Tucker2((50, 50)), CP(45), CP(500)):
        theta = compression.compress(w, mu=1.0)
        assert squared_error(w, theta) <= 1e-13 * float(w.square().sum())
        assert squared_error(w, theta) <= slack(w)
        assert theta.form()["form"] == "dense"
    assert CP(500).compress(w, mu=1.0).rank == 45


@pytest.mark.parametrize("shape, rank", [((7, 6, 3, 3), 2), ((5, 9, 4), 3), ((3, 11, 1, 2), 1)])
def test_a_sum_of_few_outer_products_is_found(shape, rank):
    factors = [normal(size, rank, seed=place) for place, size in enumerate(shape)]
    w = Kruskal(shape, tuple(map(Dense, factors))).decompress()
    letters = "abcd"[: len(shape)]
    torch.testing.assert_close(w, torch.einsum(",".join(f"{x}r" for x in letters) + "->" + letters, *factors))
    theta = CP(rank).compress(w, mu=1.0)
    assert squared_error(w, theta) <= 1e-6 * float(w.square().sum())
    assert theta.storage_bits() == 32 * rank * sum(shape)


def test_cp_starts_from_the_previous_factors_and_keeps_them_where_nothing_is_better():
    w = normal(6, 5, 3, 3, seed=15)
    theta = CP(3).compress(w, mu=1.0)
    again = CP(3).compress(theta.decompress(), mu=1.0, previous=theta)
    assert squared_error(theta.decompress(), again) <= 1e-12 * float(w.square().sum())
    best = Kruskal(theta.shape, tuple(map(Dense, (normal(size, 3, seed=size) for size in theta.shape))))
    target = best.decompress()
    assert squared_error(target, CP(3).compress(target, mu=1.0, previous=best)) <= slack(target)


def test_cp_as_it_is_stored_never_gets_worse():
    """In bfloat16 the rounding of the factors outweighs what a round of least squares gains."""
    w = normal(8, 6, 3, 3, seed=49).bfloat16()
    theta = CP(6).compress(w, mu=1.0)
    errors = [squared_error(w, theta)]
    for _ in range(10):
        theta = CP(6).compress(w, mu=1.0, previous=theta)
        product = Kruskal(theta.shape, tuple(Dense(each.values.double()) for each in theta.factors))
        errors.append(squared_error(w, product))
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(errors[1:]))


def test_nothing_is_a_sum_of_nothings():
    for compression in (CP(4), Tucker2((2, 2))):
        zeros = compression.compress(torch.zeros(6, 5, 3, 3), mu=1.0).decompress()
        assert torch.equal(zeros, torch.zeros(6, 5, 3, 3))


def test_columns_that_depend_on_each_other_do_no_harm():
    """Rank 1, asked for as 4: the least squares problems are singular."""
    w = torch.einsum("n,m,x,y->nmxy", *[normal(size, seed=size) for size in (6, 5, 3, 2)])
    theta = CP(4).compress(w, mu=1.0)
    assert torch.isfinite(theta.decompress()).all()
    assert squared_error(w, theta) <= 1e-8 * float(w.square().sum())


@pytest.mark.parametrize("name, compression", [("Tucker", Tucker2((1, 1))), ("CP", CP(1)), ("separable", Separable())])
@pytest.mark.parametrize("shape", [(6, 5), (30,)])
def test_a_linear_layer_or_a_vector_is_no_kernel(name, compression, shape):
    for call in (compression.outline, compression.check, lambda s: compression.compress(normal(*s), mu=1.0)):
        with pytest.raises(ValueError, match=rf"{name}: expected a convolution kernel \(n, m, d, ...\), got shape \("):
            call(shape)


@pytest.mark.parametrize("ranks", [(0, 1), (1, 0), (1,), (1, 2, 3)])
def test_ranks_below_one_or_not_two_are_refused(ranks):
    with pytest.raises(ValueError, match="ranks: expected two of at least 1"):
        Tucker2(ranks)


def test_a_rank_or_block_below_one_is_refused():
    with pytest.raises(ValueError, match="rank: expected at least 1, got 0"):
        CP(0)
    with pytest.raises(ValueError, match="multiplier: expected at least 1, got 0"):
        Separable(0)
    with pytest.raises(ValueError, match="block: expected at least 1, got 0"):
        Circulant(0)


# Circulant blocks.


def test_circulant_blocks_by_hand():
    w = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    theta = Circulant(2).compress(w, mu=1.0)
    # Left block: 1 and 5, 4 and 2. Right block, cut: 3 alone, 6 alone.
    assert theta.decompress().tolist() == [[3.0, 3.0, 3.0], [3.0, 3.0, 6.0]]
    assert theta.vectors.decompress().tolist() == [[[3.0, 3.0], [3.0, 6.0]]]
    assert theta.storage_bits() == 32 * 4
    whole = Circulant(3).compress(torch.tensor([[0.0, 9.0, 7.0], [1.0, 3.0, 1.0], [5.0, 4.0, 6.0]]), mu=1.0)
    # Diagonals 0 3 6, 1 4 7, 5 9 1.
    assert whole.decompress().tolist() == [[3, 5, 4], [4, 3, 5], [5, 4, 3]]
    assert Circulant(3).compress(w.T.contiguous(), mu=1.0).form()["block"] == 3


def test_each_column_of_a_block_is_the_one_before_it_shifted_down():
    block = Circulated((4, 4), 4, Dense(torch.tensor([[[1.0, 2.0, 3.0, 4.0]]]))).decompress()
    for j in range(4):
        assert block[:, j].tolist() == torch.tensor([1.0, 2.0, 3.0, 4.0]).roll(j).tolist()


@pytest.mark.parametrize(
    "shape, block", [((8, 12), 4), ((7, 10), 3), ((5, 9), 5), ((1, 9), 2), ((6, 5), 1), ((3, 4), 8)]
)
def test_a_product_by_fft_is_the_dense_product(shape, block):
    theta = Circulant(block).compress(normal(*shape, seed=16), mu=1.0)
    x = normal(2, 4, shape[1], seed=17)
    torch.testing.assert_close(by_fft(theta)(x), x @ theta.decompress().T, rtol=1e-5, atol=1e-5)
    exact = Circulant(block).compress(normal(*shape, seed=16).double(), mu=1.0)
    expected = x.double() @ exact.decompress().T
    torch.testing.assert_close(by_fft(exact)(x.double()), expected, rtol=1e-12, atol=1e-12)


def by_fft(theta):
    n, m = theta.shape
    layer = torch.nn.Linear(m, n, bias=False)
    return Spectral(theta, layer, rows=torch.arange(n), columns=torch.arange(m), bias=None)


def test_products_by_fft_are_billed():
    theta = Circulant(8).compress(normal(16, 32, seed=18), mu=1.0)
    assert theta.macs(Use()) == 4 * 24 + 2 * (24 + 4 * 14)
    assert theta.macs(Use((5,), (5,))) == 5 * theta.macs(Use())
    kernel = Circulant(8).compress(normal(16, 32, 3, 3, seed=18), mu=1.0)
    assert kernel.macs(Use((10, 10), (5, 5))) == 4 * 24 * 100 + 2 * (24 + 4 * 9 * 14) * 25
    assert Circulant(3).compress(normal(3, 3, seed=18), mu=1.0).macs(Use()) == 9  # dense is less than 3 * 4 + 5
    assert Circulant(1).compress(normal(6, 5, seed=18), mu=1.0).form()["form"] == "dense"


def test_a_convolution_is_circulant_over_its_channels_at_each_position():
    w = normal(4, 6, 3, 2, seed=19)
    delta = Circulant(2).compress(w, mu=1.0).decompress()
    for x in range(3):
        for y in range(2):
            here = Circulant(2).compress(w[:, :, x, y].contiguous(), mu=1.0).decompress()
            assert torch.equal(delta[:, :, x, y], here)


def test_circulant_blocks_are_refused_for_vectors_and_beyond_the_layer():
    for call in (Circulant(2).outline, Circulant(2).check, lambda s: Circulant(2).compress(normal(*s), mu=1.0)):
        with pytest.raises(ValueError, match=r"circulant: expected weights of a layer .* got shape \(9,\)"):
            call((9,))
    with pytest.raises(ValueError, match="block: expected at most 6, the larger side, got 7"):
        Circulant(7).check((6, 5))
    Circulant(6).check((6, 5))


# The leading singular vectors, starting from those of a nearby matrix.


def drifting(m: int, n: int, *, steps: int, drift: float, seed: int) -> list[Tensor]:
    """Matrices with falling singular values, each a little different from the one before, like a C step's inputs."""
    k = min(m, n)
    u, v = torch.linalg.qr(normal(m, k, seed=seed)).Q, torch.linalg.qr(normal(n, k, seed=seed + 1)).Q
    spectrum = 1.0 / (1 + torch.arange(k)) + 0.02 * (torch.arange(k) < k // 8)
    w = u * spectrum @ v.T
    found = [w]
    for step in range(steps):
        w = w + drift * w.norm() / (m * n) ** 0.5 * normal(m, n, seed=seed + 2 + step)
        found.append(w)
    return found


@pytest.mark.parametrize("m, n, rank", [(100, 140, 12), (140, 100, 12), (90, 90, 1), (80, 300, 26)])
@pytest.mark.parametrize("drift, scale", [(1e-4, 1.0), (1e-2, 1.0), (0.1, 1.0), (1e-2, 1e-30), (1e-2, 1e30)])
def test_warm_is_as_good_as_cold(m, n, rank, drift, scale):
    inputs = [w * scale for w in drifting(m, n, steps=4, drift=drift, seed=20)]
    theta = LowRank(rank).compress(inputs[0], mu=1.0)
    for w in inputs[1:]:
        before, theta = theta, LowRank(rank).compress(w, mu=1.0, previous=theta)
        error, start = squared_error(w, theta), squared_error(w, before)
        least = float((torch.linalg.svdvals(w.double())[rank:] ** 2).sum())
        assert error <= least * (1 + 1e-4)
        assert error <= start * (1 + 1e-6)
        shares = theta.left.values.norm(dim=0), theta.right.values.norm(dim=1)
        torch.testing.assert_close(*shares, rtol=1e-4, atol=0.0)


def test_the_warm_start_is_taken_and_repeats_bit_for_bit():
    first, then = drifting(100, 140, steps=1, drift=1e-3, seed=40)
    left, right = leading(first, rank=12).halves()
    once, twice = refined(then, left, right), refined(then, left, right)
    assert once is not None
    assert all(map(torch.equal, once, twice))
    theta = LowRank(12).compress(then, mu=1.0, previous=Factored((100, 140), Dense(left), Dense(right)))
    assert torch.equal(theta.left.values, once[0])


def test_what_enters_apart_from_all_that_was_spanned_is_found():
    """Subspace iteration alone never finds it: it is in the span of rows that were zero before."""
    w = torch.zeros(160, 160)
    w[:80, :80] = normal(80, 80, seed=41)
    theta = LowRank(4).compress(w, mu=1.0)
    grown = w.clone()
    grown[80:, 80:] = 3 * normal(80, 80, seed=42)
    error = squared_error(grown, LowRank(4).compress(grown, mu=1.0, previous=theta))
    assert error <= float((torch.linalg.svdvals(grown.double())[4:] ** 2).sum()) * (1 + 1e-4)


@pytest.mark.parametrize("kind", ["normal", "one outlier", "constant", "all zero", "huge", "tiny", "one row", "ties"])
def test_any_start_of_the_shape_will_do(kind):
    w = draw((90, 120), kind=kind, seed=43)
    least = float((torch.linalg.svdvals(w.double())[5:] ** 2).sum())
    for other in ("normal", "one outlier", "constant", "all zero", "huge", "tiny"):
        previous = LowRank(5).compress(draw((90, 120), kind=other, seed=44), mu=1.0)
        theta = LowRank(5).compress(w, mu=1.0, previous=previous)
        assert torch.isfinite(theta.decompress()).all()
        assert squared_error(w, theta) <= least * (1 + 1e-4) + slack(w), other


def spectrum(kind: str, k: int, rank: int) -> Tensor:
    i = torch.arange(k, dtype=torch.float64)
    match kind:
        case "level":
            return torch.ones(k, dtype=torch.float64)
        case "linear":
            return 1 - 0.9 * i / k
        case "cluster at the cut":
            return torch.where((i >= rank - 3) & (i < rank + 3), 1.0 / rank, 1 / (1 + i))
        case "low step":
            return torch.where(i < rank, 1.0, 0.99)
        case "deficient":
            return torch.where(i < rank // 2, 1.0, 0.0)
        case _:
            return 0.8**i


@pytest.mark.parametrize("m, n, rank", [(100, 140, 6), (140, 100, 25), (180, 90, 1)])
@pytest.mark.parametrize("kind", ["level", "linear", "cluster at the cut", "low step", "deficient", "steep"])
@pytest.mark.parametrize("move", ["nothing", "noise", "more noise", "reflected", "new directions", "another"])
def test_warm_is_within_a_hundredth_of_a_percent_on_hard_spectra(m, n, rank, kind, move):
    """ "reflected" is what the second LC step sees: what the first left out, twice."""
    k = min(m, n)
    u, v = (torch.linalg.qr(normal(size, k, seed=60 + size).double()).Q for size in (m, n))
    s = spectrum(kind, k, rank)
    first = u * s @ v.T
    if move == "reflected":
        then = first + u[:, rank:] * s[rank:] @ v[:, rank:].T
    elif move == "new directions":
        then = first + 1.2 * u[:, -2:] @ v[:, -2:].T
    elif move == "another":
        then = normal(m, n, seed=61).double()
    else:
        noise = {"nothing": 0.0, "noise": 1e-3, "more noise": 0.1}[move]
        then = first + noise * float(s.norm()) / (m * n) ** 0.5 * normal(m, n, seed=62)
    for scale in (1.0, 1e-20 if m < n else 1e20):
        before = LowRank(rank).compress((first * scale).float(), mu=1.0)
        w = (then * scale).float()
        theta = LowRank(rank).compress(w, mu=1.0, previous=before)
        exact = w.double() / scale
        error, start = (
            float((exact - t.left.decompress().double() @ t.right.decompress().double() / scale).square().sum())
            for t in (theta, before)
        )
        rounding = 1e-13 * rank * float(exact.square().sum())
        least = float((torch.linalg.svdvals(exact)[rank:] ** 2).sum())
        assert error <= least * (1 + 1e-4) + rounding
        assert error <= start * (1 + 2e-6) + rounding


@pytest.mark.parametrize("m, n, rank", [(100, 140, 4), (100, 140, 25), (300, 310, 18)])
def test_a_level_spectrum_needs_no_exact_solution(m, n, rank):
    """In early LC steps the tail's singular values are as large as the head's. The searched space is large enough."""
    first, then = normal(m, n, seed=63), normal(m, n, seed=64)
    assert _alternated(then, leading(first, rank=rank).halves()[1]) is None
    found = refined(then, *leading(first, rank=rank).halves())
    assert found is not None
    least = float((torch.linalg.svdvals(then.double())[rank:] ** 2).sum())
    assert float((then.double() - found[0].double() @ found[1].double()).square().sum()) <= least * (1 + 1e-4)


def test_what_is_left_over_is_never_bounded_too_low():
    """With one or several directions outside the span, the estimate is an upper bound, and small ones are close."""
    q = torch.eye(100)[:5]
    for seed in range(20):
        for sizes in ([1.0], [1.0, 0.99], [1.0] + 90 * [0.3], 95 * [1.0]):
            u = torch.linalg.qr(normal(95, 95, seed=70 + seed)).Q[:, : len(sizes)]
            w = torch.cat([torch.zeros(5, len(sizes)), u * torch.tensor(sizes)])
            energy = sum(s * s for s in sizes)
            left_over = LeftOver(w, q, energy=energy, error=0.0, theta=8.0)
            assert left_over.energy == left_over.tail == energy
            left_over = LeftOver(w, q, energy=1e3, error=1e3, theta=8.0)
            assert left_over.settles(1.0, 1.4, steps=0)
            assert abs(left_over.energy / energy - 1) < 1.0
            assert 1.0 <= left_over.tail <= 8.0 * (1 - 1 / 1.4)
            assert not LeftOver(w, q, energy=1e3, error=1e3, theta=1.9).settles(1.0, 2.0, steps=0)


def test_no_energy_caught_settles_nothing():
    w = normal(100, 120, seed=71)
    assert not LeftOver(w, torch.eye(100)[:5], energy=0.0, error=0.0, theta=0.0).settles(0.0, 1.0, steps=0)


@pytest.mark.parametrize("m, n, rank", [(91, 190, 4), (100, 140, 4), (298, 127, 4), (292, 204, 8)])
def test_a_direction_that_rises_past_the_cut_is_found(m, n, rank):
    """The start is optimal in all other directions.

    The remaining gain is an estimate: a direction that rises just past the cut and gains 0.25 % may be missed. That
    happened in 2 of 480 draws with SSE, and in none with AVX-512.
    """
    k = min(m, n)
    s = spectrum("linear", k, rank)
    missed = 0
    for seed in range(3):
        u, v = (torch.linalg.qr(normal(size, k, seed=size + seed).double()).Q for size in (m, n))
        before = LowRank(rank).compress((u * s @ v.T).float(), mu=1.0)
        for size in (0.9, 1.0, 1.2):
            then = (u * s @ v.T + size * u[:, -1:] @ v[:, -1:].T).float()
            least = float((torch.linalg.svdvals(then.double())[rank:] ** 2).sum())
            error = squared_error(then, LowRank(rank).compress(then, mu=1.0, previous=before))
            missed += size < 1 and error > least * (1 + 1e-4)
            assert error <= least * (1 + (5e-3 if size < 1 else 1e-4))
    assert missed <= 1


def test_low_rank_leaves_its_own_output_when_it_starts_from_it():
    for seed, (m, n) in enumerate([(100, 140), (300, 90)]):
        theta = LowRank(10).compress(normal(m, n, seed=seed), mu=1.0)
        delta = theta.decompress()
        for _ in range(3):
            theta = LowRank(10).compress(delta, mu=1.0, previous=theta)
            assert squared_error(delta, theta) <= slack(delta)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes_stay_what_they_are(dtype):
    first, then = (w.to(dtype) for w in drifting(100, 140, steps=1, drift=1e-3, seed=45))
    theta = LowRank(8).compress(then, mu=1.0, previous=LowRank(8).compress(first, mu=1.0))
    assert theta.decompress().dtype == dtype
    least = float((torch.linalg.svdvals(then.double())[8:] ** 2).sum())
    product = theta.left.decompress().double() @ theta.right.decompress().double()
    error = float((then.double() - product).square().sum())
    assert error <= least * (1 + 1e-4) + (torch.finfo(dtype).eps ** 2) * float(then.double().square().sum())
    kernel = normal(6, 5, 3, 3).to(dtype)
    for compression in (
        RankSelection(1e-3),
        Tucker2((2, 2)),
        CP(2),
        Circulant(2),
        Separable(2),
        LowRank(2, scheme="spatial"),
    ):
        found = compression.compress(kernel, mu=1.0)
        assert found.decompress().dtype == dtype
        assert torch.equal(reloaded(found).decompress(), found.decompress())


def test_float64_weights_keep_their_digits():
    sizes = torch.tensor([1.0, 1e-9], dtype=torch.float64)
    w = (normal(90, 2, seed=46).double() * sizes) @ normal(2, 120, seed=47).double()
    theta = LowRank(2).compress(w, mu=1.0)
    assert squared_error(w, theta) <= 1e-28 * float(w.square().sum())


# Arrays and forms that do not fit together.

ONE = {"form": "dense", "shape": [1, 1]}


def dense(*shape: int) -> tuple[dict, Tensor]:
    return {"form": "dense", "shape": list(shape)}, torch.zeros(math.prod(shape))


def test_forms_that_do_not_fit_are_refused():
    def refuse(form: dict, arrays: dict) -> None:
        with pytest.raises(ValueError, match=r"expected|do not fit"):
            unpack(form, arrays)

    def tucker(core, left, right, shape=(4, 3, 2, 2)):
        parts = {"core": dense(*core), "left": dense(*left), "right": dense(*right)}
        form = {"form": "tucker", "shape": list(shape)} | {name: part[0] for name, part in parts.items()}
        return form, {f"{name}.dense": part[1] for name, part in parts.items()}

    unpack(*tucker((2, 1, 2, 2), (4, 2), (3, 1)))
    refuse(*tucker((1, 2, 2, 2), (4, 2), (3, 1)))
    refuse(*tucker((2, 1, 2, 3), (4, 2), (3, 1)))
    refuse(*tucker((2, 1, 2, 2), (3, 2), (4, 1)))
    refuse(*tucker((2, 1, 2, 2), (4, 2), (3,)))

    def cp(*shapes, shape=(4, 3, 2)):
        parts = [dense(*each) for each in shapes]
        form = {"form": "cp", "shape": list(shape), "factors": [part[0] for part in parts]}
        return form, {f"{i}.dense": part[1] for i, part in enumerate(parts)}

    unpack(*cp((4, 2), (3, 2), (2, 2)))
    refuse(*cp((4, 2), (3, 2), (2, 1)))
    refuse(*cp((4, 2), (3, 2)))
    refuse(*cp((4, 2), (3, 2), (2,)))
    refuse(*cp())
    refuse(*cp((4, 2), (3, 2), shape=(4, 3)))

    def separable(depthwise, pointwise, shape=(4, 3, 2, 5)):
        parts = {"depthwise": dense(*depthwise), "pointwise": dense(*pointwise)}
        form = {"form": "separable", "shape": list(shape)} | {name: part[0] for name, part in parts.items()}
        return form, {f"{name}.dense": part[1] for name, part in parts.items()}

    unpack(*separable((6, 1, 2, 5), (4, 6)))
    refuse(*separable((6, 1, 2, 4), (4, 6)))
    refuse(*separable((6, 2, 2, 5), (4, 6)))
    refuse(*separable((5, 1, 2, 5), (4, 5)))
    refuse(*separable((6, 1, 2, 5), (5, 6)))
    refuse(*separable((3, 1, 2, 5), (4, 6)))
    refuse(*separable((0, 1, 2, 5), (4, 0)))
    refuse(*separable((6, 1, 2, 5), (4, 6, 1)))
    refuse(*separable((6, 1), (4, 6), shape=(4, 3)))

    def circulant(block, *shape):
        form, array = dense(*shape)
        return {"form": "circulant", "shape": [4, 3], "block": block, "vectors": form}, {"vectors.dense": array}

    unpack(*circulant(2, 2, 2, 2))
    refuse(*circulant(2, 2, 1, 2))
    refuse(*circulant(2.0, 2, 2, 2))
    refuse(*circulant(0, 2, 2, 2))
    refuse(*circulant(-2, 2, 2, 2))

    def spatial(left, right):
        parts = {"left": dense(*left), "right": dense(*right)}
        form = {"form": "factors", "scheme": "spatial", "shape": [4, 3, 2, 5]}
        return form | {n: p[0] for n, p in parts.items()}, {f"{n}.dense": p[1] for n, p in parts.items()}

    unpack(*spatial((8, 1), (1, 15)))
    refuse(*spatial((4, 1), (1, 30)))
    refuse(*spatial((8, 1), (2, 15)))


@pytest.mark.parametrize(
    "compression",
    [
        LowRank(3, "spatial"),
        RankSelection(1e9),
        RankSelection(1e-2),
        Tucker2((2, 2)),
        CP(3),
        Separable(2),
        Circulant(3),
    ],
    ids=plain,
)
def test_a_packed_file_brings_them_back(compression, tmp_path):
    model = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Flatten(), nn.Linear(8, 4))
    (task,) = plan_tasks(model, {"0": compression})
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    theta = task.compress(weights["0.weight"], mu=1.0, previous=None)
    path = tmp_path / "model.lcz"
    path.write_bytes(encode([task], [theta], weights, info={}))
    (again,) = read(path).thetas
    assert torch.equal(again.decompress(), theta.decompress())
    assert objective(compression, weights["0.weight"], again, mu=1.0) == objective(
        compression, weights["0.weight"], theta, mu=1.0
    )


def test_the_price_in_macs_of_a_convolution_needs_its_use():
    with pytest.raises(ValueError, match="use: expected how the convolution is used"):
        RankSelection(alpha=1e-3, criterion="macs").check((8, 4, 3, 3))
    RankSelection(alpha=1e-3, criterion="macs").check((8, 4))
    RankSelection(alpha=1e-3, criterion="macs", use=Use((8, 8), (8, 8))).check((8, 4, 3, 3))


def test_a_core_has_no_more_output_channels_than_its_inputs_and_positions():
    theta = Tucker2((4, 1)).compress(draw((8, 8, 1), kind="normal", seed=3), mu=1.0)
    assert theta.ranks == (1, 1)
