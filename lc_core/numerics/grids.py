"""Grids of evenly spaced values for the weights of channels, and the search for the best grid."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lc_core.numerics.sorted_values import ascending

CLIPS = tuple(2.0**-number for number in range(7))
"""Start ranges, relative to the range of the weights. From the full range alone, 2 bits would never drop outliers."""
ROUNDS = 12
FIRST_STRETCH, LAST_STRETCH = 0.2, 5e-3
TOLERANCE = 1e-3
"""A round that lowers the error by less than this fraction halves the stretch."""
BLOCK = 1 << 16
"""The number of weights to search at a time, such that they stay in the processor's cache."""
WEIGHTS_A_CODE = 64
"""From this many weights for each code on, runs of sorted weights are faster than single weights."""


@dataclass(frozen=True, eq=False)
class Grid:
    """The values scale * (code - zero), code = 0 ... last, for each channel.

    Attributes:
        scale: (channels,).
        zero: (channels,), whole numbers in the dtype of `scale`.
        last: the largest code.
    """

    scale: Tensor
    zero: Tensor
    last: int

    def nearest(self, rows: Tensor) -> Tensor:
        """Codes (channels, n) of the values nearest to `rows` (channels, n), in their dtype."""
        # Where the scale is 0, all values are 0: an infinite scale gives the code of 0 without dividing by 0.
        scale = torch.where(self.scale > 0, self.scale, torch.inf).to(rows)[:, None]
        return (rows / scale).add_(self.zero.to(rows)[:, None]).round_().clamp_(0, self.last)

    def steps(self, rows: Tensor) -> Tensor:
        """q - z (channels, n) of the nearest codes."""
        return self.nearest(rows).sub_(self.zero.to(rows)[:, None])

    def errors(self, rows: Tensor) -> Tensor:
        """Squared distances (channels,) of `rows` to the decompressed nearest values; float64."""
        wide = rows.double()
        values = self.steps(wide).to(rows.dtype).mul_(self.scale[:, None])
        return (wide - values).square_().sum(dim=1)

    def split(self, channels: int) -> list["Grid"]:
        """The grid in parts of this many channels."""
        pairs = zip(self.scale.split(channels), self.zero.split(channels), strict=True)
        return [Grid(scale, zero, self.last) for scale, zero in pairs]

    def where(self, chosen: Tensor, other: "Grid") -> "Grid":
        """This grid in the channels that are `chosen`, `other` in the others."""
        scale, zero = torch.where(chosen, self.scale, other.scale), torch.where(chosen, self.zero, other.zero)
        return Grid(scale, zero, self.last)


class _Rows(Protocol):
    """Weights (channels, n) in the form that the search needs."""

    def products(self, grid: Grid) -> tuple[Tensor, Tensor]:
        """w^T d and d^T d (channels,), float64, for d the steps q - z of the values of `grid` nearest to w."""
        ...


