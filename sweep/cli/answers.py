"""What a command answers with: words or one JSON object, an exit code, a line of error."""

import json
import sys
from typing import Any

DONE, ERROR, USAGE, SOME_FAILED, NO_MODEL, NOT_VERIFIED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


def show(facts: dict[str, Any], words: str, *, as_json: bool) -> None:
    """Prints a command's result."""
    print(json.dumps(facts, indent=1) if as_json else words)


def say(words: str) -> None:
    """Prints what is under way."""
    print(words, flush=True)


def progress(words: str) -> None:
    """Prints what is under way, apart from the result."""
    print(words, file=sys.stderr, flush=True)


def fail(message: str, code: int) -> int:
    """Prints an error; gives the exit code."""
    print(f"lcsweep: {message}", file=sys.stderr)
    return code
