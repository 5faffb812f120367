import json
import random
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports import write_report
from reports.digest import digest
from reports.facts import diagnostics
from reports.facts.findings import read_findings
from sweep.pick.choice import candidates, choose, chosen
from sweep.store.files import read_optional
from sweep.store.manifest import read_manifest
from sweep.store.records import read_records
from sweep.target import Target
from tests.reports import synthetic
from tests.reports.conftest import FAILURE, MakeSweep
from tests.reports.pages import write_page

FIGURES = ("front", "macs", "progress")
FILES = {"index.html"} | {f"{name}.{format}" for name in FIGURES for format in ("png", "svg", "pdf")}


class Page(HTMLParser):
    """What a browser would find: the elements, their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.unseen = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("script", "style"):
            self.unseen = tag
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        if tag == self.unseen:
            self.unseen = ""

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read_page(folder: Path) -> Page:
    return Page((folder / "report" / "index.html").read_text(encoding="utf-8"))


def data_of(folder: Path) -> dict[str, Any]:
    """The page's data, as a browser reads it."""
    html = (folder / "report" / "index.html").read_text(encoding="utf-8")
    found = html.split('<script type="application/json" id="data">')[1].split("</script>")[0]
    assert not set("<>&\u2028\u2029") & set(found)
    content: dict[str, Any] = json.loads(found)
    return content


def test_report_has_its_files_and_a_summary_fit_for_json(written: tuple[Path, dict[str, Any]]) -> None:
    folder, summary = written
    report = folder / "report"
    assert {path.name for path in report.iterdir()} == FILES
    assert {Path(path).name for path in summary["paths"].values()} == FILES
    assert {Path(summary["paths"][kind]).stat().st_size - size for kind, size in summary["file_bytes"].items()} == {0}
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["choice"]["confirm"] == read_findings(folder, target=None, by="bytes").confirm
    assert summary["jobs"] == {"done": 37, "failed": 1}
    picked = read_findings(folder, target=None, by="bytes").pick
    assert picked is not None
    assert summary["choice"]["id"] == picked.candidate.best_id
    assert summary["choice"]["mean_accuracy"] == picked.candidate.mean_value
    assert (report / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (report / "front.pdf").read_bytes().startswith(b"%PDF")
    assert (report / "front.png").stat().st_size < 500_000


@pytest.mark.slow
def test_the_same_records_give_the_same_bytes(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, summary = written
    again = shutil.copytree(folder, tmp_path / "again", ignore=shutil.ignore_patterns("report"))
    write_report(again)
    for path in map(Path, summary["paths"].values()):
        expected = path.read_bytes().replace(str(folder).encode(), str(again).encode())
        assert (again / "report" / path.name).read_bytes() == expected, path.name


@pytest.mark.parametrize("by", ["bytes", "macs"])
@pytest.mark.parametrize("target", [Target(max_drop=0.01), Target(min_accuracy=0.99)])
def test_the_choice_is_that_of_pick(make_sweep: MakeSweep, by: str, target: Target) -> None:
    folder = make_sweep(synthetic.grid(), seeds=2)
    findings = write_page(folder, target=target, by=by)  # type: ignore[arg-type]
    expected = choose(
        candidates(read_records(folder)),
        target=target,
        reference_score=read_manifest(folder).reference.val.value,
        by=by,  # type: ignore[arg-type]
    )
    assert expected.candidate is not None
    assert findings.choice == expected
    page = read_page(folder)
    option = "--max-drop 0.01" if target.max_drop is not None else "--min-accuracy 0.99"
    by_option = "" if by == "bytes" else " --by macs"
    assert f"lcsweep pick {folder} {option}{by_option}" in page.text
    assert f"lcsweep export {folder} --job {expected.candidate.best_id} --out digits_mlp.lcz" in page.text
    assert f"{expected.candidate.artifact_bytes:,} bytes" in page.text
    assert ("No model meets the target" in page.text) != expected.feasible


def test_the_choice_by_latency_knows_the_noise_of_what_was_not_measured(tmp_path: Path) -> None:
    draw = random.Random(3)
    records = synthetic.tied(seeds=(1, 4, 5, 8), draw=draw)
    folder = synthetic.write_sweep(tmp_path / "tied", records, target=None, confirm=3)
    for record in records:
        if draw.random() < 0.3:
            synthetic.write_latency(folder, record["id"], sha256=record["artifact_sha256"], ratio=draw.random())
    found, manifest = candidates(read_records(folder)), read_manifest(folder)
    margins = set()
    for place in range(20):
        target = Target(min_accuracy=0.93 + 3 * place / 1000)
        expected = chosen(found, manifest, target=target, by="latency")
        assert read_findings(folder, target=target, by="latency").choice == expected
        margins.add(expected.margin)
    assert len(margins) > 5


def test_page_says_what_was_found(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.01}, failures=(FAILURE,))
    synthetic.write_searches(folder)
    text = (write_page(folder), read_page(folder).text)[1]
    for words in (
        "(the reference's 97.49 % less 1 point); confirmed where 3 or more fresh seeds show it (98.5 %",
        "37 configurations from 37 finished jobs, 1 failed",
        "expected a finite loss, got nan <b>bold</b>",
        "ValueError: <i>nan</i>",
        "402 configurations, for a drop of at most 1.00% of the reference's accuracy; ",
        "353 configurations skipped",
        "261: no smaller than the best",
        "torch 2.13.0",
        "0123456789abcdef",
        "n = 359",
        "train 1,078, val 359, test 360",
    ):
        assert words in text, words
    assert "Test split" not in text


def test_a_page_tells_a_regression_in_its_unit(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), seeds=2, target={"max_drop": 0.5}, metric=synthetic.MSE)
    findings = write_page(folder)
    assert findings.pick is not None
    synthetic.write_test(
        folder, id=findings.pick.candidate.best_id, sha256="cd" * 32, accuracy=0.97, metric=synthetic.MSE
    )
    text = (write_page(folder), read_page(folder).text)[1]
    for words in (
        "Reference: 64,000 bytes, validation MSE 10.03 mm2.",
        "Validation MSE 10.03 mm2 mean of 1 fresh seed the file's own: 8.914 mm2 (seed 0, best of 2 on",
        "validation, which flatters); 95 % interval 4.534\u201317.34 mm2, n = 359",
        "validation MSE of at most 10.53 mm2 (the reference's 10.03 mm2 plus 0.5 mm2); confirmed where",
        "The mean leaves out the first seed",
        "Test MSE 12.00 mm2",
        "MSE (mm2) DC MSE",
        "validation rise at most",
        "validation MSE at most",
        "MSE is measured on the validation split",
        "lcsweep pick",
    ):
        assert words in text.replace("\u00a0", " "), words
    assert "accuracy" not in text
    assert " error" not in text.replace("front (error", "")


