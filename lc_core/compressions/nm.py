"""N:M patterns: n of every m weights along the input stay. How to choose them, and how to store the choice."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lc_core.compression import numel, stored
from lc_core.numerics.packing import LARGEST_GROUP, byte_count, code_width, pack_combinations, unpack_combinations
from lc_core.numerics.support import support_bits


@dataclass(frozen=True)
class _Part:
    """The groups of one size: inputs `start` to `stop` of a row, `kept` of every `size`; `name` is that of their
    codes."""

    name: str
    start: int
    stop: int
    size: int
    kept: int

    def of(self, rows: Tensor) -> Tensor:
        """The groups (rows x groups, size) of weights (rows, inputs)."""
        return rows[:, self.start : self.stop].reshape(-1, self.size)


@dataclass(frozen=True)
class Pattern:
    """n of every m consecutive weights along dimension 1, for each output and each position of a kernel.

    A group of l < m weights at the end of a row keeps n l / m of them, rounded up. So no group is empty, and the row
    padded with zeros keeps the pattern.
    """

    n: int
    m: int

    def __post_init__(self) -> None:
        if self.m < 1:
            raise ValueError(f"m: expected groups of at least 1 weight, got {self.m}")
        if not 1 <= self.n <= self.m:
            raise ValueError(f"n: expected from 1 to m = {self.m} weights of a group, got {self.n}")

    def count(self, shape: tuple[int, ...]) -> int:
        """How many weights of a layer of `shape` stay. ValueError where it has no inputs."""
        return sum(self._groups(part, shape) * part.kept for part in self._parts(shape))

    def select(self, scores: Tensor) -> Tensor:
        """The support with the largest sum of `scores` in every group; of equal scores the first. `scores` has the
        shape of the weights."""
        parts, rows = self._parts(tuple(scores.shape)), _as_rows(scores)
        chosen = torch.zeros_like(rows, dtype=torch.bool)
        for part in parts:
            first = part.of(rows).sort(dim=1, descending=True, stable=True).indices[:, : part.kept]
            groups = torch.zeros_like(part.of(rows), dtype=torch.bool).scatter_(1, first, True)
            chosen[:, part.start : part.stop] = groups.reshape(len(rows), -1)
        return _from_rows(chosen, tuple(scores.shape)).reshape(-1).nonzero().reshape(-1)

    def saves(self, shape: tuple[int, ...]) -> bool:
        """Whether these codes take fewer bits than the index of an arbitrary support."""
        return self.m <= LARGEST_GROUP and self.index_bits(shape) < support_bits(self.count(shape), numel(shape))

    def index_bits(self, shape: tuple[int, ...]) -> int:
        """Bits that `pack` writes."""
        sizes = [(self._groups(part, shape), math.comb(part.size, part.kept)) for part in self._parts(shape)]
        return sum(8 * byte_count(groups * code_width(combinations)) for groups, combinations in sizes)

    def pack(self, support: Tensor, *, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """`support`, ascending flat indices in the pattern, as one code of ceil(log2 (m choose n)) bits for each
        group."""
        groups = zip(self._parts(shape), self.groups(support, shape=shape), strict=True)
        return {part.name: pack_combinations(chosen, count=part.kept) for part, chosen in groups}

    def groups(self, support: Tensor, *, shape: tuple[int, ...]) -> list[Tensor]:
        """Which weights stay, bool (groups, size), of the full groups and of those at the rows' ends."""
        flat = torch.zeros(numel(shape), dtype=torch.bool, device=support.device)
        flat[support] = True
        rows = _as_rows(flat.reshape(shape))
        return [part.of(rows) for part in self._parts(shape)]

    def unpack(self, arrays: Mapping[str, Tensor], *, shape: tuple[int, ...]) -> Tensor:
        """The inverse of `pack`: int64, ascending. FormError or DamagedError where the arrays are not such codes."""
        columns = []
        for part in self._parts(shape):
            groups = self._groups(part, shape)
            chosen = unpack_combinations(stored(arrays, part.name), groups=groups, size=part.size, count=part.kept)
            columns.append(chosen.reshape(-1, part.stop - part.start))
        return _from_rows(torch.cat(columns, dim=1), shape).reshape(-1).nonzero().reshape(-1)

    def layouts(self, shape: tuple[int, ...]) -> list[tuple[str, int, int, int]]:
        """Of each array that `pack` writes: its name, the rows, the groups in a row, the bits of a code."""
        found = []
        for part in self._parts(shape):
            groups, width = (part.stop - part.start) // part.size, code_width(math.comb(part.size, part.kept))
            found.append((part.name, self._groups(part, shape) // groups, groups, width))
        return found

    def _parts(self, shape: tuple[int, ...]) -> list[_Part]:
        """The full groups and the groups at the ends of the rows, where there are any."""
        if len(shape) < 2:
            raise ValueError(f"N:M: expected weights of a layer (two dimensions or more), got shape {shape}")
        inputs, rest = shape[1], shape[1] % self.m
        full = _Part("groups", 0, inputs - rest, self.m, self.n)
        end = _Part("rest", inputs - rest, inputs, rest, -(-self.n * rest // self.m))
        return [part for part in (full, end) if part.stop > part.start]

    def _groups(self, part: _Part, shape: tuple[int, ...]) -> int:
        return numel(shape) // shape[1] * ((part.stop - part.start) // part.size)


def _as_rows(weights: Tensor) -> Tensor:
    """Weights (outputs, inputs, ...) as (outputs x positions, inputs)."""
    return weights.movedim(1, -1).reshape(-1, weights.shape[1])


def _from_rows(rows: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The inverse of `_as_rows` for weights of `shape`."""
    return rows.reshape(shape[0], *shape[2:], shape[1]).movedim(-1, 1)
