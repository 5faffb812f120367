import numpy as np
import pytest

from reports.placement import Box, along, lattice, place

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
