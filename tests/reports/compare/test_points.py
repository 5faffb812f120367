"""Models of others beside a comparison: read from a file, drawn and listed, and of no weight in any number."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from reports.compare.comparison import compare
from reports.compare.figure import draw_comparison
from reports.compare.page import page
from reports.compare.points import Point, check_points, read_points
from reports.compare.summary import summary
from sweep.target import Target
from tests.reports import synthetic
from tests.reports.compare.test_compare import sweep

HEAD = "name,bytes,error,source\n"
ROWS = 'peer one,650,0.02,"a paper, table 2"\npeer two,90000,0.4,here\n'


def file(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_points_are_read_in_order(tmp_path: Path) -> None:
    assert read_points(file(tmp_path, HEAD + ROWS)) == (
        Point("a", "peer one", 650, 0.02, "a paper, table 2"),
        Point("b", "peer two", 90_000, 0.4, "here"),
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,bytes\nx,1\n", "expected a CSV file with the columns name, bytes, error, source, got name, bytes"),
        ("", "got no columns"),
        (HEAD, "expected 1 to 26 points, got 0"),
        (HEAD + "x,1,0.1,y\n" * 27, "expected 1 to 26 points, got 27"),
        (HEAD + "x,1,0.1,y\nx,1.5,0.1,y\n", "line 3: expected a name, whole bytes above 0, .* got x, 1.5, 0.1, y"),
        (HEAD + "x,0,0.1,y\n", "line 2"),
        (HEAD + "x,1,nan,y\n", "line 2"),
        (HEAD + "x,1,0.1,\n", "line 2"),
        (HEAD + "x,1,0.1\n", "line 2"),
        (HEAD + "x,1,0.1,y,z\n", "line 2"),
    ],
)
def test_a_file_that_is_none_of_points_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        read_points(file(tmp_path, text))
    assert "\n" not in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere.csv: expected a CSV file"):
        read_points(tmp_path / "nowhere.csv")


def test_an_error_in_percent_is_refused_where_errors_are_fractions(tmp_path: Path) -> None:
    (point,) = read_points(file(tmp_path, HEAD + "peer,650,2.1,here\n"))
    given = [sweep(tmp_path / name, {700: (9,)}) for name in "ab"]
    with pytest.raises(ValueError, match=r"peer: expected an error that is a fraction in \[0, 1\], got 2.1"):
        compare(given, points=(point,))
    check_points([point], synthetic.MSE)


@pytest.mark.parametrize("sides", [2, 5])
def test_points_are_drawn_in_each_plot_and_listed(tmp_path: Path, sides: int) -> None:
    given = [sweep(tmp_path / f"side {k}", {700 + k: (40,), 2000: (9 + k,)}) for k in range(sides)]
    points = read_points(file(tmp_path, HEAD + ROWS))
    comparison = compare(given, points=points)
    figure = draw_comparison(comparison)
    plots = [axes for axes in figure.axes if axes.get_label().startswith(("compare", "panel"))]
    assert len(plots) == (1 if sides == 2 else sides)
    for axes in plots:
        drawn = {str(line.get_gid()): np.array(line.get_xydata()).tolist() for line in axes.get_lines()}
        assert (drawn["point-a"], drawn["point-b"]) == ([[650, 0.02]], [[90_000, 0.4]])
        for point in points:
            place = axes.transData.transform((point.bytes, point.error))
            assert axes.get_window_extent().contains(*place)
        assert {text.get_text() for text in axes.texts} >= {"a", "b"}
    words = " ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")
    assert "Diamonds are of others: a peer one; b peer two." in words
    told = page(comparison)
    assert "| a | peer one | 650 | 2.00" in told
    assert "a paper, table 2" in told
    assert [each["letter"] for each in summary(comparison)["points"]] == ["a", "b"]


@pytest.mark.parametrize("sides", [2, 5])
def test_letters_of_points_that_meet_stand_together(tmp_path: Path, sides: int) -> None:
    given = [sweep(tmp_path / f"side {k}", {700 + k: (40,), 2000: (9 + k,)}) for k in range(sides)]
    rows = "far,90000,0.4,x\none,660,0.02,x\nnear,650,0.0201,x\nlow,650,0.3,x\nnext,710,0.02,x\n"
    figure = draw_comparison(compare(given, points=read_points(file(tmp_path, HEAD + rows))))
    for axes in figure.axes:
        if axes.get_label().startswith(("compare", "panel")):
            letters = [text for text in axes.texts if set(text.get_text()) <= set("abcde ")]
            assert {text.get_text() for text in letters} == {"a", "b c e", "d"}
            assert all(text.get_window_extent().x1 <= axes.bbox.x1 for text in letters)


def test_points_change_no_number(tmp_path: Path) -> None:
    given = [sweep(tmp_path / name, {700: (20,), 900: (9, 10)}) for name in "ab"]
    points = read_points(file(tmp_path, HEAD + "best,1,0,here\n"))
    plain, shown = (compare(given, target=Target(max_drop=0.01), points=each) for each in ((), points))
    assert (plain.levels, plain.hypervolumes, plain.joint) == (shown.levels, shown.hypervolumes, shown.joint)
    assert "of others" not in page(plain)
