"""Sweeps against one another: sizes at equal error, hypervolume, what may not be compared, and what is drawn."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.compare.comparison import Comparison, compare
from reports.compare.figure import draw_comparison
from reports.compare.page import levels_table, page, sides_table, write_comparison
from reports.compare.summary import summary
from reports.facts.findings import read_findings
from reports.figures.formats import encode
from reports.figures.style import marks
from sweep.target import Target
from tests.reports import synthetic

DATA = {"model": "m", "data": "d", "loss": "l", "reference": "r"}
ERROR = 9 / synthetic.N_VAL  # the reference's


def sweep(
    folder: Path,
    errors: dict[int, tuple[int, ...]],
    *,
    family: str = "prune",
    method: str = "lc",
    parts: dict[str, str] | None = None,
    reference_bytes: int = synthetic.REFERENCE_BYTES,
    target: dict[str, float] | None = None,
) -> str:
    """A sweep of models of these bytes, each with how many examples its seeds get wrong; its folder."""
    records = []
    for size, wrong in errors.items():
        for seed, count in enumerate(wrong):
            point = synthetic.Point(family, {"keep": size}, size, 0.0, None)
            made = synthetic.record(point, seed=seed, seeds=1, n_val=synthetic.N_VAL)
            val = synthetic.wilson(1 - count / synthetic.N_VAL, synthetic.N_VAL)
            records.append(made | {"id": synthetic.job_id(family, method, size, seed), "method": method, "val": val})
    synthetic.write_sweep(folder, records, target=target)
    manifest = json.loads((folder / "sweep.json").read_text())
    manifest["study_parts"] = DATA if parts is None else parts
    manifest["reference"]["bytes"] = reference_bytes
    synthetic.write(folder / "sweep.json", manifest)
    return str(folder)


def sizes(comparison: Comparison) -> dict[str, list[int | None]]:
    """Level -> the bytes of each side's smallest model."""
    return {
        level.name: [None if found is None else found.artifact_bytes for found in level.reached]
        for level in comparison.levels
    }


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Two sweeps, the first with the smaller models, the second with the better ones."""
    first = sweep(tmp_path / "a", {600: (40,), 1000: (15,), 2000: (11,), 5000: (10,)}, target={"max_drop": 0.01})
    second = sweep(tmp_path / "b", {700: (200,), 1300: (15, 14), 2500: (10,), 3000: (9, 9, 9), 9000: (5,)})
    return [first, second]


def test_the_smallest_model_at_equal_error(pair: list[str]) -> None:
    assert sizes(compare(pair)) == {
        "reference": [None, 3000],
        "reference + 0.5 points": [5000, 2500],
        "reference + 1 point, target": [2000, 2500],
        "reference + 2 points": [1000, 1300],
        "reference + 5 points": [1000, 1300],
    }
    levels = summary(compare(pair))["levels"]
    assert [level["smallest"][1]["bytes_to_first"] for level in levels] == [None, 0.5, 1.25, 1.3, 1.3]
    assert levels[2]["error"] == pytest.approx(ERROR + 0.01)
    assert levels[3]["smallest"][1]["errors"] == pytest.approx([15 / 359, 14 / 359])
    assert levels[3]["smallest"][1]["mean_error"] == pytest.approx(14 / 359)  # of the fresh seed


def test_a_level_is_met_by_the_mean_over_seeds_and_exactly(tmp_path: Path) -> None:
    """Two fresh seeds, one of which is worse; their mean is the level's own error, but for the rounding of a sum."""
    names = [sweep(tmp_path / "a", {900: (11, 8, 10)}), sweep(tmp_path / "b", {900: (8, 9, 11)})]
    assert sizes(compare(names))["reference"] == [900, None]


