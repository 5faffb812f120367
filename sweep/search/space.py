"""The configurations of a search as plain arrays, and their order. Pure: no study, no storage.

Within a family a configuration is tighter than another if it is in no knob looser. Families are boxes of levels (some
places may be empty), so what lies beyond a configuration is counted and marked by running sums along each knob:
O(n) for all configurations at once, where comparing each with each is O(n^2).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Space:
    """The configurations of a search.

    Attributes:
        families: (n,) number of the family.
        levels: (n, knobs) number of each knob's level, 0 the loosest; 0 for knobs that a family lacks.
        sizes: (n,) nominal bytes.
    """

    families: Indices
    levels: Indices
    sizes: Indices

    def __len__(self) -> int:
        return len(self.sizes)

    def tighter(self, flags: Flags) -> Flags:
        """(n,) configurations at least as tight as one of those that `flags` (n,) marks; these too."""
        return self.sum_looser(flags.astype(np.float64)) > 0

    def sum_looser(self, values: Values) -> Values:
        """(n,) sum of `values` (n,) over all that are at least as loose as each configuration; itself too."""
        return self._sums(values, step=1)

    def sum_tighter(self, values: Values) -> Values:
        """(n,) sum of `values` (n,) over all that are at least as tight as each configuration; itself too."""
        return self._sums(values, step=-1)

    def sum_no_smaller(self, values: Values) -> Values:
        """(n,) sum of `values` (n,) over all that are no smaller than each configuration, in every family."""
        order, smaller = self._by_size
        below = np.concatenate([[0.0], np.cumsum(values[order])])
        return np.asarray(below[-1] - below[smaller])

    @cached_property
    def _boxes(self) -> list[tuple[Indices, tuple[int, ...], tuple[Indices, ...]]]:
        """Of each family: its configurations, its numbers of levels, and where in that box each one lies."""
        boxes = []
        for family in np.unique(self.families):
            members = np.flatnonzero(self.families == family)
            levels = self.levels[members]
            boxes.append((members, tuple(int(most) + 1 for most in levels.max(axis=0)), tuple(levels.T)))
        return boxes

    @cached_property
    def _by_size(self) -> tuple[Indices, Indices]:
        """The configurations from the smallest on, and how many are smaller than each."""
        order = np.argsort(self.sizes, kind="stable")
        return order, np.searchsorted(self.sizes[order], self.sizes)

    def _sums(self, values: Values, *, step: int) -> Values:
        """Running sums along every knob: from the loosest level on for `step` 1, from the tightest for -1."""
        sums = np.empty(len(self))
        for members, shape, places in self._boxes:
            box = np.zeros(shape)
            box[places] = values[members]
            box = box[(slice(None, None, step),) * len(shape)]
            for axis in range(len(shape)):
                box = box.cumsum(axis=axis)
            sums[members] = box[(slice(None, None, step),) * len(shape)][places]
        return sums


def make_space(families: Sequence[int], levels: Sequence[Sequence[int]], sizes: Sequence[int]) -> Space:
    """A `Space` from lists; families may have different numbers of knobs."""
    width = max((len(row) for row in levels), default=0)
    padded = np.zeros((len(levels), width), dtype=np.int64)
    for number, row in enumerate(levels):
        padded[number, : len(row)] = row
    return Space(np.asarray(families, dtype=np.int64), padded, np.asarray(sizes, dtype=np.int64))


def spread(families: Sequence[int], levels: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of configurations in an order that tells most first: every family's ends, its middle, its quarters.

    By the sum over knobs of the halvings that it takes to come to a level; of equals, one of each family in turn.

    >>> spread([0, 0, 0, 0, 0, 1, 1, 1], [[0], [1], [2], [3], [4], [0], [1], [2]])
    [0, 5, 4, 7, 2, 6, 1, 3]
    """
    counts: dict[tuple[int, int], int] = {}
    for family, row in zip(families, levels, strict=True):
        for knob, level in enumerate(row):
            counts[family, knob] = max(counts.get((family, knob), 0), level + 1)
    halvings = {count: _halvings(count) for count in counts.values()}
    seen: Counter[tuple[int, int]] = Counter()
    keys = []
    for number, (family, row) in enumerate(zip(families, levels, strict=True)):
        depth = sum(halvings[counts[family, knob]][level] for knob, level in enumerate(row))
        keys.append((depth, seen[family, depth], family, number))
        seen[family, depth] += 1
    return [number for *_, number in sorted(keys)]


def _halvings(count: int) -> list[int]:
    """Of each level: 0 for the ends, 1 for the middle, 2 for the middles of the halves, and so on."""
    found = [0] * count
    parts, depth = [(0, count - 1)], 1
    while parts := [(low, high) for low, high in parts if high - low > 1]:
        for low, high in parts:
            found[(low + high) // 2] = depth
        parts = [half for low, high in parts for half in ((low, (low + high) // 2), ((low + high) // 2, high))]
        depth += 1
    return found
