"""The examples that `--help` shows, each run as it stands, one after the other, from an empty folder."""

import shlex
from pathlib import Path

import pytest

from sweep.cli.app import EXAMPLES
from tests.sweep.tiny import lcsweep

pytestmark = pytest.mark.slow


def test_every_example_of_the_help_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for command, lines in EXAMPLES.items():
        shown = lcsweep(command.__name__, "--help").out
        for line in lines:
            assert line in shown
            program, *arguments = shlex.split(line)
            assert (program, arguments[0]) == ("lcsweep", command.__name__)
            said = lcsweep(*arguments)
            assert said.code == 0, f"{line}: {said.err}"
