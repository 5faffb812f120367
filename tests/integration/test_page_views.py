"""What the report's page shows beside its figure, in a real browser, on a desktop and on a phone."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from reports import write_report
from reports.facts.findings import read_findings
from sweep.target import Target
from tests.integration.conftest import OpenPage
from tests.reports import synthetic
from tests.reports.conftest import FAILURE
from tests.reports.pages import write_page

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of four families, three seeds a configuration, with a page and diagnostics of all jobs."""
    records = synthetic.records(synthetic.grid(), seeds=3)
    made = synthetic.write_sweep(tmp_path / "a sweep with a long name", records, target={"max_drop": 0.01})
    for record in records:
        synthetic.write_diagnostics(made, record["id"])
    synthetic.write_searches(made)
    synthetic.write_test(made, id=records[0]["id"], sha256="cd" * 32, accuracy=0.97)
    manifest = json.loads((made / "sweep.json").read_text())
    manifest["reference"] |= {"plainly_trained": True, "rates": [0.1, 0.03]}  # which takes two sentences
    (made / "sweep.json").write_text(json.dumps(manifest))
    write_page(made)
    return made


def open_details(page: Page) -> None:
    page.locator("button.open").first.click()
    page.locator("#details .curves svg").first.wait_for()


# Nothing is cut or covered


OUTSIDE = """() => {
  const width = document.documentElement.clientWidth;
  const seen = (node) => node.checkVisibility() && !node.closest(".unseen") && node.getBoundingClientRect().width > 1;
  const name = (node) => `${node.tagName}#${node.id}.${node.getAttribute("class")} ${node.textContent.slice(0, 40)}`;
  const nodes = [...document.querySelectorAll("main *")].filter(seen);
  const beyond = nodes.filter((node) => {
    const box = node.getBoundingClientRect();
    return box.right > width + 1 || box.left < -1;
  });
  const cut = nodes.filter((node) => node instanceof HTMLElement && node.scrollWidth > node.clientWidth + 1
    && getComputedStyle(node).overflowX !== "visible" && node.clientWidth > 0 && !node.matches("input, select"));
  return [document.documentElement.scrollWidth - width, beyond.map(name), cut.map(name)];
}"""

COVERED = """() => {
  const boxes = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()];
  };
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  return [...document.querySelectorAll("pre.copy")].filter((node) => node.checkVisibility()).filter((command) => {
    const button = command.parentElement.querySelector(".copy-button").getBoundingClientRect();
    return boxes(command).some((box) => meet(box, button));
  }).length;
}"""

OVERLAPPING = """() => {
  const texts = [...document.querySelectorAll("#chart svg text, #parallel svg text")]
    .map((node) => [node.textContent, node.getBoundingClientRect()]);
  const meet = (a, b) => a.left + 1 < b.right && b.left + 1 < a.right && a.top + 4 < b.bottom && b.top + 4 < a.bottom;
  const found = [];
  texts.forEach(([one, box], k) => texts.slice(k + 1).forEach(([other, its]) => {
    if (meet(box, its)) found.push(`${one} / ${other}`);
  }));
  return found;
}"""


