"""CP decomposition of convolution kernels: a sum of outer products, with one vector for each dimension."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from lc_core.compression import (
    Compressed,
    Dense,
    Form,
    FormError,
    OrDense,
    Use,
    dense_macs,
    numel,
    outline_tensor,
    prefixed,
)
from lc_core.compressions.tucker import FALL, ROUNDS, check_kernel, leading_vectors, normalized
from lc_core.fields import check_numbers

RIDGE = 1e-10
"""Weight of the ridge towards the previous factor, relative to the mean of the Gram matrix's diagonal."""


@dataclass(frozen=True, eq=False)
class Kruskal(OrDense):
    """The sum over r of the outer products of column r of each factor: one factor (size, rank) for each dimension of
    `shape`. Each factor is a Theta of its own. Where they take no fewer bits than the dense kernel, it is stored and
    run instead.
    """

    shape: tuple[int, ...]
    factors: tuple[Compressed, ...]

    @property
    def dtype(self) -> torch.dtype:
        return self.factors[0].dtype

    @property
    def rank(self) -> int:
        return self.factors[0].shape[1]

    def decompress(self) -> Tensor:
        return _outer([factor.decompress() for factor in self.factors])

    def macs(self, use: Use) -> int:
        """A 1 x 1 convolution to r channels, a depthwise convolution along each dimension of the kernel, and a 1 x 1
        convolution. A dimension has the length of the output once its convolution has run."""
        dense = dense_macs(self.shape, use)
        if use.groups > 1 or self.stored_dense():
            return dense
        n, m, *kernel = self.shape
        total = m * numel(use.inputs) + n * use.positions
        for number, size in enumerate(kernel, start=1):
            total += size * numel(use.outputs[:number] + use.inputs[number:])
        return min(self.rank * total, dense)

    def own_arrays(self) -> dict[str, Tensor]:
        packed: dict[str, Tensor] = {}
        for number, factor in enumerate(self.factors):
            packed |= prefixed(str(number), factor.pack())
        return packed

    def own_form(self) -> Form:
        return {"form": "cp", "shape": list(self.shape), "factors": [factor.form() for factor in self.factors]}

    @staticmethod
    def unpack(form: Form, factors: Sequence[Compressed]) -> "Kruskal":
        """Theta from what `pack` and `form` gave. FormError where they do not fit together."""
        shape, shapes = tuple(form["shape"]), [factor.shape for factor in factors]
        if len(shape) < 3 or shapes != [(size, *shapes[0][1:]) for size in shape] or len(shapes[0]) != 2:
            raise FormError(f"expected a factor of one rank for each size of {shape}, got {shapes}")
        return Kruskal(shape, tuple(factors))

    def own_bits(self) -> int:
        return sum(factor.storage_bits() for factor in self.factors)


@dataclass(frozen=True)
class CP:
    """min over A, B, C, ... of ||W - sum_r a_r o b_r o c_r o ...||^2, a factor for each dimension of a kernel W.

    Alternating least squares: given the other factors, each factor solves a linear least squares problem, with a small
    ridge towards its previous value, so that dependent columns do no harm and the objective never rises. It starts from
    `previous` or, without it, from the leading singular vectors over each dimension, filled up with normal numbers of a
    fixed seed; at the largest possible rank, from an exact decomposition. The best round, as stored, is kept, so that
    it ends no higher than its start. A local optimum; a global one may not exist (De Silva and Lim 2008). float64.
    Carroll and Chang, Psychometrika 1970; Lebedev et al., "Speeding-up convolutional neural networks using fine-tuned
    CP-decomposition", ICLR 2015, section 3.

    Attributes:
        rank: r, at least 1; capped at the number of weights over the largest dimension, which loses nothing.
    """

    rank: int

    def __post_init__(self) -> None:
        check_numbers(self)
        if self.rank < 1:
            raise ValueError(f"rank: expected at least 1, got {self.rank}")

    def check(self, shape: tuple[int, ...]) -> None:
        self._capped(shape)

    def compress(self, w: Tensor, *, mu: float, previous: Compressed | None = None) -> Kruskal:
        shape = tuple(w.shape)
        rank = self._capped(shape)
        exact, scale = normalized(w.detach())
        share = scale ** (1 / len(shape))
        if isinstance(previous, Kruskal) and previous.shape == shape and previous.rank == rank:
            start = [factor.decompress().double() / share for factor in previous.factors]
        elif rank == _largest_rank(shape):
            start = _lossless(exact)
        else:
            start = _start(exact, rank)
        best, least = _stored(start, share, w.dtype), float("inf")
        for factors in _alternated(exact, start):
            stored = _stored(factors, share, w.dtype)
            error = float((exact - _outer([factor.double() / share for factor in stored])).square().sum())
            if error < least:
                best = stored
            if not error < (1 - FALL) * least:
                break
            least = error
        return Kruskal(shape, tuple(map(Dense, best)))

    def outline(self, shape: tuple[int, ...]) -> Kruskal:
        rank = self._capped(shape)
        return Kruskal(shape, tuple(Dense(outline_tensor(size, rank)) for size in shape))

    def _capped(self, shape: tuple[int, ...]) -> int:
        check_kernel(shape, name="CP")
        return min(self.rank, _largest_rank(shape))


