"""A few files that were changed at random, opened as `benchmarks/fuzz.py` opens ten thousand of each kind."""

import random
from collections import Counter
from pathlib import Path

import pytest

from sweep.store.folder import SweepFolder
from tests.benchmarks.conftest import FOLDER
from tests.sweep.tiny import lcsweep

RUN = Path("runs/tiny")


@pytest.mark.usefixtures("without_onnx")
@pytest.mark.parametrize("kind", ["record", "pick", "sweep", "lcz"])
def test_each_is_accepted_or_refused_in_one_line(finished: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import fuzz

    monkeypatch.setattr(fuzz, "RUN", RUN)
    assert lcsweep("pick", RUN, "--max-drop", "50%").code == 0
    whole, put, mutate = fuzz.paths(SweepFolder(RUN))[kind]
    original, found = whole.read_bytes(), Counter[str]()
    for number in range(10):
        put.write_bytes(mutate(original, random.Random(number)))
        outcome, words = fuzz.opened(kind)
        assert outcome != fuzz.ELSE, (number, words)
        found[outcome] += 1
    assert found[fuzz.REFUSED] > 2
    put.write_bytes(original)
    assert fuzz.opened(kind) == (fuzz.ACCEPTED, "")


def test_what_is_neither_is_found(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import fuzz

    monkeypatch.setattr(fuzz, "RUN", RUN)
    monkeypatch.setattr("sweep.cli.status.read_records", lambda _: [][0])
    assert fuzz.opened("record")[0] == fuzz.ELSE
    monkeypatch.setattr("sweep.cli.status.describe", lambda _: "a\x1b[31m")
    monkeypatch.setattr("sweep.cli.status.read_records", lambda _: [])
    monkeypatch.setattr("sweep.cli.console.on_lines", lambda words: words)
    assert "control characters" in fuzz.opened("record")[1]
