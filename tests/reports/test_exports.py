"""The records as files: the same values and columns in each format, all of them documented; and the Markdown page."""

import builtins
import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from reports.digest import digest, write_digest
from reports.exports import ENCODERS, export_records
from reports.facts.findings import read_findings
from reports.facts.target import rule_words
from sweep.store.columns import COLUMNS, KINDS, OPEN_COLUMNS
from sweep.store.records import read_records
from sweep.store.table import table
from sweep.target import Target
from tests.reports import synthetic
from tests.reports.conftest import MakeSweep
from tests.reports.pages import write_page
from tests.sweep.tiny import lcsweep

DOCUMENTED = Path(__file__).resolve().parents[2] / "docs" / "records.md"
POINT = synthetic.Point("prune", {"keep": 0.001}, 100, 0.5, None)
FAILURE = synthetic.failed(POINT, message='no, "=1"\nn\u00e9', trace="T")
NAMES = ("a|b", "*bold*", "_it_", "<b>x</b><script>", "[l](http://x)", "![i](x)", "`c`", "a\\|b", "# h", "&lt;", "$x$")


def documented() -> dict[str, str]:
    """Column -> type, as the table of docs/records.md has them, in its order."""
    text = DOCUMENTED.read_text(encoding="utf-8").partition("<!-- end columns -->")[0]
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("| `"): row[1] for row in rows}


