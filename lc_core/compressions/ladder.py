"""A ladder: the compressions that one layer can choose from, what each costs, and the squared error of each."""

import functools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lc_core.compression import Compressed, Compression, Dense, Penalized, Use, outline_tensor
from lc_core.compressions.cast import in_dtype
from lc_core.compressions.chain import Chain
from lc_core.compressions.lowrank import LowRank, Scheme, as_matrix
from lc_core.compressions.pruning import L0Pruning
from lc_core.compressions.quantization import Codebook, sorted_array
from lc_core.compressions.structured import AXES, GroupPruning
from lc_core.numerics.codebook_ladder import codebook_errors
from lc_core.numerics.kernels import Floats, Indices
from lc_core.numerics.svd import leading

AN_ARRAY = 50
"""About the bytes of the header of a file for each array, without its name and shape."""
TINY = 1e-300
DENSE = "dense"
"""The label of a layer that stays uncompressed."""


@dataclass(frozen=True, eq=False)
class Ladder:
    """The compressions that a layer of `shape` can choose from. The first leaves it uncompressed.

    Attributes:
        compressions: all but the first.
        labels: how each is called, the first among them.
        outlines: Theta of each without values.
        costs: bytes or multiply-accumulates of each.
    """

    shape: tuple[int, ...]
    compressions: tuple[Compression, ...]
    labels: tuple[str, ...]
    outlines: tuple[Compressed, ...]
    costs: Indices

    def longest(self) -> Compressed:
        """The outline whose form and arrays take most words to describe."""
        return max(self.outlines, key=_words)

    def errors(self, w: Tensor, *, mu: float, by_magnitude: bool = False) -> Floats:
        """The squared error of each."""
        return np.append(0.0, ladder_errors(w, self.compressions, mu=mu, by_magnitude=by_magnitude))

    def compress(self, w: Tensor, place: int, *, mu: float, previous: Compressed | None) -> Compressed:
        """Theta of `w` by the compression at `place`."""
        return self.compressions[place - 1].compress(w, mu=mu, previous=previous) if place else Dense(w.clone())


