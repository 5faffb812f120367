"""Texts that come from a study or from a file, made fit to be shown: they must not move a terminal's cursor, say."""

import re

CONTROL = "\x00-\x1f\x7f-\x9f"
"""Control characters, as a part of a regular expression: escapes and ends of lines among them."""
_UNFIT = re.compile(f"[{CONTROL}\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""And what turns the direction of a line, ends it, or is no character."""


def printable(text: str, *, most: int) -> str:
    """`text` in at most `most` characters. A replacement character stands for each that cannot be printed."""
    shown = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return shown if len(shown) <= most else shown[: most - 1] + "\u2026"


def on_a_line(text: str) -> str:
    """`text` for a terminal, on one line. A replacement character stands for each that is not fit for it."""
    return _UNFIT.sub("\ufffd", text)


def on_lines(text: str) -> str:
    """As `on_a_line`, line by line."""
    return "\n".join(map(on_a_line, text.split("\n")))


def has_control(text: str) -> bool:
    """Whether there is a control character in `text`. No name has one."""
    return re.search(f"[{CONTROL}]", text) is not None