def read(path: str) -> list[dict[str, Any]]:
    """The rows of an exported file, None for what is null and the configuration as an object."""
    match path.rpartition(".")[2]:
        case "json":
            return json.loads(Path(path).read_text(encoding="utf-8"))
        case "csv":
            with Path(path).open(encoding="utf-8", newline="") as file:
                rows = [{name: _value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]
        case _:
            frame = pd.read_parquet(path)
            rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [row | {"configuration": json.loads(row["configuration"])} for row in rows]


def _value(name: str, text: str) -> Any:
    dtype = COLUMNS[name].dtype if name in COLUMNS else None
    knob = name.startswith("knob.") and name != "knob.level"
    number = dtype in ("Int64", "Float64") or knob or name == "schedule.epochs"
    if not text or not number:
        return text or None
    return int(text) if dtype == "Int64" else float(text)


def test_the_header_of_a_csv_names_the_metrics_unit(tmp_path: Path) -> None:
    records = [synthetic.record(POINT, seed=0, seeds=1, n_val=synthetic.N_VAL)]
    folder = synthetic.write_sweep(tmp_path / "sweep", records, target=None, metric=synthetic.MSE)
    measured = [f"{part}_{name}" for part in ("val", "direct") for name in ("mse", "error", "low", "high")]
    columns = {form: list(read(export_records(folder, format=form)["path"])[0]) for form in ENCODERS}
    assert set(measured) < set(columns["parquet"])
    assert columns["parquet"] == columns["json"]
    headed = [f"{name} (mm2)" if name in measured else name for name in columns["parquet"]]
    assert columns["csv"] == headed


def test_every_column_is_documented_with_its_type_and_nothing_else_is(make_sweep: MakeSweep) -> None:
    opened = documented()
    patterns = {f"{prefix}.<name>" for prefix in OPEN_COLUMNS}
    fixed = {name: kind for name, kind in opened.items() if name not in patterns}
    assert list(opened) == [*COLUMNS, *(f"{prefix}.<name>" for prefix in OPEN_COLUMNS)]
    assert fixed == {name: KINDS[column.dtype] for name, column in COLUMNS.items()}
    names = list(table(make_sweep(synthetic.grid(), failures=(FAILURE,))).columns)
    assert [name for name in names if "." not in name] == list(fixed)
    assert {re.sub(r"\..*", ".<name>", name) for name in names if "." in name} == patterns


@pytest.mark.parametrize("format", list(ENCODERS))
def test_a_row_a_job_with_its_values_in_full(make_sweep: MakeSweep, format: str) -> None:
    folder = make_sweep(synthetic.grid(), seeds=2, failures=(FAILURE,))
    synthetic.write_latency(
        folder, read_records(folder)[5].id, sha256=str(read_records(folder)[5].artifact_sha256), ratio=0.75
    )
    summary = export_records(folder, format=format)
    records, rows = read_records(folder), read(summary["path"])
    assert summary == {"path": str(folder / "report" / f"records.{format}"), "rows": 75, "columns": list(rows[0])}
    assert summary["columns"] == list(table(folder).columns)
    assert [row["id"] for row in rows] == [record.id for record in records]
    for row, record in zip(rows, records, strict=True):
        for name in ("status", "family", "configuration", "seed", "artifact_bytes", "macs", "gap", "seconds", "device"):
            assert row[name] == getattr(record, name), name
        assert row["val_accuracy"] == (record.val and record.val.value)
        assert row["direct_high"] == (record.direct and record.direct.high)
        assert {knob: row[f"knob.{knob}"] for knob in record.configuration} == record.configuration
        assert row["error"] == (record.error and record.error.message)
        assert row["latency_ratio"] == (0.75 if record is records[5] else None)
        assert row["schedule.epochs"] == 60.0
        assert row["version.torch"] == "2.13.0"


@pytest.mark.parametrize("format", list(ENCODERS))
def test_no_records_are_a_file_without_rows(make_sweep: MakeSweep, format: str) -> None:
    summary = export_records(make_sweep([]), format=format)
    assert summary["columns"] == list(COLUMNS)
    if format == "json":
        assert json.loads(Path(summary["path"]).read_text()) == []
    else:
        frame = pd.read_csv(summary["path"]) if format == "csv" else pd.read_parquet(summary["path"])
        assert (list(frame.columns), len(frame)) == (list(COLUMNS), 0)


def test_whole_numbers_stay_whole_where_some_are_null(make_sweep: MakeSweep) -> None:
    path = export_records(make_sweep(synthetic.grid(), failures=(FAILURE,)), format="csv")["path"]
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    first = dict(zip(lines[0].split(","), lines[1].split(","), strict=False))
    assert first["seed"] == "0"
    frame = pd.read_csv(path, dtype=str)
    assert frame["artifact_bytes"].isna().sum() == 1
    assert frame["artifact_bytes"].dropna().str.fullmatch(r"\d+").all()
    assert frame["knob.rank"].dropna().str.fullmatch(r"\d+").all()


def test_parquet_without_pyarrow_says_so_and_writes_nothing(
    make_sweep: MakeSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, found = make_sweep(synthetic.grid()), builtins.__import__

    def refuse(name: str, *rest: Any) -> Any:
        if name == "pyarrow":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match="expected pyarrow"):
        export_records(folder, format="parquet")
    assert not (folder / "report").exists()


@pytest.mark.parametrize("format", ["xls", "html"])
def test_another_format_is_refused(make_sweep: MakeSweep, format: str) -> None:
    with pytest.raises(ValueError, match=f"expected a format among csv, parquet, json, got '{format}'"):
        export_records(make_sweep([]), format=format)


# The page for a pull request


def rendered(page: str) -> tuple[list[list[str]], str]:
    """What a Markdown page shows: the cells of its tables' rows, and the HTML."""
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    html = parser.render(page)
    rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, flags=re.DOTALL) for row in rows], html


def test_the_page_has_the_front_the_pick_and_the_figure_beside_it(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), seeds=3, target={"max_drop": 0.01}, failures=(FAILURE,))
    summary = write_digest(folder)
    assert {path.name for path in (folder / "report").iterdir()} == {"report.md", "front.png"}
    (header, *rows), html = rendered((folder / "report" / "report.md").read_text(encoding="utf-8"))
    assert '<img src="front.png"' in html
    assert (folder / "report" / "front.png").read_bytes().startswith(b"\x89PNG")
    sizes = {record.id: record.artifact_bytes for record in read_records(folder)}
    assert {len(row) for row in rows} == {len(header)}
    assert [row[4] for row in rows] == sorted(
        (f"{sizes[id]:,}" for id in summary["front"]), key=lambda s: int(s.replace(",", ""))
    )
    picks = [row for row in rows if row[0] == "pick"]
    assert [row[4] for row in picks] == [f"{sizes[summary['pick']]:,}"]
    states = {row.candidate.best_id: row.state for row in read_findings(folder, target=None, by="bytes").rows}
    assert [row[1] for row in picks] == [states[summary["pick"]]]
    assert f"Job {summary['pick']}" in html
    assert "37 configurations, 111 jobs done, 1 failed." in html
    assert "torch 2.13.0" in html