@pytest.mark.parametrize(
    ("target", "name", "error"),
    [
        (Target(max_drop=0.03), "target", ERROR + 0.03),
        (Target(max_drop=0.02), "reference + 2 points, target", ERROR + 0.02),
        (Target(min_accuracy=0.9), "target", 0.1),
    ],
)
def test_a_target_is_a_level_among_the_others(pair: list[str], target: Target, name: str, error: float) -> None:
    levels = compare(pair, target=target).levels
    assert [level.error for level in levels] == sorted(level.error for level in levels)
    (found,) = (level for level in levels if "target" in level.name)
    assert (found.name, found.error) == (name, pytest.approx(error))
    assert compare(pair, target=target).corner == (64_000, levels[-1].error)


def test_the_first_own_target_counts(pair: list[str], tmp_path: Path) -> None:
    third = sweep(tmp_path / "c", {900: (9,)}, target={"min_accuracy": 0.9})
    assert "reference + 1 point, target" in sizes(compare([third, *pair])) or "target" in sizes(compare([third, *pair]))
    assert [level.error for level in compare([pair[1], third]).levels if level.name == "target"] == [pytest.approx(0.1)]


def test_hypervolume_is_the_mean_log_ratio_over_the_errors(pair: list[str]) -> None:
    """By its definition: over errors up to the corner's, log10 of the largest file over the smallest that is enough."""
    comparison = compare(pair)
    size, error = comparison.corner
    assert (size, error) == (64_000, pytest.approx(ERROR + 0.05))
    for side, volume in zip(comparison.sides, comparison.hypervolumes, strict=True):
        grid = (np.arange(200_000) + 0.5) / 200_000 * error
        least = [
            min((math.log10(c.artifact_bytes) for c in side.found if c.mean_error <= level), default=math.log10(size))
            for level in np.unique([c.mean_error for c in side.found] + [0.0])
        ]
        steps = np.searchsorted(np.unique([c.mean_error for c in side.found] + [0.0]), grid, side="right") - 1
        expected = 100 * error * np.mean([math.log10(size) - least[step] for step in steps])
        assert volume == pytest.approx(expected, rel=1e-4)
    assert comparison.hypervolumes[1] > comparison.hypervolumes[0] > 0


def test_the_joint_front_is_of_all_sides_together(pair: list[str]) -> None:
    comparison = compare(pair)
    assert [[c.artifact_bytes for c in side.front] for side in comparison.sides] == [
        [600, 1000, 2000, 5000],
        [700, 1300, 2500, 3000, 9000],
    ]
    assert comparison.joint == (3, 4)  # of the first all but 5000, which 2500 beats; of the other all but 700


def test_a_sweep_against_a_copy_of_itself(tmp_path: Path) -> None:
    names = [sweep(tmp_path / name, {700: (20,), 900: (9, 10)}) for name in "ab"]
    comparison = compare(names)
    assert comparison.hypervolumes[0] == comparison.hypervolumes[1]
    assert comparison.joint == (2, 2)
    ratios = [level["smallest"][1] for level in summary(comparison)["levels"]]
    assert {None if found is None else found["bytes_to_first"] for found in ratios} == {None, 1.0}


# Parts of a sweep


@pytest.fixture
def mixed(tmp_path: Path) -> str:
    """A sweep with two families, one of them also by direct compression."""
    folder = tmp_path / "mixed"
    for family, method, size in (("prune", "lc", 800), ("prune", "dc", 900), ("a:b", "lc", 1000)):
        sweep(folder, {size: (9,)}, family=family, method=method)
    return str(folder)


@pytest.mark.parametrize(
    ("part", "found"),
    [("", [800, 900, 1000]), (":lc", [800, 1000]), (":dc", [900]), (":prune", [800]), (":prune (dc)", [900])],
)
def test_a_part_of_a_sweep(mixed: str, tmp_path: Path, part: str, found: list[int]) -> None:
    other = sweep(tmp_path / "other", {700: (9,)})
    side = compare([mixed + part, other]).sides[0]
    assert [candidate.artifact_bytes for candidate in side.found] == found
    assert len(side.done) == len(found)


