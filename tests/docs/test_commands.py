"""Every command line that --help, README.md, docs/, the studies and a new study show, found by itself: it parses.

tests/integration/test_examples.py runs those of --help, and tests/docs/test_pages.py those of the tutorial and
of README.md.
"""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sweep.cli.app import CommandLineError, app
from sweep.store.metric import ACCURACY
from sweep.target import BOUNDS, Target
from tests.docs.test_pages import blocks
from tests.sweep.tiny import help_examples, lcsweep

ROOT = Path(__file__).resolve().parents[2]
PROGRAM: Any = typer.main.get_command(app)
HELP = ("-h", "--help")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md")]
PAGES += sorted(path for path in ROOT.glob("docs/*.md") if path.name != "LOG.md")  # which tells of old ones too
INDENTED = re.compile(r"^ {4}lcsweep .*$", re.MULTILINE)
LINE = re.compile(r"^ *(lcsweep .+?)(?: {2,}.*)?$", re.MULTILINE)
"""A command on a line of its own, up to the words behind it that explain it."""
SPAN = re.compile(r"`(lcsweep [^`]+)`")
"""One within a sentence, which may leave out what the command needs beside."""


def lines(text: str) -> list[str]:
    shown = [content for _, content in blocks(text, "sh")]
    return LINE.findall("\n".join((*shown, *INDENTED.findall(text))))


def check(line: str, *, whole: bool) -> None:
    """Raises where the command line has an unknown command, option or value, or, if it is `whole`, lacks something."""
    words = [word for word in shlex.split(line, comments=True)[1:] if word not in ("...", "…", *HELP)]
    if words[:1] in ([], ["COMMAND"]) or words[0].startswith("-"):  # of no command
        unknown = {*words} - {"COMMAND"} - {option for parameter in PROGRAM.params for option in parameter.opts}
        if unknown:
            raise ValueError(f"expected options of lcsweep itself, got {unknown}")
        return
    name, command = words[0], PROGRAM.commands[words[0]]
    arguments = without_placeholders(words[1:], command)
    while True:
        try:
            asked = command.make_context(name, [*arguments]).params
            break
        except CommandLineError as error:
            lacks = getattr(error, "param", None)
            match type(error).__name__:
                case "MissingParameter" if not whole and lacks is not None:
                    arguments += [lacks.opts[0], "X"] if lacks.opts[0].startswith("-") else ["X"]
                case "BadOptionUsage" if not whole and arguments:  # the last one lacks its value
                    arguments.pop()
                case _:
                    raise
    target = Target.of(**{bound: asked.get(bound) for bound in (*BOUNDS, "relative")})  # type: ignore[arg-type]
    if target is not None:
        target.check(ACCURACY)
    study = asked.get("study") or ""
    if study.startswith("studies."):
        check_named(study)


def without_placeholders(arguments: list[str], command: Any) -> list[str]:
    """The arguments without the options that have a placeholder as their value, as in `--method METHOD`."""
    options = {option for parameter in command.params for option in parameter.opts}
    left: list[str] = []
    for word in arguments:
        if word.isupper() and left and left[-1] in options:
            left.pop()
        else:
            left.append(word)
    return left


def check_named(study: str) -> None:
    """ValueError where a study that lcsweep comes with has no such file, or no such name in it."""
    module, _, variable = study.removeprefix("studies.").partition(":")
    body = ast.parse((ROOT / "studies" / f"{module}.py").read_text(encoding="utf-8")).body
    targets = [target for each in body if isinstance(each, ast.Assign) for target in each.targets]
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    if (variable or "study") not in names:
        raise ValueError(f"{study}: expected one of {names}")


def test_every_example_of_the_help_parses() -> None:
    found = list(help_examples())
    assert {name for name, _ in found} == set(PROGRAM.commands)  # each command has one
    for name, line in found:
        assert line.split()[:2] == ["lcsweep", name]
        check(line, whole=True)


@pytest.mark.parametrize(
    "path", [*PAGES, *sorted(ROOT.glob("studies/*.py"))], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_every_command_line_parses(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for line in lines(text):
        check(line, whole=True)
    for span in SPAN.findall(text):
        check(" ".join(span.split()), whole=False)


def test_those_are_found() -> None:
    """A change of a page's form does not empty the tests above."""
    count = {path.relative_to(ROOT).as_posix(): len(lines(path.read_text(encoding="utf-8"))) for path in PAGES}
    assert count["README.md"] == 4
    assert min(count[f"docs/{name}.md"] for name in ("tutorial", "results", "latency", "onnx", "cluster")) > 1


def test_every_command_line_of_a_new_study_parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    said = lcsweep("init", "new.py", "--dataset", "digits")
    found = [
        *lines(Path("new.py").read_text(encoding="utf-8")),
        *re.findall(r"then: (lcsweep .*)", said.err + said.out),
    ]
    assert len(found) == 4
    for line in found:
        check(line, whole=True)


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("lcsweep sweep study.py", True),
        ("lcsweep run study.py --no-such 3", False),
        ("lcsweep --no-such", False),
        ("lcsweep run study.py --search best", False),
        ("lcsweep run --search smallest", True),
        ("lcsweep run study.py --max-drop 0.5", False),
        ("lcsweep run studies.digits_mlp:none", False),
        ("lcsweep run study.py --repeats many", False),
    ],
)
def test_a_wrong_one_does_not(line: str, whole: bool) -> None:
    with pytest.raises((CommandLineError, KeyError, ValueError)):
        check(line, whole=whole)