@functools.lru_cache(maxsize=1024)
def ladder_of(
    compressions: tuple[Compression, ...], shape: tuple[int, ...], *, dtype: torch.dtype, uses: tuple[Use, ...] | None
) -> Ladder:
    """The ladder of a layer: those of `compressions` that can take `shape`, by their bytes with values in `dtype`, or
    by MACs in `uses`."""
    fit: list[Compression] = []
    thetas: list[Compressed] = [Dense(outline_tensor(*shape, dtype=dtype))]
    for each in compressions:
        try:
            each.check(shape)
            outline = each.outline(shape)
        except ValueError:
            continue
        if outline is None:
            raise ValueError(f"of: expected compressions whose size the shape tells, got {label(each)}")
        fit.append(each)
        thetas.append(in_dtype(outline, dtype))
    costs = [theta.storage_bits() // 8 if uses is None else sum(theta.macs(use) for use in uses) for theta in thetas]
    return Ladder(shape, tuple(fit), (DENSE, *map(label, fit)), tuple(thetas), np.array(costs, np.int64))


def _words(theta: Compressed) -> int:
    """About the bytes that the header of a file takes for `theta`."""
    arrays = theta.pack()
    return len(json.dumps(theta.form())) + sum(AN_ARRAY + len(name) + len(str(a.shape)) for name, a in arrays.items())


def label(compression: Compression) -> str:
    """A short name: the class with what is not its default, and both of a chain.

    >>> label(Chain(L0Pruning(keep=0.1), Codebook(size=4)))
    'L0Pruning(keep=0.1), Codebook(size=4)'
    """
    if isinstance(compression, Chain):
        return f"{label(compression.first)}, {label(compression.then)}"
    assert is_dataclass(compression)
    told = [(each.name, getattr(compression, each.name), each.default) for each in fields(compression)]
    given = [f"{name}={value!r}" for name, value, default in told if value != default]
    return f"{type(compression).__name__}({', '.join(given)})"


def check_choice(compression: Compression) -> None:
    """ValueError where a layer under a budget cannot choose `compression`."""
    if isinstance(compression, Penalized):
        raise ValueError(f"of: expected compressions whose size the shape tells, got {label(compression)}")
    pruning = compression.first if isinstance(compression, Chain) else compression
    if isinstance(pruning, GroupPruning) and (pruning.axis != "input" or pruning.parts):
        raise ValueError(f"of: expected groups of inputs of one layer, got {label(pruning)}")


def ladder_errors(w: Tensor, compressions: Sequence[Compression], *, mu: float, by_magnitude: bool = False) -> Floats:
    """||w - Delta(Pi(w))||^2 of each compression, without a warm start (compressions,), float64.

    Exact for `L0Pruning`, `LowRank` and `GroupPruning` of one layer: the squares that pruning drops, the singular
    values that a rank leaves out, and the squared norms of the groups that go. For `Codebook` see `codebook_errors`.
    For `Chain` of `L0Pruning` and `Codebook`, the error of pruning, then a codebook of what stays: what the chain
    starts from, and an upper bound. The others are carried out.

    `by_magnitude`: sum_i |w_i| (w_i - Delta_i)^2 instead, of the same Delta. For `LowRank` it is the plain error
    times sum_i |w_i|^3 / ||w||^2: exact at rank 0, and else an estimate, mostly too high.
    """
    errors = np.zeros(len(compressions))
    layer = _Layer(w.detach(), by_magnitude)
    codebooks: dict[int, list[tuple[int, int]]] = defaultdict(list)  # weights that stay -> (place, size)
    for place, compression in enumerate(compressions):
        match compression:
            case L0Pruning():
                errors[place] = layer.pruned[w.numel() - compression.count(layer.shape)]
            case Codebook(size=size):
                codebooks[w.numel()].append((place, size))
            case Chain(first=L0Pruning() as pruning, then=Codebook(size=size)):
                codebooks[pruning.count(layer.shape)].append((place, size))
            case LowRank(rank=rank, scheme=scheme):
                energies = layer.energies(scheme)
                errors[place] = energies[max(len(energies) - 1 - rank, 0)]
            case GroupPruning(axis=axis, parts=()):
                errors[place] = layer.groups(axis)[compression.count(layer.shape)]
            case _:
                errors[place] = squared_error(w, compression.compress(w, mu=mu), by_magnitude=by_magnitude)
    for count, asked in codebooks.items():
        found = codebook_errors(layer.largest(count), [size for _, size in asked], by_magnitude=by_magnitude)
        errors[[place for place, _ in asked]] = found + layer.pruned[w.numel() - count]
    return errors


def squared_error(w: Tensor, theta: Compressed, *, by_magnitude: bool) -> float:
    """||w - Delta(Theta)||^2 or, `by_magnitude`, sum_i |w_i| (w_i - Delta_i)^2, in float64."""
    exact = w.double()
    squares = (exact - theta.decompress().double()).square()
    return float((exact.abs() * squares if by_magnitude else squares).sum())


@dataclass(frozen=True)
class _Layer:
    """What the errors of a layer's compressions have in common, computed where it is needed."""

    w: Tensor
    by_magnitude: bool

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.w.shape)

    @cached_property
    def ascending(self) -> npt.NDArray[np.floating]:
        return sorted_array(self.w)

    @cached_property
    def pruned(self) -> Floats:
        """What dropping the k smallest weights costs, for k from 0 (n + 1,)."""
        return _sums(np.sort(np.abs(self.ascending)).astype(np.float64) ** (3 if self.by_magnitude else 2))

    def largest(self, count: int) -> npt.NDArray[np.floating]:
        """The `count` weights of largest magnitude, ascending. They are the first and the last ones."""
        n = self.ascending.size
        if count == n:
            return self.ascending
        first, last = 0, n - count  # the weights that go are a run of `n - count`: its first place lies in between
        low, high = first, count
        while low < high:
            middle = (low + high) // 2
            # the run moves up while the weight behind it is smaller than the first in it
            if abs(self.ascending[middle]) > abs(self.ascending[middle + last]):
                low = middle + 1
            else:
                high = middle
        return np.concatenate([self.ascending[:low], self.ascending[low + last :]])

    def energies(self, scheme: Scheme) -> Floats:
        """What leaving out the k smallest singular values costs, for k from 0."""
        if scheme not in self._energies:
            matrix = as_matrix(self.w, scheme=scheme)
            values = leading(matrix, rank=min(matrix.shape)).s
            energies = _sums(np.sort(values.double().cpu().numpy()) ** 2)
            self._energies[scheme] = energies * (self.pruned[-1] / max(energies[-1], TINY) if self.by_magnitude else 1)
        return self._energies[scheme]

    @cached_property
    def _energies(self) -> dict[str, Floats]:
        return {}

    def groups(self, axis: str) -> Floats:
        """What it costs to keep only the k groups of largest norm, for k from 0."""
        slices = self.w.double().movedim(AXES[axis], 0).reshape(self.w.shape[AXES[axis]], -1)
        norms = slices.square().sum(dim=1).cpu().numpy()
        costs = slices.abs().pow(3).sum(dim=1).cpu().numpy() if self.by_magnitude else norms
        return _sums(costs[np.argsort(norms, kind="stable")])[::-1]


def _sums(values: Floats) -> Floats:
    return np.append(0.0, np.cumsum(values))