def test_lc_against_direct_compression_in_one_folder(mixed: str) -> None:
    comparison = compare([f"{mixed}:lc", f"{mixed}:dc"])
    assert sizes(comparison)["reference"] == [800, 900]
    assert comparison.short_names == ("lc", "dc")
    assert compare([f"{mixed}:lc", mixed]).short_names == ("mixed:lc", "mixed")


def test_names_are_short_in_the_figure(tmp_path: Path) -> None:
    names = [sweep(tmp_path / name, {700: (9,)}) for name in ("x/a", "x/y/a")]
    assert compare(names).short_names == ("a", "y/a")


def test_a_folder_may_have_a_colon_in_its_name(tmp_path: Path) -> None:
    names = [sweep(tmp_path / "a:lc", {700: (9,)}), sweep(tmp_path / "a", {900: (9,)}, method="dc")]
    assert sizes(compare(names))["reference"] == [700, 900]


# What may be compared


def test_other_data_are_refused(pair: list[str], tmp_path: Path) -> None:
    other = sweep(tmp_path / "c", {700: (9,)}, parts=DATA | {"data": "other"})
    with pytest.raises(ValueError, match="different data or splits") as refused:
        compare([*pair, other])
    assert other in str(refused.value)


def test_other_metrics_are_refused_in_a_line(pair: list[str], tmp_path: Path) -> None:
    other = synthetic.write_sweep(tmp_path / "mse", [], target=None, metric=synthetic.MSE)
    with pytest.raises(ValueError, match="expected sweeps of one metric, got MSE and accuracy") as caught:
        compare([*pair, str(other)])
    assert "\n" not in str(caught.value)


def test_a_regression_is_compared_in_its_unit(tmp_path: Path) -> None:
    names = []
    for name in "ab":
        records = [synthetic.record(p, seed=0, seeds=1, n_val=synthetic.N_VAL) for p in synthetic.grid()]
        made = synthetic.write_sweep(tmp_path / name, records, target={"max_drop": 0.25}, metric=synthetic.MSE)
        names.append(str(made))
    comparison = compare(names)
    assert [level.name for level in comparison.levels][:3] == ["reference", "reference + 1 %", "reference + 2 %"]
    assert [level.error for level in comparison.levels if "target" in level.name] == [pytest.approx(400 * ERROR + 0.25)]
    for level in comparison.levels:
        errors = [candidate.mean_error for side in comparison.sides for candidate in side.found]
        assert all(found is not None and found.mean_error <= level.error for found in level.reached)
        assert min(errors) <= level.error
    facts = summary(comparison)
    assert facts["metric"] == {"name": "mse", "unit": "mm2", "higher_is_better": False}
    assert facts["hypervolume"]["unit"] == "decades of bytes x mm2 of MSE"
    told = page(comparison)
    assert "MSE at most" in told
    assert "10.28 mm2 (target)" in told
    assert "error" not in told
    words = " ".join(text.get_text() for text in draw_comparison(comparison).findobj(Text))
    assert "validation MSE (mm2" in words
    assert "error" not in words.lower()


@pytest.mark.parametrize("parts", [{"model": "x"}, {"loss": "x"}, {"model": "x", "reference": "x"}])
def test_another_model_loss_or_reference_is_said(pair: list[str], tmp_path: Path, parts: dict[str, str]) -> None:
    other = sweep(tmp_path / "c", {700: (9,)}, parts=DATA | parts, reference_bytes=7000)
    comparison = compare([pair[1], other])
    said = " ".join(comparison.notes)
    words = {"model": "model", "loss": "loss, metric or augmentation", "reference": "training of the reference"}
    assert f"{other} has another {' and another '.join(words[part] for part in parts)} than {pair[1]}" in said
    assert "its ratios are to its own reference" in said
    assert summary(comparison)["levels"][0]["smallest"][1]["compression_ratio"] == 10.0
    assert comparison.corner[0] == 64_000