def test_a_page_without_a_target_asks_for_a_relative_one_of_a_regression(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid()[:2], metric=synthetic.MSE)
    write_page(folder)
    assert f"lcsweep pick {folder} --max-drop 0.01 --relative" in read_page(folder).text


def test_measurements_on_the_test_split_are_named_so_and_kept_apart(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.01})
    before = read_findings(folder, target=None, by="bytes")
    assert before.pick is not None
    synthetic.write_test(folder, id=before.pick.candidate.best_id, sha256="cd" * 32, accuracy=0.9123)
    synthetic.write_test(folder, id="reference", sha256="ab" * 32, accuracy=0.9345)
    after = write_page(folder)
    assert replace(after, measurements=()) == before  # so that figures, which draw no measurement, stay the same
    text = read_page(folder).text
    assert "2 measurements so far" in text
    assert "Test accuracy 91.23 %" in text
    assert "93.45 %" in text[text.index("Test split") :]
    assert "93.45 %" not in text[: text.index("Test split")]


@pytest.mark.usefixtures("svg_only")
def test_markup_in_names_shows_as_text(make_sweep: MakeSweep) -> None:
    script = "<script>alert(1)</script>"
    image = "<img src=x onerror=alert(2)>"
    quote = '"><svg onload=alert(3)>'
    points = [
        synthetic.Point(script, {quote: image}, 900, 0.03, 0.2),
        synthetic.Point(quote, {"keep": script, "$\\frac$": "]]>&amp;"}, 1900, 0.028, 0.2),
    ]
    failure = synthetic.failed(points[0], message=script, trace=f"</details></pre>{script}")
    failure["seed"] = 7
    failure["configuration"] = {"other": image}
    failure["id"] = "f" * 16
    folder = make_sweep(points, target={"max_drop": 0.01}, failures=(failure,), study=image)
    synthetic.write_test(folder, id=script, sha256=quote, accuracy=0.9)
    search = {"name": script, "configurations": 3, "jobs": 3, "known": 0, "started": 0, "failed": 0, "left": 0}
    search |= {"method": "lc", "skipped": {image: 3}, "target": None, "seconds": 1.0}
    synthetic.write(folder / "searches" / "odd.json", search)
    write_report(folder)
    page = read_page(folder)
    assert page.tags.count("script") == 2  # the data and the page's own
    assert [value for name, value in page.attributes if name == "src"] == [
        "front.svg",
        *(f"{figure}.png" for figure in FIGURES),
    ]
    assert page.tags.count("svg") == 0
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(script) >= 4
    assert image in page.text
    data = data_of(folder)
    assert {script, quote} <= {series["name"] for series in data["series"]}
    assert image in data["levels"]
    svg = (folder / "report" / "front.svg").read_text()
    assert "<script" not in svg
    assert "&lt;script&gt;" in svg


