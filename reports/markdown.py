"""Markdown for a pull request: names that show as they are, and tables."""

import re
from collections.abc import Sequence

from sweep.store.printable import printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&!^])")


def escape(text: str) -> str:
    """`text` on one line, with the characters of Markdown's own markup escaped."""
    return _MARKUP.sub(r"\\\1", printable(" ".join(text.split()), most=200))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """A table of cells, which are Markdown. The columns in `right` hold numbers and are aligned to the right."""
    rules = ["---:" if column in right else "---" for column in range(len(headers))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rules, *rows))
