"""The report's page in a real browser: Debian's Chromium, without a window."""

import csv
import io
import itertools
import math
import random
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from reports.facts.findings import read_findings
from reports.figures.formats import encode
from reports.figures.front import draw_front
from reports.page.data import bound_kind
from sweep.criteria import CONFIRM, fresh
from sweep.intervals import least_mean, pooled
from sweep.pick.choice import candidates, choose, chosen
from sweep.store.files import write_whole
from sweep.store.manifest import read_manifest
from sweep.store.metric import Metric
from sweep.store.records import read_records
from sweep.target import PLAIN, Target, read_number
from tests.integration.conftest import OpenPage
from tests.reports import synthetic
from tests.reports.pages import write_page

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of four families, two seeds a configuration, with a report and the curves of one job."""
    records = synthetic.records(synthetic.grid(), seeds=2)
    made = synthetic.write_sweep(tmp_path / "a sweep", records, target={"max_drop": 0.01})
    for record in records[:4]:
        synthetic.write_diagnostics(made, record["id"])
    write_page(made)
    return made


def words(page: Page, part: str) -> str:
    return page.locator(f"#choice [data-part='{part}']").inner_text().replace("\n", " ")


def cells(page: Page, column: int) -> list[str]:
    """The texts of one column of the table, from the top."""
    return page.locator(f"#candidates tbody tr td:nth-child({column})").all_inner_texts()


def percent_text(fraction: float) -> str:
    """A fraction as the percent that a reader types, with all digits of the double."""
    return format(Decimal(repr(fraction)).scaleb(2), "f")


ASK = """([kind, by, confident, values]) => {
  const set = (id, value, event) => {
    const node = document.getElementById(id);
    node.value = value;
    node.dispatchEvent(new Event(event));
  };
  set("by", by, "change");
  set("kind", kind, "change");
  document.getElementById("confident").checked = confident;
  document.getElementById("confident").dispatchEvent(new Event("change"));
  const part = (name) => document.querySelector(`#choice [data-part="${name}"]`).textContent;
  return values.map((value) => {
    set("number", value, "input");
    return [part("pick-command"), part("export-command"), part("verdict"), document.getElementById("told").textContent];
  });
}"""


def thresholds(found: list[Any]) -> list[float]:
    """Accuracies that a candidate just meets, to the last bit, and the doubles just above and below."""
    edges = {accuracy for candidate in found for accuracy in candidate.scores}
    noise = pooled(candidate.scores for candidate in found if candidate.method == "lc")
    kept = [fresh(candidate.scores) for candidate in found]
    edges |= {least_mean(scores, noise) for scores in kept} | {math.fsum(scores) / len(scores) for scores in kept}
    return around(edges)


def around(edges: Iterable[float]) -> list[float]:
    """Those of `edges` that are fractions, with the doubles just above and below, and the ends."""
    known = [edge for edge in edges if 0 < edge < 1]
    beside = [f(edge) for edge in known for f in (lambda e: math.nextafter(e, 0), lambda e: math.nextafter(e, 1))]
    return sorted({*known, *beside, 0.0, 1.0})


@pytest.mark.parametrize("seeds, confirm", [((1,), 0), ((1, 2, 3), 0), ((3,), 2), ((1, 4, 5, 8), 3), ((1, 4, 5, 8), 0)])
def test_the_page_picks_what_pick_picks(
    open_page: OpenPage, tmp_path: Path, seeds: tuple[int, ...], confirm: int
) -> None:
    draw = random.Random(f"{seeds} {confirm}")
    records = synthetic.tied(seeds=seeds, draw=draw)
    folder = synthetic.write_sweep(tmp_path / "tied", records, target=None, confirm=confirm)
    for record in records:
        if draw.random() < 0.7:
            synthetic.write_latency(
                folder,
                record["id"],
                sha256=record["artifact_sha256"],
                ratio=draw.choice((0.3, 0.5, 0.7, 0.71, 1.1)) + draw.random() / 4,
            )
    write_page(folder)
    page = open_page(folder)
    found = candidates(read_records(folder))
    accuracy = read_manifest(folder).reference.val.value
    edges = thresholds(found)
    assert len(edges) > 60
    edges = sorted(draw.sample(edges, min(len(edges), 150)))
    answers = {
        "min_accuracy": edges,
        "max_drop": sorted({drop for edge in edges if 0 <= (drop := accuracy - edge) <= 1} | {0.0, 0.01, 0.5}),
    }
    bounds = {
        "min_accuracy": around(low for candidate in found for low in candidate.lows),
        "max_drop": around(high for candidate in found for high in candidate.drops if high is not None),
    }
    seen: dict[bool, set[tuple[str, bool]]] = {False: set(), True: set()}
    for by, confident in itertools.product(("bytes", "macs", "latency"), (False, True)):
        for kind, values in answers.items():
            if confident:
                values = sorted(draw.sample(bounds[kind], min(len(bounds[kind]), 150)))
            said = page.evaluate(ASK, [kind, by, confident, [percent_text(value) for value in values]])
            for value, (pick, export, verdict, told) in zip(values, said, strict=True):
                target = Target(**{kind: value})
                expected = choose(
                    found,
                    target=target,
                    reference_score=accuracy,
                    by=by,
                    confirm=confirm or CONFIRM,
                    confident=confident,
                )
                case = f"{by}, {kind} {value!r}: {told}"
                typed = pick.split(f"--{kind.replace('_', '-')} ")[1].split()[0]
                assert read_number(kind, typed) == value, case
                assert typed.endswith("%") == (kind == "max_drop" and value > PLAIN), case
                assert f" --by {by}" in pick or by == "bytes", case
                assert ("--by" in pick) == (by != "bytes"), case
                assert pick.endswith(" --confident") == confident, case
                if expected.candidate is None:
                    assert told == "", case
                    continue
                assert f"--job {expected.candidate.best_id} " in export, case
                assert verdict == expected.state, case
                seen[confident].add((expected.candidate.best_id, expected.feasible))
    for answered in seen.values():
        assert len(answered) > 3
    assert {feasible for answered in seen.values() for _, feasible in answered} == {True, False}


@pytest.mark.parametrize("metric", [synthetic.MSE, synthetic.R2], ids=lambda metric: metric.name)
def test_the_page_picks_what_pick_picks_in_the_metrics_units(
    open_page: OpenPage, tmp_path: Path, metric: Metric
) -> None:
    records = synthetic.tied(seeds=(1, 2, 4), draw=random.Random(metric.name))
    folder = synthetic.write_sweep(tmp_path / "tied", records, target=None, confirm=1, metric=metric)
    write_page(folder)
    page = open_page(folder)
    found, score = candidates(read_records(folder)), read_manifest(folder).reference.val.score
    at, less = bound_kind(metric), -math.inf
    scores = {score for each in found for score in (*each.scores, *each.lows)}
    drops = {score - each for each in scores} | {drop for each in found for drop in each.drops if drop is not None}
    answers = {
        at: sorted(metric.value(f) for each in scores for f in (each, math.nextafter(each, less))),
        "max_drop": sorted(f for each in drops if each > 0 for f in (each, math.nextafter(each, less))),
    }
    seen = set()
    for confident, (kind, values) in itertools.product((False, True), answers.items()):
        values = random.Random(kind).sample(values, min(len(values), 120))
        said = page.evaluate(ASK, [kind, "bytes", confident, [repr(value) for value in values]])
        for value, (pick, export, verdict, told) in zip(values, said, strict=True):
            expected = choose(
                found, target=Target(**{kind: value}), reference_score=score, confirm=1, confident=confident
            )
            case = f"{kind} {value!r}: {told}"
            assert float(pick.split(f"--{kind.replace('_', '-')} ")[1].split()[0]) == value, case
            if expected.candidate is not None:
                assert f"--job {expected.candidate.best_id} " in export, case
                assert verdict == expected.state, case
                seen.add((expected.candidate.best_id, confident, expected.feasible))
    assert len(seen) > 3
    assert {confident for _, confident, _ in seen} == {feasible for *_, feasible in seen} == {True, False}


@pytest.mark.parametrize(
    ("metric", "drop", "bounds"),
    [(synthetic.MSE, 0.5, (1.0, 12.3)), (synthetic.R2, 0.03, (0.9999, 0.85)), (synthetic.TOP_5, 0.005, (0.9999, 0.9))],
    ids=lambda value: getattr(value, "name", ""),
)
def test_all_words_and_controls_are_in_the_metrics_units(
    open_page: OpenPage, tmp_path: Path, metric: Metric, drop: float, bounds: tuple[float, float]
) -> None:
    records = synthetic.records(synthetic.grid(), seeds=2)
    folder = synthetic.write_sweep(tmp_path / "a sweep", records, target={"max_drop": drop}, metric=metric)
    kind = bound_kind(metric)
    for target in (None, *(Target(**{kind: bound}) for bound in bounds)):
        write_page(folder, target=target)
        plain, live = open_page(folder, java_script_enabled=False), open_page(folder)
        for part in ("badge", "name", "facts", "chosen", "pick-command", "export-command"):
            assert words(plain, part) == words(live, part)
        front = "#candidates tr.front td"
        assert plain.locator(front).all_inner_texts()[:26] == live.locator(front).all_inner_texts()[:26]
    write_page(folder)
    page = open_page(folder)
    scale = 100 if metric.fraction else 1
    assert float(page.locator("#number").input_value()) == pytest.approx(scale * drop)
    assert page.locator("#unit").inner_text() == ("points" if metric.fraction else metric.unit)
    page.locator("#kind").select_option(kind)
    assert page.locator("#unit").inner_text() == metric.unit
    value = page.locator("#number").input_value()
    limit = metric.value(read_manifest(folder).reference.val.score - drop)
    assert float(value) / scale == pytest.approx(limit, rel=1e-3)
    page.locator("#slider").press("ArrowRight")
    assert page.locator("#number").input_value() != value
    assert float(page.locator("#number").input_value()) == pytest.approx(float(value), rel=0.1)
    typed = words(page, "pick-command").split(f"--{kind.replace('_', '-')} ")[1]
    assert float(typed) == pytest.approx(float(page.locator("#number").input_value()) / scale)
    with page.expect_download() as download:
        page.locator("#csv").click()
    header = Path(download.value.path()).read_text(encoding="utf-8").splitlines()[0].split(",")
    assert {f"val_{metric.name}", f"val_{metric.name}_mean", f"direct_{metric.name}"} <= set(header)
    page.locator("#number").fill("a lot")
    assert not page.locator("#number").evaluate("node => node.checkValidity()")


def slide(page: Page, value: float) -> None:
    """Moves the slider to the place of this value, which is one of its stops."""
    slider = page.locator("#slider")
    for place in range(int(slider.get_attribute("max") or "0") + 1):
        slider.fill(str(place))
        if float(page.locator("#number").input_value()) == value:
            return
    pytest.fail(f"the slider does not stop at {value}")


def test_without_a_target_the_page_picks_the_knee_that_pick_picks(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    at_first = words(page, "name")
    for by in ("bytes", "macs"):
        page.locator("#by").select_option(by)
        page.locator("#kind").select_option("knee")
        expected = chosen(candidates(read_records(folder)), read_manifest(folder), target=None, by=by).candidate
        assert expected is not None
        assert f"--job {expected.best_id} " in words(page, "export-command")
        assert words(page, "pick-command").startswith(f"lcsweep pick '{folder}' --knee")
        assert not page.locator("#slider").is_visible()
        assert not page.locator("#confident").is_visible()
    assert words(page, "name") != ""
    page.locator("#by").select_option("bytes")
    page.locator("#kind").select_option("max_drop")
    assert words(page, "name") == at_first


def test_the_slider_moves_the_pick_and_back_again(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    parts = ("badge", "name", "facts", "pick-command", "export-command")
    at_first = [words(page, part) for part in parts]
    assert page.locator("#number").input_value() == "1"
    slide(page, 3.5)
    expected = read_findings(folder, target=Target(max_drop=0.035), by="bytes").pick
    assert expected is not None
    size = expected.candidate.artifact_bytes
    assert size < int(at_first[2].split()[2].replace(",", ""))
    assert f"--job {expected.candidate.best_id} " in words(page, "export-command")
    assert words(page, "pick-command") == f"lcsweep pick '{folder}' --max-drop 0.035"
    assert f"{size:,} bytes" in page.locator("#told").inner_text()
    slide(page, 1)
    assert [words(page, part) for part in parts] == at_first


def test_what_the_script_writes_is_what_the_report_wrote(open_page: OpenPage, folder: Path) -> None:
    """All text of the card, from the template without scripts and from the script."""
    for target in (Target(max_drop=0.01), Target(min_accuracy=0.9999), Target(min_accuracy=0.5)):
        write_page(folder, target=target)
        plain, live = open_page(folder, java_script_enabled=False), open_page(folder)
        parts = [
            "badge",
            "name",
            "facts",
            "chosen",
            "confirm-name",
            "confirm-command",
            "pick-command",
            "export-command",
        ]
        assert [words(plain, part) for part in parts] == [words(live, part) for part in parts]


def test_a_family_that_is_hidden_still_counts_for_the_pick(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    export, marks = words(page, "export-command"), page.locator("#chart .mark").count()
    families = page.locator("#families input")
    assert families.count() == 4
    for index in range(3):
        families.nth(index).uncheck()
    assert set(cells(page, 1)) == {page.locator("#candidates tbody tr td").first.inner_text()}
    assert page.locator("#shown").inner_text() == f"{len(cells(page, 1))} of 37 candidates"
    assert page.locator("#chart .mark").count() < marks
    assert words(page, "export-command") == export
    for index in range(3):
        families.nth(index).check()
    assert page.locator("#chart .mark").count() == marks


def test_the_table_sorts_and_filters(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    sizes = [int(text.replace(",", "")) for text in cells(page, 7)]
    assert sizes == sorted(sizes)
    assert len(sizes) == 37
    head = page.get_by_role("button", name="MACs")
    head.click()
    macs = [int(text.replace(",", "")) for text in cells(page, 9)]
    assert macs == sorted(macs)
    head.click()
    assert page.locator("th[data-key=macs]").get_attribute("aria-sort") == "descending"
    assert [int(text.replace(",", "")) for text in cells(page, 9)] == sorted(macs, reverse=True)
    page.get_by_role("button", name="Configuration").click()
    page.locator("#filter").fill("LOW rank")
    ranks = [int(text.removeprefix("rank ")) for text in cells(page, 2)]
    assert ranks == [2, 3, 4, 6, 8, 12, 16, 32]
    page.locator("#filter").fill("")
    page.locator("#only").select_option("target")
    assert set(cells(page, 13)) == {"unconfirmed"}
    page.locator("#only").select_option("front")
    assert set(cells(page, 12)) == {"✓"}
    page.locator("#filter").fill("no such family")
    assert cells(page, 1) == []


def test_the_download_has_the_rows_that_the_table_has(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    page.locator("#filter").fill("prune")
    page.get_by_role("button", name="Configuration").click()
    with page.expect_download() as download:
        page.locator("#csv").click()
    assert download.value.suggested_filename == "candidates.csv"
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    by_id = {record.id: record for record in read_records(folder)}
    found = {candidate.best_id: candidate for candidate in candidates(by_id.values())}
    expected = {job for job, candidate in found.items() if "prune" in candidate.family}
    assert {row["job"] for row in rows} == expected
    assert [row["configuration"] for row in rows] == cells(page, 2)
    for row in rows:
        candidate, record = found[row["job"]], by_id[row["job"]]
        assert [float(text) for text in row["val_accuracies"].split()] == list(candidate.scores)
        assert float(row["val_error_mean"]) == pytest.approx(candidate.mean_error, rel=1e-14)
        assert (int(row["artifact_bytes"]), int(row["macs"])) == (candidate.artifact_bytes, candidate.macs)
        assert float(row["gap"]) == pytest.approx(max(by_id[job].gap for job in candidate.ids), abs=1e-6)
        assert row["configuration"] == candidate.label
        assert float(row["compression_ratio"]) == record.reference_bytes / record.artifact_bytes


def colours(page: Page) -> dict[str, Any]:
    return page.evaluate(
        """() => {
          const style = (name) => getComputedStyle(document.querySelector(name));
          const canvas = document.querySelector("#chart canvas");
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const drawn = new Set();
          for (let at = 0; at < pixels.length; at += 4) if (pixels[at + 3]) drawn.add(pixels.slice(at, at + 3).join());
          return { ink: style("body").color, page: style("body").backgroundColor, drawn: drawn.size,
                   text: style("#chart text").fill };
        }"""
    )


def test_both_themes_and_print(open_page: OpenPage, folder: Path) -> None:
    light, dark = (colours(open_page(folder, color_scheme=scheme)) for scheme in ("light", "dark"))
    for name in ("ink", "page", "text"):
        assert light[name] != dark[name]
    assert min(light["drawn"], dark["drawn"]) > 20
    page = open_page(folder, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert colours(page)["text"] == light["text"]
    assert not page.locator("#slider").is_visible()
    assert page.locator("#chart").is_visible()
    assert page.pdf().startswith(b"%PDF")


def test_the_pointer_finds_a_point_and_a_click_opens_it(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    page.locator("#chart .ring").scroll_into_view_if_needed()
    ring = page.locator("#chart .ring").bounding_box()
    assert ring is not None
    page.mouse.move(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert page.locator("#tip div").first.inner_text() == words(page, "name")
    page.mouse.click(ring["x"] + ring["width"] / 2, ring["y"] + ring["height"] / 2)
    assert words(page, "name") in page.locator("#details h3").inner_text()
    page.mouse.move(1, 1)
    assert not page.locator("#tip").is_visible()


def test_all_of_it_can_be_reached_by_the_keyboard(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    wanted = ["Copy", "kind", "number", "slider", "by", "chart", "filter", "only", "csv", "candidates", "Family"]
    assert [name for name in reached if name in wanted][:13] == ["Copy", "Copy", *wanted]
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button")].filter(
          (node) => !(node.labels?.length || node.getAttribute("aria-label") || node.textContent.trim())
        ).map((node) => node.outerHTML)"""
    )
    assert unnamed == []
    page.locator("#chart").focus()
    page.keyboard.press("ArrowRight")
    first = page.locator("#tip div").first.inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip div").first.inner_text() != first
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    assert first in page.locator("#details h3").inner_text()
    page.locator("#details [data-part=close]").press("Enter")
    assert not page.locator("#details").is_visible()
    before = float(page.locator("#number").input_value())
    page.locator("#slider").press("ArrowRight")
    assert before < float(page.locator("#number").input_value()) < before + 0.2