def test_page_asks_nothing_of_the_network(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), seeds=2, target={"max_drop": 0.01})
    write_page(folder)
    page = read_page(folder)
    html = (folder / "report" / "index.html").read_text()
    assert not {"link", "iframe", "object", "base", "a", "img"} & set(page.tags)
    assert [value for name, value in page.attributes if name in ("href", "src")] == []
    write_page(folder, figures=("front", "macs"))
    linked = {value for name, value in read_page(folder).attributes if name in ("href", "src")}
    assert linked == {f"{name}.{form}" for name in ("front", "macs") for form in ("png", "svg", "pdf")}
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")  # a name, of a namespace
    assert "@import" not in html
    assert "url(" not in html
    assert "default-src 'none'" in html


def test_page_of_sixty_records_is_small(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.many(60), target={"max_drop": 0.01})
    write_page(folder)
    assert (folder / "report" / "index.html").stat().st_size < 110_000


def test_a_thousand_records_are_all_in_a_small_page(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.many(1000), target={"max_drop": 0.01})
    assert len(write_page(folder).rows) == data_of(folder)["count"] == 1000
    assert (folder / "report" / "index.html").stat().st_size < 180_000


@pytest.mark.usefixtures("svg_only")
@pytest.mark.parametrize(
    "points, failures, target, words",
    [
        ([], (), None, "No job has finished"),
        (
            [],
            (FAILURE,),
            {"max_drop": 0.01},
            "\u2717 The only job failed There is no model to choose, and there are no",
        ),
        (synthetic.grid()[:1], (), {"max_drop": 0.01}, "1 configuration from 1 finished job"),
    ],
)
def test_small_sweeps_have_a_report_too(
    make_sweep: MakeSweep,
    points: list[synthetic.Point],
    failures: tuple[dict[str, object], ...],
    target: dict[str, float] | None,
    words: str,
) -> None:
    folder = make_sweep(points, failures=failures, target=target)
    summary = write_report(folder)
    assert words in read_page(folder).text
    assert (summary["choice"] is None) == (target is None or not points)
    figures = {"front.svg", "macs.svg", "progress.svg"} if points else set()
    assert {path.name for path in (folder / "report").iterdir()} == {"index.html", *figures}


def test_without_a_target_there_is_no_choice_but_a_way_to_make_one(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid())
    assert write_page(folder).choice is None
    assert f"lcsweep pick {folder} --max-drop 0.01" in read_page(folder).text


@pytest.mark.usefixtures("svg_only")
def test_a_failed_seed_is_said_of_its_configuration_everywhere(make_sweep: MakeSweep) -> None:
    (point,) = points = synthetic.grid()[:1]
    failure = {**synthetic.failed(point, message="nan", trace=""), "seed": 5, "id": "e" * 16}
    folder = make_sweep(points, failures=(failure,), target={"max_drop": 0.9})
    assert write_report(folder)["candidates"] == 1
    assert "of the one seed by which it was chosen; 1 more failed" in read_page(folder).text
    assert "1 (1 failed)" in read_page(folder).text
    assert data_of(folder)["columns"]["failed"] == 1
    page = digest(read_findings(folder, target=None, by="bytes"))
    assert "| 1 (1 failed) |" in page
    assert "Seeds that failed say nothing of the error" in page


@pytest.mark.usefixtures("svg_only")
def test_each_jobs_diagnostics_are_read_once(make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, read = make_sweep(synthetic.grid()[:2], seeds=2), []
    for record in read_records(folder):
        synthetic.write_diagnostics(folder, record.id)
    monkeypatch.setattr(diagnostics, "read_optional", lambda path: read.append(path) or read_optional(path))
    write_report(folder)
    assert len(read) == len(set(read)) == 4


@pytest.mark.usefixtures("svg_only")
def test_what_cannot_be_read_or_written_is_named(make_sweep: MakeSweep, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        write_report(tmp_path / "nowhere")
    folder = make_sweep(synthetic.grid()[:1])
    with pytest.raises(ValueError, match="bytes, macs, latency, got 'size'"):
        write_report(folder, by="size")  # type: ignore[arg-type]
    (folder / "report").write_text("in the way")
    with pytest.raises(ValueError, match=r"front\.svg"):
        write_report(folder)
    assert (folder / "report").read_text() == "in the way"
    (folder / "report").unlink()
    synthetic.write(folder / "searches" / "grid.json", {})
    (folder / "searches" / "grid.json").write_text("{torn")
    with pytest.raises(ValueError, match=r"grid\.json"):
        write_report(folder)
