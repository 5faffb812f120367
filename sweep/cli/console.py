"""What all commands share: common options, exit codes, and how results and errors are printed."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from sweep.store.printable import on_a_line, on_lines

DONE, ERROR, USAGE, SOME_FAILED, NO_MODEL, NOT_VERIFIED = 0, 1, 2, 3, 4, 5
LONGEST = 2000  # characters of an error

Folder = Annotated[
    str, typer.Argument(metavar="DIR", help="The sweep's folder, such as runs/digits_mlp or s3://bucket/digits_mlp.")
]

DATA = "LCSWEEP_DATA"
DataFolder = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        exists=True,
        file_okay=False,
        envvar=DATA,
        help="The folder that studies read data from.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
MovedStudy = Annotated[
    str | None, typer.Option(metavar="STUDY", help="The study, if it has moved since the sweep was run.")
]


class UsageError(ValueError):
    """A command line whose parts do not fit together."""


def check_file(file: Path, *, expected: str) -> None:
    """UsageError where `file` is no regular file; `expected` says what it should be."""
    if not file.is_file():
        found = "not a regular file" if file.exists() else "no such file"
        raise UsageError(f"{file}: {found}; expected {expected}")


def use_data(folder: Path | None) -> Path | None:
    """Makes studies read their data from `folder`, in this process and in those that Ray starts from it.

    Returns `folder`, or None where the environment says it already: the next commands need no --data then.
    """
    if folder is None or os.environ.get(DATA) in (str(folder), str(folder.resolve())):
        return None
    os.environ[DATA] = str(folder.resolve())
    return folder


def show(facts: Any, words: str, *, as_json: bool) -> None:
    """Prints a command's result."""
    print(json.dumps(facts, indent=1) if as_json else on_lines(words))


def say(words: str) -> None:
    """Prints a step of a command whose result is not printed at once."""
    print(on_lines(words), flush=True)


def progress(words: str) -> None:
    """Prints a step of a command on standard error, so that standard output has the result alone."""
    print(on_lines(words), file=sys.stderr, flush=True)


@contextlib.contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """A function that shows what is being done now, on a line of its own, which is gone afterwards; on a terminal.

    What is printed meanwhile stands above that line.
    """
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    shown = Spinner("dots")
    console, both = Console(file=sys.stderr), sys.stdout.isatty()
    with Live(shown, console=console, transient=True, redirect_stdout=both, redirect_stderr=both):
        yield lambda words: shown.update(text=Text(on_a_line(words)))


def fail(message: str, code: int) -> int:
    """Prints an error; returns the exit code."""
    words = on_a_line(message)
    print(f"lcsweep: {words if len(words) <= LONGEST else words[:LONGEST] + ' ...'}", file=sys.stderr)
    return code