def _outer(factors: Sequence[Tensor]) -> Tensor:
    """The tensor that these factors (size, rank) make."""
    return (factors[0] @ _columnwise(factors[1:]).T).reshape([factor.shape[0] for factor in factors])


def _columnwise(factors: Sequence[Tensor]) -> Tensor:
    """All products of one row of each factor (size, rank), the last factor's changing fastest: (product, rank)."""
    products = factors[0]
    for factor in factors[1:]:
        products = (products[:, None] * factor).reshape(-1, factor.shape[1])
    return products


def _largest_rank(shape: tuple[int, ...]) -> int:
    """The rank at which outer products can make every tensor of `shape`."""
    return numel(shape) // max(shape)


def _lossless(w: Tensor) -> list[Tensor]:
    """Exact factors of `w`, of the largest rank: unit vectors for all dimensions but the largest."""
    largest = w.shape.index(max(w.shape))
    others = [size for place, size in enumerate(w.shape) if place != largest]
    places = torch.cartesian_prod(*[torch.arange(size, device=w.device) for size in others]).reshape(-1, len(others))
    units = [torch.nn.functional.one_hot(places[:, i], size).T.to(w) for i, size in enumerate(others)]
    units.insert(largest, w.movedim(largest, 0).reshape(w.shape[largest], -1))
    return units


def _start(w: Tensor, rank: int) -> list[Tensor]:
    """The leading singular vectors over each dimension of `w`, filled up to `rank` with normal numbers."""
    generator = torch.Generator().manual_seed(0)
    factors = []
    for place, size in enumerate(w.shape):
        vectors = leading_vectors(w.movedim(place, 0), rank)
        missing = torch.randn(size, rank - vectors.shape[1], generator=generator, dtype=w.dtype).to(w.device)
        factors.append(torch.cat([vectors, missing / size**0.5], dim=1))
    return factors


def _alternated(w: Tensor, factors: list[Tensor]) -> Iterator[list[Tensor]]:
    """`factors`, then the factors after each round of least squares."""
    yield factors
    unfolded = [w.movedim(place, 0).reshape(size, -1) for place, size in enumerate(w.shape)]
    for _ in range(ROUNDS):
        for place in range(w.dim()):
            others = factors[:place] + factors[place + 1 :]
            gram = prod([factor.T @ factor for factor in others], start=torch.ones_like(others[0].T @ others[0]))
            ridge = RIDGE * float(gram.diagonal().mean()) + torch.finfo(w.dtype).tiny
            gram = gram + ridge * torch.eye(gram.shape[0]).to(gram)
            wanted = unfolded[place] @ _columnwise(others) + ridge * factors[place]
            factors = [*factors[:place], torch.linalg.solve(gram, wanted.T).T, *factors[place + 1 :]]
        factors = _balanced(factors)
        yield factors


def _balanced(factors: list[Tensor]) -> list[Tensor]:
    """The same outer products, with the norm of each shared evenly between its vectors."""
    norms = torch.stack([torch.linalg.vector_norm(factor, dim=0) for factor in factors])
    even = norms.log().mean(dim=0).exp()  # 0 where a vector is 0
    return [factor * (even / torch.where(norm > 0, norm, 1.0)) for factor, norm in zip(factors, norms, strict=True)]


def _stored(factors: Sequence[Tensor], share: float, dtype: torch.dtype) -> list[Tensor]:
    return [(factor * share).to(dtype).contiguous() for factor in factors]