def test_a_candidate_opens_with_its_seeds_and_its_curves(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    page.locator("#filter").fill("keep 0.5")
    page.locator("button.open").first.click()
    assert page.locator("#details [data-part=seeds] tr").count() == 2
    page.locator("#details .curves svg").first.wait_for()
    assert page.locator("#details .curves svg").count() == 4
    assert page.locator("#details .curves .curve").count() == 8
    page.locator("#filter").fill("quantize size 2")
    page.locator("button.open").first.click()
    page.locator("#details [data-part=no-curves]").wait_for()
    assert page.locator("#details .curves svg").count() == 0


def test_a_click_anywhere_in_a_row_opens_its_candidate(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    row = page.locator("#candidates tbody tr").nth(1)
    row.locator("input").check()
    assert page.locator("#details").is_hidden()
    row.locator("td[data-label=MACs]").click()
    page.locator("#details .curves, #details [data-part=no-curves]").first.wait_for(state="attached")
    assert page.locator("#details").is_visible()
    assert row.locator("button.open").inner_text() in page.locator("#details").inner_text()


def test_markup_in_names_is_text(open_page: OpenPage, tmp_path: Path) -> None:
    script, image, lines = "</script><script>alert(1)</script>", "<img src=x onerror=alert(2)>", "a\u2028b\u2029c"
    quote = '"><svg onload=alert(3)>'
    points = [
        synthetic.Point(script, {quote: image, lines: 1e-05}, 900, 0.03, 0.2),
        synthetic.Point(quote, {"keep": script, "on": True, "scale": 2.0}, 1900, 0.028, 0.2),
        synthetic.Point("__proto__", {"constructor": 3, "toString": 0.5}, 2900, 0.027, 0.2),
    ]
    records = [synthetic.record(point, seed=0, seeds=1, n_val=synthetic.N_VAL) for point in points]
    failed = synthetic.failed(points[0], message=script, trace=image) | {"id": "f" * 16, "seed": 9}
    folder = synthetic.write_sweep(tmp_path / image, [*records, failed], target={"max_drop": 0.01}, study=script)
    records[0]["family"] = script
    write_page(folder)
    page = open_page(folder)
    assert page.locator("img, #families svg svg, body script ~ script ~ script").count() == 0
    labels = [
        candidate.label for candidate in candidates(read_records(folder)) if candidate.family in (quote, "__proto__")
    ]
    page.locator("#filter").fill("scale")
    assert cells(page, 2) == [labels[0]]
    assert f"keep {script}, on True, scale 2.0" in labels[0]
    page.locator("button.open").first.click()
    assert page.locator("#details h3").inner_text().endswith(f"{quote}: {labels[0]}")
    page.locator("#filter").fill("__proto__")
    assert cells(page, 2) == ["constructor 3, toString 0.5"]


def test_without_a_script_there_is_the_figure_and_the_front(open_page: OpenPage, folder: Path) -> None:
    findings = write_page(folder, figures=("front",))
    for format in ("svg", "png"):
        write_whole(folder / "report" / f"front.{format}", encode(draw_front(findings), format=format))
    page = open_page(folder, java_script_enabled=False)
    figure = page.locator("figure img")
    figure.scroll_into_view_if_needed()
    assert figure.evaluate("node => node.naturalWidth") > 500
    assert "Pareto front has" in (figure.get_attribute("alt") or "")
    assert not page.locator("#controls").is_visible()
    assert len(cells(page, 1)) == sum(row.on_front or row.picked for row in findings.rows)


def test_a_sweep_without_results_has_a_page_too(open_page: OpenPage, tmp_path: Path) -> None:
    folder = synthetic.write_sweep(tmp_path / "empty", [], target=None)
    write_page(folder)
    page = open_page(folder)
    assert "No job has finished" in page.locator("main").inner_text()
    assert page.locator("img").count() == 0


@pytest.fixture
def large(open_page: OpenPage, tmp_path: Path) -> Page:
    """The page of 10,000 rows."""
    points = synthetic.many(10_000)
    records = [synthetic.record(point, seed=0, seeds=1, n_val=synthetic.N_VAL) for point in points]
    folder = synthetic.write_sweep(tmp_path / "large", records, target={"max_drop": 0.01})
    write_page(folder)
    return open_page(folder)


def test_of_ten_thousand_rows_a_hundred_are_drawn(large: Page) -> None:
    assert large.locator("#candidates tbody tr").count() == 100
    large.evaluate(
        """() => {
          const slider = document.getElementById("slider");
          slider.value = 50;
          slider.dispatchEvent(new Event("input"));
        }"""
    )
    assert large.locator("#candidates tbody tr").count() == 100


@pytest.mark.cluster
def test_ten_thousand_rows_answer_at_once(large: Page) -> None:
    """Milliseconds of a slider move, against those of turning as many rows into JSON text."""
    moved, frame = large.evaluate(
        """() => {
          const slider = document.getElementById("slider");
          const frame = () => JSON.stringify(JSON.parse(document.getElementById("data").textContent));
          const timed = (work) => { const from = performance.now(); work(); return performance.now() - from; };
          const move = (to) => { slider.value = to; slider.dispatchEvent(new Event("input")); };
          const middle = (times) => times.sort((a, b) => a - b)[times.length >> 1];
          const pairs = Array.from({ length: 15 }, (_, k) => [timed(() => move(50 + 20 * k)), timed(frame)]);
          return [middle(pairs.map(([a]) => a)), middle(pairs.map(([, b]) => b))];
        }"""
    )
    assert moved < 5 * frame
