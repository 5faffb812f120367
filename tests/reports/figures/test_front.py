from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.facts.diagnostics import Layer, layer_of
from reports.facts.findings import Findings, read_findings
from reports.figures.formats import encode
from reports.figures.front import draw_front
from reports.figures.layers import draw_layers
from reports.figures.style import Mark, marks
from sweep.pick import pareto
from sweep.pick.choice import By
from sweep.store.metric import Metric
from sweep.store.records import read_records
from sweep.target import Target
from tests.reports import synthetic
from tests.reports.conftest import Drawn, MakeSweep


def findings_of(make_sweep: MakeSweep, points: list[synthetic.Point], **what: object) -> Findings:
    return read_findings(make_sweep(points, **what), target=None, by="bytes")


def front_axes(figure: Figure) -> Axes:
    return next(axes for axes in figure.axes if axes.get_label() == "front")


def line(figure: Figure, gid: str) -> np.ndarray:
    return next(np.asarray(drawn.get_xydata()) for drawn in front_axes(figure).get_lines() if drawn.get_gid() == gid)


def marks_of(figure: Figure, *kinds: str) -> np.ndarray:
    lines = [drawn for drawn in front_axes(figure).get_lines() if str(drawn.get_gid()).split("-")[0] in kinds]
    return np.concatenate([np.asarray(drawn.get_xydata()) for drawn in lines])


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_every_candidate_is_drawn_inside_the_axes_where_it_is(drawn: Drawn, by: By) -> None:
    figure, points = drawn.by[by], marks_of(drawn.by[by], "front", "dominated")
    expected = [(row.candidate.cost(by), row.candidate.mean_error) for row in drawn.findings.rows]
    assert sorted(map(tuple, points.tolist())) == sorted(expected)
    (left, right), (low, high) = front_axes(figure).get_xlim(), front_axes(figure).get_ylim()
    assert ((left < points[:, 0]) & (points[:, 0] < right) & (low < points[:, 1]) & (points[:, 1] < high)).all()
    assert ("MACs" in front_axes(figure).get_xlabel()) == (by == "macs")


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_staircase_goes_through_exactly_what_nothing_beats(drawn: Drawn, by: By) -> None:
    points = [(row.candidate.cost(by), row.candidate.mean_error) for row in drawn.findings.rows]
    unbeaten = {p for p in points if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in points)}
    stairs = list(map(tuple, line(drawn.by[by], "staircase").tolist()))
    assert stairs == sorted(stairs)
    assert set(stairs) == unbeaten


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_lines_star_and_ring_stand_where_the_numbers_are(drawn: Drawn, by: By) -> None:
    found, figure = drawn.findings, drawn.by[by]
    whole = {"bytes": synthetic.REFERENCE_BYTES, "macs": synthetic.MACS}[by]
    assert found.pick is not None
    assert line(figure, "target")[:, 1] == pytest.approx(found.reference.val.error + 0.01)
    assert line(figure, "reference").tolist() == [[whole, found.reference.val.error]]
    assert line(figure, "pick").tolist() == [[found.pick.candidate.cost(by), found.pick.candidate.mean_error]]


def test_circles_mark_what_is_confirmed_and_what_meets_the_target_so_far(tmp_path: Path) -> None:
    """By their states in the data, which are those of `pick`; around the pick is its ring alone."""
    points = [synthetic.Point("prune", {"keep": k / 10}, 1000 + 100 * k, 0.03 - 0.002 * k, 0.2) for k in range(4)]
    records = synthetic.records(points[:2], seeds=8) + synthetic.records(points[2:], seeds=1)
    records += synthetic.records([synthetic.Point("prune", {"keep": 0.9}, 900, 0.2, 0.3)], seeds=1)
    findings = read_findings(
        synthetic.write_sweep(tmp_path / "sweep", records, target={"max_drop": 0.02}), target=None, by="bytes"
    )
    assert [row.state for row in findings.rows] == ["missed", *2 * ["confirmed"], *2 * ["unconfirmed"]]
    axes = front_axes(figure := draw_front(findings))
    circles = {drawn.get_gid(): drawn for drawn in axes.collections}
    for state in ("confirmed", "unconfirmed"):
        rows = [row for row in findings.rows if row.state == state and not row.picked]
        expected = [[row.candidate.artifact_bytes, row.candidate.mean_error] for row in rows]
        assert np.asarray(circles[state].get_offsets()).tolist() == expected
    (dashes,), (line,) = (circles[state].get_linestyle() for state in ("unconfirmed", "confirmed"))
    assert dashes[1] is not None
    assert line[1] is None
    named = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert {"confirmed", "unconfirmed", "pick"} <= named