def test_what_is_not_confirmed_comes_with_the_command_that_would_confirm_it(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), target={"max_drop": 0.01})
    findings = read_findings(folder, target=None, by="bytes")
    assert findings.pick is not None
    command = f"lcsweep run studies.digits_mlp --out {folder} --job {findings.pick.candidate.best_id} --repeats 4"
    command += " --max-drop 0.01"
    assert findings.confirm == command
    page = digest(findings)
    assert f"```sh\n{command}\n```" in page
    assert "unconfirmed" in page
    assert "Better, but unconfirmed" not in page
    assert findings.choice is not None
    better = findings.choice.runner_up
    assert better is not None
    page = digest(replace(findings, choice=replace(findings.choice, better=better)))
    words = f"{better.label}, {better.artifact_bytes:,} bytes; it meets the target so far. To confirm it:\n"
    assert "Better, but unconfirmed: " in page
    assert words in page
    missed = read_findings(folder, target=Target(min_accuracy=1.0), by="bytes")
    assert missed.confirm is None
    assert "--job" not in digest(missed)


def test_what_confirms_a_model_that_is_not_trained_is_said_where_there_is_one(make_sweep: MakeSweep) -> None:
    """A row of one seed would else be confirmed for no reason that is given."""
    point = synthetic.grid()[0]
    folder = make_sweep([point], seeds=1, target={"min_accuracy": 0.01})
    words = "or, of dc, one seed does, since every seed gives the same model, else unconfirmed"
    assert words not in digest(read_findings(folder, target=None, by="bytes"))
    untrained = synthetic.record(point, seed=0, seeds=1, n_val=synthetic.N_VAL) | {
        "id": synthetic.job_id("dc"),
        "method": "dc",
    }
    synthetic.write(folder / "artifacts" / untrained["id"] / "record.json", untrained)
    findings = read_findings(folder, target=None, by="bytes")
    assert {row.state for row in findings.rows} == {"confirmed", "unconfirmed"}
    assert words in digest(findings)
    assert words in rule_words(findings)


def test_what_is_at_the_target_itself_is_said_to_stay_unconfirmed(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), seeds=3)
    rows = read_findings(folder, target=None, by="bytes").rows
    means = [row.candidate.mean_value for row in rows]
    asked = [read_findings(folder, target=Target(min_accuracy=mean), by="bytes") for mean in means]
    found = [each for each in asked if each.choice and each.choice.state == "unconfirmed" and not each.choice.better]
    close = [each for each in found if each.confirm is None]
    assert close
    for findings in close:
        page = digest(findings)
        assert "\n\nThe pick is so close to the target that further seeds are not expected to confirm it." in page
        assert "--job" not in page
        assert findings.choice is not None
        better = findings.choice.candidate
        page = digest(replace(findings, choice=replace(findings.choice, better=better)))
        assert "; it meets the target so far. It is so close to the target that further seeds are not" in page


