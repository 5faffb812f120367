"""Texts from files, as a terminal, a table and a log show them."""

import io
import json
from pathlib import Path

import pytest

from sweep.cli import console
from sweep.cli.text import table
from sweep.execution.progress import Progress
from sweep.job.compress import failure
from sweep.store.folder import SweepFolder
from sweep.store.printable import has_control, on_a_line, on_lines, printable
from sweep.store.records import read_records
from tests.sweep.execution.test_runner import job
from tests.sweep.tiny import edit, lcsweep

TITLE = "\x1b]0;mine\x07"
TURNED = "\u202egnp.exe"


def test_a_replacement_stands_for_what_moves_the_cursor_or_turns_the_line() -> None:
    assert on_a_line(f"a{TITLE}b\r\n\tc{TURNED}\ud800 \u00e9\u00a0\u65e5") == (
        "a\ufffd]0;mine\ufffdb\ufffd\ufffd\ufffdc\ufffdgnp.exe\ufffd \u00e9\u00a0\u65e5"
    )
    assert on_lines("a\nb\x1b\r\n") == "a\nb\ufffd\ufffd\n"
    assert printable("a\x1bb" * 9, most=4) == "a\ufffdb\u2026"
    assert [has_control(text) for text in ("\n", "\x7f", "\x9b", "a \u00a0\u2028")] == [True, True, True, False]


def test_what_commands_print_goes_through_it(capsys: pytest.CaptureFixture[str]) -> None:
    console.show({}, f"a{TITLE}\nb", as_json=False)
    console.show({"a": TITLE}, "", as_json=True)
    console.say(TITLE)
    console.progress(TITLE)
    console.fail(f"{TITLE}\n", 1)
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert out.startswith("a\ufffd]0;mine\ufffd\nb\n")
    assert err.count("\n") == 2
    assert table([["a\nb", "c"], ["d", "e"]], right=set()) == "a\ufffdb  c\nd    e"


def test_a_failures_words_in_the_progress() -> None:
    stream = io.StringIO()
    with Progress(total=1, workers=1, stream=stream) as progress:
        progress.on_finish(job(0), failure(job(0), message=f"no {TITLE} luck", traceback=""))
    assert stream.getvalue().endswith("failed: no \ufffd]0;mine\ufffd luck\n")
    assert stream.getvalue().count("\n") == 1


def test_names_with_control_characters_are_refused_and_free_texts_are_shown(finished: Path) -> None:
    folder = SweepFolder(Path("runs/tiny"))
    record = read_records(folder.root)[0]
    path = folder.record(record.id)
    whole = json.loads(path.read_text())
    for name, value in {
        "family": "a\nb",
        "configuration": {"keep": TITLE},
        "device": "cpu\x9b",
        "nominal_bytes": 10**30,
        "seconds": 10**400,
    }.items():
        edit(path, **{name: value})
        said = lcsweep("status", folder.root)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert f"record.json: {name}" in said.err
        assert "expected" in said.err
        path.write_text(json.dumps(whole))
    edit(path, status="failed", error={"message": f"two\nlines {TITLE}", "traceback": "a\nb\x1b"})
    said = lcsweep("status", folder.root)
    assert said.code == 0
    assert "two\ufffdlines \ufffd]0;mine\ufffd\n" in said.out
    assert "\x1b" not in said.out
    edit(folder.manifest, study="a\x1b")
    assert "sweep.json: study: expected text without control characters" in lcsweep("status", folder.root).err
