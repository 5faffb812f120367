"""Markdown that a pull request shows: names as text whatever is in them, and tables."""

import re
from collections.abc import Sequence

from reports.facts.printable import printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$&!^])")


def escape(text: str) -> str:
    """`text` on one line, so that Markdown shows its letters and takes none of them for markup."""
    return _MARKUP.sub(r"\\\1", printable(" ".join(text.split()), most=200))


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[int]) -> str:
    """A table of cells that are Markdown already; the columns in `right` hold numbers."""
    rules = ["---:" if column in right else "---" for column in range(len(headers))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rules, *rows))
