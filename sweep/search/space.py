"""The configurations of a search as plain arrays, and their order. Pure: no study, no storage.

Within a family, a configuration is at least as tight as another if it is looser in no knob. A family is a box of levels
in which some places may be empty. So running sums along each knob count or mark what is tighter than each
configuration. This takes O(n) for all configurations together; comparing each with each would take O(n^2).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
        families: (n,) the number of each one's family.
        levels: (n, knobs) the number of each knob's level, 0 for the loosest. A knob that the family lacks has 0.
        sizes: (n,) what is minimised, nominal or expected bytes or MACs. `make_space` raises them to more than those of
            all tighter configurations: an index may take a few bytes more as the weights on it become fewer.
        least: (n,) the least that a file may have, where sizes are expected ones; None where they are exact.
    """

    families: Indices
    levels: Indices
    sizes: Indices
    least: Indices | None = None

    def __len__(self) -> int:
        return len(self.sizes)

    def tighter(self, flags: Flags) -> Flags:
        """(n,) whether each configuration is at least as tight as one that `flags` (n,) marks, which may be itself."""
        return self.sum_looser(flags.astype(np.float64)) > 0

    def sum_looser(self, values: Values) -> Values:
        """(n,) for each configuration, the sum of `values` (n,) over itself and all that are at least as loose."""
        return self._sums(values, step=1)

    def sum_tighter(self, values: Values) -> Values:
        """(n,) for each configuration, the sum of `values` (n,) over itself and all that are at least as tight."""
        return self._sums(values, step=-1)

    def sum_no_smaller(self, values: Values) -> Values:
        """(n,) for each configuration, the sum of `values` (n,) over all of any family that are no smaller."""
        order, smaller = self._by_size
        below = np.concatenate([[0.0], np.cumsum(values[order])])
        return np.asarray(below[-1] - below[smaller])

    @cached_property
    def _boxes(self) -> list[tuple[Indices, tuple[int, ...], tuple[Indices, ...]]]:
        """For each family: its configurations, how many levels each knob has, and where each one lies in that box."""
        boxes = []
        for family in np.unique(self.families):
            members = np.flatnonzero(self.families == family)
            levels = self.levels[members]
            boxes.append((members, tuple(int(most) + 1 for most in levels.max(axis=0)), tuple(levels.T)))
        return boxes

    @cached_property
    def _by_size(self) -> tuple[Indices, Indices]:
        """The configurations in the order of their sizes, and for each one how many are smaller."""
        order = np.argsort(self.sizes, kind="stable")
        return order, np.searchsorted(self.sizes[order], self.sizes)

    def raised(self) -> "Space":
        """The same space; where a tighter configuration has a larger size, with a size of a byte more than that."""
        most = np.empty(len(self), np.int64)
        for members, shape, places in self._boxes:
            flipped = (slice(None, None, -1),) * len(shape)
            box = np.zeros(shape, np.int64)
            box[places] = self.sizes[members]
            box = box[flipped]
            for axis in range(len(shape)):
                box = np.maximum.accumulate(box, axis=axis)
            most[members] = box[flipped][places]
        return replace(self, sizes=np.where(most > self.sizes, most + 1, self.sizes))

    def _sums(self, values: Values, *, step: int) -> Values:
        """Running sums along every knob. They start at the loosest level for `step` 1, at the tightest for -1."""
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
    return Space(np.asarray(families, dtype=np.int64), padded, np.asarray(sizes, dtype=np.int64)).raised()


def spread(families: Sequence[int], levels: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of configurations, ordered so that the first ones tell most about the others.

    First come the ends of each family, then its middle, its quarters, and so on: the order follows the sum over knobs
    of the number of halvings that lead to the level. Of equals, each family has one in turn.

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
    """For each level, how many halvings lead to it: 0 for the ends, 1 for the middle, 2 for the quarters, and so on."""
    found = [0] * count
    parts, depth = [(0, count - 1)], 1
    while parts := [(low, high) for low, high in parts if high - low > 1]:
        for low, high in parts:
            found[(low + high) // 2] = depth
        parts = [half for low, high in parts for half in ((low, (low + high) // 2), ((low + high) // 2, high))]
        depth += 1
    return found