def test_an_unconfirmed_pick_is_called_so(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.01})
    words = {text.get_text() for text in draw_front(found).findobj(Text)}
    assert {"unconfirmed: meets the target so far", "pick, unconfirmed"} <= words
    assert "pick by bytes, unconfirmed" in {text.get_text() for text in draw_front(found, by="macs").findobj(Text)}


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_ratio_axis_mirrors_the_cost_axis(drawn: Drawn, by: By) -> None:
    axes = front_axes(drawn.by[by])
    top = next(other for other in drawn.by[by].axes if other is not axes)
    whole = {"bytes": synthetic.REFERENCE_BYTES, "macs": synthetic.MACS}[by]
    for ratio in (2.0, 20.0):
        below = axes.transData.transform((whole / ratio, 0.03))[0]
        assert top.transData.transform((ratio, 0.5))[0] == pytest.approx(below)


@pytest.mark.parametrize("by", ["bytes", "macs"])
def test_the_error_axis_is_labelled_in_percent(drawn: Drawn, by: By) -> None:
    axes = front_axes(drawn.by[by])
    assert "%" in axes.get_ylabel()
    labels = [float(label.get_text()) for label in axes.get_yticklabels()]
    assert len(labels) > 2
    assert labels == pytest.approx([100 * float(tick) for tick in axes.get_yticks()], rel=1e-3)


@pytest.mark.parametrize(
    ("metric", "title", "target", "reference"),
    [
        (synthetic.MSE, "validation MSE (mm2, log scale)", "\u2264 11.03", "10.03"),
        (synthetic.R2, "validation R2 (log scale of 1 \u2212 R2)", "\u2265 0.8948", "0.9248"),
        (synthetic.TOP_5, "validation top 5 (%, log scale of 1 \u2212 top 5)", "\u2265 98.25\u00a0%", "98.75\u00a0%"),
    ],
)
def test_the_axis_is_laid_out_by_errors_and_labelled_with_values(
    make_sweep: MakeSweep, metric: Metric, title: str, target: str, reference: str
) -> None:
    drop = {synthetic.MSE: 1.0, synthetic.R2: 0.03, synthetic.TOP_5: 0.005}[metric]
    findings = findings_of(make_sweep, synthetic.grid(), target={"max_drop": drop}, metric=metric)
    figure = draw_front(findings)
    axes = front_axes(figure)
    assert axes.get_ylabel() == title
    scale = 100 if metric.fraction else 1
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    assert all(float(text.get_text()) == pytest.approx(scale * metric.value_of_error(y)) for y, text in ticks)
    assert line(figure, "target")[0][1] == pytest.approx(metric.error(findings.reference.val.value) + drop)
    words = [text.get_text() for text in figure.findobj(Text)]
    assert {f"target\n{target}", f"reference\n{reference}"} <= set(words)
    assert not any(" error" in each for each in words)


@pytest.mark.parametrize("target", [0.001, 0.01, 0.05])
def test_words_lie_over_no_point_and_not_over_each_other(make_sweep: MakeSweep, target: float) -> None:
    found = findings_of(make_sweep, synthetic.grid(), seeds=2, target={"max_drop": target})
    figure = draw_front(found)
    figure.draw_without_rendering()
    callout = next(artist for artist in figure.artists if artist.get_gid() == "callout").get_window_extent()
    places = front_axes(figure).transData.transform(marks_of(figure, "front", "dominated"))
    assert not any(callout.contains(x, y) for x, y in places)
    texts = [text.get_window_extent() for text in [*figure.texts, *front_axes(figure).texts] if text.get_text()]
    texts += [artist.get_window_extent() for artist in figure.artists if isinstance(artist, Text)]
    for index, one in enumerate(texts):
        assert figure.bbox.x0 <= one.x0
        assert one.x1 <= figure.bbox.x1 + 1
        assert not any(one.overlaps(other) for other in texts[index + 1 :])