CLOSEST = """() => {
  const boxes = [...document.querySelectorAll("#chart svg text")].filter((node) => node.textContent.endsWith("×"))
    .map((node) => node.getBoundingClientRect()).sort((one, other) => one.left - other.left);
  return Math.min(...boxes.slice(1).map((box, k) => box.left - boxes[k].right));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_or_covered(open_page: OpenPage, folder: Path, scheme: str) -> None:
    page = open_page(folder, width=390, color_scheme=scheme)
    open_details(page)
    for index in range(4):
        page.locator("#candidates .put-beside").nth(index).check()
    wide, beyond, cut = page.evaluate(OUTSIDE)
    assert (wide, beyond, cut) == (0, [], [])
    assert page.evaluate(COVERED) == 0
    assert page.evaluate(OVERLAPPING) == []
    sizes = page.evaluate(
        """() => [...document.querySelectorAll("#chart svg text, #parallel svg text")].map((node) =>
             node.getBoundingClientRect().height / Math.max(node.textContent.split("\\n").length, 1))"""
    )
    assert min(sizes) > 8  # pixels: still to be read


def test_on_a_phone_neighbours_on_an_axis_are_read_as_two_numbers(open_page: OpenPage, tmp_path: Path) -> None:
    sizes = [round(synthetic.REFERENCE_BYTES / ratio) for ratio in (50, 30, 20, 10, 7, 5, 3, 2, 1)]
    points = [synthetic.Point("prune", {"keep": 0.01 * k}, size, 0.05, None) for k, size in enumerate(sizes, start=1)]
    folder = synthetic.write_sweep(tmp_path / "spread", synthetic.records(points, seeds=1), target=None)
    write_page(folder)
    assert open_page(folder, width=390).evaluate(CLOSEST) > 3  # pixels


def test_on_a_desktop_nothing_is_cut_and_no_words_are_covered(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder, width=1280)
    open_details(page)
    wide, beyond, cut = page.evaluate(OUTSIDE)
    assert (wide, beyond, cut) == (0, [], [])
    assert page.evaluate(COVERED) == 0
    assert page.evaluate(OVERLAPPING) == []


def test_the_figure_is_laid_out_anew_when_the_window_becomes_narrow(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder, width=1280)
    assert page.locator("#chart svg").get_attribute("viewBox") == "0 0 1040 560"
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function("() => document.querySelector('#chart svg').getAttribute('viewBox').startsWith('0 0 430')")
    assert page.locator("#chart .ring").count() == 1


def test_an_arrow_keeps_off_the_bar_and_the_ring(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    met = page.evaluate(
        """() => {
          const boxes = (name) => [...document.querySelectorAll(`#chart ${name}`)].map((node) => node.getBBox());
          const meet = (a, b) => a.x < b.x + b.width + 0.1 && b.x < a.x + a.width + 0.1
            && a.y < b.y + b.height && b.y < a.y + a.height;
          const others = [...boxes(".range"), ...boxes(".ring")];
          return [boxes(".arrow").length, boxes(".arrow").filter((a) => others.some((b) => meet(a, b))).length];
        }"""
    )
    assert met[0] > 5
    assert met[1] == 0


# The slider


def test_the_slider_reaches_every_choice_that_a_target_can_have(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    found = page.evaluate(
        """() => {
          const [slider, number] = ["slider", "number"].map((id) => document.getElementById(id));
          const job = () => document.querySelector('#choice [data-part="export-command"]').textContent;
          const told = [];
          for (let k = 0; k <= Number(slider.max); k++) {
            slider.value = k;
            slider.dispatchEvent(new Event("input"));
            told.push([Number(number.value), job()]);
          }
          return told;
        }"""
    )
    values = [value for value, _ in found]
    assert values == sorted(set(values))
    by_slider = {job.split("--job ")[1].split()[0] for _, job in found}
    hundredths = [k / 10_000 for k in range(round(100 * values[-1]) + 1)]
    picks = [read_findings(folder, target=Target(max_drop=drop), by="bytes").pick for drop in hundredths[::7]]
    assert {pick.candidate.best_id for pick in picks if pick is not None} <= by_slider
    near = [value for value in values if value <= 3]
    assert len(near) > len(values) / 4  # most models lie there, in a small part of the range
    assert values[-1] > 6


# What is known of each


def test_circles_show_the_states_and_a_command_confirms_what_is_not(open_page: OpenPage, tmp_path: Path) -> None:
    records = synthetic.records(synthetic.grid()[::2], seeds=6) + synthetic.records(synthetic.grid()[1::2], seeds=1)
    folder = synthetic.write_sweep(tmp_path / "sweep", records, target={"max_drop": 0.01})
    write_page(folder)
    page, seen = open_page(folder), set()
    for drop in (0.01, 0.002, 0.05, 0.0, 0.0028):
        page.locator("#number").fill(f"{100 * drop:g}")
        page.wait_for_function(
            f"() => document.querySelector('[data-part=pick-command]').textContent.includes(' {drop:g}')"
        )
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = read_findings(folder, target=Target(max_drop=drop), by="bytes")
        for state in ("confirmed", "unconfirmed"):
            drawn = page.locator(f"#chart .state.{state}").get_attribute("d") or ""
            expected = sum(row.state == state and not row.picked for row in found.rows)
            assert drawn.count("M") == expected, (drop, state)
        confirm = page.locator('#choice [data-part="confirm"]')
        assert confirm.is_visible() == (found.confirm is not None)
        assert confirm.locator("pre").text_content() == (found.confirm or "")
        assert found.choice is not None
        close = found.confirm is None and found.choice.to_confirm is not None
        who = "The pick" if found.choice.better is None else "It"
        why = page.locator('#choice [data-part="why"]').text_content() or ""
        assert (f"{who} is so close to the target that further seeds are not expected to confirm it." in why) == close
        seen.add(who if close else None)
        said = page.locator("#choice").get_attribute("class") or ""
        assert said.split()[-1] == found.choice.state
    assert seen == {"The pick", "It", None}


# Parallel coordinates


def brush(page: Page, axis: str, start: float, end: float) -> None:
    """Drags along an axis from one share of it to another."""
    area = page.locator(f'#parallel [data-axis="{axis}"]')
    area.scroll_into_view_if_needed()
    box = area.bounding_box()
    assert box is not None

    def spot(share: float) -> tuple[float, float]:
        inside = (share + 0.04) / 1.08  # the area reaches beyond the axis
        upright = box["height"] > box["width"]
        x = box["x"] + (box["width"] / 2 if upright else inside * box["width"])
        y = box["y"] + ((1 - inside) * box["height"] if upright else box["height"] / 2)
        return x, y

    page.mouse.move(*spot(start))
    page.mouse.down()
    page.mouse.move(*spot(end), steps=4)
    page.mouse.up()


def column(page: Page, number: int) -> list[str]:
    return page.locator(f"#candidates tbody tr td:nth-child({number})").all_inner_texts()


@pytest.mark.parametrize("width", [1280, 390])
def test_a_brush_keeps_the_candidates_within_it(open_page: OpenPage, folder: Path, width: int) -> None:
    page = open_page(folder, width=width)
    axes = page.locator("#parallel [data-axis]")
    keys = [axes.nth(k).get_attribute("data-axis") for k in range(axes.count())]
    assert keys == ["knob keep", "knob size", "knob rank", "bytes", "macs", "error"]
    assert len(column(page, 2)) == 37
    brush(page, "knob size", -0.02, 0.5)
    page.wait_for_function("() => document.querySelectorAll('#candidates tbody tr').length < 37")
    kept = column(page, 2)
    sizes = {int(text.split("size ")[1]) for text in kept}
    assert sizes == {2, 4, 8}  # of 2 to 64 on a log scale; families without a size are out
    assert f"{len(kept)} of 37 candidates within the brushes" in page.locator("#brushed").inner_text()
    assert page.locator("#parallel .brush").nth(1).bounding_box() is not None
    brush(page, "error", -0.02, 0.35)
    page.wait_for_function(f"() => document.querySelectorAll('#candidates tbody tr').length < {len(kept)}")
    fewer = column(page, 2)
    assert set(fewer) < set(kept)
    page.locator("#clear-brushes").click()
    page.wait_for_function("() => document.querySelectorAll('#candidates tbody tr').length === 37")
    assert page.locator("#brushed").inner_text() == ""


def test_a_brush_obeys_the_keyboard(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    page.locator('#parallel [data-axis="bytes"]').focus()
    for _ in range(25):
        page.keyboard.press("ArrowDown")
    page.wait_for_function("() => document.querySelectorAll('#candidates tbody tr').length < 37")
    sizes = [int(text.replace(",", "")) for text in column(page, 7)]
    assert 0 < max(sizes) < 12_000
    page.keyboard.press("Shift+ArrowUp")
    assert page.evaluate("document.activeElement.dataset.axis") == "bytes"
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('#candidates tbody tr').length === 37")


def test_hidden_families_leave_the_axes_and_the_choice_is_a_line(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    assert page.locator("#parallel .picked-line").count() == 1
    line = page.locator("#parallel .picked-line").get_attribute("d")
    page.locator("#number").fill("5")
    assert page.locator("#parallel .picked-line").get_attribute("d") != line
    page.locator("#families label", has_text="low_rank").locator("input").uncheck()
    assert page.locator('#parallel [data-axis="knob rank"]').count() == 0


def ink(page: Page) -> int:
    """How much is drawn of the lines: the length of their picture."""
    return len(page.evaluate("document.querySelector('#parallel canvas').toDataURL()"))


def test_each_candidate_is_a_line(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    everything = ink(page)
    assert everything > 20_000
    for name in ("low_rank", "prune (", "quantize ("):
        page.locator("#families label", has_text=name).first.locator("input").uncheck()
    assert ink(page) < 0.8 * everything


# Side by side


def facts(page: Page) -> dict[str, list[str]]:
    rows = page.locator("#beside tbody tr")
    found = {}
    for index in range(rows.count()):
        row = rows.nth(index)
        found[row.locator("th").inner_text()] = row.locator("td").all_inner_texts()
    return found


def test_two_to_four_models_stand_side_by_side(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    boxes = page.locator("#candidates .put-beside")
    assert not page.locator("#beside").is_visible()
    rows = page.locator("#candidates tbody tr")
    expected: list[dict[str, Any]] = []
    for index in (0, 5, 9, 14):
        boxes.nth(index).check()
        cells = rows.nth(index).locator("td").all_inner_texts()
        expected.append({"name": cells[1], "error": cells[3], "bytes": cells[6], "ratio": cells[7], "macs": cells[8]})
    assert boxes.nth(1).is_disabled()
    found = facts(page)
    heads = page.locator("#beside thead th").all_inner_texts()
    assert [each["name"] in head for each, head in zip(expected, heads, strict=True)] == [True] * 4
    assert [each["bytes"] in cell for each, cell in zip(expected, found["Packed file"], strict=True)] == [True] * 4
    assert found["Validation error"] == [each["error"] for each in expected]
    assert found["Ratio"] == [each["ratio"] for each in expected]
    first, second = (int(expected[k]["bytes"].replace(",", "")) for k in (0, 1))
    change = 100 * (second / first - 1)
    assert f"+{change:.{1 if change < 10 else 0}f}\u00a0%" in found["Packed file"][1]
    best = page.locator("#beside tbody tr").first.locator(".best")
    assert best.all_inner_texts() == [found["Packed file"][0]]  # the table has the smallest first
    page.locator("#beside thead button").first.click()
    assert len(page.locator("#beside thead th").all()) == 3
    assert not boxes.nth(0).is_checked()
    assert boxes.nth(1).is_enabled()
    for index in (5, 9, 14):
        boxes.nth(index).uncheck()
    assert not page.locator("#beside").is_visible()


# A candidate


def test_the_curves_come_before_the_seeds_and_the_layers_that_hurt(open_page: OpenPage, folder: Path) -> None:
    page = open_page(folder)
    open_details(page)
    tops = [
        page.locator(f"#details {part}").first.bounding_box()
        for part in (".curves", "[data-part=hurt]", "[data-part=seeds]")
    ]
    heights = [box["y"] for box in tops if box is not None]
    assert len(heights) == 3
    assert heights == sorted(heights)
    rows = page.locator("#details [data-part=layers] tr")
    assert rows.count() == 3
    assert rows.nth(0).locator("td").all_inner_texts()[:2] == ["fc1.weight", "30\u00d720"]
    assert rows.nth(2).locator("td").last.inner_text().startswith("15.00")
    bars = [float(rows.nth(k).locator(".bar").evaluate("node => node.offsetWidth")) for k in range(3)]
    assert bars == pytest.approx([60 * (0.05 * k - 0.025) / 0.125 for k in (1, 2, 3)], abs=1)
    assert "2.50" in page.locator("#details [data-part=alone]").inner_text()
    ends = rows.evaluate_all("all => all.map((row) => row.querySelector('.bar').getBoundingClientRect().left)")
    assert len(set(map(round, ends))) == 1  # the numbers before them are below one another


def test_a_curve_of_few_measured_steps_shows_them(open_page: OpenPage, folder: Path) -> None:
    for path in folder.glob("artifacts/*/diagnostics.json"):
        written = json.loads(path.read_text())
        for step in written["steps"][1:5]:
            step["val_error"] = None
        path.write_text(json.dumps(written))
    write_page(folder)
    page = open_page(folder)
    open_details(page)
    curves = page.locator("#details .curves svg")
    assert [curves.nth(k).locator("circle").count() for k in range(4)] == [3 * 7, 0, 0, 0]  # of three seeds


# Figures beside the page


def test_figures_are_linked_with_thumbnails(open_page: OpenPage, folder: Path) -> None:
    write_report(folder)
    page = open_page(folder)
    images = page.locator(".figures img")
    assert images.count() == 5  # the run and the layers of the pick too
    for index in range(5):
        images.nth(index).scroll_into_view_if_needed()
        page.wait_for_function(f"() => document.querySelectorAll('.figures img')[{index}].naturalWidth > 100")
    links = page.locator(".figures a").evaluate_all("nodes => nodes.map((node) => node.getAttribute('href'))")
    assert len(links) == 20
    assert all((folder / "report" / link).is_file() for link in links)


def test_a_sweep_of_which_every_job_failed_says_so_and_links_nothing(open_page: OpenPage, tmp_path: Path) -> None:
    failures = [FAILURE, FAILURE | {"id": "a" * 16, "seed": 1}]
    folder = synthetic.write_sweep(tmp_path / "failed", failures, target={"max_drop": 0.01})
    write_report(folder)
    page = open_page(folder)
    assert "All 2 jobs failed" in page.locator("main").inner_text()
    assert "expected a finite loss" in page.locator("main").inner_text()
    linked = page.evaluate("[...document.querySelectorAll('[href], [src]')].map((node) => node.outerHTML)")
    assert linked == []