def test_unequal_seeds_are_said_and_equal_ones_are_not(tmp_path: Path) -> None:
    one, three = sweep(tmp_path / "a", {700: (9,)}), sweep(tmp_path / "b", {700: (9, 9, 9)})
    direct = sweep(tmp_path / "c", {700: (9,)}, method="dc")
    assert "number of seeds" in " ".join(compare([one, three]).notes)
    assert compare([three, direct]).notes == ()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["a"], "two sweeps or more"),
        (["a", "a"], "each once"),
        (["a", "nowhere"], "nowhere: no such folder"),
        (["a", "nowhere:lc"], "nowhere:lc: no such folder"),
        (["a", "b:rank"], r"b:rank: expected a method or a family of the sweep \(lc; prune\), got 'rank'"),
        (["a", "empty"], "not a sweep"),
    ],
)
def test_what_makes_no_comparison_is_refused(
    pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: list[str], words: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=words):
        compare(given)


# What is shown


def gids(figure: Figure, start: str) -> dict[str, Any]:
    axes = next(axes for axes in figure.axes if axes.get_label() == "compare")
    found = {str(line.get_gid()): line for line in axes.get_lines()}
    return {gid: line for gid, line in found.items() if gid.startswith(start)}


def test_each_front_is_drawn_through_its_models_in_a_look_of_its_own(pair: list[str]) -> None:
    comparison = compare(pair)
    figure = draw_comparison(comparison)
    stairs = gids(figure, "staircase")
    for index, side in enumerate(comparison.sides):
        drawn = stairs[f"staircase-{index}"].get_xydata()
        assert drawn[:-1].tolist() == [[c.artifact_bytes, c.mean_error] for c in side.front]
        assert drawn[-1, 1] == side.front[-1].mean_error
        points = [
            line.get_xydata() for kind in ("front", "dominated") for line in gids(figure, f"{kind}-{index}").values()
        ]
        assert sorted(np.concatenate(points).tolist()) == [[c.artifact_bytes, c.mean_error] for c in side.found]
    for look in ("get_color", "get_linestyle"):
        assert len({str(getattr(line, look)()) for line in stairs.values()}) == 2
    assert len({line.get_marker() for line in gids(figure, "front").values()}) == 2


def test_a_family_has_the_colour_of_the_first_sweeps_report(tmp_path: Path, mixed: str) -> None:
    """Whatever part of it is compared, by whatever method, and whatever the other sweep has."""
    other = sweep(tmp_path / "other", {700: (9,)}, family="aaa first")
    report = read_findings(Path(mixed), target=None, by="bytes")
    looks = marks(report.series, families=report.families, size=1.0)
    assert looks["prune"].colour == looks["prune (dc)"].colour != looks["a:b"].colour
    assert looks["prune"].shape != looks["prune (dc)"].shape
    for given in ([mixed, other], [f"{mixed}:prune", other], [f"{mixed}:dc", mixed]):
        drawn = gids(draw_comparison(compare(given)), "front")
        assert {line.get_color() for gid, line in drawn.items() if gid.endswith("-prune")} == {looks["prune"].colour}
        assert {line.get_color() for gid, line in drawn.items() if gid.endswith("-a:b")} == {looks["a:b"].colour}
        others = {line.get_color() for gid, line in drawn.items() if gid.endswith("first")}
        assert not others & {looks["prune"].colour, looks["a:b"].colour}


def test_names_stand_inside_the_axes_apart_from_points_and_one_another(pair: list[str]) -> None:
    comparison = compare(pair)
    figure = draw_comparison(comparison)
    axes = next(axes for axes in figure.axes if axes.get_label() == "compare")
    texts = [text for text in figure.texts if text.get_text()[2:] in ("a", "b")]
    boxes = [text.get_window_extent(figure.canvas.get_renderer()) for text in texts]  # type: ignore[attr-defined]
    assert len(boxes) == 2
    assert not boxes[0].overlaps(boxes[1])
    points = axes.transData.transform([(c.artifact_bytes, c.mean_error) for s in comparison.sides for c in s.found])
    for box in boxes:
        assert axes.get_window_extent().contains(box.x0, box.y0)
        assert axes.get_window_extent().contains(box.x1, box.y1)
        assert not any(box.contains(*point) for point in points)


