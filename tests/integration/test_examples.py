"""The examples that the --help of every command shows, each run as it stands, one after another, in one folder.

tests/docs/test_commands.py finds all other command lines, and parses them.
"""

import shlex
from pathlib import Path

import pytest

from tests.sweep.tiny import help_examples, lcsweep

pytestmark = pytest.mark.slow


def test_every_example_of_the_help_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    examples = [line for _, line in help_examples()]
    assert len(examples) > 10
    for line in examples:
        _, *arguments = shlex.split(line)
        said = lcsweep(*arguments)
        assert said.code == 0, f"{line}: {said.err}"