def test_both_reports_say_what_stays_dense_and_what_no_number_counts(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid())
    write_page(folder)
    before = (folder / "report" / "index.html").read_text(encoding="utf-8")
    before += digest(read_findings(folder, target=None, by="bytes"))
    assert "of the parameters" not in before
    assert "not counted" not in before
    manifest = json.loads((folder / "sweep.json").read_text())
    dense = [{"name": "lstm.weight<hh>", "share": 0.6, "why": "no pattern"}]
    manifest["coverage"] = {"prune": {"share": 0.4, "dense": dense, "others": 1}}
    manifest["reference"]["uncounted"] = ["aten::_fft_r2c"]
    (folder / "sweep.json").write_text(json.dumps(manifest))
    write_page(folder)
    said = "prune governs 40.0% of the parameters; the rest stays dense: lstm.weight&lt;hh&gt; (60.0%, no pattern)"
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert f'<td class="muted">Compressed parameters</td><td class="wrap">{said} and 1 more</td>' in page
    assert f"{synthetic.MACS:,} MACs; not counted: aten::_fft_r2c; validation accuracy" in page
    html = rendered(digest(read_findings(folder, target=None, by="bytes")))[1]
    assert f"<li>{said} and 1 more</li>" in html
    assert f"{synthetic.MACS:,} MACs; not counted: aten::_fft_r2c, validation error" in html


def test_a_miss_is_called_one_and_no_target_is_said(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid())
    rows, html = rendered(digest(read_findings(folder, target=Target(min_accuracy=0.99), by="bytes")))
    assert [row[0] for row in rows if row[0]] == ["miss"]
    assert "<strong>Nearest miss</strong>" in html
    assert "No target was given" in rendered(digest(read_findings(folder, target=None, by="bytes")))[1]


def test_a_regression_is_told_in_its_unit(make_sweep: MakeSweep) -> None:
    folder = make_sweep(synthetic.grid(), seeds=2, target={"max_drop": 0.5}, metric=synthetic.MSE)
    (header, *rows), html = rendered(digest(read_findings(folder, target=None, by="bytes")))
    assert header[6:8] == ["MSE (mm2)", "95 % interval"]
    assert header[-1] == "DC MSE"
    (pick,) = (row for row in rows if row[0] == "pick")
    assert pick[6] == "10.03 (8.914\u201310.03)"
    told = html.replace("\u00a0", " ")
    assert "validation MSE of at most 10.53 mm2 (the reference's 10.03 mm2 plus 0.5 mm2)" in told
    assert "neither" not in told
    assert "error" not in told
    assert "accuracy" not in told


def test_an_empty_sweep_has_a_page(make_sweep: MakeSweep) -> None:
    page = digest(read_findings(make_sweep([], target={"max_drop": 0.01}), target=None, by="bytes"))
    assert "No job has finished, so there is no model to choose." in rendered(page)[1]


def test_a_page_of_which_every_job_failed_says_so_and_links_nothing(make_sweep: MakeSweep) -> None:
    failure = synthetic.failed(synthetic.grid()[0], message="nan", trace="")
    folder = make_sweep([], failures=(failure, failure | {"id": "a" * 16, "seed": 1}), target={"max_drop": 0.01})
    said = lcsweep("report", folder, "--format", "md")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith("without a figure: no configuration is done\n")
    (page,) = (folder / "report").iterdir()
    assert "All 2 jobs failed." in page.read_text()
    assert "![" not in page.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_shows_as_text(make_sweep: MakeSweep, name: str) -> None:
    folder = make_sweep([synthetic.Point(name, {"level": name}, 900, 0.03, None)], study=name)
    rows, html = rendered(digest(read_findings(folder, target=None, by="bytes")))
    shown = name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert rows[1][2:5] == [shown, f"level {shown}", "900"]
    assert f"<h3>Compressed models of {shown}</h3>" in html
    assert not re.search(r"<(b|script|em|code|s|a)\b", html)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_a_spreadsheet_runs_no_text(make_sweep: MakeSweep, name: str) -> None:
    """In CSV alone: the other formats keep the text."""
    folder = make_sweep([synthetic.Point(name, {"level": name}, 900, 0.03, None)])
    rows = {format: read(export_records(folder, format=format)["path"]) for format in ENCODERS}
    assert (rows["csv"][0]["family"], rows["csv"][0]["knob.level"]) == (f"'{name}", f"'{name}")
    for format in ("json", "parquet"):
        assert (rows[format][0]["family"], rows[format][0]["knob.level"]) == (name, name)