def test_more_than_four_sides_have_a_panel_each(tmp_path: Path) -> None:
    """One axis for all, one colour a family, and behind each front that of all sides."""
    given = [
        sweep(tmp_path / f"side {k}", {600 + 50 * k: (40 - k,), 2000: (9 + k,)}, family=("prune", "low rank")[k % 2])
        for k in range(5)
    ]
    comparison = compare(given)
    figure = draw_comparison(comparison)
    panels = [axes for axes in figure.axes if axes.get_label().startswith("panel")]
    assert [panel.get_title(loc="left") for panel in panels] == list(comparison.short_names)
    assert len({(panel.get_xlim(), panel.get_ylim()) for panel in panels}) == 1
    boxes = [panel.get_window_extent() for panel in panels]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[k + 1 :])
    colours: dict[str, set[str]] = {}
    for panel, side in zip(panels, comparison.sides, strict=True):
        drawn = {str(line.get_gid()).split("-")[0]: np.array(line.get_xydata()) for line in panel.get_lines()}
        assert drawn["staircase"][:-1].tolist() == [[c.artifact_bytes, c.mean_error] for c in side.front]
        assert drawn["joint"][:-1].tolist() == [[c.artifact_bytes, c.mean_error] for c in comparison.best]
        for line in panel.get_lines():
            kind, _, family = (*str(line.get_gid()).split("-"), "", "")[:3]
            if kind == "front":
                colours.setdefault(family, set()).add(str(line.get_color()))
    assert [len(colours[family]) for family in ("prune", "low rank")] == [1, 1]
    assert colours["prune"] != colours["low rank"]


def test_the_files_are_written(pair: list[str], tmp_path: Path) -> None:
    paths = write_comparison(compare(pair), tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"compare.{kind}" for kind in paths}
    assert set(paths) == {"md", "png", "svg", "pdf"}
    assert Path(paths["png"]).read_bytes().startswith(b"\x89PNG")
    assert "](compare.png)" in Path(paths["md"]).read_text(encoding="utf-8")


def test_the_same_records_give_the_same_figure(pair: list[str]) -> None:
    first, again = (encode(draw_comparison(compare(pair)), format="svg") for _ in range(2))
    assert first == again


def test_the_tables_say_what_is_not_reached(pair: list[str]) -> None:
    comparison = compare(pair)
    sides, levels = sides_table(comparison), levels_table(comparison)
    assert [row[1:5] for row in sides.rows] == [("4", "1", "4", "3"), ("5", "1 to 3", "5", "4")]
    assert [row[6] for row in sides.rows] == ["3 of 5", "2 of 5"]
    assert levels.rows[0][2:] == ("–",) * 5 + ("not reached; its least error is 2.79\u00a0%",)
    assert levels.rows[1][2:5] == ("3,000", "–", "21.3×")
    assert levels.rows[7][2:] == ("1,300", "1.300", "49.2×", "3.90\u00a0% (3.90–4.18\u00a0%)", "2", "prune: keep 1300")


def test_a_sweep_of_which_nothing_finished_is_compared_too(pair: list[str], tmp_path: Path) -> None:
    none = sweep(tmp_path / "none", {})
    comparison = compare([none, pair[0]])
    assert comparison.hypervolumes[0] == 0.0
    assert comparison.joint == (0, 4)
    assert "no candidate" in page(comparison)
    draw_comparison(comparison)
    draw_comparison(compare([none, sweep(tmp_path / "nothing", {})]))


def test_a_summary_is_fit_for_json(pair: list[str]) -> None:
    found = summary(compare(pair))
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_a_name_in_markdown_shows_as_text(pair: list[str], tmp_path: Path) -> None:
    odd = sweep(tmp_path / "a|b", {700: (9,)}, family="<b>*x*|y")
    said = page(compare([pair[0], odd]))
    assert r"\<b\>\*x\*\|y: keep 700" in said
    assert "<b>" not in said
