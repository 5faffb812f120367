import numpy as np
import pytest

from reports.figures import annotations
from reports.figures.placement import Box, along, beside, lattice, place

AREA = Box(0, 0, 400, 300)


def covers(box: Box, points: np.ndarray) -> int:
    x, y = points.T
    inside = (box.left <= x) & (x <= box.left + box.width) & (box.bottom <= y) & (y <= box.bottom + box.height)
    return int(inside.sum())


def test_a_label_covers_no_point_when_there_is_room() -> None:
    draw = np.random.default_rng(0)
    points = draw.uniform((0, 150), (400, 300), size=(300, 2))
    spots = lattice(AREA, width=120, height=50, step=8)
    box = place(120, 50, spots=spots, anchor=(200, 200), obstacles=points)
    assert covers(box, points) == 0


def test_a_label_stays_near_its_anchor_without_obstacles() -> None:
    spots = lattice(AREA, width=120, height=50, step=8)
    box = place(120, 50, spots=spots, anchor=(300, 250), obstacles=np.array([[300.0, 250.0]]))
    assert np.hypot(box.left + box.width / 2 - 300, box.bottom + box.height / 2 - 250) < 120
    assert covers(box, np.array([[300.0, 250.0]])) == 0


def test_a_full_plot_still_gets_its_label_where_fewest_points_are() -> None:
    points = np.concatenate([np.mgrid[0:400:6, 0:300:6].reshape(2, -1).T.astype(float)] * 3)
    thinned = points[~((points[:, 0] > 250) & (points[:, 1] < 100))]
    spots = lattice(AREA, width=120, height=50, step=8)
    box = place(120, 50, spots=spots, anchor=(20, 280), obstacles=thinned)
    assert covers(box, thinned) < covers(Box(20, 200, 120, 50), thinned)


def test_lattice_stays_inside_and_is_never_empty() -> None:
    spots = lattice(AREA, width=120, height=50, step=7)
    assert (spots >= 0).all()
    assert (spots <= (280, 250)).all()
    assert len(lattice(AREA, width=1000, height=1000, step=7)) == 1


def test_along_keeps_the_ends() -> None:
    line = along(np.array([[0.0, 0.0], [0.0, 0.0], [30.0, 40.0]]), step=5.0)
    assert line[0] == pytest.approx([0, 0])
    assert line[-1] == pytest.approx([30, 40])
    assert np.hypot(*np.diff(line, axis=0).T).max() <= 5.0 + 1e-9


def test_a_name_stands_beside_one_of_its_points_and_hides_nothing() -> None:
    draw = np.random.default_rng(1)
    placed = 0
    for _ in range(200):
        points = draw.uniform((0, 0), (400, 300), size=(40, 2))
        taken = [Box(*draw.uniform((0, 0), (300, 250)), 80, 30)]
        box = beside(60, 14, own=points[:5], away=9, area=AREA, obstacles=points, taken=taken)
        if box is None:
            continue
        placed += 1
        assert covers(box, points) == 0
        assert 0 <= box.left <= 340
        assert 0 <= box.bottom <= 286
        right, top = box.left + 60, box.bottom + 14
        other = taken[0]
        assert (
            right <= other.left or box.left >= other.left + 80 or top <= other.bottom or box.bottom >= other.bottom + 30
        )
        across = np.maximum(np.maximum(box.left - points[:5, 0], points[:5, 0] - right), 0)
        up = np.maximum(np.maximum(box.bottom - points[:5, 1], points[:5, 1] - top), 0)
        assert np.hypot(across, up).min() <= 9 + 1e-9
    assert placed > 100


def test_a_name_without_room_has_no_place() -> None:
    points = np.mgrid[0:400:8, 0:300:8].reshape(2, -1).T.astype(float)
    assert beside(60, 14, own=points[:50], away=9, area=AREA, obstacles=points, taken=[]) is None
    alone = np.array([[200.0, 150.0]])
    assert beside(60, 14, own=alone, away=9, area=AREA, obstacles=alone, taken=[Box(0, 0, 400, 300)]) is None
    assert beside(60, 14, own=alone, away=9, area=AREA, obstacles=alone, taken=[]) == Box(209, 143, 60, 14)


def test_the_box_of_the_pick_leaves_the_pick_free() -> None:
    """Over it a box has no line at all, which is no steep one beside the arrow from direct compression."""
    spots = np.array([[0.0, 0.0], [45.0, 0.0], [80.0, 20.0], [20.0, 80.0]])
    arrow = np.array([[50.0, 25.0], [50.0, 200.0]])
    clear = annotations._beside_lines(spots, 60.0, 50.0, centre=arrow[0], lines=[arrow])
    assert clear.tolist() == [False, False, True, False]
