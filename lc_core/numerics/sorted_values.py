"""Sorting, and the sums over runs of sorted values that k-means needs.

`edges` (k + 1,) are indices into the n sorted values, from 0 to n. They split the values into k runs. A border is an
edge between two runs.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lc_core.numerics.kernels import Flags, Floats, Indices
from lc_core.numerics.lookup import not_above

BLOCK = 16
CHUNK = 1 << 11
SAMPLE = 1 << 12


class Ordered(Protocol):
    """Values in ascending order, sorted as far as needed. Sums and points have `shift` subtracted."""

    @property
    def size(self) -> int: ...

    @property
    def shift(self) -> float: ...

    def before(self, edges: Indices) -> tuple[Floats, Floats]:
        """Sums of the values before each of `edges`, of any shape, and of their squares."""

    def below(self, points: Floats) -> Indices:
        """The number of values not above each of `points`."""

    def staying(self, centres: Floats, left_out: int) -> Indices:
        """First places and ends (2, k) of the runs around ascending `centres` (k,), less the shift, after removing the
        `left_out` values that are farthest from their nearest centre."""

    def about(self, places: Indices) -> tuple[Floats, Flags]:
        """The value at each of `places`, less the shift, and whether it is known exactly."""

    def sampled(self) -> tuple[Indices, Floats]:
        """The places of a sample of the values, the first among them, and their values."""


def centres_of(data: Ordered, edges: Indices) -> Floats:
    """Means (k,) of the runs, less the shift; every run holds a value."""
    sums = data.before(edges)[0]
    means: Floats = (sums[1:] - sums[:-1]) / (edges[1:] - edges[:-1])
    return means


def distortions(data: Ordered, edges: Indices) -> Floats:
    """For each run (k,), the sum of squared distances to its mean."""
    sums, squares = data.before(edges)
    spread: Floats = squares[1:] - squares[:-1] - (sums[1:] - sums[:-1]) ** 2 / (edges[1:] - edges[:-1])
    return spread


def distortion(data: Ordered, edges: Indices) -> float:
    """The sum of `distortions`."""
    return float(distortions(data, edges).sum())


def nearest_runs(data: Ordered, centres: Floats) -> Indices:
    """Edges of the runs of values nearest to each of `centres`. A centre without values is dropped."""
    return edges_of(data.below((centres[1:] + centres[:-1]) / 2), data.size)


@dataclass(frozen=True, eq=False)
class SortedValues:
    """Values (n,) and the sums of the first 0, BLOCK, 2 BLOCK, ... of them, each less `shift`.

    Sums at every value would take longer than sorting. The values within a block are added when asked for.

    Attributes:
        values: ascending, float32 or float64.
        shift: subtracted before summing: 0, or one of the values where they lie far from 0.
        sums: (n // BLOCK + 1,), float64.
        squares: (n // BLOCK + 1,), float64, sums of squares.
    """

    values: npt.NDArray[np.floating]
    shift: float
    sums: Floats
    squares: Floats

    @property
    def size(self) -> int:
        return self.values.size

    def before(self, edges: Indices) -> tuple[Floats, Floats]:
        """Sums of the values before each of `edges`, of any shape, and of their squares."""
        block, rest = np.divmod(edges, BLOCK)
        places = np.minimum((edges - rest)[..., None] + np.arange(BLOCK), self.values.size - 1)
        tails = np.where(np.arange(BLOCK) < rest[..., None], self.values[places].astype(np.float64) - self.shift, 0.0)
        sums, squares = np.einsum("...i->...", tails), np.einsum("...i,...i->...", tails, tails)
        return self.sums[block] + sums, self.squares[block] + squares

    def below(self, points: Floats) -> Indices:
        """The number of values not above each of `points`. Points have the shift subtracted."""
        places: Indices = np.searchsorted(
            self.values, not_above(points + self.shift, self.values.dtype), side="right"
        ).astype(np.int64)
        return places

    def staying(self, centres: Floats, left_out: int) -> Indices:
        """First places and ends (2, k) of the runs around ascending `centres` after the farthest values are removed."""
        values, k = self.values, centres.size
        places = self.below(np.concatenate([(centres[1:] + centres[:-1]) / 2, centres]))
        borders = np.concatenate([[0], places[: k - 1], [values.size]])
        middles = np.minimum(np.maximum(places[k - 1 :], borders[:-1]), borders[1:])
        # Only the outermost values on either side of a centre can be among the farthest.
        firsts = np.concatenate([borders[:-1], np.maximum(borders[1:] - left_out, middles)])
        lasts = np.concatenate([np.minimum(borders[:-1] + left_out, middles), borders[1:]])
        sides = zip(np.concatenate([centres, centres]) + self.shift, firsts, lasts, strict=True)
        distances = np.abs(np.concatenate([values[first:last] - centre for centre, first, last in sides]))
        side = np.repeat(np.arange(2 * k), lasts - firsts)
        gone = np.bincount(side[np.argpartition(distances, -left_out)[-left_out:]], minlength=2 * k)
        return np.stack([borders[:-1] + gone[:k], borders[1:] - gone[k:]])

    def about(self, places: Indices) -> tuple[Floats, Flags]:
        """The values at `places`, less the shift: exact."""
        return self.values[places].astype(np.float64) - self.shift, np.ones(places.shape, np.bool_)

    def sampled(self) -> tuple[Indices, Floats]:
        """All values, or where there are many, a regular sample with all of the smallest and the largest."""
        n, ends = self.size, SAMPLE // 8
        if n > 2 * SAMPLE:
            between = np.arange(ends, n - ends, n // SAMPLE)
            places = np.concatenate([np.arange(ends), between, np.arange(n - ends, n)])
        else:
            places = np.arange(n)
        return places, self.values[places].astype(np.float64)


def summed(values: npt.NDArray[np.floating]) -> SortedValues:
    """Sorted `values`, float32 or float64, with their sums."""
    middle, spread = float(values[values.size // 2]), float(values[-1]) - float(values[0])
    shift = middle if abs(middle) > spread else 0.0
    blocks = values[: values.size // BLOCK * BLOCK].reshape(-1, BLOCK)
    sums, squares = np.zeros(len(blocks) + 1), np.zeros(len(blocks) + 1)
    ones, wide = np.ones(BLOCK), np.empty((CHUNK, BLOCK))
    for first in range(0, len(blocks), CHUNK):  # float64 copies that stay in the cache
        part = blocks[first : first + CHUNK]
        held = np.subtract(part, shift, out=wide[: len(part)], dtype=np.float64)
        np.matmul(held, ones, out=sums[first + 1 :][: len(part)])
        np.einsum("ij,ij->i", held, held, out=squares[first + 1 :][: len(part)])
    return SortedValues(values, shift, np.cumsum(sums), np.cumsum(squares))


def edges_of(borders: Indices, n: int) -> Indices:
    """0, the ascending `borders` without those that would make an empty run, and n."""
    edges = np.empty(borders.size + 2, np.int64)
    edges[0], edges[1:-1], edges[-1] = 0, borders, n
    rising = edges[1:] > edges[:-1]
    return edges if rising.all() else edges[np.append(True, rising)]


def ascending(values: Tensor) -> Tensor:
    """`values` sorted along their last dimension, on their device.

    On a CPU NumPy sorts ten times as fast as torch. Types that NumPy lacks, or sorts slowly, go through float32, which
    holds their values.
    """
    if values.device.type != "cpu":
        return values.sort(dim=-1).values
    wide = values.detach() if values.dtype in (torch.float32, torch.float64) else values.detach().float()
    return torch.from_numpy(np.sort(wide.numpy(), axis=-1)).to(values.dtype)
