"""Where a text goes so that it hides no point. All lengths are in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_ON_POINT = 300.0
_ON_LEADER = 60.0
_PADDING = 5.0
_CELL = 4.0


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels: its left, its bottom, its width and its height."""

    left: float
    bottom: float
    width: float
    height: float


def place(width: float, height: float, *, spots: Points, anchor: tuple[float, float], obstacles: Points) -> Box:
    """The box of this size, at one of `spots`, that covers the fewest obstacles and lies nearest to `anchor`.

    Its shortest line to the anchor should cross no obstacle either. Ties go to the first spot, so that the result
    depends on the input only. Cost: O(n k), where k cells of four pixels hold an obstacle.

    Args:
        spots: possible lower left corners (n, 2).
        obstacles: points (m, 2) that should stay visible.
    """
    left, bottom = spots[:, 0], spots[:, 1]
    right, top = left + width, bottom + height
    cost = _gap(anchor[0], left, right) ** 2 + _gap(anchor[1], bottom, top) ** 2
    cost = np.sqrt(cost)
    near = np.stack([np.clip(anchor[0], left, right), np.clip(anchor[1], bottom, top)], axis=1)
    cells, weights = np.unique(np.round(obstacles / _CELL), axis=0, return_counts=True)
    for (x, y), weight in zip(cells * _CELL, np.minimum(weights, 3), strict=True):
        inside = (left - _PADDING <= x) & (x <= right + _PADDING) & (bottom - _PADDING <= y) & (y <= top + _PADDING)
        crossed = _distance(np.array([x, y]), np.array(anchor), near) < _PADDING
        cost += weight * (_ON_POINT * inside + _ON_LEADER * (crossed & ~inside))
    best = int(np.argmin(cost))
    return Box(float(left[best]), float(bottom[best]), width, height)


def beside(
    width: float, height: float, *, own: Points, away: float, area: Box, obstacles: Points, taken: Sequence[Box]
) -> Box | None:
    """A box of this width and height beside one of the points `own` (n, 2); None where none is free.

    It lies inside `area`, on one side or corner of the point, `away` pixels from it. It hides none of `obstacles` and
    meets none of the boxes `taken`. Where several do, it is the first one: the first side of the first point.
    """
    aside, slant = -away - width, 0.7 * away
    sides = ((away, -height / 2), (aside, -height / 2), (-width / 2, away), (-width / 2, -away - height))
    corners = [(right, up) for right in (slant, -slant - width) for up in (slant, -slant - height)]
    for x, y in own:
        for right, up in (*sides, *corners):
            box = Box(float(x + right), float(y + up), width, height)
            if _within(box, area) and not _hides(box, obstacles) and not any(_meet(box, other) for other in taken):
                return box
    return None


def _within(box: Box, area: Box) -> bool:
    return (
        box.left >= area.left
        and box.bottom >= area.bottom
        and box.left + box.width <= area.left + area.width
        and box.bottom + box.height <= area.bottom + area.height
    )


def _hides(box: Box, points: Points) -> bool:
    x, y = points[:, 0], points[:, 1]
    inside = (x >= box.left - _PADDING) & (x <= box.left + box.width + _PADDING)
    return bool((inside & (y >= box.bottom - _PADDING) & (y <= box.bottom + box.height + _PADDING)).any())


def _meet(one: Box, other: Box) -> bool:
    across = one.left < other.left + other.width and other.left < one.left + one.width
    return across and one.bottom < other.bottom + other.height and other.bottom < one.bottom + one.height


def lattice(area: Box, *, width: float, height: float, step: float) -> Points:
    """Lower left corners (n, 2), `step` pixels apart, at which a box of this size lies inside `area`: one or more."""
    xs = np.arange(area.left, max(area.left + area.width - width, area.left) + 1e-9, step)
    ys = np.arange(area.bottom, max(area.bottom + area.height - height, area.bottom) + 1e-9, step)
    return np.stack(np.meshgrid(xs, ys, indexing="ij"), axis=-1).reshape(-1, 2)


def along(points: Points, *, step: float) -> Points:
    """Points (n, 2) every `step` pixels along the polyline through `points` (m, 2), its ends included."""
    pieces = [points[:1]]
    for start, end in pairwise(points):
        pieces_count = max(int(np.hypot(*(end - start)) / step), 1)
        share = np.linspace(0.0, 1.0, pieces_count + 1)[1:, None]
        pieces.append(start + share * (end - start))
    return np.concatenate(pieces)


def _distance(point: Points, start: Points, ends: Points) -> Points:
    """How far a point (2,) is from each of the segments (n,) that go from `start` (2,) to `ends` (n, 2)."""
    along_segment = ends - start
    length = np.maximum((along_segment**2).sum(axis=1), 1e-9)
    share = np.clip(((point - start) * along_segment).sum(axis=1) / length, 0.0, 1.0)
    return np.asarray(np.hypot(*(start + share[:, None] * along_segment - point).T))


def _gap(value: float, low: Points, high: Points) -> Points:
    """How far `value` lies outside each range [low, high]; 0 inside."""
    return np.maximum(np.maximum(low - value, value - high), 0.0)