@dataclass(frozen=True, eq=False)
class _Listed:
    """Weights one by one, float64."""

    rows: Tensor

    def products(self, grid: Grid) -> tuple[Tensor, Tensor]:
        steps = grid.steps(self.rows)
        return torch.linalg.vecdot(steps, self.rows), torch.linalg.vecdot(steps, steps)


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Sorted weights, where each code has a run, with the sums (channels, n + 1) of the first 0 ... n; float64."""

    rows: Tensor
    sums: Tensor

    def products(self, grid: Grid) -> tuple[Tensor, Tensor]:
        steps = torch.arange(grid.last + 1, dtype=torch.float64, device=self.rows.device) - grid.zero[:, None]
        inner = torch.searchsorted(self.rows, (steps[:, 1:] - 0.5) * grid.scale[:, None])
        ends = torch.full_like(inner[:, :1], self.rows.shape[1])
        edges = torch.cat([torch.zeros_like(ends), inner, ends], dim=1)
        counts, sums = edges.diff(dim=1).double(), self.sums.gather(1, edges).diff(dim=1)
        return torch.linalg.vecdot(steps, sums), torch.linalg.vecdot(steps.square(), counts)


def best_grid(rows: Tensor, *, last: int, symmetric: bool, before: Grid | None) -> Grid:
    """The best grid found for each of `rows` (channels, n), with codes up to `last`; of equal ones, `before`.

    `UniformQuantization` describes the search. Scales and zero points come in the dtype of `rows`.
    """
    channels = max(1, BLOCK // max(1, rows.shape[1]))
    blocks = rows.split(channels)
    befores = [None] * len(blocks) if before is None else before.split(channels)
    found = [
        _best_of_block(block, last=last, symmetric=symmetric, before=earlier)
        for block, earlier in zip(blocks, befores, strict=True)
    ]
    return Grid(torch.cat([grid.scale for grid in found]), torch.cat([grid.zero for grid in found]), last)


def widest_grid(rows: Tensor, *, last: int, symmetric: bool) -> Grid:
    """The grid between the smallest and the largest of each of `rows` (channels, n) and 0, with codes up to `last`."""
    return _held(_between(*_range(rows, symmetric=symmetric), last=last), rows.dtype)


def _best_of_block(rows: Tensor, *, last: int, symmetric: bool, before: Grid | None) -> Grid:
    low, high = _range(rows, symmetric=symmetric)
    widest = torch.maximum(-low, high)
    ranges = [(low.maximum(-widest * clip), high.minimum(widest * clip)) for clip in CLIPS]
    starts = [_between(*clipped, last=last) for clipped in ranges]
    whole = starts[0]
    if before is not None and last == 1:
        return _on_the_side_of(before, rows, starts=[*starts, Grid(widest, whole.zero, last)])
    if before is not None:
        starts.insert(0, Grid(before.scale.double(), before.zero.double(), last))
    found = _alternate(rows, starts, shifts=() if symmetric else (-1, 1))
    # For zeros and constants, the second grid is exact: one step of their own size.
    grids = [whole, Grid(widest, whole.zero, last), found]
    held = [_held(grid, rows.dtype) for grid in grids]
    return _least(held if before is None else [before, *held], rows)


def _on_the_side_of(before: Grid, rows: Tensor, *, starts: list[Grid]) -> Grid:
    """The best grid found of one bit, 0 and one other value, whose sign is that of `before`, where this has two values.

    The best of both signs would alternate between them in LC: the weights that one sign leaves at 0 gain multipliers
    until the other sign is nearer.
    """
    zero = torch.where(before.scale > 0, before.zero, starts[0].zero.to(before.zero))
    sided = [Grid(each.scale.double(), zero.double(), before.last) for each in (before, *starts)]
    return _least([before, _held(_alternate(rows, sided, shifts=()), rows.dtype)], rows)


def _range(rows: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """The smallest and the largest of each of `rows` and 0; if symmetric, -/+ the largest magnitude; float64."""
    if not rows.shape[1]:
        return (rows.new_zeros(rows.shape[0], dtype=torch.float64),) * 2
    low, high = (edge.double() for edge in rows.aminmax(dim=1))
    low, high = low.clamp(max=0), high.clamp(min=0)
    return (low.minimum(-high), high.maximum(-low)) if symmetric else (low, high)


def _between(low: Tensor, high: Tensor, *, last: int) -> Grid:
    """The grid from `low` (channels,), at most 0, to `high`, at least 0, moved so that 0 has a code."""
    scale = (high - low) / last
    zero = (-low / torch.where(scale > 0, scale, 1.0)).round()
    return Grid(scale, torch.where(scale > 0, zero, last // 2), last)


def _alternate(rows: Tensor, starts: list[Grid], *, shifts: tuple[int, ...]) -> Grid:
    """The end of the alternation from the best of `starts`, for each channel.

    It tries the current scale, zero points moved by `shifts`, and scales stretched both ways by less and less. With
    many codes, refitting alone hardly moves the scale, however far the best scale is.
    """
    search = _search(rows, last=starts[0].last)
    best, error = search.refit(starts[0])
    for start in starts[1:]:
        best, error = search.better(start, best, error)
    stretch = torch.full_like(error, FIRST_STRETCH)
    for _ in range(ROUNDS):
        base, base_error = best, error
        for scale in (base.scale, base.scale * (1 + stretch), base.scale / (1 + stretch)):
            best, error = search.better(Grid(scale, base.zero, base.last), best, error)
        for shift in shifts:
            zero = (base.zero + shift).clamp(0, base.last)
            best, error = search.better(Grid(base.scale, zero, base.last), best, error)
        stretch = torch.where(error < base_error * (1 - TOLERANCE), stretch, stretch / 2)
        if not bool((stretch > LAST_STRETCH).any()):
            break
    return best


@dataclass(frozen=True, eq=False)
class _Search:
    """Compares grids on rows of weights.

    Attributes:
        rows: the weights.
        squares: ||w||^2 (channels,), float64.
    """

    rows: _Rows
    squares: Tensor

    def refit(self, grid: Grid) -> tuple[Grid, Tensor]:
        """`grid` with the best scale for its codes, and the squared error (channels,) with that scale."""
        products, squares = self.rows.products(grid)
        scale = products / squares.clamp(min=1)
        return Grid(scale, grid.zero, grid.last), self.squares - products * scale

    def better(self, grid: Grid, best: Grid, error: Tensor) -> tuple[Grid, Tensor]:
        """`grid`, refitted, where its error is below `error`, `best` elsewhere; and the smaller errors."""
        refitted, errors = self.refit(grid)
        return refitted.where(errors < error, best), torch.minimum(errors, error)


def _search(rows: Tensor, *, last: int) -> _Search:
    wide = rows.double()
    squares = torch.linalg.vecdot(wide, wide)
    if rows.shape[1] < WEIGHTS_A_CODE * (last + 1):
        return _Search(_Listed(wide), squares)
    ordered = ascending(rows).double()
    return _Search(_Sorted(ordered, torch.nn.functional.pad(ordered.cumsum(dim=1), (1, 0))), squares)


def _held(grid: Grid, dtype: torch.dtype) -> Grid:
    """`grid` with its scale rounded to `dtype`."""
    return Grid(grid.scale.clamp(max=torch.finfo(dtype).max).to(dtype), grid.zero.to(dtype), grid.last)


def _least(grids: list[Grid], rows: Tensor) -> Grid:
    """In each channel the first of `grids` with the least error."""
    best, least = grids[0], grids[0].errors(rows)
    for grid in grids[1:]:
        errors = grid.errors(rows)
        best, least = grid.where(errors < least, best), torch.minimum(errors, least)
    return best