def test_legend_names_every_family_even_odd_ones(make_sweep: MakeSweep) -> None:
    names = ["_hidden", "$x$", "a" * 200]
    points = [synthetic.Point(name, {"keep": 0.1}, 1000 + 500 * i, 0.03, 0.2) for i, name in enumerate(names)]
    figure = draw_front(findings_of(make_sweep, points))
    shown = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"_hidden", "$x$", "a" * 43 + "…"} <= set(shown)
    ElementTree.fromstring(encode(figure, format="svg"))


def test_a_range_bar_goes_from_the_least_to_the_most_error(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid()[:1], seeds=3)
    (row,) = found.rows
    bars = [drawn for drawn in front_axes(draw_front(found)).get_lines() if drawn.get_gid() == "range-0"]
    assert [np.asarray(bar.get_ydata())[:2].tolist() for bar in bars] == [
        [min(row.candidate.errors), max(row.candidate.errors)]
    ]


def test_a_perfect_model_is_drawn_on_a_linear_axis(make_sweep: MakeSweep) -> None:
    points = [synthetic.Point("prune", {"keep": k}, int(9000 * k), e, 0.5) for k, e in ((0.5, 0.0), (0.1, 0.05))]
    figure = draw_front(findings_of(make_sweep, points))
    low, high = front_axes(figure).get_ylim()
    assert low < 0 < high
    assert "linear" in front_axes(figure).get_ylabel()


def test_an_unknown_format_is_refused(make_sweep: MakeSweep) -> None:
    figure = draw_front(findings_of(make_sweep, []))
    with pytest.raises(ValueError, match="png, svg, pdf, got 'gif'"):
        encode(figure, format="gif")


def test_a_given_target_goes_before_the_sweeps_own(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.01})
    own = read_findings(folder, target=None, by="bytes")
    given = read_findings(folder, target=Target(max_drop=0.05), by="bytes")
    assert own.pick is not None
    assert given.pick is not None
    assert given.pick.candidate.artifact_bytes < own.pick.candidate.artifact_bytes


def names_of(figure: Figure) -> dict[str, Text]:
    """The texts of the figure by their words; those of its legends left out."""
    return {text.get_text(): text for text in figure.findobj(Text) if text.figure is figure and text in figure.artists}


def test_families_are_named_beside_their_points_and_the_knee_is_marked(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.05})
    figure = draw_front(found)
    figure.draw_without_rendering()
    named = names_of(figure)
    assert set(found.series) & set(named)
    places = front_axes(figure).transData.transform(marks_of(figure, "front", "dominated"))
    boxes = [named[name].get_window_extent() for name in (*found.series, "knee") if name in named]
    for number, box in enumerate(boxes):
        assert not any(box.x0 <= x <= box.x1 and box.y0 <= y <= box.y1 for x, y in places)
        assert not any(box.overlaps(other) for other in boxes[:number])
    knee = found.knees["bytes"]
    costs = [(row.candidate.artifact_bytes, row.candidate.mean_error) for row in found.rows]
    assert found.rows[pareto.knee(costs)] == knee
    assert line(figure, "knee").tolist() == [[knee.candidate.artifact_bytes, knee.candidate.mean_error]]


def test_a_front_of_two_has_no_knee(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid()[:1])
    assert found.knees == {}


def look_of(found: Findings) -> Mark:
    assert found.pick is not None
    return marks(found.series, families=found.families, size=7.0)[found.pick.series]


def layer(name: str, shape: list[int], *, kept: int, codes: int, ranks: tuple[int, ...] = ()) -> Layer:
    """A layer, read back from what a job writes."""
    return layer_of(synthetic.layer(name, shape, kept=kept, ranks=list(ranks), codes=codes))


def test_layers_are_drawn_as_they_are(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.05})
    assert found.pick is not None
    layers = [
        layer("first.weight", [30, 20], kept=150, ranks=(5,), codes=3),
        replace(layer("last.weight", [10, 30], kept=300, codes=0), chosen="L0Pruning(keep=1.0)"),
    ]
    figure = draw_layers(found.pick, layers, look=look_of(found), units=found.units)
    shares = {
        axes.get_label(): [patch.get_width() for patch in axes.patches if patch.get_gid() == axes.get_label()]
        for axes in figure.axes
    }
    assert shares["weights kept"] == pytest.approx([0.25, 1.0])
    assert shares["rank"] == pytest.approx([0.25, 0.0])
    assert shares["bits a weight"] == pytest.approx([1.25 / 32] * 2)
    words = {text.get_text() for text in figure.findobj(Text)}
    assert {"25 %", "5 of 20", "first.weight\n30\u00d720", "many values", "L0Pruning(keep=1.0)"} <= words
    stems = next(axes for axes in figure.axes if axes.get_label() == "values of first.weight").collections[0]
    assert [path.vertices[0][0] for path in stems.get_paths()] == pytest.approx([v for v, _ in layers[0].values])


@pytest.mark.parametrize("ranks", [(), (5,)])
def test_words_about_layers_stay_within_the_figure(make_sweep: MakeSweep, ranks: tuple[int, ...]) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.05})
    assert found.pick is not None
    drawn = layer("first.weight", [30, 20], kept=150, ranks=ranks, codes=3)
    drawn = replace(drawn, alone=0.04, alone_reference=0.03, alone_n=359)
    figure = draw_layers(found.pick, [drawn], look=look_of(found), units=found.units)
    figure.draw_without_rendering()
    words = [text for text in figure.findobj(Text) if any(map(str.isalpha, text.get_text()))]  # ticks may be hidden
    assert "values, over the reference's weights" in {text.get_text() for text in words}
    for text in words:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0, text.get_text()
        assert box.x1 <= figure.bbox.x1, text.get_text()


def test_long_names_are_told_apart_by_their_ends(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.05})
    assert found.pick is not None
    names = [f"network.encoder.layer.{k}.attention.{part}.weight" for k in range(2) for part in ("query", "key")]
    layers = [layer(name, [30, 20], kept=150, codes=3) for name in (*names, "blocks.0.depthwise.0.weight")]
    figure = draw_layers(found.pick, layers, look=look_of(found), units=found.units)
    shown = [text.get_text().split("\n")[0] for text in figure.axes[0].get_yticklabels()]
    ends = [f"{k}.attention.{part}" for k in range(2) for part in ("query", "key")]
    assert [name[-len(end) :] for name, end in zip(shown, ends, strict=False)] == ends
    assert {len(name) for name in shown[:4]} == {24}
    assert shown[4] == "blocks.0.depthwise.0"


def test_of_very_many_layers_the_largest_are_drawn_and_the_others_counted(make_sweep: MakeSweep) -> None:
    found = findings_of(make_sweep, synthetic.grid(), target={"max_drop": 0.05})
    assert found.pick is not None
    layers = [layer(f"l{k}.weight", [k + 1, 20], kept=20, codes=2) for k in range(40)]
    figure = draw_layers(found.pick, layers, look=look_of(found), units=found.units)
    words = " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text))
    assert "16 smaller layers not drawn, of 40" in words
    assert "l16.weight" in words
    assert "l15.weight" not in words


def test_against_latency_are_those_of_which_it_was_measured(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.05})
    with pytest.raises(ValueError, match="run lcsweep bench"):
        read_findings(folder, target=None, by="latency")
    with pytest.raises(ValueError, match="run lcsweep bench"):  # without a target too
        read_findings(make_sweep(synthetic.grid()[:2]), target=None, by="latency")
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.05})
    records = read_records(folder)
    for place, record in enumerate(records[::4]):
        synthetic.write_latency(folder, record.id, sha256=str(record.artifact_sha256), ratio=0.5 + 0.06 * place)
    found = read_findings(folder, target=None, by="latency")
    figure = draw_front(found, by="latency")
    drawn = marks_of(figure, "front", "dominated").tolist()
    known = {record.id: 0.5 + 0.06 * place for place, record in enumerate(records[::4])}
    expected = [
        (known[r.candidate.best_id], r.candidate.mean_error) for r in found.rows if r.candidate.best_id in known
    ]
    assert sorted(map(tuple, drawn)) == sorted(expected)
    assert found.pick is not None
    assert found.pick.candidate.best_id in known
    assert line(figure, "pick").tolist() == [[found.pick.candidate.latency, found.pick.candidate.mean_error]]
    assert line(figure, "reference").tolist() == [[1.0, found.reference.val.error]]
    words = " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text))
    assert f"{len(records) - len(known)} configurations are not drawn: their latency was not measured." in words
    assert {row.faster for row in found.rows} == {True, False, None}  # low rank has fewer multiply-accumulates
